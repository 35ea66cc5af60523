// One HTTP/1 request out of a stream of bytes: the part of the transport that needs no socket, so that it can be fuzzed.
// Beast's message parser stays in http_parse.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "serve/http_server.h"

namespace sgl {

struct HttpLimits {
  int64_t max_body_bytes = int64_t{512} << 20;
  int64_t max_header_bytes = 64 << 10;  // request line and fields; also one chunk line, or all trailers
};

// Thread: any, one at a time. Reset before each request; feed until state() is kDone or kError.
class HttpRequestParser {
 public:
  enum class State { kEmpty, kHeader, kBody, kDone, kError };  // kEmpty: no byte of a request yet

  explicit HttpRequestParser(HttpLimits limits);
  ~HttpRequestParser();
  void Reset();

  // Returns how many bytes were used; present the others again, with more behind them. Uses nothing after kDone and kError.
  size_t Parse(std::string_view bytes);
  State state() const { return state_; }

  // After kError: what to answer before closing. 400, 413, 417, 431 or 501.
  int error_status() const { return error_status_; }
  const std::string& error_message() const { return error_message_; }

  // From kBody on.
  bool http10() const;
  bool keep_alive() const;
  bool expects_continue() const;  // "Expect: 100-continue", and no byte of the body is here yet
  // After kDone.
  HttpRequest TakeRequest();

 private:
  class Machine;
  void Fail(int status, std::string message);
  void Judge(size_t unused_bytes);

  const HttpLimits limits_;
  std::unique_ptr<Machine> machine_;
  State state_ = State::kEmpty;
  int error_status_ = 0;
  std::string error_message_;
};

}  // namespace sgl
