// SPDX-License-Identifier: Apache-2.0
#include "serve/http_server.h"

#include <sys/resource.h>

#include <atomic>
#include <future>
#include <vector>

#include "serve/http_test_kit.h"

namespace sgl {
namespace {

using http_test::Echo;
using http_test::ExchangePtr;
using http_test::RawClient;
using http_test::RawReply;
using http_test::Shelf;
using http_test::TestServer;
using http_test::WaitUntil;
using std::chrono::milliseconds;

HttpServerConfig Quick() {
  HttpServerConfig config;
  config.header_timeout = milliseconds(80);
  config.keep_alive_timeout = milliseconds(80);
  return config;
}

TEST(HttpServer, AnswersGetWithLength) {
  TestServer server(Echo);
  RawClient client(server.port());
  client.Send("GET /a%2Fb?x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: text/x\r\n\r\n");
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.head.substr(0, 17), "HTTP/1.1 200 OK\r\n");
  EXPECT_TRUE(reply.Has("server: sglang.cpp"));
  EXPECT_TRUE(reply.Has("content-type: text/plain"));
  EXPECT_TRUE(reply.Has("content-length: 17"));
  EXPECT_EQ(reply.head.find("connection:"), std::string::npos);
  EXPECT_EQ(reply.body, "GET /a%2Fb?x=1 []");
}

TEST(HttpServer, HeaderNamesAreLowerCase) {
  TestServer server([](const ExchangePtr& exchange) {
    const HttpRequest& r = exchange->request();
    exchange->Send(200, "text/plain", std::string(r.header("x-thing")) + "|" + std::string(r.header("absent")));
  });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\nX-THING:  some Value \r\n\r\n");
  EXPECT_EQ(client.ReadReply().body, "some Value|");
}

TEST(HttpServer, KeepsAliveAndObeysClose) {
  TestServer server(Echo);
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.Send("GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n");
    EXPECT_EQ(client.ReadReply().body, "GET /" + std::to_string(i) + " []");
  }
  client.Send("GET /last HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(client.ReadReply().Has("connection: close"));
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpServer, Http10ClosesUnlessAskedNotTo) {
  TestServer server(Echo);
  RawClient once(server.port());
  once.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(once.ReadReply().Has("connection: close"));
  EXPECT_TRUE(once.AtEnd());
  RawClient kept(server.port());
  for (int i = 0; i < 2; ++i) {
    kept.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(kept.ReadReply().Has("connection: keep-alive"));
  }
}

TEST(HttpServer, HeadHasLengthAndNoBody) {
  TestServer server(Echo);
  RawClient client(server.port());
  client.Send("HEAD /x HTTP/1.1\r\n\r\nGET /y HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(client.ReadReply(false).Has("content-length: 10"));
  EXPECT_EQ(client.ReadReply().body, "GET /y []");
}

TEST(HttpServer, PostWithoutLengthIsEmpty) {
  TestServer server(Echo);
  RawClient client(server.port());
  client.Send("POST /flush HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.ReadReply().body, "POST /flush []");
}

TEST(HttpServer, RepliesWithoutBodyHaveNoLength) {
  TestServer server([](const ExchangePtr& exchange) { exchange->Send(204, "text/plain", "ignored"); });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
  for (int i = 0; i < 2; ++i) {
    const RawReply reply = client.ReadReply();
    EXPECT_EQ(reply.head.substr(0, 25), "HTTP/1.1 204 No Content\r\n");
    EXPECT_EQ(reply.head.find("content-length"), std::string::npos);
  }
}

// More than the server reads ahead, so that it also has to stop and to go on reading.
TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient client(server.port());
  const std::string body(10000, 'b');
  std::string all;
  constexpr int kRequests = 200;
  for (int i = 0; i < kRequests; ++i) all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nContent-Length: 10000\r\n\r\n" + body;
  const auto sender = std::async(std::launch::async, [&] { return client.Send(all); });
  for (int i = 0; i < kRequests; ++i) {
    const ExchangePtr exchange = shelf.Take();
    ASSERT_TRUE(exchange);
    EXPECT_EQ(exchange->request().path, "/" + std::to_string(i));
    Echo(exchange);
    EXPECT_EQ(client.ReadReply().body, "POST /" + std::to_string(i) + " [" + body + "]");
  }
}

TEST(HttpServer, ReadsByteByByte) {
  TestServer server(Echo);
  RawClient client(server.port());
  for (char c : std::string("\r\nPOST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")) ASSERT_TRUE(client.Send(std::string(1, c)));
  EXPECT_EQ(client.ReadReply().body, "POST /p [hello]");
}

TEST(HttpServer, ReadsChunkedBodies) {
  TestServer server(Echo);
  RawClient client(server.port());
  const std::string request =
      "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
  client.Send(request + request);
  EXPECT_EQ(client.ReadReply().body, "POST /c [hello 0123456789]");
  EXPECT_EQ(client.ReadReply().body, "POST /c [hello 0123456789]");
  for (char c : request) ASSERT_TRUE(client.Send(std::string(1, c)));
  EXPECT_EQ(client.ReadReply().body, "POST /c [hello 0123456789]");
}

TEST(HttpServer, TrailersAreNotHeaders) {
  TestServer server([](const ExchangePtr& e) { e->Send(200, "text/plain", std::string(e->request().header("authorization"))); });
  RawClient client(server.port());
  client.Send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n");
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "");
}

TEST(HttpServer, ReadsLargeBodies) {
  std::string body(size_t{10} << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  TestServer server([&](const ExchangePtr& e) { e->Send(200, "text/plain", e->request().body); });
  RawClient client(server.port());
  const auto sender = std::async(std::launch::async, [&] {
    client.Send("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
    return client.Send(body);
  });
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body == body);
}

TEST(HttpServer, ContinuesOnlyWhenTheSizeIsAcceptable) {
  HttpServerConfig config;
  config.max_body_bytes = 1000;
  TestServer server(Echo, config);
  RawClient client(server.port());
  client.Send("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("body");
  EXPECT_EQ(client.ReadReply().body, "POST /e [body]");
  // The body is already there: no need to ask for it.
  client.Send("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_EQ(client.ReadReply().body, "POST /e [body]");
  client.Send("POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 413);
  EXPECT_TRUE(client.AtEnd());
}

struct BadCase {
  const char* name;
  std::string bytes;
  int status;
};

TEST(HttpServer, RefusesBadRequestsAndCloses) {
  HttpServerConfig config;
  config.max_body_bytes = 1000;
  config.max_header_bytes = 2000;
  std::atomic<int> handled{0};
  TestServer server([&](const ExchangePtr& e) { ++handled, Echo(e); }, config);
  std::string many_fields = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 500; ++i) many_fields += "a: b\r\n";
  const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  const BadCase cases[] = {
      {"noise", "\x16\x03\x01\x02", 400},
      {"no version", "GET /\r\n\r\n", 400},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"bare target", "GET x HTTP/1.1\r\n\r\n", 400},
      {"no colon", "GET / HTTP/1.1\r\nbad header\r\n\r\n", 400},
      {"blank before colon", "GET / HTTP/1.1\r\na : b\r\n\r\n", 400},
      {"zero byte", std::string("GET / HTTP/1.1\r\na: b\0c\r\n\r\n", 26), 400},
      {"length not a number", "POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400},
      {"negative length", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"huge length", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
      {"length and chunked", "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"unknown coding", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"not chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 501},
      {"unknown expectation", "POST / HTTP/1.1\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\n", 417},
      {"chunk size not hex", chunked + "xyz\r\n", 400},
      {"chunk size overflows", chunked + "fffffffffffffffff\r\n", 400},
      {"chunk longer than its size", chunked + "3\r\nhello\r\n0\r\n\r\n", 400},
      {"endless chunk extension", chunked + "3;" + std::string(5000, 'a'), 400},
      {"chunk above the limit", chunked + "3e9\r\n", 413},
      {"chunks above the limit", chunked + "3\r\nabc\r\n3e6\r\n", 413},
      {"body above the limit", "POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413},
      {"huge header", "GET / HTTP/1.1\r\na: " + std::string(5000, 'b') + "\r\n\r\n", 431},
      {"endless header", "GET / HTTP/1.1\r\na: " + std::string(5000, 'b'), 431},
      {"endless request line", "GET /" + std::string(5000, 'b'), 431},
      {"many fields", many_fields + "\r\n", 431},
  };
  for (const BadCase& bad : cases) {
    for (const bool in_pieces : {false, true}) {
      SCOPED_TRACE(std::string(bad.name) + (in_pieces ? ", in pieces" : ""));
      RawClient client(server.port());
      for (size_t i = 0, step = in_pieces ? 97 : bad.bytes.size(); i < bad.bytes.size(); i += step) {
        if (!client.Send(bad.bytes.substr(i, step))) break;
      }
      const RawReply reply = client.ReadReply();
      EXPECT_EQ(reply.status, bad.status) << reply.body;
      EXPECT_TRUE(reply.Has("connection: close"));
      EXPECT_TRUE(reply.Has("content-type: application/json"));
      EXPECT_EQ(reply.body.substr(0, 30), R"({"object":"error","message":")" + reply.body.substr(29, 1));
      const std::string tail = R"(,"param":null,"code":)" + std::to_string(bad.status) + "}";
      EXPECT_TRUE(reply.body.size() > tail.size() && reply.body.substr(reply.body.size() - tail.size()) == tail) << reply.body;
      EXPECT_TRUE(client.AtEnd());
    }
  }
  EXPECT_EQ(handled, 0);
}

TEST(HttpServer, SaysTooLargeToAClientThatKeepsSending) {
  HttpServerConfig config;
  config.max_body_bytes = 1000;
  TestServer server(Echo, config);
  RawClient client(server.port());
  client.Send("POST / HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n");
  client.Send(std::string(4000000, 'x'));  // all of it, before looking at the answer
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.body.find(R"({"object":"error","message":"the request body is larger)"), 0u);
  EXPECT_NE(reply.body.find(R"("type":"Request Entity Too Large","param":null,"code":413})"), std::string::npos);
}

TEST(HttpServer, SlowHeaderTimesOut) {
  TestServer server(Echo, Quick());
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\nHost: ");
  EXPECT_EQ(client.ReadReply().status, 408);
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpServer, IdleConnectionsAreClosed) {
  TestServer server(Echo, Quick());
  RawClient fresh(server.port()), used(server.port());
  used.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(used.ReadReply().status, 200);
  EXPECT_TRUE(used.AtEnd());
  EXPECT_TRUE(fresh.AtEnd());
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
}

TEST(HttpServer, ABodyMayTakeLongerWhileBytesCome) {
  HttpServerConfig config = Quick();
  config.header_timeout = milliseconds(300);
  TestServer server(Echo, config);
  RawClient client(server.port());
  const auto begin = std::chrono::steady_clock::now();
  client.Send("POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\n");
  for (int i = 0; i < 40; ++i) {
    poll(nullptr, 0, 15);  // the rhythm of a slow sender
    ASSERT_TRUE(client.Send("x"));
  }
  EXPECT_EQ(client.ReadReply().status, 200);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, milliseconds(500));
}

TEST(HttpServer, SurvivesHalfRequests) {
  TestServer server(Echo);
  const std::string request = "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
  for (size_t n = 0; n < request.size(); ++n) {
    RawClient client(server.port());
    client.Send(request.substr(0, n));
    n % 2 == 0 ? client.Close() : client.Reset();
  }
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
  RawClient client(server.port());
  client.Send(request);
  EXPECT_EQ(client.ReadReply().body, "POST /p [hello]");
}

TEST(HttpServer, LimitsConnections) {
  HttpServerConfig config;
  config.max_connections = 3;
  TestServer server(Echo, config);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    clients.back()->Send("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(clients.back()->ReadReply().status, 200);
  }
  RawClient extra(server.port());
  extra.Send("GET / HTTP/1.1\r\n\r\n");
  const RawReply reply = extra.ReadReply();
  EXPECT_EQ(reply.status, 503);
  EXPECT_TRUE(reply.Has("connection: close"));
  EXPECT_NE(reply.body.find(R"("code":503)"), std::string::npos);
  EXPECT_TRUE(extra.AtEnd());
  EXPECT_EQ(server->connections(), 3);
  clients.pop_back();
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 2; }));
  RawClient again(server.port());
  again.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(again.ReadReply().status, 200);
}

TEST(HttpServer, HoldsManyIdleConnections) {
  TestServer server(Echo);
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_GE(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 65535));
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    ASSERT_TRUE(clients.back()->connected());
  }
  ASSERT_TRUE(WaitUntil([&] { return server->connections() == 500; }));
  for (auto& client : clients) client->Send("GET /i HTTP/1.1\r\n\r\n");
  for (auto& client : clients) EXPECT_EQ(client->ReadReply().body, "GET /i []");
  clients.clear();
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
}

