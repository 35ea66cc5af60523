// The engine under operation: sessions, pausing, new weights, limits; and when memory runs out in the middle.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <new>
#include <thread>

#include "base/allocation_hook.h"
#include "engine/engine_test_kit.h"
#include "engine/weights_update.h"

namespace {

// Failing allocations: on threads that asked for it the next `g_until_failure` allocations succeed, then `g_failures` fail.
thread_local bool t_may_fail = false;
std::atomic<int64_t> g_until_failure{-1}, g_failures{0};

void MayFail() {
  if (t_may_fail && g_until_failure.load() >= 0 && g_until_failure.fetch_sub(1) <= 0) {
    if (g_failures.fetch_sub(1) > 1) g_until_failure.store(0);
    throw std::bad_alloc();
  }
}

}  // namespace

namespace sgl {
namespace {

Result<std::string> Control(Engine& engine, ControlRequest request) {
  auto said = std::make_shared<std::promise<Result<std::string>>>();
  engine.Control(std::move(request), [said](Result<std::string> result) { said->set_value(std::move(result)); });
  return said->get_future().get();
}

bool Flush(Engine& engine) {
  auto flushed = std::make_shared<std::promise<bool>>();
  engine.FlushCache(std::chrono::milliseconds(0), [flushed](bool done) { flushed->set_value(done); });
  return flushed->get_future().get();
}

void ExpectAtRest(Engine& engine) {
  EXPECT_TRUE(Flush(engine));
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.sched.running + stats.sched.waiting, 0);
  EXPECT_EQ(stats.sched.used_tokens, 0);
}

GenerateRequest Greedy(std::vector<TokenId> prompt, int64_t max_new) {
  GenerateRequest r = Request(0, max_new);
  r.prompt = std::move(prompt);
  return r;
}

TEST(EngineControl, ASessionContinuesWhereItsLastRequestEnded) {
  EngineConfig config = Config();
  config.page_size = 16;
  auto engine = Start(config);
  ASSERT_EQ(*Control(*engine, OpenSession{.session_id = "s"}), "s");

  std::vector<TokenId> prompt(40);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<TokenId>(20 + i);
  GenerateRequest first = Greedy(prompt, 8);
  first.rid = "first";
  first.session = SessionParams{.id = "s"};
  const Reply a = RunOne(*engine, first);
  ASSERT_EQ(a.tokens.size(), 8u);

  GenerateRequest second = Greedy({100, 101, 102}, 8);
  second.session = SessionParams{.id = "s", .rid = "first"};
  const Reply b = RunOne(*engine, second);
  EXPECT_EQ(b.prompt_tokens, 40 + 8 + 3);
  EXPECT_GE(b.cached_tokens, 32) << "the tree has the context";

  prompt.insert(prompt.end(), a.tokens.begin(), a.tokens.end());
  prompt.insert(prompt.end(), {100, 101, 102});
  ExpectSame(b, RunOne(*engine, Greedy(prompt, 8)), "the same prompt by hand");

  GenerateRequest stranger = Greedy({5}, 8);
  stranger.session = SessionParams{.id = "nobody"};
  const Reply refused = RunOne(*engine, stranger);
  ASSERT_EQ(refused.finish->kind, FinishKind::kAbort);
  EXPECT_EQ(refused.finish->status_code, 400);
  EXPECT_EQ(refused.finish->message, "Invalid request: session id nobody does not exist");

  // Together with its context a request may be too long.
  GenerateRequest third = Greedy(std::vector<TokenId>(100, 7), 8);
  third.session = SessionParams{.id = "s", .rid = "first"};
  EXPECT_EQ(
      RunOne(*engine, third).finish->message,
      "Input length (148 tokens) exceeds the maximum allowed length (122 tokens). Use a shorter input or enable --allow-auto-truncate.");
  ExpectAtRest(*engine);
}

TEST(EngineControl, PausedRequestsGoOnAsIfNothingHadHappened) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 6; ++i) requests.push_back(Request(i, 60));
  std::vector<Reply> undisturbed;
  {
    auto engine = Start(Config());
    undisturbed = RunTogether(*engine, requests);
  }
  for (const PauseMode mode : {PauseMode::kInPlace, PauseMode::kRetract}) {
    EngineConfig config = Config();
    config.sched.waiting_timeout_s = 30;
    auto engine = Start(config);
    ASSERT_TRUE(Control(*engine, SlowDown{0.002}).ok());
    std::vector<Collector> collectors(requests.size() + 1);
    for (size_t i = 0; i < requests.size(); ++i) ASSERT_TRUE(engine->Submit(requests[i], collectors[i].sink()).ok());
    collectors[0].WaitForTokens(2);
    ASSERT_TRUE(Control(*engine, PauseGeneration{mode}).ok());
    const EngineStats paused = engine->stats();
    EXPECT_TRUE(paused.paused);
    EXPECT_EQ(paused.sched.running, mode == PauseMode::kRetract ? 0 : 6);
    EXPECT_EQ(Flush(*engine), mode == PauseMode::kRetract) << "a flush needs that nobody holds KV cache";
    GenerateRequest late = Request(7, 60);
    ASSERT_TRUE(engine->Submit(late, collectors.back().sink()).ok());
    (void)Flush(*engine);  // a message later it is there
    EXPECT_EQ(engine->stats().steps, paused.steps) << "nothing is computed";
    EXPECT_EQ(engine->stats().held, 1);
    ASSERT_TRUE(Control(*engine, ContinueGeneration{}).ok());
    for (size_t i = 0; i < requests.size(); ++i) {
      const Reply& reply = collectors[i].Wait();
      ExpectSame(reply, undisturbed[i], "paused and continued");
      EXPECT_EQ(reply.retractions, mode == PauseMode::kRetract ? 1 : 0);
    }
    EXPECT_EQ(collectors.back().Wait().finish->kind, FinishKind::kLength);
    EXPECT_FALSE(engine->stats().paused);
    ExpectAtRest(*engine);
  }
}

