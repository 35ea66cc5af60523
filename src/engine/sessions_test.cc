// SPDX-License-Identifier: Apache-2.0
#include "engine/sessions.h"

#include <gtest/gtest.h>

namespace sgl {
namespace {

using Tokens = std::vector<TokenId>;
constexpr TokenId kBos = 1;

// A client of one Sessions: joins requests, finishes them with an output.
class Client {
 public:
  Sessions sessions;
  TimePoint now{};
  std::vector<RequestId> aborted;

  std::string Open(OpenSession open = {.session_id = "s"}) {
    const auto id = sessions.Open(open, now);
    return id.ok() ? *id : id.error().message;
  }
  // The composed prompt, or the error as text in `error`.
  Tokens Join(const std::string& rid, Tokens prompt, SessionParams params) {
    GenerateRequest request;
    request.rid = rid;
    request.prompt = std::move(prompt);
    if (params.id.empty()) params.id = "s";
    request.session = std::move(params);
    aborted.clear();
    auto joined = sessions.Join(RequestId{++last_}, request, kBos, now, aborted, check);
    error = joined.ok() ? "" : joined.error().message;
    if (!joined.ok()) return {};
    node = *joined;
    return request.prompt;
  }
  void Finish(Tokens output) {
    node->output = std::move(output);
    node->finished_at = now;
  }
  std::function<Status(int64_t)> check = [](int64_t) { return Status(); };
  std::string error;
  std::shared_ptr<SessionNode> node;

