// SPDX-License-Identifier: Apache-2.0
#include "serve/http_streams.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace sgl {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxHeadBytes = 256 << 10;
constexpr int kEventsPerPoll = 256;

class Streams final : public HttpStreams {
 public:
  Streams(std::string host, uint16_t port, sockaddr_storage address, socklen_t size)
      : host_(std::move(host)), port_(port), address_(address), address_size_(size), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  ~Streams() override {
    for (const auto& [fd, stream] : streams_) close(fd);
    close(epoll_);
  }

  void Start(std::string_view method, std::string_view target, const HttpHeaders& headers, std::string_view body,
             Handlers handlers) override {
    const int fd = socket(address_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return handlers.on_end(0, SystemError("socket"));
    const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address_), address_size_) != 0 && errno != EINPROGRESS) {
      const Status failed = SystemError("connecting");
      close(fd);
      return handlers.on_end(0, failed);
    }
    const bool v6 = host_.find(':') != std::string::npos;
    std::string out = fmt::format("{} {} HTTP/1.1\r\nhost: {}{}{}:{}\r\nuser-agent: sglang.cpp\r\nconnection: close\r\n", method, target,
                                  v6 ? "[" : "", host_, v6 ? "]" : "", port_);
    for (const auto& [name, value] : headers) out += fmt::format("{}: {}\r\n", name, value);
    if (!body.empty() || method != "GET") out += fmt::format("content-length: {}\r\n", body.size());
    out += "\r\n";
    out += body;
    streams_[fd] = std::make_unique<Stream>(Stream{std::move(out), 0, {}, std::move(handlers)});
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT;
    event.data.fd = fd;
    (void)epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void Poll(std::chrono::microseconds timeout) override {
    epoll_event events[kEventsPerPoll];
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    const int count = epoll_wait(epoll_, events, kEventsPerPoll, static_cast<int>(std::clamp<int64_t>(wait, 0, 1 << 30)));
    for (int i = 0; i < count; ++i) Handle(events[i].data.fd, events[i].events);
  }

  size_t open() const override { return streams_.size(); }

 private:
  struct Stream {
    std::string out;
    size_t sent = 0;
    HttpReplyParser parser;
    Handlers handlers;
  };

  Error SystemError(const char* what) const {
    return {Code::kUnavailable, fmt::format("{}:{}: {}: {}", host_, port_, what, std::strerror(errno))};
  }
  void Finish(int fd, const Status& ended) {
    auto node = streams_.extract(fd);
    close(fd);  // leaves the epoll set too
    node.mapped()->handlers.on_end(node.mapped()->parser.status(), ended);
  }
  void Handle(int fd, uint32_t events) {
    const auto found = streams_.find(fd);
    if (found == streams_.end()) return;
    Stream& s = *found->second;
    if ((events & EPOLLOUT) != 0 && s.sent < s.out.size()) {
      const ssize_t n = send(fd, s.out.data() + s.sent, s.out.size() - s.sent, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE && errno != ECONNRESET) return Finish(fd, SystemError("sending"));
      if (n > 0) s.sent += static_cast<size_t>(n);
      if (s.sent == s.out.size()) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        (void)epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
      }
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
    const ssize_t n = recv(fd, in_, sizeof in_, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return Finish(fd, SystemError("receiving"));
    if (n == 0) return Finish(fd, s.parser.End());
    const Status fed = s.parser.Feed({in_, static_cast<size_t>(n)}, s.handlers.on_body);
    if (!fed.ok() || s.parser.done()) Finish(fd, fed);
  }

  const std::string host_;
  const uint16_t port_;
  const sockaddr_storage address_;
  const socklen_t address_size_;
  const int epoll_;
  std::unordered_map<int, std::unique_ptr<Stream>> streams_;
  char in_[kReadBytes];
};

}  // namespace