TEST(EngineControl, APauseThatAborts) {
  EngineConfig config = Config();
  config.sched.max_running_requests = 2;
  auto engine = Start(config);
  ASSERT_TRUE(Control(*engine, SlowDown{0.002}).ok());
  std::vector<Collector> collectors(4);
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(engine->Submit(Request(static_cast<int>(i), 100), collectors[i].sink()).ok());
  collectors[0].WaitForTokens(2);
  ASSERT_TRUE(Control(*engine, PauseGeneration{}).ok());
  for (Collector& c : collectors) EXPECT_EQ(c.Wait().finish->kind, FinishKind::kAbort);
  EXPECT_TRUE(Flush(*engine));

  Collector held, dropped, kept;
  GenerateRequest a = Request(1, 4), b = Request(2, 4), c = Request(3, 4);
  a.rid = "held", b.rid = "dropped-1", c.rid = "kept";
  ASSERT_TRUE(engine->Submit(a, held.sink()).ok());
  ASSERT_TRUE(engine->Submit(b, dropped.sink()).ok());
  ASSERT_TRUE(engine->Submit(c, kept.sink()).ok());
  engine->AbortRid("held");
  ASSERT_TRUE(Control(*engine, AbortByPrefix{"dropped"}).ok());
  for (Collector* gone : {&held, &dropped}) {
    const Reply& reply = gone->Wait();
    EXPECT_EQ(reply.finish->message, "Abort in waiting queue");
    EXPECT_GT(reply.e2e, 0);
    EXPECT_GT(reply.prompt_tokens, 0);
  }
  ASSERT_TRUE(Control(*engine, ContinueGeneration{}).ok());
  EXPECT_EQ(kept.Wait().tokens.size(), 4u);
  ExpectAtRest(*engine);
}

TEST(EngineControl, AShutdownEndsAPause) {
  auto engine = Start(Config());
  ASSERT_TRUE(Control(*engine, PauseGeneration{PauseMode::kInPlace}).ok());
  Collector c;
  ASSERT_TRUE(engine->Submit(Request(1, 4), c.sink()).ok());
  EXPECT_TRUE(engine->Drain(std::chrono::seconds(60)));
  EXPECT_EQ(c.Wait().tokens.size(), 4u);
}

