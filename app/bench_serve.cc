// `sglang bench serve`: a load generator with the flags and the table of SGLang's bench_serving, for any OpenAI or SGLang server.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>

#include "app/bench_dataset.h"
#include "app/bench_load.h"
#include "app/bench_report.h"
#include "app/commands.h"
#include "app/serve_options.h"
#include "engine/model_text.h"
#include "obs/log.h"
#include "serve/http_client.h"
#include "weights/weights.h"

namespace sgl {
namespace {

constexpr int64_t kWarmUpTokens = 32;

struct BenchServeOptions {
  std::string backend = "sglang", base_url, host = "127.0.0.1", model, served_model_name, tokenizer, request_rate = "inf", output_file;
  uint16_t port = 0;
  int64_t max_concurrency = 0, warmup_requests = 1;
  double ready_check_timeout_sec = 60;
  bool disable_stream = false, disable_ignore_eos = false, tokenize_prompt = false, return_logprob = false, flush_cache = false;
  bool output_details = false, print_requests = false, json = false;
  std::vector<std::string> headers;
  Json extra;
  DatasetOptions dataset;

  void Visit(Options& field);
};

std::vector<std::string> BackendNames() {
  std::vector<std::string> names;
  for (const BenchBackend& backend : BenchBackends()) names.emplace_back(backend.name);
  return names;
}

// Flags of bench_serving that change nothing here, or that would need what this client does not have.
constexpr ForeignFlag kForeign[] = {
    {"disable-tqdm", ForeignFlag::Kind::kNoEffect, ForeignFlag::Arity::kNone, "", "there is no progress bar"},
    {"ready-check-interval-sec", ForeignFlag::Kind::kNoEffect, ForeignFlag::Arity::kOne, "", "the server is asked ten times a second"},
    {"apply-chat-template", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kNone, "", "use a -chat backend: the server applies it"},
    {"profile", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kNone, "", "start a profile through the server's own route"},
    {"lora-name", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kMany, "", "name the adapter with --served-model-name"},
    {"pd-separated", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kNone, "", "give the router's address"},
    {"use-trace-timestamps", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kNone, "", "traces cannot be replayed"},
};

void BenchServeOptions::Visit(Options& field) {
  field.Group("Server");
  field("backend", backend, "which API to speak", Choices{BackendNames()});
  field("base-url", base_url, "http://host:port, instead of --host and --port", OptionTrait::kZeroIsUnset);
  field("host", host, "where the server is");
  field("port", port, "its port; unset: 30000 for sglang, 8000 for vllm and openai, 23333 for lmdeploy", OptionTrait::kZeroIsUnset);
  field("model", model, "the model's name; unset: the first that the server lists", OptionTrait::kZeroIsUnset);
  field("served-model-name", served_model_name, "the name to send; unset: --model", OptionTrait::kZeroIsUnset);
  field("tokenizer", tokenizer, "a model's directory, .gguf file or name in the Hugging Face cache; unset: --model",
        OptionTrait::kZeroIsUnset);
  field("header", headers, "further headers, name=value");
  field("ready-check-timeout-sec", ready_check_timeout_sec, "how long to wait for the server", Range{0, 1e6});
  dataset.Visit(field);
  field.Group("Load");
  field("request-rate", request_rate, "requests per second, at exponentially distributed intervals; inf: all at once");
  field("max-concurrency", max_concurrency, "requests open at once; unset: no limit", OptionTrait::kZeroIsUnset, Range{1, 65536});
  field("warmup-requests", warmup_requests, "requests before the measurement, the first prompt with at most 32 tokens to answer",
        Range{0, 65536});
  field("flush-cache", flush_cache, "empty the server's prefix cache before the measurement");
  field("disable-stream", disable_stream, "ask for whole replies");
  field("disable-ignore-eos", disable_ignore_eos, "let answers end where the model ends them");
  field("tokenize-prompt", tokenize_prompt, "send token ids instead of text");
  field("return-logprob", return_logprob, "ask for log-probabilities (native API)");
  field("extra-request-body", extra, "JSON object whose members every request gets");
  field.Group("Result");
  field("output-file", output_file, "append the result here as one JSON line", OptionTrait::kZeroIsUnset);
  field("output-details", output_details, "with lengths, times, texts and errors of each request");
  field("print-requests", print_requests, "print each answer");
  field("json", json, "write the result as one JSON line instead of a table");
  field.Foreign(kForeign);
}

Result<double> ParseRate(const std::string& text) {
  if (text == "inf") return std::numeric_limits<double>::infinity();
  double rate = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), rate);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || !(rate > 0) || !std::isfinite(rate))
    return InvalidArgument(fmt::format("--request-rate: '{}' is neither a positive number nor inf", text));
  return rate;
}

