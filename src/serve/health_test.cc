// Health, warm-up, and what happens between threads.
// SPDX-License-Identifier: Apache-2.0
#include "serve/health.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "serve/fakes.h"
#include "serve/routes.h"
#include "serve/text_pool.h"

namespace sgl {
namespace {

using std::chrono::milliseconds;

TEST(Health, ProbeIsOneGreedyInternalToken) {
  FakeServer server;
  const auto exchange = server.Get("/health");
  ASSERT_EQ(server.backend.accepted.size(), 1U);
  const GenerateRequest& probe = server.backend.accepted[0].request;
  EXPECT_EQ(probe.rid.rfind("HEALTH_CHECK", 0), 0U);
  EXPECT_EQ(probe.prompt, std::vector<TokenId>{0});
  EXPECT_EQ(probe.sampling.max_new_tokens, 1);
  EXPECT_EQ(probe.sampling.temperature, 0.0);
  EXPECT_TRUE(probe.internal);
  EXPECT_EQ(exchange->replies, 0);
  TokenDelta delta;
  delta.finish.emplace();
  server.Say(0, std::move(delta));
  EXPECT_EQ(exchange->status, 200);
  EXPECT_EQ(exchange->body, "");
}

TEST(Health, AnyTokenWillDoAndABusyEngineGetsNoProbe) {
  FakeServer server;
  server.backend.stats_.sched.running = 3;
  const auto exchange = server.Get("/health_generate");
  EXPECT_TRUE(server.backend.accepted.empty());
  server.Pass(milliseconds(1000));
  EXPECT_EQ(exchange->replies, 0);
  ++server.backend.stats_.tokens_produced;
  server.Pass(milliseconds(200));
  EXPECT_EQ(exchange->status, 200);
}

TEST(Health, TheAnswerFollowsTheTokenClosely) {
  for (const milliseconds step : {milliseconds(5), milliseconds(60), milliseconds(500)}) {
    FakeServer server;
    server.backend.stats_.sched.running = 3;
    const auto exchange = server.Get("/health");
    server.Pass(step);
    EXPECT_EQ(exchange->replies, 0);
    ++server.backend.stats_.tokens_produced;
    server.Pass(step / 5);
    EXPECT_EQ(exchange->status, 200) << "a step of " << step.count() << " ms";
  }
}

TEST(Health, AnEngineThatBecomesIdleIsProbed) {
  FakeServer server;
  server.backend.stats_.sched.running = 1;
  server.Get("/health");
  server.backend.stats_.sched.running = 0;
  server.Pass(milliseconds(200));
  EXPECT_EQ(server.backend.accepted.size(), 1U);
}

TEST(Health, SilenceIsUnhealthyUntilATokenComes) {
  FakeServer server;
  const auto first = server.Get("/health");
  const auto second = server.Get("/health");  // shares the probe
  ASSERT_EQ(server.backend.accepted.size(), 1U);
  server.Pass(milliseconds(19500));
  EXPECT_EQ(first->replies, 0);
  server.Pass(milliseconds(1000));
  EXPECT_EQ(first->status, 503);
  EXPECT_EQ(second->status, 503);
  EXPECT_EQ(server.context().state, ServerState::kUnhealthy);
  EXPECT_TRUE(server.backend.accepted[0].aborted);
  TokenDelta late;
  late.finish.emplace();
  server.Say(0, std::move(late));  // belongs to a round that is over

  const auto third = server.Get("/health");
  EXPECT_EQ(third->replies, 0);
  ++server.backend.stats_.tokens_produced;
  server.Pass(milliseconds(200));
  EXPECT_EQ(third->status, 200);
  EXPECT_EQ(server.context().state, ServerState::kUp);
}

TEST(Health, APausedEngineIsHealthy) {
  FakeServer server;
  server.backend.stats_.paused = true;
  server.backend.stats_.sched.waiting = 3;
  EXPECT_EQ(server.Get("/health")->status, 200);
  EXPECT_TRUE(server.backend.accepted.empty());
}

TEST(Health, RefusalIsAnAnswerButAFullInboxIsNot) {
  FakeServer server;
  server.backend.refuse_after = 0;
  server.backend.refusal = {Code::kUnavailable, "shutting down"};
  EXPECT_EQ(server.Get("/health")->status, 503);
  server.backend.refusal = {Code::kExhausted, "full"};
  const auto exchange = server.Get("/health");
  EXPECT_EQ(exchange->replies, 0);
  ++server.backend.stats_.tokens_produced;
  server.Pass(milliseconds(100));
  EXPECT_EQ(exchange->status, 200);
}

TEST(WarmUp, MakesTheServerReady) {
  FakeServer server;
  server.context().state = ServerState::kStarting;
  EXPECT_EQ(server.Get("/health")->status, 503);
  std::optional<bool> ok;
  server.api().WarmUp([&](Status status) { ok = status.ok(); });
  ASSERT_EQ(server.backend.accepted.size(), 1U);
  const GenerateRequest& request = server.backend.accepted[0].request;
  EXPECT_EQ(server.backend.tokenizer()->Decode(request.prompt, true), "The capital city of France is");
  EXPECT_EQ(request.sampling.max_new_tokens, 8);
  TokenDelta delta;
  delta.tokens = {65};
  server.Say(0, delta);
  EXPECT_FALSE(ok.has_value());
  delta.finish.emplace();
  server.Say(0, delta);
  EXPECT_EQ(ok, true);
  EXPECT_EQ(server.context().state, ServerState::kUp);
}

TEST(WarmUp, FailsWhenTheEngineDoes) {
  FakeServer server;
  server.context().state = ServerState::kStarting;
  std::string message;
  server.api().WarmUp([&](Status status) { message = status.error().message; });
  TokenDelta delta;
  delta.finish = Finish::Abort("out of memory", 500);
  server.Say(0, std::move(delta));
  EXPECT_EQ(message, "out of memory");
  EXPECT_EQ(server.context().state, ServerState::kStarting);
}

TEST(Routes, PathsAreUniqueAndHandled) {
  std::set<std::string_view> seen;
  for (const Route& route : Routes()) {
    EXPECT_TRUE(seen.insert(route.path).second) << route.path;
    EXPECT_NE(route.handle, nullptr);
  }
}

TEST(TextPool, IsBoundedAndDropsWhatWaitsOnStop) {
  TextPool pool(1, 2);
  std::mutex gate;
  std::atomic<int> ran{0};
  std::atomic<bool> started{false};
  gate.lock();
  ASSERT_TRUE(pool.Post([&] {
    started = true;
    std::lock_guard wait(gate);
    ++ran;
  }));
  while (!started) std::this_thread::yield();
  const auto held = std::make_shared<int>(0);
  EXPECT_TRUE(pool.Post([&ran, held] { ++ran; }));
  EXPECT_TRUE(pool.Post([&ran, held] { ++ran; }));
  EXPECT_FALSE(pool.Post([&ran] { ++ran; }));
  std::thread stopper([&] { pool.Stop(); });
  while (held.use_count() != 1) std::this_thread::yield();  // the waiting tasks are gone
  gate.unlock();
  stopper.join();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(pool.Post([&ran] { ++ran; }));
}

TEST(TextPool, SurvivesATaskThatThrows) {
  TextPool pool(1, 8);
  std::atomic<bool> ran{false};
  ASSERT_TRUE(pool.Post([] { throw std::bad_alloc(); }));
  ASSERT_TRUE(pool.Post([&] { ran = true; }));
  while (!ran) std::this_thread::yield();
}

// A thread that runs tasks in order, as the http thread does.
class TaskThread {
 public:
  TaskThread() : pool_(1, 1 << 20) {}
  void Post(std::function<void()> task) { ASSERT_TRUE(pool_.Post(std::move(task))); }
  void Sync() {
    std::atomic<bool> done{false};
    Post([&] { done = true; });
    while (!done) std::this_thread::yield();
  }

