// For the tests of the transport: a server on a thread, and a client that is as rude as the test wants.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "serve/http_server.h"

namespace sgl::http_test {

constexpr int kPatienceMs = 20000;  // longer than anything takes, even under sanitizers

inline bool WaitUntil(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

using ExchangePtr = std::shared_ptr<HttpExchange>;

// "POST /path?q [body]", so that a test sees what arrived.
inline void Echo(const ExchangePtr& exchange) {
  const HttpRequest& r = exchange->request();
  exchange->Send(200, "text/plain", r.method + " " + r.path + (r.query.empty() ? "" : "?" + r.query) + " [" + r.body + "]");
}

// Keeps exchanges for the test's thread.
class Shelf {
 public:
  HttpServer::Handler handler() {
    return [this](ExchangePtr exchange) {
      std::lock_guard lock(mutex_);
      kept_.push_back(std::move(exchange));
    };
  }
  ExchangePtr Take() {
    ExchangePtr out;
    EXPECT_TRUE(WaitUntil([&] {
      std::lock_guard lock(mutex_);
      if (kept_.empty()) return false;
      out = std::move(kept_.front());
      kept_.erase(kept_.begin());
      return true;
    }));
    return out;
  }

 private:
  std::mutex mutex_;
  std::vector<ExchangePtr> kept_;
};

class TestServer {
 public:
  explicit TestServer(HttpServer::Handler handler, HttpServerConfig config = {}) {
    config.port = 0;
    server_ = std::make_unique<HttpServer>(std::move(config), std::move(handler));
    const Status status = server_->Listen();
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
    thread_ = std::thread([this] { server_->Run(); });
  }
  ~TestServer() { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    server_->Stop();
    thread_.join();
  }
  void Destroy() {
    Stop();
    server_.reset();
  }
  uint16_t port() const { return server_->port(); }
  HttpServer* operator->() { return server_.get(); }

 private:
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

struct RawReply {
  int status = 0;
  std::string head, body;
  bool Has(std::string_view line) const { return head.find(std::string(line) + "\r\n") != std::string::npos; }
};

class RawClient {
 public:
  explicit RawClient(uint16_t port, int receive_buffer_bytes = 0) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer_bytes > 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  // False when the server has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // One read; "" at the end of the stream, after a reset, or when patience ends (`timed_out`).
  std::string ReadSome() {
    pollfd entry{fd_, POLLIN, 0};
    if (poll(&entry, 1, kPatienceMs) <= 0) {
      timed_out = true;
      return {};
    }
    std::string piece(64 << 10, '\0');
    const ssize_t n = recv(fd_, piece.data(), piece.size(), 0);
    was_reset = n < 0 && errno == ECONNRESET;
    piece.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return piece;
  }
  std::string ReadUntil(std::string_view mark) {
    size_t at;
    while ((at = buffer_.find(mark)) == std::string::npos) {
      const std::string piece = ReadSome();
      if (piece.empty()) return std::exchange(buffer_, {});
      buffer_ += piece;
    }
    std::string out = buffer_.substr(0, at + mark.size());
    buffer_.erase(0, at + mark.size());
    return out;
  }
  std::string ReadBytes(size_t n) {
    while (buffer_.size() < n) {
      const std::string piece = ReadSome();
      if (piece.empty()) break;
      buffer_ += piece;
    }
    std::string out = buffer_.substr(0, n);
    buffer_.erase(0, n);
    return out;
  }
  std::string ReadToEnd() {
    for (std::string piece; !(piece = ReadSome()).empty();) buffer_ += piece;
    return std::exchange(buffer_, {});
  }
  RawReply ReadReply(bool has_body = true) {
    RawReply reply;
    reply.head = ReadUntil("\r\n\r\n");
    if (reply.head.size() > 12) reply.status = std::atoi(reply.head.c_str() + 9);
    const size_t length = reply.head.find("content-length: ");
    if (has_body && length != std::string::npos) reply.body = ReadBytes(std::strtoull(reply.head.c_str() + length + 16, nullptr, 10));
    return reply;
  }
  bool AtEnd() { return buffer_.empty() && ReadSome().empty() && !timed_out; }
  void FinishSending() { shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void Reset() {
    const linger hard{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    Close();
  }

  bool timed_out = false;
  bool was_reset = false;

 private:
  int fd_ = -1;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace sgl::http_test
