// Sockets, deadlines and the life of a connection, on Asio. Parsing is in http_parse.cc, replies in http_reply.cc.
// SPDX-License-Identifier: Apache-2.0
#include "serve/http_server.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cctype>
#include <list>
#include <new>
#include <optional>
#include <unordered_set>

#include "base/check.h"
#include "serve/http_parse.h"
#include "serve/http_reply.h"

namespace sgl {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Executor = asio::io_context::executor_type;
using Tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<Tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<Tcp, Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
template <class T>
using Task = asio::awaitable<T, Executor>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable_t<Executor>{});
constexpr size_t kReadBytes = 128 << 10;         // one read; the buffer is shared by all connections
constexpr size_t kMaxPipelinedBytes = 64 << 10;  // taken off the socket while a reply is outstanding
constexpr size_t kKeptBufferBytes = 64 << 10;    // an empty buffer larger than this is freed
constexpr size_t kEncryptedBytes = 64 << 10;     // at once, under TLS
constexpr int kReadsPerTurn = 16;                // then the other connections have theirs
constexpr milliseconds kLingerTime{2000};        // for a client that is still sending when we close
constexpr int kMaxRefusing = 128;                // connections above the limit that get their 503 read; others are just closed
constexpr milliseconds kAcceptRetry{50};         // after an accept error, such as too many open files

class Loop final : public HttpLoop {
 public:
  explicit Loop(asio::io_context& io) : io_(&io) {}

  bool Post(std::function<void()> task) override {
    return With([&](asio::io_context& io) { asio::post(io, std::move(task)); });
  }
  bool on_http_thread() const override {
    MutexLock lock(mutex_);
    return io_ != nullptr && io_->get_executor().running_in_this_thread();
  }
  template <class F>
  bool With(F&& use) {
    MutexLock lock(mutex_);
    if (io_ != nullptr) use(*io_);
    return io_ != nullptr;
  }
  void Detach() {
    MutexLock lock(mutex_);
    io_ = nullptr;
  }

 private:
  mutable Mutex mutex_;  // the io_context must not end while someone posts to it
  asio::io_context* io_ GUARDED_BY(mutex_);
};

class Connection;

// What connections share. Thread: http, except `open`.
struct Hub {
  HttpServerConfig config;
  HttpServer::Handler handler;
  std::shared_ptr<Loop> loop;
  std::vector<char> scratch = std::vector<char>(kReadBytes);
  std::unordered_set<Connection*> connections;
  std::atomic<int> open{0};
  std::function<void()> on_last_closed;
  std::shared_ptr<const TlsContext> tls;  // null: plain HTTP
};

// One client. Lives as long as its Serve coroutine. Thread: http.
class Connection final : public HttpReplyListener, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Hub& hub, Socket socket)
      : hub_(hub), socket_(std::move(socket)), parser_({hub.config.max_body_bytes, hub.config.max_header_bytes}) {
    hub_.connections.insert(this);
    ++hub_.open;
    error_code error;
    const Tcp::endpoint peer = socket_.remote_endpoint(error);
    if (hub.tls != nullptr) tls_ = hub.tls->NewSession();
    if (!error) peer_ = fmt::format("{}:{}", peer.address().to_string(), peer.port());
  }
  ~Connection() {
    Close();
    hub_.connections.erase(this);
    --hub_.open;
    if (hub_.connections.empty() && hub_.on_last_closed) hub_.on_last_closed();
  }

  Task<void> Serve();
  void OnReply() override;
  void CheckDeadline(Clock::time_point now);
  void CloseIfIdle();  // for StopAccepting
  void Drop();         // at once, unsent bytes are discarded

 private:
  enum class Got { kRequest, kError, kTimeout, kClosed };

  Task<Got> ReadRequest();
  Task<size_t> Receive(bool wait_first);
  size_t ReadSome(error_code& ec);
  size_t WriteSome(error_code& ec);
  void FlushCipher(error_code& ec);
  Task<bool> SendContinue();
  Task<void> FinishReply();
  Task<void> Linger();
  void Feed(std::string_view bytes);
  void Dispatch();
  void Refuse(int status, std::string_view message);
  HttpReply::Terms MakeTerms(const HttpRequest& request) const;
  void ReadAhead();
  void Pump();
  void Advance(size_t sent);
  void Close();

  bool has_output() const { return text_begin_ < text_.size() || body_begin_ < body_.size() || !cipher_.empty(); }
  std::string_view unread() const { return std::string_view(in_).substr(in_begin_); }

  Hub& hub_;
  Socket socket_;
  HttpRequestParser parser_;
  std::string peer_;                 // "address:port"
  std::unique_ptr<TlsSession> tls_;  // null: plain HTTP
  std::string cipher_;               // encrypted and not yet sent
  size_t encrypted_ = 0;             // bytes of text_ and body_ that are in cipher_
  Clock::time_point deadline_ = Clock::time_point::max();
  bool dead_ = false;         // the socket is closed
  bool expired_ = false;      // reading has to end: a deadline passed
  bool reading_ = false;      // between requests, or in one
  bool half_closed_ = false;  // the client will send no more
  bool first_ = true;         // no request yet

  std::string in_;  // received and not parsed, from in_begin_ on
  size_t in_begin_ = 0;
  int reads_ = 0;

  std::shared_ptr<HttpReply> reply_;
  HttpReply::End end_ = HttpReply::End::kOpen;
  std::string text_, body_;  // to send, from *_begin_ on; body_ after text_
  size_t text_begin_ = 0, body_begin_ = 0;
  bool writing_ = false;  // waiting until the socket takes more
  bool waiting_ = false;  // FinishReply waits on the socket
};