TEST(HttpCors, EchoesTheOriginAndAnswersPreflights) {
  TestServer server(Echo);
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\nOrigin: http://a.example\r\n\r\n");
  RawReply reply = client.ReadReply();
  EXPECT_TRUE(reply.Has("access-control-allow-origin: http://a.example"));
  EXPECT_TRUE(reply.Has("access-control-allow-credentials: true"));
  EXPECT_TRUE(reply.Has("vary: Origin"));
  client.Send(
      "OPTIONS /v1/x HTTP/1.1\r\nOrigin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: authorization,x-y\r\n\r\n");
  reply = client.ReadReply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "OK");
  EXPECT_TRUE(reply.Has("access-control-allow-methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"));
  EXPECT_TRUE(reply.Has("access-control-allow-headers: authorization,x-y"));
  EXPECT_TRUE(reply.Has("access-control-allow-origin: http://a.example"));
  client.Send("OPTIONS /v1/x HTTP/1.1\r\n\r\n");  // no preflight: the handler's
  reply = client.ReadReply();
  EXPECT_EQ(reply.body, "OPTIONS /v1/x []");
  EXPECT_EQ(reply.head.find("access-control"), std::string::npos);
}

TEST(HttpServer, StopAcceptingDrains) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient busy(server.port()), streaming(server.port()), idle(server.port()), partial(server.port());
  busy.Send("GET /busy HTTP/1.1\r\n\r\n");
  const ExchangePtr busy_exchange = shelf.Take();
  streaming.Send("GET /streaming HTTP/1.1\r\n\r\n");
  const ExchangePtr stream = shelf.Take();
  stream->StartStream("text/plain");
  streaming.ReadUntil("\r\n\r\n");
  idle.Send("GET /idle HTTP/1.1\r\n\r\n");
  Echo(shelf.Take());
  EXPECT_EQ(idle.ReadReply().status, 200);
  // 100 Continue proves that the server is in the middle of this request.
  partial.Send("POST /partial HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  partial.ReadUntil("\r\n\r\n");

  server->StopAccepting();
  EXPECT_TRUE(idle.AtEnd());
  RawClient late(server.port());
  EXPECT_FALSE(late.connected());
  partial.Send("abc");
  EXPECT_EQ(partial.ReadReply().status, 503);
  Echo(busy_exchange);
  const RawReply reply = busy.ReadReply();
  EXPECT_EQ(reply.body, "GET /busy []");
  EXPECT_TRUE(reply.Has("connection: close"));
  stream->Write("still here");
  stream->EndStream();
  EXPECT_EQ(streaming.ReadUntil("0\r\n\r\n"), "a\r\nstill here\r\n0\r\n\r\n");
  for (RawClient* client : {&busy, &streaming, &partial}) client->Close();
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
}