TEST(EngineControl, RunningRequestsCanBeLimited) {
  auto engine = Start(Config());
  EXPECT_EQ(Control(*engine, LimitRunningRequests{0}).error().message, "must be in [1, 64], got 0");
  EXPECT_FALSE(Control(*engine, LimitRunningRequests{65}).ok());
  ASSERT_TRUE(Control(*engine, LimitRunningRequests{1}).ok());
  ASSERT_TRUE(Control(*engine, SlowDown{0.001}).ok());
  std::vector<Collector> collectors(4);
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(engine->Submit(Request(static_cast<int>(i), 10), collectors[i].sink()).ok());
  collectors[1].WaitForTokens(1);
  EXPECT_LE(engine->stats().sched.running, 1);
  for (Collector& c : collectors) EXPECT_EQ(c.Wait().tokens.size(), 10u);
}

// A copy of the model with other weights, removed afterwards.
class OtherWeights {
 public:
  OtherWeights() {
    dir_ = std::filesystem::temp_directory_path() / ("sglang_weights_" + std::to_string(getpid()));
    std::filesystem::remove_all(dir_);
    std::filesystem::copy(Config().model_path, dir_);
    std::fstream file(weights(), std::ios::in | std::ios::out | std::ios::binary);
    uint64_t header = 0;
    file.read(reinterpret_cast<char*>(&header), 8);
    const auto size = std::filesystem::file_size(weights());
    std::string data(size - 8 - header, 0);
    file.seekg(static_cast<std::streamoff>(8 + header));
    file.read(data.data(), static_cast<std::streamsize>(data.size()));
    for (size_t i = 0; i < data.size(); i += 2) data[i] = static_cast<char>(data[i] ^ 0x55);  // low bytes: other numbers of the same size
    file.seekp(static_cast<std::streamoff>(8 + header));
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
  }
  ~OtherWeights() { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_.string(); }
  std::filesystem::path weights() const { return dir_ / "model.safetensors"; }

 private:
  std::filesystem::path dir_;
};

