// SPDX-License-Identifier: Apache-2.0
#include "serve/routes.h"

#include <string>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/observed_exchange.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr auto kOpen = AuthLevel::kOpen, kNormal = AuthLevel::kNormal, kAdmin = AuthLevel::kAdmin;
constexpr auto kHttp = RunsOn::kHttp, kText = RunsOn::kText;
constexpr auto kAnswers = WhileStopping::kAnswers, kRefuses = WhileStopping::kRefuses;

constexpr std::string_view kAbsent = "Refused: this build has no such thing";

constexpr Route kRoutes[] = {
    {"/", "GET HEAD", kNormal, kHttp, kAnswers, HandleRoot, "Says that the server is there"},
    {"/health", "GET", kOpen, kHttp, kAnswers, HandleHealth, "200 when a token could be generated just now, else 503"},
    {"/health_generate", "GET", kOpen, kHttp, kAnswers, HandleHealthGenerate, "200 when a token could be generated just now, else 503"},
    {"/openapi.json", "GET", kNormal, kHttp, kAnswers, HandleOpenApi, "This document"},
    {"/ping", "GET", kNormal, kHttp, kAnswers, HandlePing, "200 as long as the process answers"},
    {"/model_info", "GET", kNormal, kHttp, kAnswers, HandleModelInfo, "The model"},
    {"/get_model_info", "GET", kNormal, kHttp, kAnswers, HandleModelInfo, "The model (old name)"},
    {"/server_info", "GET", kNormal, kHttp, kAnswers, HandleServerInfo, "Every option and the present state"},
    {"/get_server_info", "GET", kNormal, kHttp, kAnswers, HandleServerInfo, "Every option and the present state (old name)"},
    {"/v1/models", "GET", kNormal, kHttp, kAnswers, HandleModels, "The models, as OpenAI lists them"},
    {"/v1/models/", "GET", kNormal, kHttp, kAnswers, HandleModel, "One model"},
    {"/v1/loads", "GET", kNormal, kHttp, kAnswers, HandleLoads, "How busy the server is; query: include, dp_rank, format"},
    {"/get_load", "GET", kNormal, kHttp, kAnswers, HandleGetLoad, "How busy the server is (old form)"},
    {"/metrics", "GET", kOpen, kHttp, kAnswers, HandleMetrics, "Prometheus metrics, with --enable-metrics"},
    {"/metrics/", "GET", kOpen, kHttp, kAnswers, HandleMetrics, "Prometheus metrics, with --enable-metrics"},
    {"/generate", "POST PUT", kNormal, kText, kRefuses, HandleGenerate, "Generates: the native endpoint", DescribeGenerate},
    {"/vertex_generate", "POST", kNormal, kText, kRefuses, HandleVertexGenerate, "Generates, as Vertex AI asks for it", DescribeVertex},
    {"/v1/completions", "POST", kNormal, kText, kRefuses, HandleCompletions, "Generates, as OpenAI completions", DescribeCompletions},
    {"/v1/chat/completions", "POST", kNormal, kText, kRefuses, HandleChat, "Generates, as OpenAI chat completions", DescribeChat},
    {"/invocations", "POST", kNormal, kText, kRefuses, HandleChat, "The same as /v1/chat/completions", DescribeChat},
    {"/v1/responses", "POST", kNormal, kText, kRefuses, HandleResponses, "Generates, as OpenAI responses", DescribeResponses},
    {"/v1/responses/", "GET POST DELETE", kNormal, kHttp, kAnswers, HandleResponse, "A stored response: read, delete, cancel"},
    {"/v1/messages", "POST", kNormal, kText, kRefuses, HandleMessages, "Generates, as Anthropic messages", DescribeMessages},
    {"/v1/messages/count_tokens", "POST", kNormal, kText, kAnswers, HandleCountTokens, "Length of such a prompt", DescribeMessages},
    {"/api/chat", "POST", kNormal, kText, kRefuses, HandleOllamaChat, "Generates, as Ollama chat", DescribeOllamaChat},
    {"/api/generate", "POST", kNormal, kText, kRefuses, HandleOllamaGenerate, "Generates, as Ollama", DescribeOllamaGenerate},
    {"/api/tags", "GET", kNormal, kHttp, kAnswers, HandleOllamaTags, "The models, as Ollama lists them"},
    {"/api/ps", "GET", kNormal, kHttp, kAnswers, HandleOllamaPs, "The models in memory, as Ollama lists them"},
    {"/api/show", "POST", kNormal, kHttp, kAnswers, HandleOllamaShow, "The model, as Ollama shows it"},
    {"/api/version", "GET", kNormal, kHttp, kAnswers, HandleOllamaVersion, "The version, as Ollama gives it"},
    {"/v1/embeddings", "POST", kNormal, kText, kRefuses, HandleEmbeddings, "Embeddings of texts, as OpenAI", DescribeEmbeddings},
    {"/encode", "POST PUT", kNormal, kText, kRefuses, HandleEncode, "Embeddings of texts: the native endpoint", DescribeEncode},
    {"/api/embed", "POST", kNormal, kText, kRefuses, HandleOllamaEmbed, "Embeddings of texts, as Ollama", DescribeOllamaEmbed},
    {"/v1/score", "POST", kNormal, kText, kRefuses, HandleScore, "Probabilities of given tokens after each item", DescribeScore},
    {"/score", "POST", kNormal, kText, kRefuses, HandleScore, "Probabilities of given tokens after each item", DescribeScore},
    {"/v1/rerank", "POST PUT", kNormal, kText, kRefuses, HandleRerank, "Documents by how well they answer a query", DescribeRerank},
    {"/tokenize", "POST", kNormal, kText, kAnswers, HandleTokenize, "Text or messages to token ids", DescribeTokenize},
    {"/v1/tokenize", "POST", kNormal, kText, kAnswers, HandleTokenize, "Text or messages to token ids", DescribeTokenize},
    {"/detokenize", "POST", kNormal, kText, kAnswers, HandleDetokenize, "Token ids to text", DescribeDetokenize},
    {"/v1/detokenize", "POST", kNormal, kText, kAnswers, HandleDetokenize, "Token ids to text", DescribeDetokenize},
    {"/parse_function_call", "POST", kNormal, kText, kAnswers, HandleParseFunctionCall, "Finds tool calls in a text",
     DescribeParseFunctionCall},
    {"/separate_reasoning", "POST", kNormal, kText, kAnswers, HandleSeparateReasoning, "Finds reasoning in a text",
     DescribeSeparateReasoning},
    {"/flush_cache", "GET POST", kAdmin, kHttp, kRefuses, HandleFlushCache, "Empties the prefix cache; query: timeout in seconds"},
    {"/configure_logging", "GET POST", kAdmin, kHttp, kAnswers, HandleConfigureLogging, "Changes request logs and dumps",
     DescribeConfigureLogging},
    {"/set_trace_level", "GET POST", kNormal, kHttp, kAnswers, HandleSetTraceLevel, "How detailed traces are; query: level, 0 for none"},
    {"/start_profile", "GET POST", kAdmin, kText, kAnswers, HandleStartProfile, "Begins a Chrome trace of the engine",
     DescribeStartProfile},
    {"/stop_profile", "GET POST", kAdmin, kText, kAnswers, HandleStopProfile, "Ends it and writes the file"},
    {"/abort_request", "POST", kAdmin, kHttp, kAnswers, HandleAbortRequest, "Aborts one request, or all", DescribeAbortRequest},
    {"/open_session", "GET POST", kNormal, kHttp, kRefuses, HandleOpenSession, "Opens a session", DescribeOpenSession},
    {"/close_session", "GET POST", kNormal, kHttp, kRefuses, HandleCloseSession, "Closes a session", DescribeCloseSession},
    {"/pause_generation", "POST", kAdmin, kHttp, kRefuses, HandlePauseGeneration, "Pauses: abort, retract or in_place", DescribePause},
    {"/continue_generation", "POST", kAdmin, kHttp, kAnswers, HandleContinueGeneration, "Ends a pause"},
    {"/set_internal_state", "POST PUT", kAdmin, kHttp, kRefuses, HandleSetInternalState, "Limits the running requests",
     DescribeSetInternalState},
    {"/slow_down", "GET POST", kAdmin, kHttp, kRefuses, HandleSlowDown, "Sleeps before every step, for tests", DescribeSlowDown},
    {"/update_weights_from_disk", "POST", kAdmin, kHttp, kRefuses, HandleUpdateWeightsFromDisk, "Exchanges the weights while serving",
     DescribeUpdateWeights},
    {"/update_weight_version", "POST", kAdmin, kHttp, kRefuses, HandleUpdateWeightVersion, "Renames the weights",
     DescribeUpdateWeightVersion},
    {"/get_weights_by_name", "GET POST", kAdmin, kText, kAnswers, HandleGetWeightsByName, "Numbers of one tensor", DescribeGetWeights},
    {"/weights_checker", "POST", kAdmin, kText, kAnswers, HandleWeightsChecker, "Checksums of the weight files, and comparing them",
     DescribeWeightsChecker},
    {"/freeze_gc", "GET POST", kAdmin, kHttp, kAnswers, HandleFreezeGc, "Does nothing: SGLang's needs it"},
    {"/load_lora_adapter", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/load_lora_adapter_from_tensors", "POST", kNormal, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/unload_lora_adapter", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/update_weights_from_tensor", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/update_weights_from_distributed", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/update_weights_from_ipc", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/init_weights_update_group", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/destroy_weights_update_group", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/release_memory_occupation", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/resume_memory_occupation", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/clear_hicache_storage_backend", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/hicache/storage-backend", "GET PUT DELETE", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/hicache/storage-backend/clear", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/add_external_corpus", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/remove_external_corpus", "POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/list_external_corpora", "GET", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/start_expert_distribution_record", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/stop_expert_distribution_record", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/dump_expert_distribution_record", "GET POST", kAdmin, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/classify", "POST PUT", kNormal, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/v1/classify", "POST", kNormal, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/v1/audio/transcriptions", "POST", kNormal, kHttp, kAnswers, HandleAbsent, kAbsent},
    {"/v1/realtime", "GET", kNormal, kHttp, kAnswers, HandleAbsent, kAbsent},
};