TEST(HttpServer, StopClosesOpenStreamsAndExchangesOutliveTheServer) {
  Shelf shelf;
  TestServer server(shelf.handler());
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<ExchangePtr> exchanges;
  std::atomic<int> closed{0};
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    clients.back()->Send("GET / HTTP/1.1\r\n\r\n");
    exchanges.push_back(shelf.Take());
    exchanges.back()->OnClose([&] { ++closed; });
    if (i % 2 == 0) exchanges.back()->StartStream("text/plain");
  }
  server->PostAfter(std::chrono::hours(1), [] { FAIL(); });  // must not hold Run back
  server.Destroy();
  EXPECT_EQ(closed, 20);
  for (auto& exchange : exchanges) {
    EXPECT_TRUE(exchange->closed());
    exchange->Write("x");
    exchange->Send(200, "text/plain", "x");
    bool called = false;
    exchange->OnClose([&] { called = true; });
    EXPECT_TRUE(called);
    exchange.reset();
  }
  for (auto& client : clients) {
    client->ReadToEnd();
    EXPECT_FALSE(client->timed_out);
  }
}

TEST(HttpServer, DestroyedWithoutRunning) {
  HttpServerConfig config;
  config.port = 0;
  HttpServer server(config, Echo);
  ASSERT_TRUE(server.Listen().ok());
  RawClient client(server.port());
  server.Post([] { FAIL(); });
  server.PostAfter(milliseconds(0), [] { FAIL(); });
}

