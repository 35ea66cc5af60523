// SPDX-License-Identifier: Apache-2.0
#include "serve/reply.h"

#include <utility>

namespace sgl {
namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kText = "text/plain; charset=utf-8";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string_view FindHeader(const HttpRequest& request, std::string_view lower_case_name) {
  for (const auto& [name, value] : request.headers)
    if (name == lower_case_name) return value;
  return {};
}

void SendJson(HttpExchange& exchange, int status, std::string body, HttpHeaders extra) {
  exchange.Send(status, kJson, std::move(body), std::move(extra));
}

void SendText(HttpExchange& exchange, int status, std::string body) { exchange.Send(status, kText, std::move(body)); }

void SendEmpty(HttpExchange& exchange, int status) { SendText(exchange, status, ""); }

void SendError(HttpExchange& exchange, ErrorReply error, HttpHeaders extra) {
  SendJson(exchange, error.status, std::move(error.body), std::move(extra));
}

void StartSse(HttpExchange& exchange) { exchange.StartStream("text/event-stream; charset=utf-8"); }

void WriteSse(HttpExchange& exchange, std::string_view json) {
  std::string chunk;
  chunk.reserve(json.size() + 8);
  chunk += "data: ";
  chunk += json;
  chunk += "\n\n";
  exchange.Write(std::move(chunk));
}

void EndSse(HttpExchange& exchange) {
  WriteSse(exchange, "[DONE]");
  exchange.EndStream();
}

std::string PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 && HexValue(text[i + 2]) >= 0) {
      out += static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool FindQuery(std::string_view query, std::string_view name, std::string& value) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const size_t equals = pair.find('=');
    if (PercentDecode(pair.substr(0, equals), true) != name) continue;
    value = equals == std::string_view::npos ? "" : PercentDecode(pair.substr(equals + 1), true);
    return true;
  }
  return false;
}

}  // namespace sgl
