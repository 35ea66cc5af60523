// Replies, streams and clients that leave: what HttpExchange promises.
// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "serve/http_server.h"
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

TEST(HttpStream, EachWriteIsOneChunkInOrder) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  const ExchangePtr exchange = shelf.Take();
  exchange->StartStream("text/event-stream", {{"X-Extra", "1"}});
  const std::string head = client.ReadUntil("\r\n\r\n");
  EXPECT_NE(head.find("transfer-encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(head.find("X-Extra: 1\r\n"), std::string::npos);
  EXPECT_EQ(head.find("content-length"), std::string::npos);
  exchange->Write("data: a\n\n");
  EXPECT_EQ(client.ReadBytes(14), "9\r\ndata: a\n\n\r\n");  // it comes at once, with nothing behind it
  exchange->Write("");
  for (int i = 0; i < 3; ++i) exchange->Write("chunk" + std::to_string(i));
  exchange->EndStream();
  EXPECT_EQ(client.ReadUntil("0\r\n\r\n"), "6\r\nchunk0\r\n6\r\nchunk1\r\n6\r\nchunk2\r\n0\r\n\r\n");
  client.Send("GET /next HTTP/1.1\r\n\r\n");
  Echo(shelf.Take());
  EXPECT_EQ(client.ReadReply().body, "GET /next []");
}

TEST(HttpStream, Http10StreamsUntilClose) {
  TestServer server([](const ExchangePtr& e) {
    e->StartStream("text/plain");
    e->Write("one ");
    e->Write("two");
    e->EndStream();
  });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string head = client.ReadUntil("\r\n\r\n");
  EXPECT_EQ(head.find("transfer-encoding"), std::string::npos);
  EXPECT_NE(head.find("connection: close\r\n"), std::string::npos);
  EXPECT_EQ(client.ReadToEnd(), "one two");
}

TEST(HttpStream, HeadGetsNoChunks) {
  TestServer server([](const ExchangePtr& e) {
    e->StartStream("text/plain");
    e->Write("x");
    e->EndStream();
  });
  RawClient client(server.port());
  client.Send("HEAD / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.ReadReply(false).status, 200);
  EXPECT_EQ(client.ReadReply(false).status, 200);
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpStream, DroppedInMidStreamEndsWithoutTheLastChunk) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  ExchangePtr exchange = shelf.Take();
  exchange->StartStream("text/plain");
  exchange->Write("x");
  exchange.reset();
  client.ReadUntil("\r\n\r\n");
  EXPECT_EQ(client.ReadToEnd(), "1\r\nx\r\n");
  EXPECT_FALSE(client.timed_out);
}

TEST(HttpExchange, DroppedWithoutReplyIsA500) {
  TestServer server([](const ExchangePtr&) {});
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
  for (int i = 0; i < 2; ++i) {
    const RawReply reply = client.ReadReply();
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.body, R"({"object":"error","message":"Internal Server Error","type":"Internal Server Error","param":null,"code":500})");
  }
}

TEST(HttpExchange, OnlyTheFirstReplyCounts) {
  TestServer server([](const ExchangePtr& e) {
    e->Write("too early");
    e->Send(200, "text/plain", "first");
    e->Send(200, "text/plain", "second");
    e->StartStream("text/plain");
    e->EndStream();
  });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.ReadReply().body, "first");
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpExchange, HeaderValuesCannotInjectHeaders) {
  TestServer server([](const ExchangePtr& e) {
    e->Send(200, "text/plain", "", {{"x-id", "a\r\nset-cookie: evil"}, {"content-length", "9"}});
  });
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  const RawReply reply = client.ReadReply();
  EXPECT_EQ(reply.head.find("\r\nset-cookie"), std::string::npos);
  EXPECT_TRUE(reply.Has("content-length: 0"));
}

struct Leaving {
  const char* name;
  std::function<void(RawClient&)> leave;
};

TEST(HttpOnClose, FiresOnceWhenTheClientLeaves) {
  Shelf shelf;
  TestServer server(shelf.handler());
  const Leaving ways[] = {{"close", [](RawClient& c) { c.Close(); }},
                          {"reset", [](RawClient& c) { c.Reset(); }},
                          {"half close", [](RawClient& c) { c.FinishSending(); }},
                          {"half close after blank lines", [](RawClient& c) { c.Send("\r\n"), c.FinishSending(); }}};
  for (const Leaving& way : ways) {
    for (const bool streaming : {false, true}) {
      SCOPED_TRACE(std::string(way.name) + (streaming ? ", stream" : ""));
      RawClient client(server.port());
      client.Send("GET / HTTP/1.1\r\n\r\n");
      const ExchangePtr exchange = shelf.Take();
      std::atomic<int> closed{0}, late{0};
      exchange->OnClose([&] { ++closed; });
      if (streaming) {
        exchange->StartStream("text/plain");
        client.ReadUntil("\r\n\r\n");
      }
      EXPECT_FALSE(exchange->closed());
      way.leave(client);
      EXPECT_TRUE(WaitUntil([&] { return closed == 1; }));
      EXPECT_TRUE(exchange->closed());
      exchange->OnClose([&] { ++late; });  // already gone: at once
      EXPECT_TRUE(WaitUntil([&] { return late == 1; }));
      exchange->Write("ignored");
      exchange->Send(200, "text/plain", "ignored");
      exchange->EndStream();
      EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
      EXPECT_EQ(closed, 1);
    }
  }
}

