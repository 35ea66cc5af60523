// SPDX-License-Identifier: Apache-2.0
#include "serve/http_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

namespace sgl {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kTlsBytes = 16 << 10;
constexpr size_t kMaxLineBytes = 16 << 10;  // a chunk header or trailer
constexpr std::string_view kScheme = "http://", kTlsScheme = "https://";

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <class Int>
bool ParseNumber(std::string_view text, Int& value, int base = 10) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return !text.empty() && end.ec == std::errc() && end.ptr == text.data() + text.size();
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace

Result<HttpReplyData> ParseReplyHead(std::string_view head, bool& http11) {
  HttpReplyData reply;
  const auto next_line = [&head] {
    const size_t end = std::min(head.find('\n'), head.size());
    std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 1, head.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  };
  const std::string_view status_line = next_line();
  if (status_line.substr(0, 7) != "HTTP/1." || status_line.size() < 12 || !ParseNumber(status_line.substr(9, 3), reply.status)) {
    return Internal("not an HTTP/1 reply");
  }
  http11 = status_line[7] != '0';
  while (!head.empty()) {
    const std::string_view line = next_line();
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return Internal("malformed header in the reply");
    reply.headers.emplace_back(Lower(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  }
  return reply;
}

Result<HttpUrl> ParseHttpUrl(std::string_view url, bool allow_https) {
  const auto bad = [&](std::string_view why) { return InvalidArgument(fmt::format("bad URL '{}': {}", url, why)); };
  const bool tls = allow_https && Lower(url.substr(0, kTlsScheme.size())) == kTlsScheme;
  if (!tls && Lower(url.substr(0, kScheme.size())) != kScheme)
    return bad(allow_https ? "it must begin with http:// or https://" : "it must begin with http://");
  if (HasControl(url) || url.find(' ') != std::string_view::npos) return bad("it holds blanks or control characters");
  std::string_view rest = url.substr(tls ? kTlsScheme.size() : kScheme.size());
  HttpUrl out;
  out.tls = tls;
  if (tls) out.port = 443;
  const size_t path = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, path);
  rest.remove_prefix(path);
  rest = rest.substr(0, rest.find('#'));
  if (!rest.empty()) out.target = rest[0] == '?' ? "/" + std::string(rest) : std::string(rest);
  if (authority.find('@') != std::string_view::npos) return bad("user names are not supported");
  std::string_view port;
  if (!authority.empty() && authority[0] == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return bad("']' is missing");
    out.host = authority.substr(1, close - 1);
    port = authority.substr(close + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    out.host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (out.host.empty()) return bad("the host is missing");
  if (!port.empty() && (port[0] != ':' || !ParseNumber(port.substr(1), out.port) || out.port == 0)) return bad("the port is not a port");
  return out;
}

std::string_view HttpReplyData::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

HttpClient::HttpClient(std::string host, uint16_t port, HttpClientConfig config)
    : host_(std::move(host)), port_(port), config_(std::move(config)) {}
HttpClient::~HttpClient() { Close(); }

void HttpClient::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  session_ = nullptr;
  keep_ = false;
  in_.clear();
  in_begin_ = 0;
}

Error HttpClient::Fail(std::string_view what) const { return {Code::kUnavailable, fmt::format("{}:{}: {}", host_, port_, what)}; }

// timeout 0: for ever.
Status HttpClient::WaitFor(short events, milliseconds timeout, std::string_view what) {
  const auto end = SteadyClock::now() + timeout;
  for (;;) {
    int wait = -1;
    if (timeout.count() > 0) {
      const auto left = std::chrono::duration_cast<milliseconds>(end - SteadyClock::now()).count();
      wait = static_cast<int>(std::clamp<int64_t>(left + 1, 0, 1 << 30));
    }
    pollfd entry{fd_, events, 0};
    const int n = poll(&entry, 1, wait);
    if (n > 0) return {};
    if (n == 0) return Fail(fmt::format("{} timed out after {} ms", what, timeout.count()));
    if (errno != EINTR) return Fail(std::strerror(errno));
  }
}

Status HttpClient::Connect() {
  Close();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &list);
  if (failed != 0) return Fail(gai_strerror(failed));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
  Error error = Fail("no address");
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    fd_ = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd_ < 0) {
      error = Fail(std::strerror(errno));
      continue;
    }
    const int one = 1;
    (void)setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int code = connect(fd_, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS || code == EINTR) {
      Status ready = WaitFor(POLLOUT, config_.connect_timeout, "connecting");
      socklen_t size = sizeof(code);
      if (!ready) {
        error = std::move(ready).error();
        Close();
        continue;
      }
      if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
    }
    if (code == 0) return config_.tls == nullptr ? Status() : Shake();
    error = Fail(std::strerror(code));
    Close();
  }
  return error;
}