 private:
  TextPool pool_;
};

// An engine with a thread of its own: every request gets the tokens of its prompt back, one per delta, unless it is aborted.
class EchoBackend final : public Backend {
 public:
  EchoBackend() {
    info_.served_model_name = "m";
    info_.vocab_size = 259;
    info_.context_length = 1 << 20;
  }
  Result<RequestId> Submit(GenerateRequest request, Sink sink) override {
    const RequestId id{++ids_};
    auto sink_ptr = std::make_shared<Sink>(std::move(sink));
    auto prompt = std::make_shared<std::vector<TokenId>>(std::move(request.prompt));
    ++alive_;
    engine_.Post([this, id, sink_ptr, prompt] { Step(id, sink_ptr, prompt, 0); });
    return id;
  }
  void Abort(RequestId id) override {
    std::lock_guard lock(mutex_);
    aborted_.insert(id);
  }
  void AbortRid(const std::string&) override {}
  void AbortAll() override {}
  void FlushCache(milliseconds, std::function<void(bool)> done) override { done(true); }
  void Control(ControlRequest, ControlDone done) override { done(std::string()); }
  bool Drain(milliseconds) override {
    while (alive_ != 0) std::this_thread::yield();
    return true;
  }
  const EngineInfo& info() const override { return info_; }
  std::vector<EngineStats> stats() const override { return std::vector<EngineStats>(1); }
  std::vector<const EngineProbe*> probes() const override { return {&probe_}; }
  std::optional<int> RankOf(RequestId) const override { return {}; }
  Profiler& profiler() override { return profiler_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return tokenizer_; }

