// Many HTTP/1.1 exchanges at once from one thread, for load generators: no thread and no blocking call per stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http_client.h"
#include "serve/http_server.h"

namespace sgl {

// Bytes of one reply -> its status and body, however they are cut. Content-length, chunked, and bodies that end with the connection.
class HttpReplyParser {
 public:
  using OnBody = std::function<void(std::string_view piece)>;
  // Errors: what is not HTTP/1. on_body gets the body as it comes, whatever the status.
  Status Feed(std::string_view bytes, const OnBody& on_body);
  Status End() const;  // the connection has closed: an error unless the reply may end like that
  bool done() const { return state_ == State::kDone; }
  int status() const { return head_.status; }  // 0 until the head is there

 private:
  enum class State { kHead, kSized, kChunkSize, kChunk, kChunkEnd, kTrailer, kToEnd, kDone };
  Status TakeHead();
  Status TakeLine(std::string_view line);
  State state_ = State::kHead;
  HttpReplyData head_;
  std::string line_;   // an unfinished head or line
  uint64_t left_ = 0;  // of a sized body or chunk
};

// Thread: one. Callbacks run inside Poll.
class HttpStreams {
 public:
  struct Handlers {
    std::function<void(std::string_view piece)> on_body;          // the body as it comes, for any status
    std::function<void(int status, const Status& ended)> on_end;  // once; `ended` is an error when the exchange broke
  };

  // Resolves the host once. Errors: unknown host.
  static Result<std::unique_ptr<HttpStreams>> Create(const std::string& host, uint16_t port);
  virtual ~HttpStreams() = default;

  // Opens a connection of its own and sends the request. Failures reach on_end.
  virtual void Start(std::string_view method, std::string_view target, const HttpHeaders& headers, std::string_view body,
                     Handlers handlers) = 0;
  // Waits until something happens, at most `timeout`, and handles it.
  virtual void Poll(std::chrono::microseconds timeout) = 0;
  virtual size_t open() const = 0;
};

}  // namespace sgl