bool Matches(const Route& route, std::string_view path) {
  if (path == route.path) return true;
  return route.path.size() > 1 && route.path.back() == '/' && path.size() > route.path.size() &&
         path.substr(0, route.path.size()) == route.path;
}

bool Lists(std::string_view methods, std::string_view method) {
  for (size_t at = 0; at < methods.size();
       at = methods.find(' ', at) == std::string_view::npos ? methods.size() : methods.find(' ', at) + 1)
    if (methods.substr(at, methods.find(' ', at) - at) == method) return true;
  return false;
}

const Route* InTable(std::string_view path) {
  for (const Route& route : kRoutes)
    if (Matches(route, path)) return &route;
  return nullptr;
}

const Route* FindRoute(const ApiConfig& config, std::string_view path) {
  for (const auto& [from, to] : config.moved_routes)
    if (path == to) return InTable(from);
  const Route* route = InTable(path);
  return route != nullptr && MovedTo(config, route->path) == route->path ? route : nullptr;
}

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

bool Authorised(const ApiContext& context, const HttpRequest& request, std::string_view path, const Route* route) {
  if (request.method == "OPTIONS" || StartsWith(path, "/health") || StartsWith(path, "/metrics")) return true;
  const AuthLevel level = route != nullptr ? route->auth : AuthLevel::kNormal;  // a stranger does not learn which routes exist
  const RequiredKey required = KeyFor(level, context.config.api_key, context.config.admin_api_key);
  if (MayPass(required, FindHeader(request, "authorization"))) return true;
  // Anthropic's clients have a header of their own.
  return StartsWith(path, "/v1/messages") && MayPass(required, "Bearer " + std::string(FindHeader(request, "x-api-key")));
}

