// A small blocking HTTP/1.1 client over TCP or TLS, for the command-line tools and tests. No redirects, no proxies.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http_server.h"
#include "serve/tls.h"

namespace sgl {

struct HttpUrl {
  std::string host;  // IPv6 without brackets
  uint16_t port = 80;
  std::string target = "/";  // path and query
  bool tls = false;          // https
};
// "http://host[:port][/path][?query]"; https only where it is allowed.
Result<HttpUrl> ParseHttpUrl(std::string_view url, bool allow_https = false);

struct HttpReplyData {
  int status = 0;
  HttpHeaders headers;                                              // names in lower case
  std::string body;                                                 // empty when a callback took the pieces
  std::string_view header(std::string_view lower_case_name) const;  // "" if absent
};

// "HTTP/1.1 200 OK" and the fields behind it, without the blank line.
Result<HttpReplyData> ParseReplyHead(std::string_view head, bool& http11);

struct HttpClientConfig {
  std::chrono::milliseconds connect_timeout{10000};
  std::chrono::milliseconds io_timeout{0};  // longest silence while sending or receiving; 0: for ever
  size_t max_header_bytes = 256 << 10;
  size_t max_body_bytes = size_t{1} << 30;  // of a gathered body; streams are not bounded
  std::shared_ptr<const TlsContext> tls{};  // of TlsContext::ForClient; null: plain TCP
};

// One connection, kept alive between requests when the server allows it. Thread: one at a time.
class HttpClient {
 public:
  // A piece of the body as it came off the wire, or one HTTP chunk or a part of it. False: enough, the connection is closed and Request
  // returns what it has.
  using OnBody = std::function<bool(std::string_view piece)>;

  HttpClient(std::string host, uint16_t port, HttpClientConfig config = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status is a success here; errors are about the connection and the protocol, and name the host. `headers` are added to
  // host, content-length and user-agent. `on_body` is called for status 200 to 299 only: other bodies are gathered.
  Result<HttpReplyData> Request(std::string_view method, std::string_view target, const HttpHeaders& headers = {},
                                std::string_view body = {}, const OnBody& on_body = {});
  void Close();

 private:
  Status Connect();
  Status Shake();
  Status Send(std::string_view bytes);
  Status SendRaw(std::string_view bytes);
  Result<size_t> Receive(char* into, size_t bytes, std::chrono::milliseconds timeout);  // 0: end of stream
  Result<size_t> Fill();                                                                // appends to in_; 0: end of stream
  Status WaitFor(short events, std::chrono::milliseconds timeout, std::string_view what);
  bool IsStale() const;
  Result<HttpReplyData> ReadHead();
  Status ReadBody(std::string_view method, HttpReplyData& reply, const OnBody& on_body);
  Result<bool> ReadSized(uint64_t bytes, const OnBody& sink);  // false: the sink had enough
  Result<bool> ReadChunked(const OnBody& sink);
  Result<bool> ReadToEnd(const OnBody& sink);
  Result<std::string> ReadLine();
  Error Fail(std::string_view what) const;

  const std::string host_;
  const uint16_t port_;
  const HttpClientConfig config_;
  int fd_ = -1;
  std::unique_ptr<TlsSession> session_;  // null: plain
  bool http11_ = true;                   // the last reply
  bool keep_ = false;                    // the connection may serve another request
  std::string in_;                       // received and not used, from in_begin_ on
  size_t in_begin_ = 0;
};

// Splits a text/event-stream into its events. Lines may end in \n or \r\n; comments are skipped; several data lines are joined with \n.
class SseSplitter {
 public:
  using OnEvent = std::function<void(std::string_view event, std::string_view data)>;  // event: "" if unnamed
  using OnComment = std::function<void(std::string_view text)>;
  void Feed(std::string_view piece, const OnEvent& on_event, const OnComment& on_comment = {});

 private:
  void TakeLine(std::string_view line, const OnEvent& on_event, const OnComment& on_comment);
  std::string line_, event_, data_;
  bool has_data_ = false;
};

}  // namespace sgl
