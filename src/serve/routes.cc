// SPDX-License-Identifier: Apache-2.0
#include "serve/routes.h"

#include <string>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr auto kOpen = AuthLevel::kOpen, kNormal = AuthLevel::kNormal, kAdmin = AuthLevel::kAdmin;
constexpr auto kHttp = RunsOn::kHttp, kText = RunsOn::kText;
constexpr auto kAnswers = WhileStopping::kAnswers, kRefuses = WhileStopping::kRefuses;

constexpr Route kRoutes[] = {
    {"/", "GET HEAD", kNormal, kHttp, kAnswers, HandleRoot},
    {"/health", "GET", kOpen, kHttp, kAnswers, HandleHealth},
    {"/health_generate", "GET", kOpen, kHttp, kAnswers, HandleHealthGenerate},
    {"/ping", "GET", kNormal, kHttp, kAnswers, HandlePing},
    {"/model_info", "GET", kNormal, kHttp, kAnswers, HandleModelInfo},
    {"/get_model_info", "GET", kNormal, kHttp, kAnswers, HandleModelInfo},
    {"/server_info", "GET", kNormal, kHttp, kAnswers, HandleServerInfo},
    {"/get_server_info", "GET", kNormal, kHttp, kAnswers, HandleServerInfo},
    {"/v1/models", "GET", kNormal, kHttp, kAnswers, HandleModels},
    {"/v1/models/", "GET", kNormal, kHttp, kAnswers, HandleModel},
    {"/v1/loads", "GET", kNormal, kHttp, kAnswers, HandleLoads},
    {"/get_load", "GET", kNormal, kHttp, kAnswers, HandleGetLoad},
    {"/generate", "POST PUT", kNormal, kText, kRefuses, HandleGenerate},
    {"/v1/completions", "POST", kNormal, kText, kRefuses, HandleCompletions},
    {"/v1/chat/completions", "POST", kNormal, kText, kRefuses, HandleChat},
    {"/invocations", "POST", kNormal, kText, kRefuses, HandleChat},
    {"/tokenize", "POST", kNormal, kText, kAnswers, HandleTokenize},
    {"/v1/tokenize", "POST", kNormal, kText, kAnswers, HandleTokenize},
    {"/detokenize", "POST", kNormal, kText, kAnswers, HandleDetokenize},
    {"/v1/detokenize", "POST", kNormal, kText, kAnswers, HandleDetokenize},
    {"/flush_cache", "GET POST", kAdmin, kHttp, kRefuses, HandleFlushCache},
    {"/abort_request", "POST", kAdmin, kHttp, kAnswers, HandleAbortRequest},
    {"/open_session", "GET POST", kNormal, kHttp, kRefuses, HandleOpenSession},
    {"/close_session", "GET POST", kNormal, kHttp, kRefuses, HandleCloseSession},
    {"/pause_generation", "POST", kAdmin, kHttp, kRefuses, HandlePauseGeneration},
    {"/continue_generation", "POST", kAdmin, kHttp, kAnswers, HandleContinueGeneration},
    {"/set_internal_state", "POST PUT", kAdmin, kHttp, kRefuses, HandleSetInternalState},
    {"/slow_down", "GET POST", kAdmin, kHttp, kRefuses, HandleSlowDown},
    {"/update_weights_from_disk", "POST", kAdmin, kHttp, kRefuses, HandleUpdateWeightsFromDisk},
    {"/update_weight_version", "POST", kAdmin, kHttp, kRefuses, HandleUpdateWeightVersion},
    {"/get_weights_by_name", "GET POST", kAdmin, kText, kAnswers, HandleGetWeightsByName},
    {"/weights_checker", "POST", kAdmin, kText, kAnswers, HandleWeightsChecker},
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

const Route* FindRoute(std::string_view path) {
  for (const Route& route : kRoutes)
    if (Matches(route, path)) return &route;
  return nullptr;
}

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

bool Authorised(const ApiContext& context, const HttpRequest& request, const Route* route) {
  if (request.method == "OPTIONS" || StartsWith(request.path, "/health") || StartsWith(request.path, "/metrics")) return true;
  const AuthLevel level = route != nullptr ? route->auth : AuthLevel::kNormal;  // a stranger does not learn which routes exist
  return MayPass(KeyFor(level, context.config.api_key, context.config.admin_api_key), FindHeader(request, "authorization"));
}

std::string CommaSeparated(std::string_view methods) {
  std::string out;
  for (const char c : methods) out += c == ' ' ? std::string(", ") : std::string(1, c);
  return out;
}

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

void Dispatch(ApiContext& context, const Exchange& exchange) {
  const HttpRequest& request = exchange->request();
  const Route* route = FindRoute(request.path);
  if (!Authorised(context, request, route)) return SendJson(*exchange, 401, R"({"error":"Unauthorized"})");
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
