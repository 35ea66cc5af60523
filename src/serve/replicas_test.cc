// SPDX-License-Identifier: Apache-2.0
#include "serve/replicas.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "engine/engine_test_kit.h"
#include "engine/load.h"

namespace sgl {
namespace {

constexpr auto kMinute = std::chrono::seconds(60);

std::unique_ptr<Replicas> StartReplicas(int count, LoadBalance method = LoadBalance::kRoundRobin) {
  EngineConfig config = Config();
  config.dp_size = count;
  config.threads = 1;
  Result<std::vector<std::unique_ptr<Engine>>> engines = Engine::CreateReplicas(config);
  EXPECT_TRUE(engines.ok()) << (engines.ok() ? "" : engines.error().message);
  return std::make_unique<Replicas>(*std::move(engines), method);
}

Result<std::string> Control(Replicas& replicas, ControlRequest request) {
  std::promise<Result<std::string>> answer;
  replicas.Control(std::move(request), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
  return answer.get_future().get();
}

bool Flush(Replicas& replicas) {
  std::promise<bool> answer;
  replicas.FlushCache(kMinute, [&](bool done) { answer.set_value(done); });
  return answer.get_future().get();
}

GenerateRequest To(int rank, int which, int64_t tokens) {
  GenerateRequest request = Request(which, tokens);
  request.dp_rank = rank;
  return request;
}

TEST(LoadBalance, Names) {
  EXPECT_EQ(*ParseLoadBalance("auto"), LoadBalance::kRoundRobin);
  EXPECT_EQ(*ParseLoadBalance("shortest_queue"), LoadBalance::kTotalRequests);
  EXPECT_EQ(*ParseLoadBalance("total_tokens"), LoadBalance::kTotalTokens);
  EXPECT_NE(ParseLoadBalance("fastest").error().message.find("'fastest'"), std::string::npos);
}

TEST(LoadBalance, Chooses) {
  const std::vector<EngineLoad> loads = {{2, 10}, {1, 30}, {1, 10}};
  EXPECT_EQ(ChooseReplica(LoadBalance::kRoundRobin, loads, 4), 1u);
  EXPECT_EQ(ChooseReplica(LoadBalance::kTotalRequests, loads, 4), 1u) << "of equals the first";
  EXPECT_EQ(ChooseReplica(LoadBalance::kTotalTokens, loads, 4), 2u) << "of equals the one with fewer requests";
}

TEST(Replicas, ShareTheirWeightsAndNothingElse) {
  EngineConfig config = Config();
  config.dp_size = 2;
  config.threads = 1;
  config.sched.max_running_requests = 9;
  Result<std::vector<LoadedModel>> loaded = LoadReplicas(config);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  ASSERT_EQ(loaded->size(), 2u);
  EXPECT_EQ((*loaded)[0].model.get(), (*loaded)[1].model.get());
  EXPECT_NE((*loaded)[0].cache.get(), (*loaded)[1].cache.get());
  EXPECT_EQ((*loaded)[1].info.max_total_tokens, 2048);
  EXPECT_EQ((*loaded)[1].info.max_running_requests, 4) << "dealt out";
}

TEST(Replicas, AnswerAsOneEngineDoesWhicheverComputes) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(Request(i, 12));
  std::vector<Reply> alone;
  {
    auto engine = Start(Config());
    alone = RunTogether(*engine, requests);
  }
  auto replicas = StartReplicas(3);
  std::vector<Collector> collectors(requests.size());
  std::vector<int> taken(3, 0);
  std::set<uint64_t> ids;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Result<RequestId> id = replicas->Submit(requests[i], collectors[i].sink());
    ASSERT_TRUE(id.ok());
    ++taken[static_cast<size_t>(*replicas->RankOf(*id))];
    ids.insert(Index(*id));
  }
  for (size_t i = 0; i < requests.size(); ++i)
    if (requests[i].sampling.temperature == 0) ExpectSame(collectors[i].Wait(), alone[i], "on replica");
  for (Collector& c : collectors) EXPECT_EQ(c.Wait().finishes, 1);
  EXPECT_EQ(taken, (std::vector<int>{3, 3, 2}));
  EXPECT_EQ(ids.size(), requests.size());
  EXPECT_TRUE(Flush(*replicas));
  for (const EngineStats& stats : replicas->stats()) EXPECT_GT(stats.tokens_produced, 0);
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(replicas->engine(rank).load().requests, 0);
    EXPECT_EQ(replicas->engine(rank).load().tokens, 0);
  }
}

TEST(Replicas, ARequestGoesWhereItSaysOrWhereThereIsLeastToDo) {
  auto replicas = StartReplicas(2, LoadBalance::kTotalTokens);
  ASSERT_TRUE(Control(*replicas, SlowDown{0.002}).ok());
  Collector first, second, third;
  const Result<RequestId> a = replicas->Submit(To(1, 29, 200), first.sink());
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(replicas->RankOf(*a), 1);
  EXPECT_GE(replicas->engine(1).load().tokens, 34);
  const Result<RequestId> b = replicas->Submit(Request(1, 200), second.sink());  // six tokens
  EXPECT_EQ(replicas->RankOf(*b), 0);
  const Result<RequestId> c = replicas->Submit(Request(2, 200), third.sink());  // those six and what came out so far are still less
  EXPECT_EQ(replicas->RankOf(*c), 0);
  EXPECT_EQ(replicas->Submit(To(2, 1, 1), [](TokenDelta) {}).error().message, "routed_dp_rank must be in [0, 1], got 2.");

  GenerateRequest twin = To(0, 1, 1);
  twin.rid = "twin";
  GenerateRequest other = To(1, 1, 1);
  other.rid = "twin";
  Collector ended;
  ASSERT_TRUE(replicas->Submit(twin, ended.sink()).ok());
  EXPECT_FALSE(replicas->Submit(other, [](TokenDelta) {}).ok()) << "a rid is one request's, wherever it runs";
  (void)ended.Wait();
  replicas->Abort(*a);
  EXPECT_EQ(first.Wait().finish->kind, FinishKind::kAbort);
  replicas->AbortAll();
  EXPECT_EQ(second.Wait().finish->kind, FinishKind::kAbort);
  EXPECT_EQ(third.Wait().finish->kind, FinishKind::kAbort);
}