 private:
  void Step(RequestId id, const std::shared_ptr<Sink>& sink, const std::shared_ptr<std::vector<TokenId>>& prompt, size_t at) {
    TokenDelta delta;
    delta.id = id;
    delta.completion_tokens = static_cast<int64_t>(at) + 1;
    delta.tokens = {(*prompt)[at]};
    delta.text = tokenizer_->Decode(delta.tokens, true);
    bool aborted = false;
    {
      std::lock_guard lock(mutex_);
      aborted = aborted_.count(id) != 0;
    }
    if (aborted)
      delta.finish = Finish::Abort("Aborted");
    else if (at + 1 == prompt->size())
      delta.finish.emplace();
    const bool last = delta.finish.has_value();
    (*sink)(std::move(delta));
    if (last) {
      *sink = {};
      --alive_;
    } else {
      engine_.Post([this, id, sink, prompt, at] { Step(id, sink, prompt, at + 1); });
    }
  }

  EngineInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<ByteTokenizer>();
  EngineProbe probe_;
  Profiler profiler_;
  std::atomic<uint64_t> ids_{0};
  std::atomic<int> alive_{0};
  std::mutex mutex_;
  std::set<RequestId> aborted_;
  TaskThread engine_;
};

TEST(Threads, EveryExchangeIsAnsweredOnceWhateverTheClientsDo) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  EchoBackend backend;
  TaskThread http;
  TextPool text(3, 1 << 20);
  Threads threads{[&](std::function<void()> task) { http.Post(std::move(task)); }, [](milliseconds, std::function<void()>) {},
                  [&](std::function<void()>&& task) { return text.Post(std::move(task)); }};
  Api api({}, backend, std::make_shared<PrintingTemplate>(false), threads, 1);
  struct Client {
    std::shared_ptr<FakeExchange> exchange;
    std::string expected;
    bool rude = false;
  };
  std::vector<Client> clients;
  constexpr const char* kPaths[] = {"/generate", "/v1/completions", "/v1/chat/completions"};
  for (int i = 0; i < 300; ++i) {
    const std::string word = "request" + std::to_string(i);
    const bool stream = random() % 2 != 0;
    Json body;
    body.Set("text", word).Set("prompt", word).Set("stream", stream).Set("n", static_cast<int>(random() % 3 + 1));
    body.Set("messages", Json(Json::Array{Json().Set("role", "user").Set("content", word)}));
    HttpRequest request{"POST", kPaths[random() % 3], "", {{"content-type", "application/json"}}, DumpJson(body)};
    clients.push_back({std::make_shared<FakeExchange>(std::move(request)), word, random() % 3 == 0});
    const std::shared_ptr<FakeExchange> exchange = clients.back().exchange;
    http.Post([&api, exchange] { api.Handle(exchange); });
    if (!clients.back().rude) continue;
    const unsigned pause = random() % 2000;
    for (unsigned p = 0; p < pause; ++p) std::this_thread::yield();
    http.Post([exchange] { exchange->Disconnect(); });
  }
  http.Sync();  // all handed to the text threads
  for (const Client& client : clients)
    while (client.exchange.use_count() > 1) std::this_thread::yield();  // nobody works on it any more
  backend.Drain(milliseconds(0));
  http.Sync();
  for (const Client& client : clients) {
    const FakeExchange& e = *client.exchange;
    EXPECT_LE(e.replies, 1);
    if (e.closed()) {
      EXPECT_TRUE(client.rude);
      continue;
    }
    EXPECT_EQ(e.replies, 1);
    EXPECT_EQ(e.status, 200) << e.body;
    EXPECT_TRUE(e.ended);
    if (!e.streaming) {
      EXPECT_NE(e.body.find(client.expected), std::string::npos) << e.body;
    } else {
      EXPECT_EQ(e.events().back(), "[DONE]");
      EXPECT_GT(e.events().size(), client.expected.size());
    }
  }
}

}  // namespace
}  // namespace sgl
