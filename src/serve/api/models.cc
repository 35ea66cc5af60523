// What the server says about itself: models, arguments, load.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "serve/api/handlers.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr double kGigabyte = 1024.0 * 1024.0 * 1024.0;

const std::string& ServedName(const EngineInfo& info) { return info.served_model_name.empty() ? info.model_path : info.served_model_name; }
const std::string& TokenizerPath(const EngineInfo& info) { return info.tokenizer_path.empty() ? info.model_path : info.tokenizer_path; }

Json ModelCard(const ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  Json card;
  card.Set("id", ServedName(info)).Set("object", "model").Set("created", static_cast<int64_t>(context.unix_now()));
  card.Set("owned_by", "sglang").Set("root", ServedName(info)).Set("parent", Json()).Set("max_model_len", info.context_length);
  return card;
}

// Every option by name; those that clients read are there even if the caller of the library left them out.
Json ServerArgs(const ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  Json args{Json::Object{}};
  args.Set("model_path", info.model_path).Set("tokenizer_path", TokenizerPath(info)).Set("served_model_name", ServedName(info));
  args.Set("tp_size", 1).Set("dp_size", 1).Set("load_balance_method", "auto").Set("disaggregation_mode", "null");
  args.Set("max_total_tokens", Json()).Set("max_prefill_tokens", Json()).Set("max_running_requests", info.max_running_requests);
  if (context.config.server_args.is_object())
    for (const auto& [name, value] : context.config.server_args.as_object()) args.Set(name, value);
  if (info.weight_updates > 0)
    args.Set("model_path", info.model_path).Set("served_model_name", ServedName(info)).Set("weight_version", info.weight_version);
  return args;
}

std::string IsoTime(double unix_seconds) {
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06d}+00:00", text, static_cast<int>((unix_seconds - std::floor(unix_seconds)) * 1e6));
}

bool Includes(std::string_view include, std::string_view section) {
  if (include.empty()) return true;
  for (std::string_view rest = include; !rest.empty();) {
    const std::string_view item = rest.substr(0, rest.find(','));
    if (item == section || item == "all") return true;
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
  }
  return false;
}

Json Load(const ApiContext& context, std::string_view include) {
  const EngineInfo& info = context.backend.info();
  const EngineStats stats = context.backend.stats();
  const double usage = stats.sched.total_tokens > 0 ? double(stats.sched.used_tokens) / double(stats.sched.total_tokens) : 0.0;
  Json load;
  load.Set("dp_rank", 0).Set("num_running_reqs", stats.sched.running).Set("num_waiting_reqs", stats.sched.waiting);
  load.Set("num_used_tokens", stats.sched.used_tokens).Set("num_total_tokens", stats.sched.used_tokens);
  load.Set("max_total_num_tokens", info.max_total_tokens).Set("token_usage", usage).Set("gen_throughput", stats.last_gen_throughput);
  load.Set("utilization", info.max_running_requests > 0 ? double(stats.sched.running) / info.max_running_requests : 0.0);
  load.Set("max_running_requests", info.max_running_requests);
  if (Includes(include, "memory"))
    load.Set("memory", Json()
                           .Set("weight_gb", double(info.weight_bytes) / kGigabyte)
                           .Set("kv_cache_gb", double(info.kv_bytes) / kGigabyte)
                           .Set("graph_gb", 0.0)
                           .Set("token_capacity", info.max_total_tokens));
  if (Includes(include, "queues"))
    load.Set("queues", Json().Set("waiting", stats.sched.waiting).Set("grammar", 0).Set("paused", stats.held).Set("retracted", 0));
  load.Set("num_total_reqs", stats.sched.running + stats.sched.waiting);
  return load;
}

}  // namespace

void HandleRoot(ApiContext&, const Exchange& exchange) { SendJson(*exchange, 200, R"("SGLang is running")"); }

void HandleModels(ApiContext& context, const Exchange& exchange) {
  Json list;
  list.Set("object", "list").Set("data", Json(Json::Array{ModelCard(context)}));
  SendJson(*exchange, 200, DumpJson(list));
}