TEST(HttpServer, StopBeforeRunEndsRun) {
  HttpServerConfig config;
  config.port = 0;
  HttpServer server(config, Echo);
  ASSERT_TRUE(server.Listen().ok());
  server.Stop();
  server.Run();
}

TEST(HttpServer, PostRunsOnTheHttpThread) {
  std::promise<std::thread::id> handler_thread;
  TestServer server([&](const ExchangePtr& e) {
    handler_thread.set_value(std::this_thread::get_id());
    Echo(e);
  });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  client.ReadReply();
  const std::thread::id expected = handler_thread.get_future().get();
  std::promise<std::thread::id> posted, delayed;
  server->Post([&] { posted.set_value(std::this_thread::get_id()); });
  server->PostAfter(milliseconds(5), [&] { delayed.set_value(std::this_thread::get_id()); });
  EXPECT_EQ(posted.get_future().get(), expected);
  EXPECT_EQ(delayed.get_future().get(), expected);
}

TEST(HttpServer, ListenErrorsNameHostPortAndReason) {
  TestServer first(Echo);
  HttpServerConfig config;
  config.port = first.port();
  const Status status = HttpServer(config, Echo).Listen();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "cannot listen on 127.0.0.1:" + std::to_string(first.port()) + ": address already in use");
  config.host = "no host";
  EXPECT_FALSE(HttpServer(config, Echo).Listen().ok());
}

