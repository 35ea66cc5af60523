// SPDX-License-Identifier: Apache-2.0
#include "serve/http_client.h"

#include <atomic>
#include <thread>
#include <vector>

#include "serve/http_test_kit.h"

namespace sgl {
namespace {

using http_test::Echo;
using http_test::ExchangePtr;
using http_test::Shelf;
using http_test::TestServer;
using std::chrono::milliseconds;

// A server that says `script` to its one client, whatever it asks, and closes.
class ScriptServer {
 public:
  explicit ScriptServer(std::string script, bool close_after = true) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, script = std::move(script), close_after] {
      const int client = accept(listener_, nullptr, nullptr);
      char waste[4096];
      if (recv(client, waste, sizeof(waste), 0) > 0) (void)!send(client, script.data(), script.size(), MSG_NOSIGNAL);
      if (close_after) shutdown(client, SHUT_WR);
      while (recv(client, waste, sizeof(waste), 0) > 0) {
      }
      close(client);
    });
  }
  ~ScriptServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  uint16_t port() const { return port_; }

 private:
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST(HttpUrl, Parses) {
  const auto url = ParseHttpUrl("http://host:8080/a/b?c=d#frag");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "host");
  EXPECT_EQ(url->port, 8080);
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(ParseHttpUrl("HTTP://h")->target, "/");
  EXPECT_EQ(ParseHttpUrl("http://h")->port, 80);
  EXPECT_EQ(ParseHttpUrl("http://h?x")->target, "/?x");
  EXPECT_EQ(ParseHttpUrl("http://[::1]:9/")->host, "::1");
  EXPECT_EQ(ParseHttpUrl("http://[::1]:9/")->port, 9);
  EXPECT_TRUE(ParseHttpUrl("HTTPS://h", true)->tls);
  EXPECT_EQ(ParseHttpUrl("https://h", true)->port, 443);
  EXPECT_FALSE(ParseHttpUrl("http://h", true)->tls);
  EXPECT_FALSE(ParseHttpUrl("ftp://h", true).ok());
  for (const char* bad : {"", "h", "https://h", "http://", "http://h:", "http://h:x", "http://h:0", "http://h:70000", "http://[::1",
                          "http://u@h", "http://h/a b", "http://h/a\nb"}) {
    EXPECT_FALSE(ParseHttpUrl(bad).ok()) << bad;
  }
}

TEST(HttpClient, TalksToOurServerOnOneConnection) {
  TestServer server(Echo);
  HttpClient client("127.0.0.1", server.port());
  for (int i = 0; i < 3; ++i) {
    const auto reply = client.Request("POST", "/x?y", {{"X-A", "b"}}, "body");
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->header("content-type"), "text/plain");
    EXPECT_EQ(reply->body, "POST /x?y [body]");
    EXPECT_EQ(server->connections(), 1);
  }
  EXPECT_EQ(client.Request("HEAD", "/")->body, "");
  EXPECT_EQ(client.Request("GET", "/")->body, "GET / []");
  server.Stop();
  EXPECT_FALSE(client.Request("GET", "/").ok());
}

TEST(HttpClient, ReconnectsWhenTheServerClosedAnIdleConnection) {
  HttpServerConfig config;
  config.keep_alive_timeout = milliseconds(20);
  TestServer server(Echo, config);
  HttpClient client("localhost", server.port());
  ASSERT_TRUE(client.Request("GET", "/").ok());
  ASSERT_TRUE(http_test::WaitUntil([&] { return server->connections() == 0; }));
  EXPECT_TRUE(client.Request("POST", "/", {}, "x").ok());
}

TEST(HttpClient, StreamsChunksAndStopsWhenToldTo) {
  Shelf shelf;
  TestServer server(shelf.handler());
  std::atomic<bool> closed{false};
  std::thread writer([&] {
    for (int round = 0; round < 2; ++round) {
      const ExchangePtr exchange = shelf.Take();
      exchange->OnClose([&] { closed = true; });
      exchange->StartStream("text/event-stream");
      for (int i = 0; i < 100; ++i) exchange->Write("data: " + std::to_string(i) + "\n\n");
      if (round == 0) exchange->EndStream();
      EXPECT_TRUE(round == 0 || http_test::WaitUntil([&] { return closed.load(); }));
    }
  });
  HttpClient client("127.0.0.1", server.port());
  std::vector<std::string> events;
  SseSplitter splitter;
  const auto collect = [&](std::string_view piece) {
    splitter.Feed(piece, [&](std::string_view, std::string_view data) { events.emplace_back(data); });
    return true;
  };
  const auto reply = client.Request("GET", "/", {}, {}, collect);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->body, "");
  ASSERT_EQ(events.size(), 100u);
  EXPECT_EQ(events[99], "99");
  EXPECT_TRUE(client.Request("GET", "/", {}, {}, [](std::string_view) { return false; }).ok());  // the server sees us leave
  writer.join();
}

