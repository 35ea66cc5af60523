// Operations on the engine while it serves: pausing, limits, new weights.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <map>
#include <mutex>
#include <utility>

#include "engine/weights_update.h"
#include "obs/log.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/params.h"
#include "serve/reply.h"

namespace sgl {
namespace {

// The body as JSON; nothing: an error was sent.
std::optional<Json> Body(const Exchange& exchange) {
  Result<Json> json = ReadBody(exchange->request().body);
  if (json.ok() && json->is_object()) return *std::move(json);
  SendError(*exchange, SchemaErrorReply(json.ok() ? "The body must be a JSON object." : json.error().message));
  return {};
}

// False: an error was sent.
bool Check(const Exchange& exchange, const Status& status) {
  if (!status.ok()) SendError(*exchange, SchemaErrorReply(status.error().message));
  return status.ok();
}

// The bodies: one table each, read by the handler and told to /openapi.json.
struct PauseBody {
  std::string mode = "abort";
  void Read(JsonReader& field) { field("mode", mode); }
};
struct SlowDownBody {
  double seconds = 0;
  void Read(JsonReader& field) { field("forward_sleep_time", seconds); }
};
struct ServerArgsBody {
  int most = 0;
  void Read(JsonReader& field) { field.Required("pp_max_micro_batch_size", most); }
};
struct UpdateWeightsBody {
  UpdateWeights update;
  void Read(JsonReader& field) {
    field.Required("model_path", update.model_path)("load_format", update.load_format)("abort_all_requests", update.abort_all_requests);
    field("flush_cache", update.flush_cache)("weight_version", update.weight_version);
  }
};
struct WeightVersionBody {
  SetWeightVersion set;
  void Read(JsonReader& field) { field.Required("new_version", set.version)("abort_all_requests", set.abort_all_requests); }
};
struct GetWeightsBody {
  std::string name;
  int64_t truncate_size = 100;
  void Read(JsonReader& field) { field.Required("name", name)("truncate_size", truncate_size); }
};
struct CheckerBody {
  std::string action;
  void Read(JsonReader& field) { field.Required("action", action); }
};

// False: an error was sent.
template <class T>
bool ReadFields(const Exchange& exchange, const Json& json, T& body, std::string path = "") {
  JsonReader field(json, std::move(path));
  body.Read(field);
  return Check(exchange, field.status());
}

std::string SuccessBody(bool success, std::string_view message) {
  return DumpJson(Json().Set("success", success).Set("message", std::string(message)));
}

// What a matrix is after reset_tensors; vectors stay.
void MakeZero(Json& values) {
  for (Json& row : values.as_array())
    if (row.is_array())
      for (Json& value : row.as_array()) value = Json(0.0);
}

// Sends `body` once the engine has done it.
ControlDone Then(const Exchange& exchange, std::string body) {
  return [exchange, body = std::move(body)](const Result<std::string>& done) {
    if (!done.ok()) return SendError(*exchange, FromError(done.error(), ErrorStyle::kNative));
    SendJson(*exchange, 200, body);
  };
}

}  // namespace

void DescribePause(JsonReader& field) { PauseBody().Read(field); }
void DescribeSlowDown(JsonReader& field) { SlowDownBody().Read(field); }
void DescribeUpdateWeights(JsonReader& field) { UpdateWeightsBody().Read(field); }
void DescribeUpdateWeightVersion(JsonReader& field) { WeightVersionBody().Read(field); }
void DescribeGetWeights(JsonReader& field) { GetWeightsBody().Read(field); }
void DescribeWeightsChecker(JsonReader& field) { CheckerBody().Read(field); }
void DescribeSetInternalState(JsonReader& field) {
  field.Nested("server_args", [](JsonReader& inside) { ServerArgsBody().Read(inside); });
}

void HandlePauseGeneration(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  PauseBody body;
  if (!ReadFields(exchange, *json, body)) return;
  const std::string& mode = body.mode;
  PauseGeneration pause;
  if (mode == "in_place") {
    pause.mode = PauseMode::kInPlace;
  } else if (mode == "retract") {
    pause.mode = PauseMode::kRetract;
  } else if (mode != "abort") {
    return SendError(*exchange, SchemaErrorReply("mode: expected abort, retract or in_place, got '" + mode + "'"));
  }
  LOG_INFO("Generation is paused, mode {}", mode);
  context.backend.Control(pause, Then(exchange, R"({"message":"Generation paused successfully.","status":"ok"})"));
}

void HandleContinueGeneration(ApiContext& context, const Exchange& exchange) {
  if (!Body(exchange)) return;
  LOG_INFO("Generation continues");
  context.backend.Control(ContinueGeneration{}, Then(exchange, R"({"message":"Generation continued successfully.","status":"ok"})"));
}

// Of SGLang's three keys the one that means something without pipelines and speculation: it limits the running requests.
void HandleSetInternalState(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  Json args{Json::Object{}};
  if (!Check(exchange, JsonReader(*json).Object("server_args", args).status())) return;
  for (const auto& [name, value] : args.as_object()) {
    if (name != "pp_max_micro_batch_size")
      return SendError(*exchange, FromError(InvalidArgument(fmt::format("server_args.{}: only pp_max_micro_batch_size can be changed "
                                                                        "while the server runs.",
                                                                        name)),
                                            ErrorStyle::kNative));
  }
  ServerArgsBody body;
  if (!ReadFields(exchange, args, body, "server_args")) return;
  const size_t replicas = context.backend.probes().size();
  context.backend.Control(LimitRunningRequests{body.most}, [exchange, replicas](const Result<std::string>& done) {
    if (!done.ok())
      return SendError(*exchange, FromError(Error(done.error()).In("server_args.pp_max_micro_batch_size"), ErrorStyle::kNative));
    SendJson(*exchange, 200, DumpJson(Json(Json::Array(replicas, Json(true)))));
  });
}

void HandleSlowDown(ApiContext& context, const Exchange& exchange) {
  constexpr double kLongest = 60;
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  SlowDownBody body;
  if (!ReadFields(exchange, *json, body)) return;
  const double seconds = body.seconds;
  if (!(seconds >= 0 && seconds <= kLongest))
    return SendError(*exchange, SchemaErrorReply(fmt::format("forward_sleep_time: must be in [0, {}] seconds, got {}", kLongest, seconds)));
  context.backend.Control(SlowDown{seconds}, Then(exchange, "null"));
}

void HandleUpdateWeightsFromDisk(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  UpdateWeightsBody body;
  if (!ReadFields(exchange, *json, body)) return;
  UpdateWeights& update = body.update;
  if (update.load_format.empty()) update.load_format = "auto";
  if (update.load_format != "auto" && update.load_format != "safetensors" && update.load_format != "gguf")
    return SendError(*exchange, SchemaErrorReply("load_format: expected auto, safetensors or gguf, got '" + update.load_format + "'"));
  if (!IsInert((*json)["manifest"])) return SendError(*exchange, FromError(UnsupportedField("manifest"), ErrorStyle::kNative));
  context.backend.Control(std::move(update), [exchange](const Result<std::string>& done) {
    const std::string& message = done.ok() ? *done : done.error().message;
    Json reply;
    reply.Set("success", done.ok()).Set("message", message).Set("num_paused_requests", 0);
    SendJson(*exchange, done.ok() ? 200 : done.error().code == Code::kUnavailable ? 503 : 400, DumpJson(reply));
  });
}

void HandleUpdateWeightVersion(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  WeightVersionBody body;
  if (!ReadFields(exchange, *json, body)) return;
  SetWeightVersion& set = body.set;
  Json reply;
  reply.Set("success", true).Set("message", "Weight version updated to " + set.version).Set("new_version", set.version);
  context.backend.Control(std::move(set), Then(exchange, DumpJson(reply)));
}

void HandleGetWeightsByName(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  GetWeightsBody body;
  if (!ReadFields(exchange, *json, body)) return;
  const auto& [name, truncate_size] = body;
  if (truncate_size < 1)
    return SendError(*exchange, SchemaErrorReply(fmt::format("truncate_size: must be at least 1, got {}", truncate_size)));
  Result<Json> values = WeightByName(context.backend.info().model_path, name, truncate_size);
  if (values.ok() && context.backend.info().weights_are_zero && values->is_array()) MakeZero(*values);
  if (!values.ok()) return SendError(*exchange, FromError(InvalidArgument(values.error().message), ErrorStyle::kNative));
  SendJson(*exchange, 200, DumpJson(*values));
}

// Checks the files that the running weights were read from: a snapshot, later a comparison with it (after an update the files are others).
// After reset_tensors the matrices are zeros, and nothing compares equal, until an update brings others.
void HandleWeightsChecker(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  CheckerBody body;
  if (!ReadFields(exchange, *json, body)) return;
  const std::string& action = body.action;
  const EngineInfo& info = context.backend.info();
  if (action == "reset_tensors") {
    UpdateWeights zeros{.model_path = info.model_path, .zero = true};
    return context.backend.Control(std::move(zeros), [exchange](const Result<std::string>& done) {
      SendJson(*exchange,
               done.ok()                                 ? 200
               : done.error().code == Code::kUnavailable ? 503
                                                         : 400,
               SuccessBody(done.ok(), done.ok() ? "Success." : done.error().message));
    });
  }
  if (action != "snapshot" && action != "compare" && action != "checksum")
    return SendError(*exchange, SchemaErrorReply("action: expected snapshot, reset_tensors, compare or checksum, got '" + action + "'"));
  if (info.weights_are_zero)
    return SendJson(*exchange, 400, SuccessBody(false, "The weights were reset; every tensor differs from its file."));
  const Result<std::vector<std::pair<std::string, uint64_t>>> sums = WeightChecksums(info.model_path);
  if (!sums.ok()) return SendJson(*exchange, 400, SuccessBody(false, sums.error().message));
  const std::map<std::string, uint64_t> now(sums->begin(), sums->end());
  if (action == "checksum") {
    Json checksums{Json::Object{}};
    for (const auto& [name, sum] : now) checksums.Set(name, fmt::format("{:016x}", sum));
    return SendJson(*exchange, 200,
                    DumpJson(Json().Set("success", true).Set("message", "Success.").Set("checksums", std::move(checksums))));
  }
  std::lock_guard lock(context.weight_snapshot_mutex);
  std::map<std::string, uint64_t>& snapshot = context.weight_snapshot;
  if (action == "snapshot") {
    snapshot = now;
    return SendJson(*exchange, 200, SuccessBody(true, "Success."));
  }
  if (snapshot.empty()) return SendJson(*exchange, 400, SuccessBody(false, "There is no snapshot to compare with."));
  std::string differing;
  for (const auto& [name, sum] : snapshot) {
    const auto found = now.find(name);
    if (found == now.end() || found->second != sum) differing += (differing.empty() ? "" : ", ") + name;
  }
  if (!differing.empty()) return SendJson(*exchange, 400, SuccessBody(false, "Tensors that differ: " + differing));
  SendJson(*exchange, 200, SuccessBody(true, "Success."));
}

}  // namespace sgl