void HandleModel(ApiContext& context, const Exchange& exchange) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string id = PercentDecode(std::string_view(exchange->request().path).substr(kPrefix.size()), false);
  if (id == ServedName(context.backend.info())) return SendJson(*exchange, 200, DumpJson(ModelCard(context)));
  Json error;
  error.Set("message", "The model '" + id + "' does not exist").Set("type", "invalid_request_error");
  error.Set("param", "model").Set("code", "model_not_found");
  SendJson(*exchange, 404, DumpJson(Json().Set("error", std::move(error))));
}

void HandleModelInfo(ApiContext& context, const Exchange& exchange) {
  const EngineInfo& info = context.backend.info();
  Json architectures{Json::Array{}};
  for (const std::string& name : info.architectures) architectures.Push(name);
  Json out;
  out.Set("model_path", info.model_path).Set("tokenizer_path", TokenizerPath(info)).Set("is_generation", true);
  out.Set("preferred_sampling_params", context.config.preferred_sampling_params).Set("weight_version", info.weight_version);
  out.Set("has_image_understanding", false).Set("has_audio_understanding", false);
  out.Set("model_type", info.model_type).Set("architectures", std::move(architectures));
  SendJson(*exchange, 200, DumpJson(out));
}

void HandleServerInfo(ApiContext& context, const Exchange& exchange) {
  const EngineInfo& info = context.backend.info();
  const EngineStats stats = context.backend.stats();
  Json state = ServerArgs(context);
  state.Set("last_gen_throughput", stats.last_gen_throughput);
  state.Set("memory_usage", Json()
                                .Set("weight", double(info.weight_bytes) / kGigabyte)
                                .Set("kvcache", double(info.kv_bytes) / kGigabyte)
                                .Set("token_capacity", info.max_total_tokens)
                                .Set("graph", 0.0));
  state.Set("effective_max_running_requests_per_dp", info.max_running_requests).Set("step_time_dict", Json(Json::Object{}));
  Json out = ServerArgs(context);
  out.Set("status", "ready").Set("max_total_num_tokens", info.max_total_tokens).Set("max_req_input_len", info.max_req_input_len);
  out.Set("internal_states", Json(Json::Array{std::move(state)})).Set("version", context.config.version).Set("kv_events", Json());
  SendJson(*exchange, 200, DumpJson(out));
}

void HandleLoads(ApiContext& context, const Exchange& exchange) {
  const std::string& query = exchange->request().query;
  std::string include, rank, format;
  FindQuery(query, "include", include);
  if (FindQuery(query, "format", format) && format != "json")
    return SendError(*exchange, FromError(InvalidArgument("format: expected json, got '" + format + "'"), ErrorStyle::kNative));
  const Json load = Load(context, include);
  Json loads{Json::Array{}};
  if (!FindQuery(query, "dp_rank", rank) || rank == "0") loads.Push(load);
  Json aggregate;
  aggregate.Set("total_running_reqs", load["num_running_reqs"]).Set("total_waiting_reqs", load["num_waiting_reqs"]);
  aggregate.Set("total_reqs", load["num_total_reqs"]).Set("total_used_tokens", load["num_used_tokens"]);
  aggregate.Set("total_tokens", load["num_total_tokens"]).Set("avg_token_usage", load["token_usage"]);
  aggregate.Set("avg_throughput", load["gen_throughput"]).Set("avg_utilization", load["utilization"]);
  Json out;
  out.Set("timestamp", IsoTime(context.unix_now())).Set("version", context.config.version).Set("dp_rank_count", 1);
  out.Set("loads", std::move(loads)).Set("aggregate", std::move(aggregate));
  SendJson(*exchange, 200, DumpJson(out));
}

void HandleGetLoad(ApiContext& context, const Exchange& exchange) {
  const EngineStats stats = context.backend.stats();
  Json load;
  load.Set("dp_rank", 0).Set("num_reqs", stats.sched.running + stats.sched.waiting).Set("num_waiting_reqs", stats.sched.waiting);
  load.Set("num_tokens", stats.sched.used_tokens).Set("num_pending_tokens", 0).Set("ts_tic", context.unix_now());
  SendJson(*exchange, 200, DumpJson(Json(Json::Array{std::move(load)})));
}

}  // namespace sgl