Result<LoadConfig> MakeLoadConfig(const BenchServeOptions& o) {
  LoadConfig config;
  for (const BenchBackend& backend : BenchBackends())
    if (backend.name == o.backend) config.backend = backend;
  const uint16_t port = o.port != 0 ? o.port : config.backend.port;
  const bool v6 = o.host.find(':') != std::string::npos;
  TRY(config.url, ParseHttpUrl(!o.base_url.empty() ? o.base_url
                               : v6                ? fmt::format("http://[{}]:{}", o.host, port)
                                                   : fmt::format("http://{}:{}", o.host, port)));
  for (const std::string& header : o.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos || equals == 0) return InvalidArgument(fmt::format("--header: '{}' is not name=value", header));
    config.headers.emplace_back(header.substr(0, equals), header.substr(equals + 1));
  }
  if (const char* key = std::getenv("OPENAI_API_KEY"); key != nullptr && *key != '\0')
    config.headers.emplace_back("authorization", fmt::format("Bearer {}", key));
  else if (const char* raw = std::getenv("API_KEY"); raw != nullptr && *raw != '\0')
    config.headers.emplace_back("authorization", raw);
  TRY(config.request_rate, ParseRate(o.request_rate));
  config.max_concurrency = o.max_concurrency;
  config.stream = !o.disable_stream;
  config.ignore_eos = !o.disable_ignore_eos;
  config.return_logprob = o.return_logprob;
  config.extra = o.extra;
  config.seed = o.dataset.seed;
  return config;
}