Task<void> Connection::Serve() {
  const auto self = shared_from_this();
  bool again = true;
  while (again && !dead_) {
    const Got got = co_await ReadRequest();
    if (got == Got::kClosed || dead_) break;
    deadline_ = Clock::time_point::max();
    if (got == Got::kTimeout) {
      Refuse(408, "the request did not arrive in time");
    } else if (got == Got::kError) {
      Refuse(parser_.error_status(), parser_.error_message());
    } else if (hub_.loop->draining) {
      Refuse(503, "the server is shutting down");
    } else {
      Dispatch();
    }
    co_await FinishReply();
    if (dead_) break;
    again = !reply_->close_after();
    reply_.reset();
    if (!again && !half_closed_) co_await Linger();
  }
  Close();
}

// Reads until the parser has a request or an error.
Task<Connection::Got> Connection::ReadRequest() {
  using State = HttpRequestParser::State;
  parser_.Reset();
  reading_ = true;
  deadline_ = Clock::now() + (first_ ? hub_.config.header_timeout : hub_.config.keep_alive_timeout);
  Feed({});
  bool continued = false;
  Got got = Got::kClosed;
  // After a reply the next request is rarely there yet: do not try to read before the socket says so.
  for (bool wait_first = true;; wait_first = false) {
    if (parser_.state() == State::kDone || parser_.state() == State::kError) {
      got = parser_.state() == State::kDone ? Got::kRequest : Got::kError;
      break;
    }
    if (parser_.expects_continue() && !std::exchange(continued, true) && !co_await SendContinue()) break;
    if (half_closed_ || (hub_.loop->draining && parser_.state() == State::kEmpty)) break;
    const size_t n = co_await Receive(wait_first);
    if (n == 0) {
      if (expired_ && !dead_ && parser_.state() != State::kEmpty) got = Got::kTimeout;
      break;
    }
    Feed({hub_.scratch.data(), n});
  }
  first_ = false;
  expired_ = false;
  reading_ = false;
  co_return got;
}

// Parses what is there and then `bytes`, and keeps what was not used.
void Connection::Feed(std::string_view bytes) {
  const auto before = parser_.state();
  if (unread().empty()) {
    in_.clear();
    in_begin_ = 0;
    const size_t used = parser_.Parse(bytes);
    in_.append(bytes.substr(used));
  } else {
    in_.append(bytes);
    in_begin_ += parser_.Parse(unread());
  }
  if (unread().empty()) {
    in_begin_ = 0;
    in_.clear();
    if (in_.capacity() > kKeptBufferBytes) in_ = std::string();
  } else if (in_begin_ > kKeptBufferBytes) {
    in_.erase(0, in_begin_);
    in_begin_ = 0;
  }
  // The whole header must come within its time; a body has as long for each piece.
  const auto now = parser_.state();
  const bool header_begins = before == HttpRequestParser::State::kEmpty && now == HttpRequestParser::State::kHeader;
  if (header_begins || now == HttpRequestParser::State::kBody) deadline_ = Clock::now() + hub_.config.header_timeout;
}

