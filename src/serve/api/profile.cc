// /start_profile and /stop_profile: what the engine does, step by step, as a Chrome trace.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "base/env.h"
#include "obs/profiler.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct ProfileBody {
  std::string output_dir, profile_prefix;
  Json num_steps, start_step;  // clients send numbers as text, too
  bool profile_by_stage = false, merge_profiles = false;
};

void ReadProfileFields(JsonReader& field, ProfileBody& body) {
  field("output_dir", body.output_dir)("profile_prefix", body.profile_prefix)("num_steps", body.num_steps)("start_step", body.start_step);
  field("profile_by_stage", body.profile_by_stage)("merge_profiles", body.merge_profiles);
}

Result<int64_t> ReadCount(const Json& value, const char* name) {
  if (value.is_null()) return int64_t{0};
  int64_t count = -1;
  if (value.is_string()) {
    const std::string& text = value.as_string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc() || end != text.data() + text.size()) count = -1;
  } else if (value.is_int()) {
    count = value.as_int();
  }
  if (count < 0) return InvalidArgument(std::string(name) + ": expected a number >= 0, got " + DumpJson(value));
  return count;
}

Result<ProfileOptions> ReadOptions(const std::string& text) {
  TRY(Json json, text.empty() ? Result<Json>(Json(Json::Object{})) : ParseJson(text));
  if (json.is_null()) json = Json(Json::Object{});
  ProfileBody body;
  JsonReader field(json);
  ReadProfileFields(field, body);
  TRY_STATUS(field.status());
  if (body.profile_by_stage) return InvalidArgument("profile_by_stage: this server takes one profile of both stages; leave it out.");
  if (body.profile_prefix.find('/') != std::string::npos) return InvalidArgument("profile_prefix: must not contain '/'.");
  ProfileOptions options;
  options.output_dir = body.output_dir.empty() ? env::kProfilerDir.Get() : body.output_dir;
  options.prefix = body.profile_prefix;
  TRY(options.num_steps, ReadCount(body.num_steps, "num_steps"));
  TRY(options.start_step, ReadCount(body.start_step, "start_step"));
  return options;
}

}  // namespace

void DescribeStartProfile(JsonReader& field) {
  ProfileBody body;
  ReadProfileFields(field, body);
}

void HandleStartProfile(ApiContext& context, const Exchange& exchange) {
  Result<ProfileOptions> options = ReadOptions(exchange->request().body);
  if (!options.ok()) return SendError(*exchange, SchemaErrorReply(options.error().message));
  const Status status = context.backend.profiler().Start(*std::move(options));
  if (!status.ok()) return SendError(*exchange, FromError(status.error(), ErrorStyle::kNative));
  SendText(*exchange, 200, "Start profiling.\n");
}

void HandleStopProfile(ApiContext& context, const Exchange& exchange) {
  const Result<std::string> path = context.backend.profiler().Stop();
  if (!path.ok()) return SendError(*exchange, FromError(path.error(), ErrorStyle::kNative));
  SendText(*exchange, 200, "Stop profiling. This will take some time.\n" + *path + "\n");
}

}  // namespace sgl
