// What the server says about itself: models and arguments.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "serve/api/handlers.h"
#include "serve/reply.h"
#include "serve/routes.h"

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

}  // namespace

void HandleRoot(ApiContext& context, const Exchange& exchange) {
  const auto& moved = context.config.moved_routes;
  const bool ollama = std::any_of(moved.begin(), moved.end(), [](const auto& route) { return route.first == "/"; });
  SendJson(*exchange, 200, ollama ? R"("Ollama is running")" : R"("SGLang is running")");
}

void HandleModels(ApiContext& context, const Exchange& exchange) {
  Json list;
  list.Set("object", "list").Set("data", Json(Json::Array{ModelCard(context)}));
  SendJson(*exchange, 200, DumpJson(list));
}

void HandleModel(ApiContext& context, const Exchange& exchange) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string id = PercentDecode(LocalPath(context.config, exchange->request().path).substr(kPrefix.size()), false);
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
  out.Set("model_path", info.model_path).Set("tokenizer_path", TokenizerPath(info)).Set("is_generation", !context.config.is_embedding);
  out.Set("preferred_sampling_params", context.config.preferred_sampling_params).Set("weight_version", info.weight_version);
  out.Set("has_image_understanding", false).Set("has_audio_understanding", false);
  out.Set("model_type", info.model_type).Set("architectures", std::move(architectures));
  SendJson(*exchange, 200, DumpJson(out));
}

void HandleServerInfo(ApiContext& context, const Exchange& exchange) {
  const EngineInfo& info = context.backend.info();
  Json::Array states;
  for (const EngineStats& stats : context.backend.stats()) {
    Json state = ServerArgs(context);
    state.Set("last_gen_throughput", stats.last_gen_throughput);
    state.Set("memory_usage", Json()
                                  .Set("weight", double(info.weight_bytes) / kGigabyte)
                                  .Set("kvcache", double(info.kv_bytes) / kGigabyte)
                                  .Set("token_capacity", info.max_total_tokens)
                                  .Set("graph", 0.0));
    state.Set("effective_max_running_requests_per_dp", info.max_running_requests).Set("step_time_dict", Json(Json::Object{}));
    states.push_back(std::move(state));
  }
  Json out = ServerArgs(context);
  out.Set("status", "ready").Set("max_total_num_tokens", info.max_total_tokens).Set("max_req_input_len", info.max_req_input_len);
  out.Set("internal_states", Json(std::move(states))).Set("version", context.config.version).Set("kv_events", Json());
  SendJson(*exchange, 200, DumpJson(out));
}

}  // namespace sgl