// What the client has sent, in the scratch buffer. would_block: nothing, or nothing but TLS's own business.
size_t Connection::ReadSome(error_code& ec) {
  if (tls_ == nullptr) return socket_.read_some(asio::buffer(hub_.scratch), ec);
  const size_t n = socket_.read_some(asio::buffer(hub_.scratch.data(), hub_.scratch.size() / 2), ec);  // what was held back comes on top
  if (ec) return 0;
  std::string plain;
  const TlsSession::State state = tls_->Feed({hub_.scratch.data(), n}, plain, cipher_);
  error_code ignored;  // what cannot be sent now waits for the next write
  if (encrypted_ == 0) FlushCipher(ignored);
  CHECK(plain.size() <= hub_.scratch.size());
  std::copy(plain.begin(), plain.end(), hub_.scratch.begin());
  if (plain.empty())
    ec = state == TlsSession::State::kOpen     ? error_code(asio::error::would_block)
         : state == TlsSession::State::kClosed ? error_code(asio::error::eof)
                                               : error_code(asio::error::connection_aborted);
  return plain.size();
}

void Connection::FlushCipher(error_code& ec) {
  while (!cipher_.empty() && !ec) cipher_.erase(0, socket_.write_some(asio::buffer(cipher_), ec));
}

// Sends of text_ and body_ what the socket takes; the number of their bytes that are on their way.
size_t Connection::WriteSome(error_code& ec) {
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(text_) + text_begin_, asio::buffer(body_) + body_begin_};
  if (tls_ == nullptr) return socket_.write_some(buffers, ec);
  if (!tls_->established() && cipher_.empty()) {  // a reply to who has not even said hello
    ec = asio::error::connection_aborted;
    return 0;
  }
  if (encrypted_ == 0 && cipher_.empty()) {
    for (const asio::const_buffer& buffer : buffers) {
      const size_t size = std::min(buffer.size(), kEncryptedBytes - encrypted_);
      tls_->Encrypt({static_cast<const char*>(buffer.data()), size}, cipher_);
      encrypted_ += size;
    }
  }
  FlushCipher(ec);
  return cipher_.empty() ? std::exchange(encrypted_, 0) : 0;
}

// Bytes now in the scratch buffer; 0: the client has gone, or the time is up.
Task<size_t> Connection::Receive(bool wait_first) {
  for (bool wait = wait_first;; wait = true) {
    if (wait) {
      auto [ec] = co_await socket_.async_wait(Socket::wait_read, kAwait);
      if (ec) co_return 0;
    } else if (++reads_ % kReadsPerTurn == 0) {
      co_await asio::post(socket_.get_executor(), asio::use_awaitable_t<Executor>{});
    }
    if (dead_ || expired_) co_return 0;
    error_code ec;
    const size_t n = ReadSome(ec);
    if (ec != asio::error::would_block) co_return ec ? 0 : n;
  }
}

Task<bool> Connection::SendContinue() {
  text_ = "HTTP/1.1 100 Continue\r\n\r\n";
  while (!dead_ && !expired_) {
    error_code ec;
    Advance(WriteSome(ec));
    if (!has_output()) co_return true;
    if (ec != asio::error::would_block) co_return false;
    co_await socket_.async_wait(Socket::wait_write, kAwait);
  }
  co_return false;
}

HttpReply::Terms Connection::MakeTerms(const HttpRequest& request) const {
  HttpReply::Terms terms;
  terms.head_only = request.method == "HEAD";
  terms.origin = request.header("origin");
  terms.server_name = hub_.config.server_name;
  terms.max_pending_bytes = hub_.config.max_pending_write_bytes;
  return terms;
}

