// Bytes from a client, in one piece and in many: the parser must not crash, must keep its limits, and must see the same requests.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "serve/http_client.h"
#include "serve/http_parse.h"
#include "serve/http_util.h"

namespace {

using sgl::HttpRequest;
using sgl::HttpRequestParser;

constexpr sgl::HttpLimits kLimits = {.max_body_bytes = 600, .max_header_bytes = 300};

struct Seen {
  std::vector<HttpRequest> requests;
  int error = 0;
};

// As a connection does it: unused bytes are kept and presented again with the next piece behind them.
Seen ParseInPieces(std::string_view bytes, size_t step) {
  Seen seen;
  HttpRequestParser parser(kLimits);
  std::string held;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    held += piece;
    for (bool more = true; more;) {
      held.erase(0, parser.Parse(held));
      more = false;
      if (parser.state() == HttpRequestParser::State::kError) {
        seen.error = parser.error_status();
        CHECK(seen.error >= 400 && !parser.error_message().empty());
        return seen;
      }
      if (parser.state() == HttpRequestParser::State::kDone) {
        (void)parser.keep_alive();
        seen.requests.push_back(parser.TakeRequest());
        parser.Reset();
        more = true;
      } else {
        (void)parser.expects_continue();
        CHECK(held.size() <= static_cast<size_t>(kLimits.max_header_bytes));
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t step = data[0] % 32 + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Seen whole = ParseInPieces(bytes, std::max<size_t>(bytes.size(), 1));
  const Seen pieces = ParseInPieces(bytes, step);
  for (const Seen* seen : {&whole, &pieces}) {
    for (const HttpRequest& request : seen->requests) {
      CHECK(static_cast<int64_t>(request.body.size()) <= kLimits.max_body_bytes);
      CHECK(!request.method.empty() && !request.path.empty());
      (void)sgl::PercentDecode(request.path);
      (void)sgl::QueryValue(request.query, "key");
    }
  }
  // A line at the limit may pass in one piece and not in several, or the other way round; anything else must agree.
  const size_t common = std::min(whole.requests.size(), pieces.requests.size());
  for (size_t i = 0; i < common; ++i) {
    const HttpRequest &a = whole.requests[i], &b = pieces.requests[i];
    CHECK(a.method == b.method && a.path == b.path && a.query == b.query && a.headers == b.headers && a.body == b.body);
  }
  const auto about_size = [](int error) { return error == 431 || error == 400; };
  if (whole.requests.size() != pieces.requests.size()) CHECK(about_size(whole.error) || about_size(pieces.error));

  (void)sgl::ParseHttpUrl(bytes);
  size_t whole_events = 0, piece_events = 0;
  sgl::SseSplitter in_one, in_many;
  in_one.Feed(bytes, [&](std::string_view, std::string_view) { ++whole_events; });
  for (size_t i = 0; i < bytes.size(); i += step) {
    in_many.Feed(bytes.substr(i, step), [&](std::string_view, std::string_view) { ++piece_events; });
  }
  CHECK(whole_events == piece_events);
  return 0;
}
