// HTTP/1.1 transport: sockets, parsing, keep-alive, chunked streams. Knows nothing of routes; its only JSON is its own error body.
// Boost.Asio stays in http_server.cc, Boost.Beast in http_parse.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "serve/tls.h"

namespace sgl {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // "GET"
  std::string path;     // percent-encoding kept: "/v1/models/a%2Fb"
  std::string query;    // after '?', "" if none
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string peer = {};  // "127.0.0.1:50000"; "" if unknown
  std::chrono::steady_clock::time_point received = std::chrono::steady_clock::now();
  std::string_view header(std::string_view lower_case_name) const;  // "" if absent
};

// One request and its reply. Exactly one of Send, or StartStream + Write* + EndStream. Everything may be called from any thread; calls
// after the client has gone, or after the server has, are ignored. If every reference is dropped without a reply, a 500 is sent; if that
// happens in mid-stream, the connection is closed without the last chunk, which clients see as an error.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void Send(int status, std::string_view content_type, std::string body, HttpHeaders extra = {}) = 0;
  // Status 200, Transfer-Encoding: chunked.
  virtual void StartStream(std::string_view content_type, HttpHeaders extra = {}) = 0;
  virtual void Write(std::string chunk) = 0;  // one HTTP chunk per call, flushed at once, in order; "" writes nothing
  virtual void EndStream() = 0;
  // Called once, on the http thread, if the client goes away (or falls too far behind reading) before the reply is complete. Set it
  // before replying; when the client is already gone it is called at once. "Complete" is when Send or EndStream is called. The callback
  // must not own the exchange. A client that shuts down its sending side counts as gone, unless it has sent further requests before.
  virtual void OnClose(std::function<void()> callback) = 0;
  virtual bool closed() const = 0;
};

struct HttpServerConfig {
  std::string host = "127.0.0.1";
  uint16_t port = 30000;                                // 0: any free port
  int64_t max_body_bytes = int64_t{512} << 20;          // above: 413 and close
  int64_t max_header_bytes = 64 << 10;                  // above: 431 and close
  int64_t max_pending_write_bytes = int64_t{16} << 20;  // a client that reads slower than this is dropped
  int max_connections = 16384;                          // above: accepted and closed at once with 503
  std::chrono::milliseconds header_timeout{30000};      // whole request must arrive; a body may take longer while bytes keep coming
  std::chrono::milliseconds keep_alive_timeout{5000};   // idle between requests
  std::chrono::milliseconds write_timeout{60000};       // a complete reply of which nothing could be sent for so long is dropped
  std::string server_name = "sglang.cpp";
  TlsConfig tls;  // certificate and key: HTTPS
};

// Answers by itself: malformed and oversized requests, overload, CORS preflights. Any origin is allowed, with credentials.
// Thread: Handler runs on the http thread, which is whoever calls Run, and must not block. Listen before Run; Run at most once, and it
// must have returned before destruction. Everything else from any thread.
class HttpServer {
 public:
  using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;
  HttpServer(HttpServerConfig config, Handler handler);
  ~HttpServer();

  Status Listen();          // loads the certificate, binds; errors name host, port and reason ("address already in use")
  uint16_t port() const;    // after Listen
  void Run();               // serves until Stop; returns then
  void StopAccepting();     // no new connections and no new requests on old ones (Connection: close); replies in flight go on
  void Stop();              // closes everything; tasks not yet run are dropped
  int connections() const;  // open now
  // Runs `task` on the http thread.
  void Post(std::function<void()> task);
  // Runs `task` on the http thread after `delay`.
  void PostAfter(std::chrono::milliseconds delay, std::function<void()> task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sgl