std::string CommaSeparated(std::string_view methods) {
  std::string out;
  for (const char c : methods) out += c == ' ' ? std::string(", ") : std::string(1, c);
  return out;
}

}  // namespace

std::string_view MovedTo(const ApiConfig& config, std::string_view path) {
  for (const auto& [from, to] : config.moved_routes)
    if (from == path) return to;
  return path;
}

// A proxy in front of the server may have taken root_path off, or not: both work.
std::string_view LocalPath(const ApiConfig& config, std::string_view path) {
  const std::string& root = config.root_path;
  if (root.empty() || !StartsWith(path, root)) return path;
  if (path.size() == root.size()) return "/";
  return path[root.size()] == '/' ? path.substr(root.size()) : path;
}

std::span<const Route> Routes() { return kRoutes; }

void Dispatch(ApiContext& context, const Exchange& received) {
  const std::string_view path = LocalPath(context.config, received->request().path);
  const Route* route = FindRoute(context.config, path);
  const Exchange exchange = Observe(context, received, route != nullptr ? std::string(route->path) : "unknown");
  const HttpRequest& request = exchange->request();
  if (!Authorised(context, request, path, route)) return SendJson(*exchange, 401, R"({"error":"Unauthorized"})");
  if (route == nullptr) return SendError(*exchange, HttpErrorReply(404, "Not Found"));
  if (!Lists(route->methods, request.method))
    return SendError(*exchange, HttpErrorReply(405, "Method Not Allowed"), {{"allow", CommaSeparated(route->methods)}});
  if (route->stopping == WhileStopping::kRefuses && context.state == ServerState::kStopping)
    return SendError(*exchange, HttpErrorReply(503, "The server is shutting down."));
  if (route->runs_on == RunsOn::kHttp) return route->handle(context, exchange);
  if (!context.threads.post_text([route, &context, exchange] { route->handle(context, exchange); }))
    SendError(*exchange, HttpErrorReply(503, "The server has too many requests to prepare; try again later."));
}

}  // namespace sgl