TEST(Replicas, AnOperationReachesAll) {
  auto replicas = StartReplicas(2);
  ASSERT_TRUE(Control(*replicas, PauseGeneration{PauseMode::kInPlace}).ok());
  for (const EngineStats& stats : replicas->stats()) EXPECT_TRUE(stats.paused);
  ASSERT_TRUE(Control(*replicas, ContinueGeneration{}).ok());
  for (const EngineStats& stats : replicas->stats()) EXPECT_FALSE(stats.paused);
  ASSERT_TRUE(Control(*replicas, SetWeightVersion{.version = "v9"}).ok());
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(replicas->engine(rank).info().weight_version, "v9");
  const Result<std::string> refused = Control(*replicas, LimitRunningRequests{1000});
  EXPECT_FALSE(refused.ok());
  EXPECT_FALSE(Sum(replicas->stats()).paused);
}

TEST(Replicas, ASessionLivesOnOneOfThem) {
  auto replicas = StartReplicas(2);
  for (int i = 0; i < 4; ++i) {
    const Result<std::string> id = Control(*replicas, OpenSession{});
    ASSERT_TRUE(id.ok());
    GenerateRequest first = Request(3, 4);
    first.session = SessionParams{.id = *id};
    Collector one;
    const Result<RequestId> a = replicas->Submit(first, one.sink());
    ASSERT_TRUE(a.ok());
    EXPECT_EQ(one.Wait().finish->kind, FinishKind::kLength) << one.Wait().finish->message;
    GenerateRequest second = Request(4, 4);
    second.session = SessionParams{.id = *id, .rid = first.rid};
    second.dp_rank = 1 - *replicas->RankOf(*a);
    EXPECT_NE(replicas->Submit(second, [](TokenDelta) {}).error().message.find("lives on rank"), std::string::npos);
    second.dp_rank.reset();
    Collector two;
    ASSERT_TRUE(replicas->Submit(second, two.sink()).ok());
    EXPECT_EQ(two.Wait().finish->kind, FinishKind::kLength);
    EXPECT_EQ(two.Wait().prompt_tokens, static_cast<int64_t>(first.prompt.size() + 4 + second.prompt.size()));
    EXPECT_TRUE(Control(*replicas, CloseSession{*id}).ok());
  }
}

TEST(Replicas, NewWeightsComeToAllOrToNone) {
  auto replicas = StartReplicas(2);
  ASSERT_TRUE(Control(*replicas, SlowDown{0.005}).ok());
  const std::string path = Config().model_path;
  Collector busy;
  ASSERT_TRUE(replicas->Submit(To(0, 1, 40), busy.sink()).ok());
  busy.WaitForTokens(2);
  const Result<std::string> done = Control(*replicas, UpdateWeights{.model_path = path, .weight_version = "v2"});
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(busy.Wait().finish->kind, FinishKind::kLength) << "it ended before";
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(replicas->engine(rank).info().weight_version, "v2");

  // One of them cannot: it is paused with a request that holds KV cache.
  Collector held;
  ASSERT_TRUE(replicas->Submit(To(0, 1, 40), held.sink()).ok());
  held.WaitForTokens(2);
  ASSERT_TRUE(Control(*replicas, PauseGeneration{PauseMode::kInPlace}).ok());
  const Result<std::string> refused = Control(*replicas, UpdateWeights{.model_path = path, .weight_version = "v3"});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("flush_cache"), std::string::npos);
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(replicas->engine(rank).info().weight_version, "v2");
  ASSERT_TRUE(Control(*replicas, ContinueGeneration{}).ok());
  EXPECT_EQ(held.Wait().finish->kind, FinishKind::kLength);

  EXPECT_FALSE(Control(*replicas, UpdateWeights{.model_path = "/nowhere"}).ok());
  Collector last[2];
  for (int rank = 0; rank < 2; ++rank) ASSERT_TRUE(replicas->Submit(To(rank, 2, 4), last[rank].sink()).ok());
  for (Collector& c : last) EXPECT_EQ(c.Wait().finish->kind, FinishKind::kLength);
}

TEST(Replicas, AShutdownWaitsForAll) {
  auto replicas = StartReplicas(2);
  ASSERT_TRUE(Control(*replicas, SlowDown{0.005}).ok());
  Collector c[2];
  for (int rank = 0; rank < 2; ++rank) ASSERT_TRUE(replicas->Submit(To(rank, 1, 30 + 30 * rank), c[rank].sink()).ok());
  EXPECT_FALSE(replicas->Drain(std::chrono::milliseconds(1)));
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(replicas->Submit(To(rank, 1, 1), [](TokenDelta) {}).error().code, Code::kUnavailable);
  EXPECT_TRUE(replicas->Drain(kMinute));
  for (Collector& one : c) EXPECT_EQ(one.Wait().finish->kind, FinishKind::kLength);
}

}  // namespace
}  // namespace sgl
