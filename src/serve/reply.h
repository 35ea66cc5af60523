// Replies: content types, error bodies, server-sent events. Everything that leaves the API goes through here.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "serve/error.h"
#include "serve/http_server.h"

namespace sgl {

std::string_view FindHeader(const HttpRequest& request, std::string_view lower_case_name);  // "" if absent

void SendJson(HttpExchange& exchange, int status, std::string body, HttpHeaders extra = {});
void SendText(HttpExchange& exchange, int status, std::string body);
void SendEmpty(HttpExchange& exchange, int status);
void SendError(HttpExchange& exchange, ErrorReply error, HttpHeaders extra = {});

// Server-sent events: one event is one "data: <json>\n\n" is one chunk.
void StartSse(HttpExchange& exchange);
void WriteSse(HttpExchange& exchange, std::string_view json);
void EndSse(HttpExchange& exchange);  // data: [DONE], and the end of the stream

// The value of a query parameter, percent-decoded ('+' is a space); nothing if absent.
bool FindQuery(std::string_view query, std::string_view name, std::string& value);
std::string PercentDecode(std::string_view text, bool plus_is_space);

}  // namespace sgl