// The TLS handshake.
Status HttpClient::Shake() {
  session_ = config_.tls->NewSession(host_);
  std::string out;
  TlsSession::State state = session_->Feed({}, in_, out);
  for (;;) {
    TRY_STATUS(SendRaw(out));  // also what says why it failed
    out.clear();
    if (state != TlsSession::State::kOpen) {
      const std::string trouble = session_->trouble();
      return Fail(trouble.empty() ? "TLS: the handshake failed" : "TLS: the certificate is not trusted: " + trouble);
    }
    if (session_->established()) return {};
    char buffer[kTlsBytes];
    TRY(const size_t n, Receive(buffer, sizeof buffer, config_.connect_timeout));
    if (n == 0) return Fail("TLS: the server closed the connection in the handshake");
    state = session_->Feed({buffer, n}, in_, out);
  }
}

Status HttpClient::Send(std::string_view bytes) {
  if (session_ == nullptr) return SendRaw(bytes);
  std::string out;
  session_->Encrypt(bytes, out);
  return SendRaw(out);
}

Status HttpClient::SendRaw(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      TRY_STATUS(WaitFor(POLLOUT, config_.io_timeout, "sending"));
    } else if (errno != EINTR) {
      return Fail(fmt::format("sending: {}", std::strerror(errno)));
    }
  }
  return {};
}

Result<size_t> HttpClient::Fill() {
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
  } else if (in_begin_ > kReadBytes) {
    in_.erase(0, in_begin_);
    in_begin_ = 0;
  }
  const size_t old_size = in_.size();
  if (session_ == nullptr) {
    in_.resize(old_size + kReadBytes);
    Result<size_t> n = Receive(in_.data() + old_size, kReadBytes, config_.io_timeout);
    in_.resize(old_size + (n.ok() ? *n : 0));
    return n;
  }
  for (;;) {
    char buffer[kTlsBytes];
    TRY(const size_t n, Receive(buffer, sizeof buffer, config_.io_timeout));
    std::string out;
    const TlsSession::State state = session_->Feed({buffer, n}, in_, out);
    TRY_STATUS(SendRaw(out));
    if (in_.size() > old_size || state == TlsSession::State::kClosed) return in_.size() - old_size;
    if (n == 0) return Fail("TLS: the connection broke off");  // whoever has said all says goodbye
    if (state == TlsSession::State::kFailed) return Fail("TLS: the connection is broken");
  }
}

Result<size_t> HttpClient::Receive(char* into, size_t bytes, milliseconds timeout) {
  for (;;) {
    const ssize_t n = recv(fd_, into, bytes, 0);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EAGAIN) {
      TRY_STATUS(WaitFor(POLLIN, timeout, "waiting for the reply"));
    } else if (errno != EINTR) {
      return Fail(fmt::format("receiving: {}", std::strerror(errno)));
    }
  }
}

// The server has closed a kept-alive connection, or said something unasked.
bool HttpClient::IsStale() const {
  char byte = 0;
  const ssize_t n = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n >= 0 || (errno != EAGAIN && errno != EINTR) || in_begin_ != in_.size();
}

Result<HttpReplyData> HttpClient::Request(std::string_view method, std::string_view target, const HttpHeaders& headers,
                                          std::string_view body, const OnBody& on_body) {
  const bool has_space = target.find(' ') != std::string_view::npos;
  if (target.empty() || has_space || HasControl(target)) return InvalidArgument(fmt::format("bad request target '{}'", target));
  const bool v6 = host_.find(':') != std::string::npos;
  std::string head = fmt::format("{} {} HTTP/1.1\r\nhost: {}{}{}:{}\r\nuser-agent: sglang.cpp\r\n", method, target, v6 ? "[" : "", host_,
                                 v6 ? "]" : "", port_);
  for (const auto& [name, value] : headers) {
    if (HasControl(name) || HasControl(value)) return InvalidArgument(fmt::format("bad value of header '{}'", name));
    head += fmt::format("{}: {}\r\n", name, value);
  }
  if (!body.empty() || (method != "GET" && method != "HEAD")) head += fmt::format("content-length: {}\r\n", body.size());
  head += "\r\n";

  if (fd_ < 0 || !keep_ || IsStale()) TRY_STATUS(Connect());
  keep_ = false;  // until this exchange has ended well
  const Status sent_head = Send(head);
  const Status sent = sent_head.ok() ? Send(body) : sent_head;
  // A server may refuse a large body and say why before it has read it all.
  Result<HttpReplyData> reply = ReadHead();
  if (!reply) {
    Close();
    return sent.ok() ? std::move(reply).error() : sent.error();
  }
  Status read = ReadBody(method, *reply, on_body);
  if (!read.ok() || !keep_ || !sent.ok()) Close();
  if (!read.ok()) return std::move(read).error();
  return reply;
}

