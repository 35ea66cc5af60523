// The reply to one request, between the threads that write it and the http thread that sends it. No sockets here.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/thread_role.h"
#include "serve/http_server.h"

namespace sgl {

std::string_view HttpReason(int status);  // "Not Found"; "Unknown" for a number without a name
// {"object":"error","message":...,"type":<reason>,"param":null,"code":<status>}
std::string HttpErrorBody(int status, std::string_view message);

// The http thread as seen from other threads. Shared by everybody who may still call after the server is gone.
class HttpLoop {
 public:
  virtual ~HttpLoop() = default;
  virtual bool Post(std::function<void()> task) = 0;  // false: the server is gone, the task was not taken
  virtual bool on_http_thread() const = 0;
  std::atomic<bool> draining{false};  // after StopAccepting: every reply says "Connection: close"
};

// Who sends replies: told, on the http thread, that there is something to Take.
class HttpReplyListener {
 public:
  virtual void OnReply() = 0;

 protected:
  ~HttpReplyListener() = default;
};

// Thread: what HttpExchange offers, from any; Take, Sent and Gone, the http thread.
class HttpReply {
 public:
  struct Terms {  // what the request and the configuration say about the reply
    bool head_only = false;
    bool http10 = false;
    bool keep_alive = true;
    std::string origin;  // of the Origin header, for CORS; "": none
    std::string server_name;
    int64_t max_pending_bytes = 0;
  };
  // kOpen: more will come. kComplete: everything has been taken. kBroken: the handler gave up in mid-stream. kOverflow: the client
  // reads too slowly.
  enum class End { kOpen, kComplete, kBroken, kOverflow };

  HttpReply(std::shared_ptr<HttpLoop> loop, std::weak_ptr<HttpReplyListener> listener, Terms terms);

  void Send(int status, std::string_view content_type, std::string body, const HttpHeaders& extra);
  void StartStream(std::string_view content_type, const HttpHeaders& extra);
  void Write(std::string_view chunk);
  void EndStream();
  void OnClose(std::function<void()> callback);
  bool closed() const;
  void Abandon();  // the last reference is gone: a 500 if nothing was sent, a broken stream if it was not ended

  // Appends what was written since the last call to `text`; a large body comes in `body` instead, to be sent after all text.
  End Take(std::string& text, std::string& body);
  bool close_after() const;  // valid once Take has returned the head
  void Sent(size_t bytes);   // that many of the taken bytes have left
  void Gone();               // no client any more: runs the OnClose callback, unless the reply was complete or it ran before

 private:
  enum class State { kWaiting, kStreaming, kComplete, kBroken, kOverflow, kGone };
  void AppendHead(int status, std::string_view content_type, const HttpHeaders& extra, int64_t content_length) REQUIRES(mutex_);
  void SendLocked(int status, std::string_view content_type, std::string body, const HttpHeaders& extra) REQUIRES(mutex_);
  bool ClaimWake() REQUIRES(mutex_);  // true: the caller must Wake after unlocking
  void Wake();

  const std::shared_ptr<HttpLoop> loop_;
  const std::weak_ptr<HttpReplyListener> listener_;
  const Terms terms_;
  std::atomic<int64_t> pending_bytes_{0};  // written and not yet sent

  // A mutex and not a message per chunk: chunks gather in one string while the http thread is busy, and the bound on pending bytes
  // must hold at the moment of writing.
  mutable Mutex mutex_;
  State state_ GUARDED_BY(mutex_) = State::kWaiting;
  bool wake_pending_ GUARDED_BY(mutex_) = true;  // the connection looks by itself right after the handler has returned
  bool close_after_ GUARDED_BY(mutex_) = false;
  bool raw_stream_ GUARDED_BY(mutex_) = false;  // HTTP/1.0: no chunk framing
  std::string text_ GUARDED_BY(mutex_);
  std::string body_ GUARDED_BY(mutex_);
  std::function<void()> on_close_ GUARDED_BY(mutex_);
};

// The face of an HttpReply that handlers hold.
std::shared_ptr<HttpExchange> MakeHttpExchange(std::shared_ptr<HttpReply> reply, HttpRequest request);

}  // namespace sgl
