// SPDX-License-Identifier: Apache-2.0
#include "serve/journal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <utility>

#include "obs/log.h"
#include "serve/describe.h"
#include "serve/json_reader.h"

namespace sgl {
namespace {

constexpr size_t kShortened = 2048;  // characters or entries of a value at level 2

std::string LocalTime(const char* format, std::time_t at) {
  std::tm local{};
  localtime_r(&at, &local);
  char text[64];
  std::strftime(text, sizeof text, format, &local);
  return text;
}

std::string HostName() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

bool Listed(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// What a log level shows of a request or a reply.
Json Shown(const Json& value, int level, bool is_out) {
  static const std::vector<std::string> hidden_request = {"text", "input_ids", "input_embeds", "lora_path", "sampling_params"};
  static const std::vector<std::string> hidden_out = {"text", "output_ids", "embedding"};
  if (level >= 3) return value;
  if (level == 2) return Shortened(value, kShortened);
  Json out{Json::Object{}};
  for (const auto& [name, item] : value.as_object())
    if (!Listed(is_out ? hidden_out : hidden_request, name) || (level == 1 && name == "sampling_params")) out.Set(name, item);
  return out;
}

// GenerateReqInput(rid='..', text='..')
std::string Constructor(const Json& request) {
  std::string out = "GenerateReqInput(";
  for (const auto& [name, value] : request.as_object()) {
    if (out.back() != '(') out += ", ";
    out += name + "=" + PythonRepr(value);
  }
  return out + ")";
}

}  // namespace

Journal::Journal(JournalConfig config, Json server_args)
    : log_headers_(config.log_headers), server_args_(std::move(server_args)), config_(std::move(config)) {
  active_ = config_.log_requests || config_.export_metrics_to_file || !config_.dump_requests_folder.empty();
}

Journal::~Journal() {
  std::lock_guard lock(mutex_);
  WriteDump();
}

JournalConfig Journal::config() const {
  std::lock_guard lock(mutex_);
  return config_;
}

void Journal::Flush() {
  {
    std::lock_guard lock(mutex_);
    WriteDump();
  }
  files_.Flush();
}

void Journal::Emit(const JournalConfig& config, const std::string& line) const {
  if (config.log_requests_target.empty()) {
    LogLine(LogLevel::kInfo, line);
    return;
  }
  const std::time_t now = std::time(nullptr);
  const std::string stamped = "[" + LocalTime("%Y-%m-%d %H:%M:%S", now) + "] " + line + "\n";
  for (const std::string& target : config.log_requests_target) {
    if (target == "stdout") {
      std::fwrite(stamped.data(), 1, stamped.size(), stdout);
      std::fflush(stdout);
    } else {  // one file an hour, none is ever deleted
      files_.Append(std::filesystem::path(target) / (HostName() + "_0." + LocalTime("%Y-%m-%d_%H", now) + ".log"), stamped);
    }
  }
}

void Journal::LogEvent(const JournalConfig& config, const char* event, const JournalEntry& entry, const Json* out) const {
  const Json request = Shown(entry.request, config.log_requests_level, false);
  const Json shown_out = out != nullptr ? Shown(*out, config.log_requests_level, true) : Json();
  if (config.log_requests_format == "json") {
    Json line;
    line.Set("timestamp", LocalTime("%Y-%m-%dT%H:%M:%S", std::time(nullptr))).Set("event", event).Set("rid", entry.rid);
    line.Set("obj", request);
    if (!entry.headers.is_null()) line.Set("headers", entry.headers);
    if (out != nullptr) line.Set("out", shown_out);
    return Emit(config, DumpJson(line));
  }
  std::string line = fmt::format("{}: obj={}", out != nullptr ? "Finish" : "Receive", Constructor(request));
  if (!entry.headers.is_null()) line += ", headers=" + PythonRepr(entry.headers);
  if (out != nullptr) line += ", out=" + PythonRepr(shown_out);
  Emit(config, line);
}

void Journal::Received(const JournalEntry& entry, const std::string& openai_body) {
  const JournalConfig config = this->config();
  if (!config.log_requests) return;
  LogEvent(config, "request.received", entry, nullptr);
  if (config.log_requests_level < 2 || openai_body.empty()) return;
  const Result<Json> body = ParseJson(openai_body);
  if (!body.ok()) return;
  const Json shown = config.log_requests_level == 2 ? Shortened(*body, kShortened) : *body;
  if (config.log_requests_format == "json") {
    Json line;
    line.Set("timestamp", LocalTime("%Y-%m-%dT%H:%M:%S", std::time(nullptr))).Set("event", "request.received.openai");
    line.Set("rid", entry.rid).Set("obj", shown);
    return Emit(config, DumpJson(line));
  }
  Emit(config, "Receive OpenAI: obj=" + PythonRepr(shown));
}

void Journal::Finished(const JournalEntry& entry, const Json& out, double finished_unix) {
  const JournalConfig config = this->config();
  const bool slow =
      config.log_exceeded_ms <= 0 || out["meta_info"].get_double("e2e_latency", 0) * 1000 >= static_cast<double>(config.log_exceeded_ms);
  if (config.log_requests && slow) LogEvent(config, "request.finished", entry, &out);
  if (config.export_metrics_to_file) Export(config, entry, out, finished_unix);
  if (!config.dump_requests_folder.empty()) Dump(entry, out, finished_unix);
}

void Journal::Export(const JournalConfig& config, const JournalEntry& entry, const Json& out, double finished_unix) const {
  Json parameters{Json::Object{}};
  const Json shown = Shown(entry.request, config.log_requests_level, false);
  for (const auto& [name, value] : shown.as_object())
    if (!value.is_null() && name != "input_embeds") parameters.Set(name, value);
  Json line;
  line.Set("request_parameters", DumpJson(parameters));
  for (const auto& [name, value] : out["meta_info"].as_object()) line.Set(name, value);
  const std::string name = "sglang-request-metrics-" + LocalTime("%Y%m%d_%H", static_cast<std::time_t>(finished_unix)) + ".log";
  files_.Append(std::filesystem::path(config.export_metrics_to_file_dir) / name, DumpJson(line) + "\n");
}

void Journal::Dump(const JournalEntry& entry, const Json& out, double finished_unix) {
  std::lock_guard lock(mutex_);
  Json kept = out;
  Json meta{Json::Object{}};
  for (const auto& [name, value] : out["meta_info"].as_object())
    if (!Listed(config_.dump_requests_exclude_meta_keys, name)) meta.Set(name, value);
  kept.Set("meta_info", std::move(meta));
  Json line;
  line.Set("request", entry.request).Set("out", std::move(kept)).Set("created", entry.created_unix).Set("finished", finished_unix);
  dump_ += DumpJson(line) + "\n";
  if (++dumped_ >= config_.dump_requests_threshold) WriteDump();
}

// Called with the mutex held. The first line has the server's arguments, each further one a request.
void Journal::WriteDump() {
  if (dumped_ == 0) return;
  const std::string name = LocalTime("%Y-%m-%d_%H-%M-%S", std::time(nullptr)) + ".jsonl";
  files_.Append(std::filesystem::path(config_.dump_requests_folder) / name,
                DumpJson(Json().Set("server_args", server_args_)) + "\n" + dump_);
  dump_.clear();
  dumped_ = 0;
}

void LoggingChanges::Read(JsonReader& field) {
  field("log_requests", log_requests)("log_requests_level", log_requests_level)("log_requests_format", log_requests_format);
  field("dump_requests_folder", dump_requests_folder)("dump_requests_threshold", dump_requests_threshold);
  field("dump_requests_exclude_meta_keys", dump_requests_exclude_meta_keys);
}

Status Journal::Configure(const Json& body) {
  LoggingChanges changes;
  JsonReader field(body);
  changes.Read(field);
  TRY_STATUS(field.status());
  const int level = changes.log_requests_level.value_or(0);
  if (level < 0 || level > 3) return InvalidArgument(fmt::format("log_requests_level must be in [0, 3], got {}.", level));
  const std::string format = changes.log_requests_format.value_or("text");
  if (format != "text" && format != "json") return InvalidArgument("log_requests_format must be text or json, got '" + format + "'.");
  const int64_t threshold = changes.dump_requests_threshold.value_or(1);
  if (threshold < 1) return InvalidArgument(fmt::format("dump_requests_threshold must be at least 1, got {}.", threshold));

  std::lock_guard lock(mutex_);
  if (changes.dump_requests_folder && *changes.dump_requests_folder != config_.dump_requests_folder) WriteDump();  // into the old one
  const auto take = [](auto& change, auto& target) {
    if (change) target = *std::move(change);
  };
  take(changes.log_requests, config_.log_requests);
  take(changes.log_requests_level, config_.log_requests_level);
  take(changes.log_requests_format, config_.log_requests_format);
  take(changes.dump_requests_folder, config_.dump_requests_folder);
  take(changes.dump_requests_threshold, config_.dump_requests_threshold);
  take(changes.dump_requests_exclude_meta_keys, config_.dump_requests_exclude_meta_keys);
  active_ = config_.log_requests || config_.export_metrics_to_file || !config_.dump_requests_folder.empty();
  return {};
}

}  // namespace sgl