Result<HttpReplyData> HttpClient::ReadHead() {
  for (;;) {
    size_t from = in_begin_;
    size_t end = std::string::npos;
    while ((end = in_.find("\r\n\r\n", from)) == std::string::npos) {
      const size_t had = in_.size() - in_begin_;
      if (had > config_.max_header_bytes) return Fail("the reply's header is too large");
      TRY(const size_t n, Fill());
      if (n == 0) return Fail(had == 0 ? "the server closed the connection without a reply" : "the reply ended in its header");
      from = in_begin_ + (had > 3 ? had - 3 : 0);
    }
    Result<HttpReplyData> reply = ParseReplyHead(std::string_view(in_).substr(in_begin_, end - in_begin_), http11_);
    if (!reply) return Fail(reply.error().message);
    in_begin_ = end + 4;
    if (reply->status >= 200) return reply;  // 1xx: the real one follows
  }
}

Status HttpClient::ReadBody(std::string_view method, HttpReplyData& reply, const OnBody& on_body) {
  const std::string connection = Lower(reply.header("connection"));
  bool keep = http11_ ? connection != "close" : connection == "keep-alive";
  const bool streamed = on_body && reply.status < 300;
  bool too_large = false;
  const OnBody gather = [&](std::string_view piece) {
    too_large = piece.size() > config_.max_body_bytes - reply.body.size();
    if (!too_large) reply.body += piece;
    return !too_large;
  };
  const OnBody& sink = streamed ? on_body : gather;

  bool whole = true;
  const std::string coding = Lower(reply.header("transfer-encoding"));
  const std::string_view length = reply.header("content-length");
  uint64_t bytes = 0;
  if (method == "HEAD" || reply.status == 204 || reply.status == 304) {
    // no body, whatever the header says
  } else if (coding == "chunked") {
    TRY(whole, ReadChunked(sink));
  } else if (!coding.empty()) {
    return Fail(fmt::format("unknown transfer coding '{}'", coding));
  } else if (!length.empty()) {
    if (!ParseNumber(length, bytes)) return Fail("bad content-length in the reply");
    TRY(whole, ReadSized(bytes, sink));
  } else {
    keep = false;
    TRY(whole, ReadToEnd(sink));
  }
  if (too_large) return Fail(fmt::format("the reply's body is larger than {} bytes", config_.max_body_bytes));
  keep_ = keep && whole;
  return {};
}

Result<bool> HttpClient::ReadSized(uint64_t bytes, const OnBody& sink) {
  while (bytes > 0) {
    if (in_begin_ == in_.size()) {
      TRY(const size_t n, Fill());
      if (n == 0) return Fail("the connection closed in the middle of the reply");
    }
    const size_t take = static_cast<size_t>(std::min<uint64_t>(bytes, in_.size() - in_begin_));
    const std::string_view piece = std::string_view(in_).substr(in_begin_, take);
    in_begin_ += take;
    bytes -= take;
    if (!sink(piece)) return false;
  }
  return true;
}

Result<std::string> HttpClient::ReadLine() {
  for (;;) {
    const size_t end = in_.find('\n', in_begin_);
    if (end != std::string::npos) {
      std::string line = in_.substr(in_begin_, end - in_begin_);
      in_begin_ = end + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    if (in_.size() - in_begin_ > kMaxLineBytes) return Fail("a chunk header is too long");
    TRY(const size_t n, Fill());
    if (n == 0) return Fail("the connection closed in the middle of the reply");
  }
}

Result<bool> HttpClient::ReadChunked(const OnBody& sink) {
  for (;;) {
    TRY(const std::string line, ReadLine());
    uint64_t bytes = 0;
    if (!ParseNumber(Trim(std::string_view(line).substr(0, line.find(';'))), bytes, 16)) return Fail("bad chunk size in the reply");
    if (bytes == 0) break;
    TRY(const bool more, ReadSized(bytes, sink));
    if (!more) return false;
    TRY(const std::string end, ReadLine());
    if (!end.empty()) return Fail("a chunk of the reply is longer than its size");
  }
  for (;;) {  // trailers
    TRY(const std::string line, ReadLine());
    if (line.empty()) return true;
  }
}

Result<bool> HttpClient::ReadToEnd(const OnBody& sink) {
  for (;;) {
    if (in_begin_ < in_.size()) {
      const std::string_view piece = std::string_view(in_).substr(in_begin_);
      in_begin_ = in_.size();
      if (!sink(piece)) return false;
    }
    TRY(const size_t n, Fill());
    if (n == 0) return true;
  }
}

void SseSplitter::Feed(std::string_view piece, const OnEvent& on_event, const OnComment& on_comment) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    if (end == std::string_view::npos) {
      line_ += piece;
      return;
    }
    line_ += piece.substr(0, end);
    piece.remove_prefix(end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    TakeLine(line_, on_event, on_comment);
    line_.clear();
  }
}

void SseSplitter::TakeLine(std::string_view line, const OnEvent& on_event, const OnComment& on_comment) {
  if (line.empty()) {  // the end of an event
    if (has_data_) on_event(event_, data_);
    event_.clear();
    data_.clear();
    has_data_ = false;
    return;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string_view field = line.substr(0, colon);
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (!value.empty() && value[0] == ' ') value.remove_prefix(1);
  if (colon == 0 && on_comment) on_comment(value);
  if (field == "event") event_ = value;
  if (field == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  }
}

}  // namespace sgl