TEST(HttpOnClose, IsCalledEvenIfTheServerStopsFirst) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient client(server.port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  const ExchangePtr exchange = shelf.Take();
  client.Reset();
  ASSERT_TRUE(WaitUntil([&] { return exchange->closed(); }));
  std::promise<void> go;
  server->Post([ready = go.get_future().share()] { ready.wait(); });
  server->Stop();
  std::atomic<int> closed{0};
  exchange->OnClose([&] { ++closed; });  // queued behind the stop
  go.set_value();
  server.Destroy();
  EXPECT_EQ(closed, 1);
}

TEST(HttpOnClose, NotAfterCompletion) {
  std::atomic<int> closed{0};
  std::vector<std::weak_ptr<int>> owned;
  TestServer server([&](const ExchangePtr& e) {
    auto token = std::make_shared<int>(1);
    owned.push_back(token);
    e->OnClose([&closed, token] { ++closed; });
    if (e->request().path == "/stream") {
      e->StartStream("text/plain");
      e->EndStream();
    } else {
      e->Send(200, "text/plain", std::string(1 << 20, 'x'));
    }
  });
  for (const char* path : {"/", "/stream"}) {
    RawClient client(server.port());
    client.Send(std::string("GET ") + path + " HTTP/1.1\r\n\r\n");
    client.ReadUntil("\r\n\r\n");
    client.Reset();
    EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
  }
  server.Destroy();
  EXPECT_EQ(closed, 0);
  for (const auto& token : owned) EXPECT_TRUE(token.expired());
}

TEST(HttpOnClose, PipelinedBytesKeepAHalfClosedClientAlive) {
  Shelf shelf;
  TestServer server(shelf.handler());
  RawClient client(server.port());
  client.Send("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4");
  client.FinishSending();
  for (int i = 1; i <= 3; ++i) {
    const ExchangePtr exchange = shelf.Take();
    ASSERT_TRUE(exchange);
    // The end of input arrives with the requests; with the last one answered nothing keeps the connection.
    Echo(exchange);
    EXPECT_EQ(client.ReadReply().body, "GET /" + std::to_string(i) + " []");
  }
  EXPECT_TRUE(client.AtEnd());
}

TEST(HttpOnClose, SlowReaderIsDropped) {
  HttpServerConfig config;
  config.max_pending_write_bytes = 1 << 20;
  Shelf shelf;
  TestServer server(shelf.handler(), config);
  RawClient client(server.port(), 4096);
  client.Send("GET / HTTP/1.1\r\n\r\n");
  const ExchangePtr exchange = shelf.Take();
  std::atomic<int> closed{0};
  exchange->OnClose([&] { ++closed; });
  exchange->StartStream("text/plain");
  const std::string chunk(64 << 10, 'x');
  size_t written = 0;
  EXPECT_TRUE(WaitUntil([&] {
    exchange->Write(chunk);
    written += chunk.size();
    return closed == 1;
  }));
  // What the kernel takes on loopback (some MB) and our limit; far less than an unbounded queue would have swallowed.
  EXPECT_TRUE(exchange->closed());
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
  EXPECT_GT(written, size_t{1} << 20);
  EXPECT_LT(written, size_t{64} << 20);
}

TEST(HttpOnClose, ReaderOfACompleteReplyTimesOut) {
  HttpServerConfig config;
  config.write_timeout = milliseconds(100);
  TestServer server([](const ExchangePtr& e) { e->Send(200, "text/plain", std::string(size_t{32} << 20, 'x')); }, config);
  RawClient client(server.port(), 4096);
  client.Send("GET / HTTP/1.1\r\n\r\n");
  client.ReadUntil("\r\n\r\n");  // and not the body
  EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
}

// Replies from other threads while the client vanishes at any moment.
TEST(HttpExchange, RacesBetweenRepliesAndLeavingClients) {
  constexpr int kRounds = 300;
  std::atomic<int> live{0};
  std::mutex mutex;
  std::vector<std::thread> threads;
  {
    TestServer server([&](ExchangePtr exchange) {
      std::lock_guard lock(mutex);
      ++live;
      threads.emplace_back([&live, exchange = std::move(exchange)]() mutable {
        const auto closed = std::make_shared<std::atomic<int>>(0);
        exchange->OnClose([closed] { ++*closed; });
        if (exchange->request().query == "stream") {
          exchange->StartStream("text/event-stream");
          for (int i = 0; i < 50; ++i) exchange->Write("data: x\n\n");
          if (exchange->request().path != "/drop") exchange->EndStream();
        } else if (exchange->request().path != "/drop") {
          exchange->Send(200, "text/plain", std::string(100, 'x'));
        }
        const bool gone = exchange->closed();
        if (gone) {
          EXPECT_TRUE(WaitUntil([&] { return *closed == 1; }));
        }
        exchange.reset();
        EXPECT_LE(*closed, 1);
        --live;
      });
    });
    std::mt19937 random(20240607);
    for (int i = 0; i < kRounds; ++i) {
      RawClient client(server.port());
      client.Send(std::string("GET ") + (random() % 4 == 0 ? "/drop" : "/") + (random() % 2 == 0 ? "?stream" : "") + " HTTP/1.1\r\n\r\n");
      const unsigned way = random() % 4;
      if (way == 0) client.ReadSome();
      if (way == 1) client.ReadUntil("\r\n\r\n");
      random() % 2 == 0 ? client.Reset() : client.Close();
    }
    EXPECT_TRUE(WaitUntil([&] { return server->connections() == 0; }));
    EXPECT_TRUE(WaitUntil([&] { return live == 0; }));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sgl