// Waits for GET /v1/models; the reply names the model.
Result<std::string> FirstModel(HttpClient& client, const LoadConfig& config, const std::string& prefix, double timeout_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (std::string why;;) {
    const Result<HttpReplyData> reply = client.Request("GET", prefix + "/v1/models", config.headers);
    if (reply.ok() && reply->status == 200) {
      const Result<Json> models = ParseJson(reply->body);
      const Json list = models.ok() ? (*models)["data"] : Json();
      return list.is_array() && !list.as_array().empty() ? list.as_array().front().get_string("id", "") : "";
    }
    why = reply.ok() ? fmt::format("HTTP {}: {}", reply->status, reply->body.substr(0, 200)) : reply.error().message;
    if (std::chrono::steady_clock::now() >= end) return Error{Code::kUnavailable, fmt::format("the server is not ready: {}", why)};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Json Details(const BenchRun& run) {
  Json input(Json::Array{}), output(Json::Array{}), ttft(Json::Array{}), itl(Json::Array{}), text(Json::Array{}), error(Json::Array{});
  for (const BenchOutcome& o : run.outcomes) {
    input.Push(o.prompt_len);
    output.Push(o.output_len);
    ttft.Push(o.ttft_s);
    Json gaps(Json::Array{});
    for (const double gap : o.itl_s) gaps.Push(gap);
    itl.Push(std::move(gaps));
    text.Push(o.text);
    error.Push(o.error);
  }
  Json details;
  details.Set("input_lens", std::move(input)).Set("output_lens", std::move(output)).Set("ttfts", std::move(ttft));
  details.Set("itls", std::move(itl)).Set("generated_texts", std::move(text)).Set("errors", std::move(error));
  return details;
}

Json ResultLine(const BenchServeOptions& o, const BenchRun& run, const Json& summary) {
  Json line;
  line.Set("backend", o.backend).Set("dataset_name", o.dataset.name);
  line.Set("request_rate", std::isinf(run.request_rate) ? Json("inf") : Json(run.request_rate));
  line.Set("max_concurrency", o.max_concurrency > 0 ? Json(o.max_concurrency) : Json());
  line.Set("num_prompts", static_cast<int64_t>(run.outcomes.size()));
  line.Set("random_input_len", o.dataset.random_input_len).Set("random_output_len", o.dataset.random_output_len);
  line.Set("random_range_ratio", o.dataset.random_range_ratio);
  for (const Json::Member& member : summary.as_object()) line.Set(member.first, member.second);
  if (o.output_details) {
    const Json details = Details(run);
    for (const Json::Member& member : details.as_object()) line.Set(member.first, member.second);
  }
  return line;
}

struct Tokens {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: none was found
  std::string why;
};
Tokens FindTokenizer(const std::string& name) {
  const auto load = [&]() -> Result<std::shared_ptr<const Tokenizer>> {
    TRY(const std::string path, ResolveModelPath(name, ""));
    TRY(const ModelFiles files, OpenModelText(path));
    return LoadModelTokenizer(files);
  };
  Result<std::shared_ptr<const Tokenizer>> loaded = load();
  return loaded.ok() ? Tokens{*std::move(loaded), ""} : Tokens{nullptr, loaded.error().message};
}

// Requests before the clock starts, and an empty prefix cache if wanted.
Status WarmUp(const BenchServeOptions& o, LoadConfig config, const std::string& prefix, const BenchPrompt& first, HttpClient& client) {
  if (o.warmup_requests > 0) {
    BenchPrompt prompt = first;
    prompt.output_len = std::min(prompt.output_len, kWarmUpTokens);
    config.max_concurrency = 0;
    config.request_rate = std::numeric_limits<double>::infinity();
    const std::vector<BenchPrompt> prompts(static_cast<size_t>(o.warmup_requests), prompt);
    TRY(const BenchRun run, RunLoad(config, prompts));
    for (const BenchOutcome& outcome : run.outcomes)
      if (!outcome.ok) return Internal(fmt::format("the warm-up request failed: {}", outcome.error));
  }
  if (o.flush_cache) {
    const Result<HttpReplyData> reply = client.Request("POST", prefix + "/flush_cache", config.headers);
    if (!reply.ok() || reply->status != 200)
      LOG_WARNING("--flush-cache: {}", reply.ok() ? fmt::format("HTTP {}", reply->status) : reply.error().message);
  }
  return {};
}

Status BenchServe(BenchServeOptions& o) {
  TRY(LoadConfig config, MakeLoadConfig(o));
  std::string prefix = config.url.target;
  while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  HttpClient client(config.url.host, config.url.port);
  TRY(const std::string first_model, FirstModel(client, config, prefix, o.ready_check_timeout_sec));
  if (o.model.empty()) o.model = first_model;
  config.model = o.served_model_name.empty() ? o.model : o.served_model_name;

  const Tokens tokens = FindTokenizer(o.tokenizer.empty() ? o.model : o.tokenizer);
  if (tokens.tokenizer == nullptr) {
    if (!o.tokenizer.empty() || config.backend.api == BenchApi::kChat)
      return InvalidArgument(fmt::format("no tokenizer (--tokenizer): {}", tokens.why));
    LOG_WARNING("no tokenizer: prompts are token ids below 1000, answers are not tokenized again ({})", tokens.why);
  }
  TRY(const std::vector<BenchPrompt> prompts,
      MakePrompts(o.dataset, tokens.tokenizer.get(), tokens.tokenizer == nullptr ? 1000 : tokens.tokenizer->vocab_size()));
  config.send_ids = tokens.tokenizer == nullptr || o.tokenize_prompt;
  if (config.send_ids && config.backend.api == BenchApi::kChat)
    return InvalidArgument("--tokenize-prompt: the chat API takes no token ids");

  TRY_STATUS(WarmUp(o, config, prefix, prompts.front(), client));
  TRY(BenchRun run, RunLoad(config, prompts));
  int failed = 0;
  for (size_t i = 0; i < run.outcomes.size(); ++i) {
    BenchOutcome& outcome = run.outcomes[i];
    if (tokens.tokenizer != nullptr) outcome.retokenized_len = static_cast<int64_t>(tokens.tokenizer->Encode(outcome.text, false).size());
    if (o.print_requests) fmt::print("[{}] {}\n", i, outcome.ok ? outcome.text : outcome.error);
    if (!outcome.ok && ++failed <= 5) LOG_WARNING("request {}: {}", i, outcome.error);
  }
  const Json summary = Summary(run);
  const std::string line = DumpJson(ResultLine(o, run, summary));
  if (o.json)
    fmt::print("{}\n", line);
  else
    fmt::print("\n{}", SummaryTable(run, summary));
  if (!o.output_file.empty()) {
    std::ofstream file(o.output_file, std::ios::app);
    if (!(file << line << '\n')) return InvalidArgument(fmt::format("--output-file {}: cannot write", o.output_file));
  }
  if (failed > 0) return Internal(fmt::format("{} of {} requests failed", failed, run.outcomes.size()));
  return {};
}

}  // namespace

int RunBenchServe(const Arguments& arguments) {
  BenchServeOptions config;
  Options options("sglang bench serve", "Sends requests to a running server and prints throughput and latencies.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("bench serve", options, arguments, warnings)) return *done;
  LogWarnings(warnings);
  if (const Status status = BenchServe(config); !status.ok()) return Fail("bench serve", status.error().message);
  return 0;
}

}  // namespace sgl
