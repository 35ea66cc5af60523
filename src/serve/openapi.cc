// GET /openapi.json.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/reply.h"
#include "serve/routes.h"

namespace sgl {
namespace {

// "/v1/models/" stands for everything below it.
std::string PathTemplate(std::string_view path) {
  std::string out(path);
  if (out.size() > 1 && out.back() == '/') out += "{name}";
  return out;
}

std::string OperationId(const std::string& method, std::string_view path) {
  std::string out = method;
  for (const char c : path) out += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
  return out;
}

Json Operation(const Route& route, const std::string& method) {
  Json out;
  out.Set("summary", route.summary).Set("operationId", OperationId(method, route.path));
  out.Set("tags", Json::Array{Json(route.auth == AuthLevel::kAdmin ? "admin" : "serving")});
  if (route.auth != AuthLevel::kOpen) {
    const char* scheme = route.auth == AuthLevel::kAdmin ? "admin_api_key" : "api_key";
    out.Set("security", Json::Array{Json().Set(scheme, Json(Json::Array{})), Json(Json::Object{})});
  }
  if (PathTemplate(route.path) != route.path)
    out.Set("parameters",
            Json::Array{Json().Set("name", "name").Set("in", "path").Set("required", true).Set("schema", Json().Set("type", "string"))});
  if (route.describe != nullptr && method != "get" && method != "head") {
    Json schema;
    JsonReader field = JsonReader::Describing(schema);
    route.describe(field);
    const Json content = Json().Set("application/json", Json().Set("schema", std::move(schema)));
    out.Set("requestBody", Json().Set("required", true).Set("content", content));
  }
  Json responses;
  responses.Set("200", Json().Set("description", "done"));
  if (route.describe != nullptr) responses.Set("400", Json().Set("description", "a field is wrong; the message names it"));
  if (route.auth != AuthLevel::kOpen) responses.Set("401", Json().Set("description", "the key is missing or wrong"));
  if (route.stopping == WhileStopping::kRefuses) responses.Set("503", Json().Set("description", "full, or shutting down"));
  return out.Set("responses", std::move(responses));
}

}  // namespace

Json OpenApi(const ApiContext& context) {
  Json paths;
  for (const Route& route : Routes()) {
    Json item;
    for (std::string_view rest = route.methods; !rest.empty();) {
      std::string method(rest.substr(0, rest.find(' ')));
      rest.remove_prefix(std::min(method.size() + 1, rest.size()));
      std::transform(method.begin(), method.end(), method.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
      item.Set(method, Operation(route, method));
    }
    paths.Set(PathTemplate(MovedTo(context.config, route.path)), std::move(item));
  }
  Json schemes;
  for (const char* name : {"api_key", "admin_api_key"}) schemes.Set(name, Json().Set("type", "http").Set("scheme", "bearer"));
  Json out;
  out.Set("openapi", "3.1.0").Set("info", Json().Set("title", "sglang.cpp").Set("version", context.config.version));
  if (const std::string& root = context.config.root_path; !root.empty()) out.Set("servers", Json::Array{Json().Set("url", root)});
  out.Set("paths", std::move(paths)).Set("components", Json().Set("securitySchemes", std::move(schemes)));
  return out;
}

void HandleOpenApi(ApiContext& context, const Exchange& exchange) { SendJson(*exchange, 200, DumpJson(OpenApi(context))); }

}  // namespace sgl