Status HttpReplyParser::TakeHead() {
  bool http11 = true;
  for (size_t end; (end = line_.find("\r\n\r\n")) != std::string::npos;) {
    TRY(head_, ParseReplyHead(std::string_view(line_).substr(0, end), http11));
    line_.erase(0, end + 4);
    if (head_.status < 200) continue;  // 1xx: the real one follows
    const std::string_view coding = head_.header("transfer-encoding"), length = head_.header("content-length");
    if (head_.status == 204 || head_.status == 304) {
      state_ = State::kDone;
    } else if (!coding.empty()) {
      if (coding != "chunked") return Internal(fmt::format("unknown transfer coding '{}'", coding));
      state_ = State::kChunkSize;
    } else if (!length.empty()) {
      const auto parsed = std::from_chars(length.data(), length.data() + length.size(), left_);
      if (parsed.ec != std::errc() || parsed.ptr != length.data() + length.size()) return Internal("bad content-length in the reply");
      state_ = left_ == 0 ? State::kDone : State::kSized;
    } else {
      state_ = State::kToEnd;
    }
    return {};
  }
  if (line_.size() > kMaxHeadBytes) return Internal("the reply's header is too large");
  return {};
}

// A line outside of the body's bytes: a chunk's size, its end, a trailer.
Status HttpReplyParser::TakeLine(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (state_ == State::kTrailer) {
    if (line.empty()) state_ = State::kDone;
    return {};
  }
  if (state_ == State::kChunkEnd) {
    if (!line.empty()) return Internal("a chunk of the reply is longer than its size");
    state_ = State::kChunkSize;
    return {};
  }
  const std::string_view digits = line.substr(0, line.find_first_of("; \t"));
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size())
    return Internal("bad chunk size in the reply");
  state_ = left_ == 0 ? State::kTrailer : State::kChunk;
  return {};
}

Status HttpReplyParser::Feed(std::string_view bytes, const OnBody& on_body) {
  std::string rest;
  if (state_ == State::kHead) {
    line_ += bytes;
    TRY_STATUS(TakeHead());
    if (state_ == State::kHead) return {};
    rest = std::exchange(line_, {});
    bytes = rest;
  }
  while (!bytes.empty() && state_ != State::kDone) {
    if (state_ == State::kToEnd) {
      on_body(bytes);
      return {};
    }
    if (state_ == State::kSized || state_ == State::kChunk) {
      const size_t take = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
      on_body(bytes.substr(0, take));
      bytes.remove_prefix(take);
      left_ -= take;
      if (left_ == 0) state_ = state_ == State::kSized ? State::kDone : State::kChunkEnd;
      continue;
    }
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, std::min(end, bytes.size()));
    if (line_.size() > kMaxHeadBytes) return Internal("a chunk header is too long");
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(line_, {});
    TRY_STATUS(TakeLine(line));
  }
  return {};
}

Status HttpReplyParser::End() const {
  if (state_ == State::kDone || state_ == State::kToEnd) return {};
  if (state_ == State::kHead && line_.empty()) return Error{Code::kUnavailable, "the server closed the connection without a reply"};
  return Error{Code::kUnavailable, "the connection closed in the middle of the reply"};
}

Result<std::unique_ptr<HttpStreams>> HttpStreams::Create(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (failed != 0) return Error{Code::kUnavailable, fmt::format("{}: {}", host, gai_strerror(failed))};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
  // The first address that takes a connection: "localhost" may stand for two, and servers listen on one.
  Error error{Code::kUnavailable, fmt::format("{}: no address", host)};
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    const bool connected = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!connected) error.message = fmt::format("{}:{}: {}", host, port, std::strerror(errno));
    close(fd);
    if (!connected) continue;
    sockaddr_storage address{};
    std::memcpy(&address, a->ai_addr, a->ai_addrlen);
    return std::unique_ptr<HttpStreams>(new Streams(host, port, address, a->ai_addrlen));
  }
  return error;
}

}  // namespace sgl