TEST(EngineControl, NewWeightsServeAfterwardsAndOnlyThen) {
  const OtherWeights other;
  EngineConfig config = Config();
  auto engine = Start(config);
  const Reply old_reply = RunOne(*engine, Request(0, 60));
  config.model_path = other.path();
  const Reply new_reply = RunOne(*Start(config), Request(0, 60));
  ASSERT_NE(old_reply.tokens, new_reply.tokens) << "the test would show nothing";

  // One is in the middle of its answer when the update comes: it ends with the old weights.
  ASSERT_TRUE(Control(*engine, SlowDown{0.002}).ok());
  Collector running;
  ASSERT_TRUE(engine->Submit(Request(0, 60), running.sink()).ok());
  running.WaitForTokens(2);
  const EngineInfo& before = engine->info();
  const auto said = Control(*engine, UpdateWeights{.model_path = other.path(), .weight_version = "v2"});
  ASSERT_TRUE(said.ok()) << said.error().message;
  EXPECT_EQ(running.Wait().tokens, old_reply.tokens);
  EXPECT_EQ(engine->info().model_path, other.path());
  EXPECT_EQ(engine->info().weight_version, "v2");
  EXPECT_EQ(before.weight_version, "default") << "who still looks at the old description finds it unchanged";
  ExpectSame(RunOne(*engine, Request(0, 60)), new_reply, "after the update");

  // What cannot be loaded changes nothing.
  EXPECT_NE(Control(*engine, UpdateWeights{.model_path = "/does/not/exist"}).error().message.find("/does/not/exist"), std::string::npos);
  EXPECT_NE(Control(*engine, UpdateWeights{.model_path = other.path(), .load_format = "gguf"}).error().message.find("gguf"),
            std::string::npos);
  const std::string llama = Config("llama31").model_path;
  EXPECT_NE(Control(*engine, UpdateWeights{.model_path = llama}).error().message.find("the running one has"), std::string::npos);
  std::filesystem::resize_file(other.weights(), 100'000);
  EXPECT_FALSE(Control(*engine, UpdateWeights{.model_path = other.path()}).ok());
  ExpectSame(RunOne(*engine, Request(0, 60)), new_reply, "after failed updates");
  EXPECT_EQ(engine->info().weight_version, "v2");

  ASSERT_TRUE(Control(*engine, SetWeightVersion{.version = "v3"}).ok());
  EXPECT_EQ(engine->info().weight_version, "v3");
  ExpectAtRest(*engine);
}

TEST(EngineControl, NewWeightsInAPause) {
  const OtherWeights other;
  auto engine = Start(Config());
  ASSERT_TRUE(Control(*engine, SlowDown{0.002}).ok());
  Collector c;
  ASSERT_TRUE(engine->Submit(Request(0, 60), c.sink()).ok());
  c.WaitForTokens(2);
  ASSERT_TRUE(Control(*engine, PauseGeneration{PauseMode::kInPlace}).ok());
  const auto refused = Control(*engine, UpdateWeights{.model_path = other.path()});
  EXPECT_NE(refused.error().message.find("flush_cache"), std::string::npos);
  EXPECT_TRUE(Control(*engine, UpdateWeights{.model_path = other.path(), .flush_cache = false}).ok());
  ASSERT_TRUE(Control(*engine, PauseGeneration{PauseMode::kRetract}).ok());
  EXPECT_TRUE(Control(*engine, UpdateWeights{.model_path = other.path()}).ok());
  ASSERT_TRUE(Control(*engine, ContinueGeneration{}).ok());
  EXPECT_EQ(c.Wait().tokens.size(), 60u);
  EXPECT_EQ(c.Wait().retractions, 1);
  ExpectAtRest(*engine);
}

TEST(EngineControl, AnUpdateMayAbortWhoIsThere) {
  const OtherWeights other;
  auto engine = Start(Config());
  ASSERT_TRUE(Control(*engine, SlowDown{0.01}).ok());
  Collector c;
  ASSERT_TRUE(engine->Submit(Request(0, 100), c.sink()).ok());
  c.WaitForTokens(1);
  EXPECT_TRUE(Control(*engine, UpdateWeights{.model_path = other.path(), .abort_all_requests = true}).ok());
  EXPECT_EQ(c.Wait().finish->message, "Aborted");
}

TEST(EngineControl, WeightsCanBeLookedAt) {
  const std::string model = Config().model_path;
  const Result<Json> norm = WeightByName(model, "model.norm.weight", 100);
  ASSERT_TRUE(norm.ok()) << norm.error().message;
  EXPECT_EQ(norm->as_array().size(), 48u);
  const Result<Json> embed = WeightByName(model, "model.embed_tokens.weight", 3), head = WeightByName(model, "lm_head.weight", 3);
  ASSERT_TRUE(embed.ok() && head.ok());
  EXPECT_EQ(embed->as_array().size(), 3u);
  EXPECT_EQ(embed->as_array()[0].as_array().size(), 48u);
  EXPECT_EQ(DumpJson(*embed), DumpJson(*head)) << "tied";
  EXPECT_EQ(WeightByName(model, "nothing", 1).error().message, "name: the model has no tensor 'nothing'");

  const auto sums = WeightChecksums(model);
  ASSERT_TRUE(sums.ok());
  const OtherWeights other;
  const auto others = WeightChecksums(other.path());
  ASSERT_TRUE(others.ok());
  ASSERT_EQ(sums->size(), others->size());
  for (size_t i = 0; i < sums->size(); ++i) {
    EXPECT_EQ((*sums)[i].first, (*others)[i].first);
    EXPECT_NE((*sums)[i].second, (*others)[i].second);
  }
}

// Priorities and refusals pass through the engine as the scheduler says them.
TEST(EngineControl, PrioritiesReachTheScheduler) {
  EngineConfig config = Config();
  config.sched.abort_on_priority_when_disabled = true;
  GenerateRequest urgent = Request(1, 4);
  urgent.priority = 3;
  const Reply refused = RunOne(*Start(config), urgent);
  EXPECT_EQ(refused.finish->status_code, 503);
  EXPECT_EQ(refused.finish->message, "Using priority is disabled for this server. Please send a new request without a priority.");

  config = Config();
  config.sched.enable_priority_scheduling = true;
  config.sched.max_running_requests = 1;
  auto engine = Start(config);
  ASSERT_TRUE(Control(*engine, SlowDown{0.002}).ok());
  Collector low, high;
  ASSERT_TRUE(engine->Submit(Request(2, 60), low.sink()).ok());
  low.WaitForTokens(2);
  urgent = Request(3, 4);
  urgent.priority = 100;
  ASSERT_TRUE(engine->Submit(urgent, high.sink()).ok());
  EXPECT_EQ(high.Wait().tokens.size(), 4u);
  EXPECT_EQ(low.Wait().tokens.size(), 60u);
  EXPECT_EQ(low.Wait().retractions, 1);
  EXPECT_EQ(engine->stats().sched.preemptions, 1);
  ExpectSame(low.Wait(), RunOne(*engine, Request(2, 60)), "preempted and resumed");
}

// Allocation number n of the engine thread fails, for many n, then a run of them: whoever is affected ends once, with an error or with the
// right tokens, and the engine serves on.
TEST(EngineFaults, EveryAllocationMayFail) {
  EngineConfig config = Config();
  config.sched.max_running_requests = 3;
  config.sched.chunked_prefill_size = 16;
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 4; ++i) requests.push_back(Request(i, 6));
  std::vector<Reply> expected;
  {
    auto engine = Start(config);
    expected = RunTogether(*engine, requests);
  }
  auto engine = Start(config);
  SetLogLevel("critical");
  before_allocation.store(MayFail);
  auto armed = std::make_shared<std::promise<void>>();
  engine->Control(SlowDown{0}, [armed](const Result<std::string>&) {
    t_may_fail = true;  // on the engine thread
    armed->set_value();
  });
  armed->get_future().wait();
  int failed = 0, unharmed = 0;
  for (int64_t n = 0; n < 500; n += 1 + n / 40) {
    SCOPED_TRACE("allocation " + std::to_string(n));
    std::vector<Collector> collectors(requests.size());
    g_failures.store(n % 3 == 0 ? 3 : 1);
    g_until_failure.store(n);
    for (size_t i = 0; i < requests.size(); ++i) {
      GenerateRequest again = requests[i];
      again.rid += "_" + std::to_string(n);
      auto sink = [inner = collectors[i].sink()](TokenDelta delta) {
        t_may_fail = false;  // the collector's own memory is not what is tested
        inner(std::move(delta));
        t_may_fail = true;
      };
      ASSERT_TRUE(engine->Submit(std::move(again), sink).ok());
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const Reply& reply = collectors[i].Wait();
      ASSERT_EQ(reply.finishes, 1);
      EXPECT_EQ(reply.deltas_after_finish, 0);
      EXPECT_EQ(reply.output.size(), reply.tokens.size());
      EXPECT_GT(reply.e2e, 0);
      if (reply.finish->kind == FinishKind::kAbort) {
        ++failed;
        EXPECT_EQ(reply.finish->status_code, 500);
        ASSERT_LE(reply.tokens.size(), expected[i].tokens.size());
        EXPECT_TRUE(std::equal(reply.tokens.begin(), reply.tokens.end(), expected[i].tokens.begin()));
      } else {
        ++unharmed;
        ExpectSame(reply, expected[i], "not hit");
      }
    }
    g_until_failure.store(-1);
  }
  before_allocation.store(nullptr);
  EXPECT_GT(failed, 50);
  EXPECT_GT(unharmed, 50);
  ExpectAtRest(*engine);
  ExpectSame(RunOne(*engine, requests[0]), expected[0], "afterwards");
  EXPECT_GT(engine->beat().steps_begun, 0u);
  EXPECT_TRUE(engine->Drain(std::chrono::seconds(10)));
}

}  // namespace
}  // namespace sgl