TEST(HttpClient, GathersErrorBodiesDespiteACallback) {
  TestServer server([](const ExchangePtr&) {});
  HttpClient client("127.0.0.1", server.port());
  const auto reply = client.Request("GET", "/", {}, {}, [](std::string_view) { return ADD_FAILURE(), true; });
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 500);
  EXPECT_NE(reply->body.find("Internal Server Error"), std::string::npos);
}

TEST(HttpClient, HearsWhyALargeBodyIsRefused) {
  HttpServerConfig config;
  config.max_body_bytes = 1000;
  TestServer server(Echo, config);
  HttpClient client("127.0.0.1", server.port());
  const auto reply = client.Request("POST", "/", {}, std::string(8 << 20, 'x'));
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->status, 413);
}

TEST(HttpClient, UnderstandsAllFramings) {
  const std::pair<const char*, const char*> cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
      {"HTTP/1.1 200\r\n\r\nuntil the end", "until the end"},
      {"HTTP/1.0 200 OK\nA: b\r\n\r\nx", "x"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny", "y"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;e=1\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n", "abcd"},
  };
  for (const auto& [script, body] : cases) {
    ScriptServer server(script);
    HttpClient client("127.0.0.1", server.port());
    const auto reply = client.Request("GET", "/");
    ASSERT_TRUE(reply.ok()) << script << reply.error().message;
    EXPECT_EQ(reply->body, body);
  }
}

TEST(HttpClient, ReportsBrokenReplies) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "without a reply"},
      {"HTTP/1.1 200 OK\r\nA", "ended in its header"},
      {"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP/1 reply"},
      {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed header"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "in the middle"},
      {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "content-length"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer coding"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "in the middle"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than its size"},
  };
  for (const auto& [script, message] : cases) {
    ScriptServer server(script);
    HttpClient client("127.0.0.1", server.port());
    const auto reply = client.Request("GET", "/");
    ASSERT_FALSE(reply.ok()) << script;
    EXPECT_NE(reply.error().message.find(message), std::string::npos) << reply.error().message;
    EXPECT_EQ(reply.error().message.find("127.0.0.1:"), 0u);
  }
}

TEST(HttpClient, BoundsTimeAndSize) {
  HttpClientConfig config;
  config.io_timeout = milliseconds(30);
  config.max_body_bytes = 10;
  {
    ScriptServer silent("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
    HttpClient client("127.0.0.1", silent.port(), config);
    const auto reply = client.Request("GET", "/");
    ASSERT_FALSE(reply.ok());
    EXPECT_NE(reply.error().message.find("timed out after 30 ms"), std::string::npos);
  }
  ScriptServer large("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world");
  HttpClient client("127.0.0.1", large.port(), config);
  const auto reply = client.Request("GET", "/");
  ASSERT_FALSE(reply.ok());
  EXPECT_NE(reply.error().message.find("larger than 10 bytes"), std::string::npos);
}

TEST(HttpClient, RefusesToInject) {
  HttpClient client("127.0.0.1", 1);
  EXPECT_EQ(client.Request("GET", "/ HTTP/1.1\r\nx: y").error().code, Code::kInvalidArgument);
  EXPECT_EQ(client.Request("GET", "/", {{"a", "b\r\nc: d"}}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(client.Request("GET", "/").error().code, Code::kUnavailable);  // nobody there
}

TEST(SseSplitter, SplitsAtAnyByte) {
  const std::string text = ": comment\r\ndata: a\r\n\r\nevent: e\ndata: b\ndata:c\n\n\n\nid: 1\n\ndata: [DONE]\n\ndata: unfinished";
  for (size_t step = 1; step <= text.size(); ++step) {
    SseSplitter splitter;
    std::string seen;
    for (size_t i = 0; i < text.size(); i += step) {
      splitter.Feed(std::string_view(text).substr(i, step),
                    [&](std::string_view event, std::string_view data) { seen += std::string(event) + "=" + std::string(data) + ";"; });
    }
    EXPECT_EQ(seen, "=a;e=b\nc;=[DONE];");
  }
}

}  // namespace
}  // namespace sgl