void Connection::Dispatch() {
  HttpRequest request = parser_.TakeRequest();
  request.peer = peer_;
  request.received = std::chrono::steady_clock::now();
  HttpReply::Terms terms = MakeTerms(request);
  terms.http10 = parser_.http10();
  terms.keep_alive = parser_.keep_alive();
  const bool preflight = request.method == "OPTIONS" && !terms.origin.empty() && !request.header("access-control-request-method").empty();
  reply_ = std::make_shared<HttpReply>(hub_.loop, weak_from_this(), std::move(terms));
  if (preflight) {
    HttpHeaders extra = {{"access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
                         {"access-control-max-age", "600"}};
    const std::string_view asked = request.header("access-control-request-headers");
    if (!asked.empty()) extra.emplace_back("access-control-allow-headers", asked);
    reply_->Send(200, "text/plain; charset=utf-8", "OK", extra);
    return;
  }
  try {
    hub_.handler(MakeHttpExchange(reply_, std::move(request)));
  } catch (const std::exception& e) {  // out of memory
    fmt::print(stderr, "http handler: {}\n", e.what());
    reply_->Abandon();  // there may be no exchange that could, or somebody may hold it for ever
  }
}

// An error of ours, after which we close.
void Connection::Refuse(int status, std::string_view message) {
  HttpReply::Terms terms = MakeTerms(parser_.TakeRequest());
  terms.keep_alive = false;
  reply_ = std::make_shared<HttpReply>(hub_.loop, weak_from_this(), std::move(terms));
  reply_->Send(status, "application/json", HttpErrorBody(status, message), {});
}

// Sends the reply as it comes and watches for the client's leaving, until all is sent or the client is gone.
Task<void> Connection::FinishReply() {
  end_ = HttpReply::End::kOpen;
  OnReply();
  while (!dead_ && (end_ != HttpReply::End::kComplete || has_output())) {
    // With a full read-ahead, or nothing more to read, only a reset can still be noticed.
    const bool readable = !half_closed_ && unread().size() < kMaxPipelinedBytes;
    waiting_ = true;
    auto [ec] = co_await socket_.async_wait(readable ? Socket::wait_read : Socket::wait_error, kAwait);
    waiting_ = false;
    if (dead_ || (end_ == HttpReply::End::kComplete && !has_output())) break;
    if (ec || !readable) {
      Drop();
    } else {
      ReadAhead();
    }
  }
  deadline_ = Clock::time_point::max();
}

void Connection::ReadAhead() {
  error_code ec;
  const size_t n = ReadSome(ec);
  if (ec == asio::error::would_block) return;
  if (!ec) {
    in_.append(hub_.scratch.data(), n);
    return;
  }
  // End of input: gone, unless requests are waiting here that deserve their answers.
  const bool only_blank = unread().find_first_not_of("\r\n") == std::string_view::npos;
  if (ec == asio::error::eof && !only_blank) {
    half_closed_ = true;
  } else {
    Drop();
  }
}

void Connection::OnReply() try {
  if (dead_ || !reply_) return;
  end_ = reply_->Take(text_, body_);
  if (end_ == HttpReply::End::kOverflow) return Drop();
  if (end_ != HttpReply::End::kOpen) deadline_ = Clock::now() + hub_.config.write_timeout;
  Pump();
} catch (const std::bad_alloc&) {  // better no end than none that anybody waits for
  Drop();
}

// Sends until the socket takes no more, then goes on when it does.
void Connection::Pump() {
  while (!dead_ && !writing_ && has_output()) {
    error_code ec;
    const size_t n = WriteSome(ec);
    if (ec == asio::error::would_block) {
      writing_ = true;
      socket_.async_wait(Socket::wait_write, [self = shared_from_this()](error_code failed) {
        self->writing_ = false;
        if (failed) self->Drop();
        self->Pump();
      });
      return;
    }
    if (ec) return Drop();
    reply_->Sent(n);
    Advance(n);
    if (end_ != HttpReply::End::kOpen) deadline_ = Clock::now() + hub_.config.write_timeout;
  }
  if (dead_ || writing_) return;
  if (end_ == HttpReply::End::kBroken) return Close();
  error_code ec;
  if (end_ == HttpReply::End::kComplete && waiting_) socket_.cancel(ec);
}

void Connection::Advance(size_t sent) {
  const size_t of_text = std::min(sent, text_.size() - text_begin_);
  text_begin_ += of_text;
  body_begin_ += sent - of_text;
  if (body_begin_ == body_.size()) {
    body_ = std::string();
    body_begin_ = 0;
  }
  if (text_begin_ == text_.size()) {
    text_.clear();
    text_begin_ = 0;
    if (text_.capacity() > kKeptBufferBytes) text_ = std::string();
  } else if (text_begin_ > kKeptBufferBytes && text_begin_ > text_.size() / 2) {
    text_.erase(0, text_begin_);
    text_begin_ = 0;
  }
}

// We close first: a client that is still sending must be able to read our answer before a reset reaches it. RFC 9112, 9.6.
Task<void> Connection::Linger() {
  error_code ec;
  if (tls_ != nullptr) {
    tls_->SayGoodbye(cipher_);
    FlushCipher(ec);
  }
  socket_.shutdown(Socket::shutdown_send, ec);
  deadline_ = Clock::now() + kLingerTime;
  reading_ = true;
  while (co_await Receive(false) > 0) {
  }
}

void Connection::CheckDeadline(Clock::time_point now) {
  if (dead_ || now < deadline_) return;
  deadline_ = Clock::time_point::max();
  if (!reading_) return Drop();
  expired_ = true;
  error_code ec;
  socket_.cancel(ec);
}

void Connection::CloseIfIdle() {
  if (dead_ || !reading_ || parser_.state() != HttpRequestParser::State::kEmpty) return;
  expired_ = true;
  error_code ec;
  socket_.cancel(ec);
}

void Connection::Drop() {
  if (dead_) return;
  error_code ec;
  socket_.set_option(asio::socket_base::linger(true, 0), ec);
  Close();
}

void Connection::Close() {
  if (!std::exchange(dead_, true)) {
    error_code ec;
    socket_.close(ec);
  }
  text_ = body_ = cipher_ = std::string();
  text_begin_ = body_begin_ = encrypted_ = 0;
  if (const auto reply = std::exchange(reply_, nullptr)) reply->Gone();
}

// Tells a client above the connection limit so, and waits a moment until it has read it.
Task<void> RefuseConnection(std::shared_ptr<Socket> socket, std::string reply, std::shared_ptr<int> count) {
  ++*count;
  error_code ec;
  socket->write_some(asio::buffer(reply), ec);
  socket->shutdown(Socket::shutdown_send, ec);
  Timer timer(socket->get_executor(), kLingerTime);
  timer.async_wait([socket](error_code failed) {
    error_code ignored;
    if (!failed) socket->close(ignored);
  });
  std::array<char, 4096> waste;
  while (!ec) {
    auto [failed, n] = co_await socket->async_read_some(asio::buffer(waste), kAwait);
    ec = failed;
  }
  --*count;
}

std::string LowerFirst(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

// Thousands of kept-alive sockets must not run into the usual soft limit of 1024.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 65535);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

std::string_view HttpRequest::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

// `io` outlives the acceptors and the timer, and dies before the hub, which the connections inside it use.
struct HttpServer::Impl {
  Impl(HttpServerConfig config, Handler handler) : loop(std::make_shared<Loop>(io)) {
    hub.config = std::move(config);
    hub.handler = std::move(handler);
    hub.loop = loop;
  }
  ~Impl() {
    hub.on_last_closed = nullptr;
    loop->Detach();
  }

  Result<uint16_t> Bind(uint16_t port);
  Task<void> Accept(Acceptor& acceptor);
  void Admit(Socket socket);
  void Tick();
  void CloseAcceptors();
  void StopNow();

  Hub hub;
  std::shared_ptr<int> refusing = std::make_shared<int>(0);
  asio::io_context io{1};
  const std::shared_ptr<Loop> loop;
  std::list<Acceptor> acceptors;
  Timer tick{io.get_executor()};
  bool ticking = false;
  std::atomic<uint16_t> bound_port{0};
};

// Opens every address of the host on one port. An address family that this machine does not have is skipped.
Result<uint16_t> HttpServer::Impl::Bind(uint16_t port) {
  const std::string host = hub.config.host.empty() ? "0.0.0.0" : hub.config.host;
  const auto fail = [&](const error_code& ec) {
    return Error{Code::kUnavailable, fmt::format("cannot listen on {}:{}: {}", host, port, LowerFirst(ec.message()))};
  };
  error_code ec;
  asio::ip::basic_resolver<Tcp, Executor> resolver(io.get_executor());
  const auto found = resolver.resolve(host, std::to_string(port), asio::ip::resolver_base::passive, ec);
  if (ec) return fail(ec);
  for (const auto& entry : found) {
    Tcp::endpoint endpoint = entry.endpoint();
    endpoint.port(port);
    Acceptor acceptor(io.get_executor());
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    // "::" means everybody; a name that resolves to both families gets a socket for each.
    if (!ec && endpoint.protocol() == Tcp::v6()) acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec == asio::error::address_family_not_supported || ec == boost::system::errc::address_not_available) continue;
    if (ec) return fail(ec);
    if (port == 0) port = acceptor.local_endpoint(ec).port();
    acceptors.push_back(std::move(acceptor));
  }
  if (acceptors.empty()) return fail(ec);
  return port;
}

Task<void> HttpServer::Impl::Accept(Acceptor& acceptor) {
  while (acceptor.is_open()) {
    auto [ec, socket] = co_await acceptor.async_accept(kAwait);
    if (!acceptor.is_open()) co_return;
    if (!ec) {
      Admit(std::move(socket));
    } else if (ec != asio::error::connection_aborted) {
      Timer retry(io.get_executor(), kAcceptRetry);
      co_await retry.async_wait(kAwait);
    }
  }
}

void HttpServer::Impl::Admit(Socket socket) try {
  error_code ec;
  socket.non_blocking(true, ec);
  socket.set_option(Tcp::no_delay(true), ec);
  if (static_cast<int>(hub.connections.size()) >= hub.config.max_connections) {
    if (*refusing >= kMaxRefusing) return;
    const std::string body = HttpErrorBody(503, "too many connections");
    std::string reply = fmt::format(
        "HTTP/1.1 503 Service Unavailable\r\nserver: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: "
        "close\r\n\r\n{}",
        hub.config.server_name, body.size(), body);
    asio::co_spawn(io, RefuseConnection(std::make_shared<Socket>(std::move(socket)), std::move(reply), refusing), asio::detached);
    return;
  }
  const auto connection = std::make_shared<Connection>(hub, std::move(socket));
  asio::co_spawn(io, connection->Serve(), asio::detached);
  if (!std::exchange(ticking, true)) Tick();
} catch (const std::bad_alloc&) {  // this client is out of luck; go on accepting
}

// Looks after all deadlines at once: cheaper than a timer per request, and late by one period at most.
void HttpServer::Impl::Tick() {
  const auto& config = hub.config;
  const milliseconds shortest = std::min({config.header_timeout, config.keep_alive_timeout, config.write_timeout});
  tick.expires_after(std::clamp<milliseconds>(shortest / 4, milliseconds(5), milliseconds(500)));
  tick.async_wait([this](error_code failed) {
    if (failed || hub.connections.empty()) {
      ticking = false;
      return;
    }
    const auto now = Clock::now();
    for (Connection* connection : hub.connections) connection->CheckDeadline(now);
    Tick();
  });
}

void HttpServer::Impl::CloseAcceptors() {
  error_code ec;
  for (Acceptor& acceptor : acceptors) acceptor.close(ec);
}

void HttpServer::Impl::StopNow() {
  loop->draining = true;
  CloseAcceptors();
  hub.on_last_closed = [this] { io.stop(); };
  for (Connection* connection : hub.connections) connection->Drop();
  if (hub.connections.empty()) io.stop();
}

HttpServer::HttpServer(HttpServerConfig config, Handler handler) : impl_(std::make_unique<Impl>(std::move(config), std::move(handler))) {}
HttpServer::~HttpServer() = default;

Status HttpServer::Listen() {
  CHECK(impl_->acceptors.empty());
  if (impl_->hub.config.tls.enabled()) {
    TRY(impl_->hub.tls, TlsContext::Load(impl_->hub.config.tls));
  }
  RaiseFileLimit();
  constexpr int kTries = 16;
  for (int i = 1;; ++i) {
    Result<uint16_t> port = impl_->Bind(impl_->hub.config.port);
    if (port) {
      impl_->bound_port = *port;
      return {};
    }
    impl_->acceptors.clear();
    // A free port of the first address may be taken on the second: ask for another.
    if (impl_->hub.config.port != 0 || i == kTries) return std::move(port).error();
  }
}

uint16_t HttpServer::port() const { return impl_->bound_port; }
int HttpServer::connections() const { return impl_->hub.open; }

void HttpServer::Run() {
  pthread_setname_np(pthread_self(), "http");
  for (Acceptor& acceptor : impl_->acceptors) asio::co_spawn(impl_->io, impl_->Accept(acceptor), asio::detached);
  const auto work = asio::make_work_guard(impl_->io);
  while (!impl_->io.stopped()) {
    try {
      impl_->io.run();
    } catch (const std::exception& e) {  // a posted task out of memory must not end its neighbours' streams
      fmt::print(stderr, "http task: {}\n", e.what());
    }
  }
}

void HttpServer::StopAccepting() {
  impl_->loop->draining = true;
  Post([impl = impl_.get()] {
    impl->CloseAcceptors();
    for (Connection* connection : impl->hub.connections) connection->CloseIfIdle();
  });
}

void HttpServer::Stop() {
  Post([impl = impl_.get()] { impl->StopNow(); });
}

void HttpServer::Post(std::function<void()> task) { impl_->loop->Post(std::move(task)); }

void HttpServer::PostAfter(std::chrono::milliseconds delay, std::function<void()> task) {
  impl_->loop->With([&](asio::io_context& io) {
    auto timer = std::make_shared<Timer>(io.get_executor(), delay);
    timer->async_wait([timer, task = std::move(task)](error_code failed) {
      if (!failed) task();
    });
  });
}

}  // namespace sgl