 private:
  uint64_t last_ = 0;
};

SessionParams On(const char* rid) {
  SessionParams p;
  p.rid = rid;
  return p;
}

TEST(Sessions, AppendsPromptAndOutput) {
  Client c;
  EXPECT_EQ(c.Open(), "s");
  EXPECT_EQ(c.Join("a", {kBos, 10, 11}, {}), (Tokens{kBos, 10, 11}));
  c.Finish({20, 21});
  EXPECT_EQ(c.Join("b", {kBos, 12}, On("a")), (Tokens{kBos, 10, 11, 20, 21, 12})) << "the appended text loses its BOS";
  c.Finish({22});
  EXPECT_EQ(c.Join("c", {13}, On("b")), (Tokens{kBos, 10, 11, 20, 21, 12, 22, 13}));
  c.Finish({});
  EXPECT_EQ(c.Join("d", {14}, On("a")), (Tokens{kBos, 10, 11, 20, 21, 14})) << "a branch";
  c.Finish({});
  EXPECT_EQ(c.Join("e", {kBos, 15}, {}), (Tokens{kBos, 15})) << "without rid from the start";
}

TEST(Sessions, OffsetAndDropPreviousOutput) {
  Client c;
  c.Open();
  c.Join("a", {kBos, 10, 11}, {});
  c.Finish({20, 21});
  SessionParams p = On("a");
  p.offset = 2;
  EXPECT_EQ(c.Join("b", {30}, p), (Tokens{kBos, 10, 30}));
  p.offset = 100;
  EXPECT_EQ(c.Join("c", {30}, p), (Tokens{kBos, 10, 11, 20, 21, 30}));
  p.offset = 0;
  p.drop_previous_output = true;
  EXPECT_EQ(c.Join("d", {30}, p), (Tokens{kBos, 10, 11, 30}));
  p.offset = 4;
  EXPECT_EQ(c.Join("e", {30}, p), (Tokens{kBos, 10, 11, 30}));
}

TEST(Sessions, ReplaceAbortsAndForgetsWhatWasBuiltOnIt) {
  Client c;
  c.Open();
  c.Join("a", {10}, {});
  c.Finish({20});
  c.Join("b", {11}, On("a"));
  c.Finish({21});
  c.Join("c", {12}, On("b"));  // number 3, still running
  SessionParams replace = On("a");
  replace.replace = true;
  EXPECT_EQ(c.Join("d", {13}, replace), (Tokens{10, 20, 13}));
  EXPECT_EQ(c.aborted, (std::vector<RequestId>{RequestId{3}}));
  c.Finish({});
  c.Join("e", {14}, On("b"));
  EXPECT_EQ(c.error, "Invalid request session id: it has no request b");
  EXPECT_EQ(c.Join("f", {14}, On("d")), (Tokens{10, 20, 13, 14})) << "unfinished: number 6";

  SessionParams unfinished = On("f");
  c.Join("g", {15}, unfinished);
  EXPECT_EQ(c.error, "Session request is appending to a request that hasn't finished.");
  c.node->output = {40};  // so far
  unfinished.replace = true;
  EXPECT_EQ(c.Join("g", {15}, unfinished), (Tokens{10, 20, 13, 14, 40, 15}));
  EXPECT_EQ(c.aborted, (std::vector<RequestId>{RequestId{6}}));

  SessionParams all;
  all.replace = true;
  EXPECT_EQ(c.Join("h", {16}, all), (Tokens{16}));
  EXPECT_EQ(c.aborted.size(), 2u) << "f and g";
  c.Join("i", {17}, On("a"));
  EXPECT_NE(c.error, "");
}

TEST(Sessions, OpenAndClose) {
  Client c;
  EXPECT_EQ(c.Open(), "s");
  EXPECT_EQ(c.Open(), "session_id: session s is open already.");
  const std::string made_up = c.Open({}), another = c.Open({});
  EXPECT_EQ(made_up.size(), 32u);
  EXPECT_NE(made_up, another);
  EXPECT_NE(c.Open({.session_id = "x", .streaming = true}).find("streaming"), std::string::npos);
  EXPECT_NE(c.Open({.session_id = "x", .timeout_s = 0.0}).find("timeout"), std::string::npos);
  c.sessions.Close("s");
  c.sessions.Close("s");
  c.Join("a", {1}, {});
  EXPECT_EQ(c.error, "Invalid request: session id s does not exist");
  EXPECT_EQ(c.Open(), "s");
}

TEST(Sessions, IdleOnesTimeOut) {
  Client c;
  c.Open({.session_id = "s", .timeout_s = 5.0});
  c.Open({.session_id = "forever"});
  c.Join("a", {1}, {});
  c.now += std::chrono::seconds(100);
  c.sessions.Reap(c.now);
  EXPECT_EQ(c.sessions.size(), 2u) << "a request is running";
  c.Finish({});
  c.now += std::chrono::seconds(5);
  c.sessions.Reap(c.now);
  EXPECT_EQ(c.sessions.size(), 2u) << "five seconds are allowed";
  c.now += std::chrono::seconds(1);
  c.sessions.Reap(c.now);
  EXPECT_EQ(c.sessions.size(), 1u);
}

// Nobody has to wait for Reap, which comes round once a second.
TEST(Sessions, AreClosedAsSoonAsTheirTimeIsUp) {
  Client c;
  c.Open({.session_id = "s", .timeout_s = 5.0});
  c.Join("a", {1}, {});
  c.now += std::chrono::seconds(100);
  c.Finish({2});
  c.now += std::chrono::seconds(5);
  EXPECT_EQ(c.Join("b", {3}, On("a")), (Tokens{1, 2, 3})) << "idle since the request ended, not since it came";
  c.now += std::chrono::seconds(6);
  EXPECT_EQ(c.Join("c", {4}, On("a")), (Tokens{1, 2, 4})) << "b is running";
  c.Finish({});
  c.now += std::chrono::seconds(6);
  c.Join("d", {4}, On("a"));
  EXPECT_EQ(c.error, "") << "b still is";
}

TEST(Sessions, AnExpiredOneIsGone) {
  Client c;
  c.Open({.session_id = "s", .timeout_s = 5.0});
  c.Join("a", {1}, {});
  c.Finish({2});
  c.now += std::chrono::seconds(6);
  c.Join("b", {3}, On("a"));
  EXPECT_EQ(c.error, "Invalid request: session id s does not exist");
  EXPECT_EQ(c.Open({.session_id = "s", .timeout_s = 5.0}), "s") << "its name is free again";
  c.Join("b", {3}, On("a"));
  EXPECT_NE(c.error, "");
}

// Too long for the model: nothing that it would have replaced is aborted or forgotten.
TEST(Sessions, WhatTheEngineRefusesChangesNothing) {
  Client c;
  c.Open();
  c.Join("a", {1, 2, 3}, {});
  c.Finish({4});
  c.Join("b", {5}, On("a"));
  c.check = [](int64_t tokens) { return tokens > 5 ? Status(InvalidArgument("too long")) : Status(); };
  SessionParams replace = On("a");
  replace.replace = true;
  c.Join("c", {6, 7}, replace);
  EXPECT_EQ(c.error, "too long");
  EXPECT_TRUE(c.aborted.empty());
  c.Join("d", {6, 7}, On("c"));
  EXPECT_EQ(c.error, "Invalid request session id: it has no request c");
  EXPECT_EQ(c.Join("c", {6}, replace), (Tokens{1, 2, 3, 4, 6}));
  EXPECT_EQ(c.aborted, (std::vector<RequestId>{RequestId{2}}));
}

TEST(Sessions, Limits) {
  Client c;
  c.Open({.session_id = "s", .capacity_of_str_len = 4});
  c.Join("a", {1, 2, 3}, {});
  c.Finish({4});
  c.Join("b", {5}, On("a"));
  EXPECT_EQ(c.error, "The context (5 tokens) is larger than the session's capacity_of_str_len (4).");
  SessionParams replace = On("a");
  replace.replace = true;
  c.Join("b", {5}, replace);
  EXPECT_NE(c.error, "");
  EXPECT_EQ(c.Join("b", {}, On("a")), (Tokens{1, 2, 3, 4})) << "a refusal leaves the session as it was";

  Client many;
  std::string said;
  for (size_t i = 0; i <= Sessions::kMostSessions; ++i) said = many.Open({.session_id = std::to_string(i)});
  EXPECT_NE(said.find("4096 open sessions"), std::string::npos);

  Client big;
  big.Open();
  const Tokens half(Sessions::kMostTokens / 2, 7);
  big.Join("a", half, {});
  EXPECT_EQ(big.error, "");
  big.Join("b", half, {});
  EXPECT_EQ(big.error, "");
  big.Join("c", {1}, {});
  EXPECT_EQ(big.error, "The open sessions hold too many tokens; close some.");
  big.sessions.Close("s");
  big.Open();
  big.Join("e", half, {});
  EXPECT_EQ(big.error, "") << "closing gives the room back";
}

}  // namespace
}  // namespace sgl
