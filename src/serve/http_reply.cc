// SPDX-License-Identifier: Apache-2.0
#include "serve/http_reply.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "base/json.h"
#include "base/retry.h"

namespace sgl {
namespace {

constexpr size_t kInlineBodyBytes = 16 << 10;  // smaller bodies are copied behind the head, larger ones moved

struct ReasonEntry {
  int status;
  std::string_view reason;
};
constexpr ReasonEntry kReasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Request Entity Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Entity"},
    {424, "Failed Dependency"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
};

template <class Int>
void AppendNumber(std::string& out, Int value, int base = 10) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value, base);
  out.append(digits, end.ptr);
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

// What does not fit into memory leaves no half of itself behind. append may REQUIRE what the caller holds.
template <class F>
void AllOrNothing(std::string& text, F&& append) NO_THREAD_SAFETY_ANALYSIS {
  const size_t before = text.size();
  try {
    append();
  } catch (...) {
    text.resize(before);
    throw;
  }
}

// A header can carry text that came from a client: control characters, which could start another header, become spaces.
void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  const auto append = [&out](std::string_view text) {
    for (char c : text) out += (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f ? ' ' : c;
  };
  append(name);
  out += ": ";
  append(value);
  out += "\r\n";
}

// Runs once, also when the server drops its tasks or is gone: then wherever the last copy dies.
class Promised {
 public:
  explicit Promised(std::function<void()> task) : task_(std::move(task)) {}
  Promised(const Promised&) = delete;
  Promised& operator=(const Promised&) = delete;
  ~Promised() { Run(); }
  void Run() {
    if (const auto task = std::exchange(task_, nullptr)) task();
  }

 private:
  std::function<void()> task_;
};

class Exchange final : public HttpExchange {
 public:
  Exchange(std::shared_ptr<HttpReply> reply, HttpRequest request) : reply_(std::move(reply)), request_(std::move(request)) {}
  ~Exchange() override { reply_->Abandon(); }

  const HttpRequest& request() const override { return request_; }
  void Send(int status, std::string_view content_type, std::string body, HttpHeaders extra) override {
    reply_->Send(status, content_type, std::move(body), extra);
  }
  void StartStream(std::string_view content_type, HttpHeaders extra) override { reply_->StartStream(content_type, extra); }
  void Write(std::string chunk) override { reply_->Write(chunk); }
  void EndStream() override { reply_->EndStream(); }
  void OnClose(std::function<void()> callback) override { reply_->OnClose(std::move(callback)); }
  bool closed() const override { return reply_->closed(); }

 private:
  const std::shared_ptr<HttpReply> reply_;
  const HttpRequest request_;
};

}  // namespace

std::string_view HttpReason(int status) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.status == status) return entry.reason;
  }
  return "Unknown";
}

std::string HttpErrorBody(int status, std::string_view message) {
  std::string out = R"({"object":"error","message":)";
  AppendJsonString(out, message);
  out += R"(,"type":)";
  AppendJsonString(out, HttpReason(status));
  out += R"(,"param":null,"code":)";
  AppendNumber(out, status);
  out += '}';
  return out;
}

std::shared_ptr<HttpExchange> MakeHttpExchange(std::shared_ptr<HttpReply> reply, HttpRequest request) {
  return std::make_shared<Exchange>(std::move(reply), std::move(request));
}

HttpReply::HttpReply(std::shared_ptr<HttpLoop> loop, std::weak_ptr<HttpReplyListener> listener, Terms terms)
    : loop_(std::move(loop)), listener_(std::move(listener)), terms_(std::move(terms)) {}

// content_length -1: chunked, or until close for HTTP/1.0.
void HttpReply::AppendHead(int status, std::string_view content_type, const HttpHeaders& extra, int64_t content_length) {
  raw_stream_ = content_length < 0 && terms_.http10;
  close_after_ = !terms_.keep_alive || raw_stream_ || loop_->draining.load(std::memory_order_relaxed);
  const bool bodiless = status == 204 || status == 304;
  text_ += "HTTP/1.1 ";
  AppendNumber(text_, status);
  text_ += ' ';
  text_ += HttpReason(status);
  text_ += "\r\n";
  if (!terms_.server_name.empty()) AppendHeader(text_, "server", terms_.server_name);
  if (!content_type.empty() && !bodiless) AppendHeader(text_, "content-type", content_type);
  for (const auto& [name, value] : extra) {
    if (EqualsIgnoringCase(name, "connection")) {
      close_after_ |= EqualsIgnoringCase(value, "close");
    } else if (!EqualsIgnoringCase(name, "content-length") && !EqualsIgnoringCase(name, "transfer-encoding")) {
      AppendHeader(text_, name, value);
    }
  }
  if (!terms_.origin.empty()) {
    AppendHeader(text_, "access-control-allow-origin", terms_.origin);
    AppendHeader(text_, "access-control-allow-credentials", "true");
    AppendHeader(text_, "vary", "Origin");
  }
  if (content_length >= 0 && !bodiless) {
    text_ += "content-length: ";
    AppendNumber(text_, content_length);
    text_ += "\r\n";
  } else if (content_length < 0 && !raw_stream_) {
    text_ += "transfer-encoding: chunked\r\n";
  }
  if (close_after_) {
    text_ += "connection: close\r\n";
  } else if (terms_.http10) {
    text_ += "connection: keep-alive\r\n";
  }
  text_ += "\r\n";
}

