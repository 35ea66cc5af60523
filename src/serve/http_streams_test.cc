// SPDX-License-Identifier: Apache-2.0
#include "serve/http_streams.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "serve/http_test_kit.h"

namespace sgl {
namespace {

using http_test::ExchangePtr;

struct Parsed {
  std::string body;
  Status status;
  HttpReplyParser parser;
};
// The reply in pieces of `piece` bytes.
Parsed Parse(std::string_view reply, size_t piece) {
  Parsed out;
  for (size_t at = 0; at < reply.size() && out.status.ok(); at += piece)
    out.status = out.parser.Feed(reply.substr(at, piece), [&](std::string_view p) { out.body += p; });
  return out;
}

TEST(HttpReplyParser, EveryFormOfBodyHoweverItIsCut) {
  const std::pair<const char*, const char*> cases[] = {
      {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nt: r\r\n\r\n",
       "abc0123456789abcdef"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", "no"},
      {"HTTP/1.1 204 Nothing\r\n\r\n", ""},
  };
  for (const auto& [reply, body] : cases)
    for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, size_t{1000}}) {
      const Parsed parsed = Parse(reply, piece);
      EXPECT_TRUE(parsed.status.ok()) << reply;
      EXPECT_TRUE(parsed.parser.done()) << reply;
      EXPECT_EQ(parsed.body, body);
    }
}

TEST(HttpReplyParser, BodyToTheEndOfTheConnection) {
  const Parsed parsed = Parse("HTTP/1.0 200 OK\r\n\r\nabc", 4);
  EXPECT_EQ(parsed.body, "abc");
  EXPECT_FALSE(parsed.parser.done());
  EXPECT_TRUE(parsed.parser.End().ok());
}

TEST(HttpReplyParser, BrokenReplies) {
  for (const char* reply :
       {"SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: zip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n"})
    EXPECT_FALSE(Parse(reply, 3).status.ok()) << reply;
  EXPECT_FALSE(Parse("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", 3).parser.End().ok());
  EXPECT_FALSE(HttpReplyParser().End().ok());
}

TEST(HttpStreams, ManyStreamsInterleaveOnOneThread) {
  constexpr int kStreams = 40;
  http_test::Shelf shelf;
  http_test::TestServer server(shelf.handler());
  Result<std::unique_ptr<HttpStreams>> streams = HttpStreams::Create("localhost", server.port());
  ASSERT_TRUE(streams.ok());
  std::vector<std::string> bodies(kStreams);
  int ended = 0;
  for (int i = 0; i < kStreams; ++i)
    (*streams)->Start("POST", "/x", {}, std::to_string(i),
                      {[&bodies, i](std::string_view piece) { bodies[static_cast<size_t>(i)] += piece; },
                       [&ended](int status, const Status& how) {
                         EXPECT_EQ(status, 200);
                         EXPECT_TRUE(how.ok());
                         ++ended;
                       }});
  EXPECT_EQ((*streams)->open(), static_cast<size_t>(kStreams));
  for (int i = 0; i < 20; ++i) (*streams)->Poll(std::chrono::milliseconds(1));
  std::vector<ExchangePtr> exchanges;
  for (int i = 0; i < kStreams; ++i) {
    exchanges.push_back(shelf.Take());
    exchanges.back()->StartStream("text/plain");
  }
  for (int round = 0; round < 3; ++round)
    for (const ExchangePtr& exchange : exchanges) exchange->Write(exchange->request().body + ",");
  for (const ExchangePtr& exchange : exchanges) exchange->EndStream();
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(http_test::kPatienceMs);
  while ((*streams)->open() > 0 && std::chrono::steady_clock::now() < limit) (*streams)->Poll(std::chrono::milliseconds(10));
  EXPECT_EQ(ended, kStreams);
  for (int i = 0; i < kStreams; ++i) EXPECT_EQ(bodies[static_cast<size_t>(i)], fmt::format("{0},{0},{0},", i));
}

TEST(HttpStreams, ServerThatIsNotThere) {
  uint16_t port = 0;
  { port = http_test::TestServer(http_test::Echo).port(); }
  EXPECT_FALSE(HttpStreams::Create("127.0.0.1", port).ok());
}

TEST(HttpStreams, ConnectionThatBreaksEndsInAnError) {
  http_test::Shelf shelf;
  http_test::TestServer server(shelf.handler());
  Result<std::unique_ptr<HttpStreams>> streams = HttpStreams::Create("127.0.0.1", server.port());
  ASSERT_TRUE(streams.ok());
  bool broken = false, over = false;
  (*streams)->Start("POST", "/", {}, "x", {[](std::string_view) {}, [&](int, const Status& how) { broken = !how.ok(), over = true; }});
  for (int i = 0; i < 20; ++i) (*streams)->Poll(std::chrono::milliseconds(1));
  ExchangePtr exchange = shelf.Take();
  exchange->StartStream("text/plain");
  exchange->Write("half");
  exchange.reset();  // dropped in mid-stream
  for (int i = 0; i < 2000 && !over; ++i) (*streams)->Poll(std::chrono::milliseconds(10));
  EXPECT_TRUE(broken);
}

}  // namespace
}  // namespace sgl