TEST(HttpServer, ListensOnNamesAndWildcards) {
  for (const char* host : {"localhost", "0.0.0.0", ""}) {
    SCOPED_TRACE(host);
    HttpServerConfig config;
    config.host = host;
    TestServer server(Echo, config);
    ASSERT_NE(server.port(), 0);
    RawClient client(server.port());
    client.Send("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(client.ReadReply().status, 200);
  }
}

TEST(HttpServer, Ipv6WildcardAlsoTakesIpv4) {
  const int probe = socket(AF_INET6, SOCK_STREAM, 0);
  if (probe < 0) return;  // a machine without IPv6
  close(probe);
  HttpServerConfig config;
  config.host = "::";
  TestServer server(Echo, config);
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.ReadReply().status, 200);
}

// The server goes while others write to it.
TEST(HttpServer, StopWhileOthersWrite) {
  for (int round = 0; round < 10; ++round) {
    Shelf shelf;
    TestServer server(shelf.handler());
    std::vector<std::unique_ptr<RawClient>> clients;
    std::vector<std::thread> writers;
    std::atomic<int> closed{0};
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<RawClient>(server.port()));
      clients.back()->Send("GET / HTTP/1.1\r\n\r\n");
      writers.emplace_back([&, exchange = shelf.Take()] {
        exchange->OnClose([&] { ++closed; });
        exchange->StartStream("text/plain");
        EXPECT_TRUE(WaitUntil([&] {
          for (int k = 0; k < 100; ++k) exchange->Write("data");
          return exchange->closed();
        }));
      });
    }
    clients[0]->ReadUntil("data");
    server.Destroy();
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(closed, 4);
  }
}

}  // namespace
}  // namespace sgl
