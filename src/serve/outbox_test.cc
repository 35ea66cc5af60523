// Memory that runs out on the way from the engine to a reply: nobody's delta may get lost with it.
// SPDX-License-Identifier: Apache-2.0
#include "serve/outbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "serve/http_reply.h"

namespace sgl {
namespace {

struct Taker : DeltaTaker {
  std::vector<int64_t> taken;
  std::vector<std::string> refused;
  bool broken = false;
  void OnDelta(size_t, TokenDelta delta) override {
    if (broken) throw std::bad_alloc();
    taken.push_back(delta.completion_tokens);
  }
  void OnRefused(size_t, Error error) override { refused.push_back(error.message); }
};

TokenDelta Delta(int64_t number) {
  TokenDelta delta;
  delta.completion_tokens = number;
  return delta;
}

TEST(Outbox, APostThatFailsIsTriedAgain) {
  int failures = 2;
  std::vector<std::function<void()>> tasks;
  const auto outbox = std::make_shared<Outbox>([&](std::function<void()> task) {
    if (failures-- > 0) throw std::bad_alloc();
    tasks.push_back(std::move(task));
  });
  const auto taker = std::make_shared<Taker>();
  outbox->Push(taker, 0, Delta(1));
  outbox->Push(taker, 0, Delta(2));
  ASSERT_EQ(tasks.size(), 1U);
  tasks[0]();
  EXPECT_EQ(taker->taken, (std::vector<int64_t>{1, 2}));
}

TEST(Outbox, WhoCannotTakeADeltaIsToldAndTheOthersGetTheirs) {
  std::function<void()> task;
  const auto outbox = std::make_shared<Outbox>([&](std::function<void()> posted) { task = std::move(posted); });
  const auto broken = std::make_shared<Taker>(), whole = std::make_shared<Taker>();
  broken->broken = true;
  outbox->Push(broken, 0, Delta(1));
  outbox->Push(whole, 0, Delta(2));
  task();
  ASSERT_EQ(broken->refused.size(), 1U);
  EXPECT_NE(broken->refused[0].find("could not be written"), std::string::npos) << broken->refused[0];
  EXPECT_EQ(whole->taken, std::vector<int64_t>{2});
}

struct FailingLoop : HttpLoop {
  int failures = 0;
  std::vector<std::function<void()>> tasks;
  bool Post(std::function<void()> task) override {
    if (failures-- > 0) throw std::bad_alloc();
    tasks.push_back(std::move(task));
    return true;
  }
  bool on_http_thread() const override { return false; }
};

TEST(HttpReply, AWakeUpThatFailsIsTriedAgain) {
  const auto loop = std::make_shared<FailingLoop>();
  HttpReply::Terms terms;
  terms.max_pending_bytes = 1 << 20;
  HttpReply reply(loop, {}, std::move(terms));
  std::string text, body;
  EXPECT_EQ(reply.Take(text, body), HttpReply::End::kOpen);  // the connection has looked
  loop->failures = 2;
  reply.StartStream("text/event-stream", {});
  reply.Write("data: a\n\n");
  reply.EndStream();
  EXPECT_EQ(loop->tasks.size(), 1U);
  EXPECT_EQ(reply.Take(text, body), HttpReply::End::kComplete);
  EXPECT_NE(text.find("9\r\ndata: a\n\n\r\n0\r\n\r\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace sgl
