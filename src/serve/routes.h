// Every endpoint, one line each: path, methods, who may call it, where it runs, who answers.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string_view>

#include "serve/auth.h"
#include "serve/context.h"
#include "serve/json_reader.h"

namespace sgl {

enum class RunsOn { kHttp, kText };  // kText: parses a body, renders, tokenizes
enum class WhileStopping { kAnswers, kRefuses };

struct Route {
  std::string_view path;     // ends in '/': everything below it
  std::string_view methods;  // "GET POST"
  AuthLevel auth;
  RunsOn runs_on;
  WhileStopping stopping;
  void (*handle)(ApiContext&, const Exchange&);
  std::string_view summary = "";                  // one line for /openapi.json
  void (*describe)(JsonReader& field) = nullptr;  // the body's fields
};

std::span<const Route> Routes();
// Where `config` puts a path of the table.
std::string_view MovedTo(const ApiConfig& config, std::string_view path);
// A path that was asked for, without config.root_path.
std::string_view LocalPath(const ApiConfig& config, std::string_view path);

// The API as an OpenAPI 3.1 document: made of the route table and of the tables that read the bodies.
Json OpenApi(const ApiContext& context);

// Answers one request: authorisation, route, method, then the handler on its thread. Thread: http.
void Dispatch(ApiContext& context, const Exchange& exchange);

}  // namespace sgl