void HttpReply::SendLocked(int status, std::string_view content_type, std::string body, const HttpHeaders& extra) {
  const size_t before = text_.size();
  AllOrNothing(text_, [&]() REQUIRES(mutex_) {
    AppendHead(status, content_type, extra, static_cast<int64_t>(body.size()));
    if (!terms_.head_only && status != 204 && status != 304) {
      if (body.size() <= kInlineBodyBytes) {
        text_ += body;
      } else {
        body_ = std::move(body);
      }
    }
  });
  pending_bytes_ += static_cast<int64_t>(text_.size() - before + body_.size());
  state_ = State::kComplete;
}

void HttpReply::Send(int status, std::string_view content_type, std::string body, const HttpHeaders& extra) {
  std::function<void()> dropped;  // destroyed outside the lock: it may own anything
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kWaiting) return;
    SendLocked(status, content_type, std::move(body), extra);
    dropped.swap(on_close_);
    wake = ClaimWake();
  }
  if (wake) Wake();
}

void HttpReply::StartStream(std::string_view content_type, const HttpHeaders& extra) {
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kWaiting) return;
    const size_t before = text_.size();
    AllOrNothing(text_, [&]() REQUIRES(mutex_) { AppendHead(200, content_type, extra, -1); });
    pending_bytes_ += static_cast<int64_t>(text_.size() - before);
    state_ = State::kStreaming;
    wake = ClaimWake();
  }
  if (wake) Wake();
}

void HttpReply::Write(std::string_view chunk) {
  if (chunk.empty()) return;  // an empty chunk would end the stream
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kStreaming || terms_.head_only) return;
    const size_t before = text_.size();
    AllOrNothing(text_, [&]() REQUIRES(mutex_) {
      if (!raw_stream_) {
        AppendNumber(text_, chunk.size(), 16);
        text_ += "\r\n";
      }
      text_ += chunk;
      if (!raw_stream_) text_ += "\r\n";
    });
    pending_bytes_ += static_cast<int64_t>(text_.size() - before);
    if (pending_bytes_.load() > terms_.max_pending_bytes) {
      state_ = State::kOverflow;
      text_ = std::string();
    }
    wake = ClaimWake();
  }
  if (wake) Wake();
}

void HttpReply::EndStream() {
  std::function<void()> dropped;
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kStreaming) return;
    if (!raw_stream_ && !terms_.head_only) {
      text_ += "0\r\n\r\n";
      pending_bytes_ += 5;
    }
    state_ = State::kComplete;
    dropped.swap(on_close_);
    wake = ClaimWake();
  }
  if (wake) Wake();
}

void HttpReply::Abandon() {
  std::function<void()> dropped;
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (state_ == State::kWaiting) {
      // Out of memory, most likely; and this may be a destructor.
      Retry([this]() REQUIRES(mutex_) { SendLocked(500, "application/json", HttpErrorBody(500, "Internal Server Error"), {}); });
    } else if (state_ == State::kStreaming) {
      state_ = State::kBroken;
    } else {
      return;
    }
    dropped.swap(on_close_);
    wake = ClaimWake();
  }
  if (wake) Wake();
}

void HttpReply::OnClose(std::function<void()> callback) {
  std::function<void()> replaced;
  {
    MutexLock lock(mutex_);
    if (state_ == State::kComplete || state_ == State::kBroken) return;
    if (state_ != State::kGone) {
      replaced = std::exchange(on_close_, std::move(callback));
      return;
    }
  }
  if (!callback) return;
  if (loop_->on_http_thread()) return callback();
  const auto promise = std::make_shared<Promised>(std::move(callback));
  loop_->Post([promise] { promise->Run(); });
}

bool HttpReply::closed() const {
  MutexLock lock(mutex_);
  return state_ == State::kGone || state_ == State::kOverflow;
}

bool HttpReply::close_after() const {
  MutexLock lock(mutex_);
  return close_after_;
}

HttpReply::End HttpReply::Take(std::string& text, std::string& body) {
  MutexLock lock(mutex_);
  wake_pending_ = false;
  if (text.empty()) {
    text.swap(text_);
  } else {
    text += text_;
    text_.clear();
  }
  if (!body_.empty()) body = std::move(body_);
  switch (state_) {
    case State::kComplete: return End::kComplete;
    case State::kBroken: return End::kBroken;
    case State::kOverflow: return End::kOverflow;
    default: return End::kOpen;
  }
}

void HttpReply::Sent(size_t bytes) { pending_bytes_ -= static_cast<int64_t>(bytes); }

void HttpReply::Gone() {
  std::function<void()> callback;
  {
    MutexLock lock(mutex_);
    if (state_ == State::kComplete || state_ == State::kBroken || state_ == State::kGone) return;
    state_ = State::kGone;
    text_ = std::string();
    callback.swap(on_close_);
  }
  if (callback) callback();
}

bool HttpReply::ClaimWake() { return !std::exchange(wake_pending_, true); }

void HttpReply::Wake() {
  Retry([this] {
    loop_->Post([listener = listener_] {
      if (const auto connection = listener.lock()) connection->OnReply();
    });
  });
}

}  // namespace sgl
