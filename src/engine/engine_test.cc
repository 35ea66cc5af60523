// The whole engine on tiny random models: what a request gets must not depend on anything but the request.
// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "engine/engine_test_kit.h"

namespace sgl {
namespace {

constexpr int kRequests = 24;

std::vector<Reply> Alone(const EngineConfig& config) {
  auto engine = Start(config);
  std::vector<Reply> replies;
  for (int i = 0; i < kRequests; ++i) replies.push_back(RunOne(*engine, Request(i)));
  return replies;
}

std::vector<Reply> Together(const EngineConfig& config) {
  auto engine = Start(config);
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < kRequests; ++i) requests.push_back(Request(i));
  return RunTogether(*engine, std::move(requests));
}

TEST(Engine, ResultsDoNotDependOnCompanyCacheChunksPagesThreadsOrRetraction) {
  for (const std::string model : {"smollm2", "gguf_llama_legacy"}) {
    EngineConfig base = Config(model);
    if (model.starts_with("gguf")) base.model_path += "/model.gguf";
    const std::vector<Reply> alone = Alone(base);
    struct Variant {
      const char* name;
      std::function<void(EngineConfig&)> change;
    };
    const std::vector<Variant> variants = {
        {"batch", [](EngineConfig&) {}},
        {"no cache", [](EngineConfig& c) { c.disable_radix_cache = true; }},
        {"chunk 16", [](EngineConfig& c) { c.sched.chunked_prefill_size = 16; }},
        {"whole prompts", [](EngineConfig& c) { c.sched.chunked_prefill_size = -1; }},
        {"page 1", [](EngineConfig& c) { c.page_size = 1; }},
        {"page 64", [](EngineConfig& c) { c.page_size = 64; }},
        {"1 thread", [](EngineConfig& c) { c.threads = 1; }},
        {"3 threads", [](EngineConfig& c) { c.threads = 3; }},
        {"lpm", [](EngineConfig& c) { c.sched.schedule_policy = "lpm"; }},
        {"tiny pool", [](EngineConfig& c) { c.max_total_tokens = 160; }},
        {"forced retraction", [](EngineConfig& c) { c.sched.test_retract_interval = 3; }},
        {"3 at a time", [](EngineConfig& c) { c.sched.max_running_requests = 3; }},
    };
    for (const Variant& v : variants) {
      EngineConfig config = base;
      v.change(config);
      const std::vector<Reply> replies = Together(config);
      for (int i = 0; i < kRequests; ++i) ExpectSame(alone[static_cast<size_t>(i)], replies[static_cast<size_t>(i)], model + ", " + v.name);
    }
  }
}

// Bytes per token: keys and values of all layers and heads; int8 has a scale of four bytes for each.
TEST(Engine, EveryCacheTypeTakesWhatItSaysAndKeepsTheRule) {
  int64_t full = 0;
  for (const auto& [type, elem_bytes] :
       {std::pair{"float32", 4}, {"float16", 2}, {"bf16", 2}, {"fp8_e5m2", 1}, {"fp8_e4m3", 1}, {"int8", 1}}) {
    EngineConfig config = Config();
    config.kv_cache_dtype = type;
    auto engine = Start(config);
    const int64_t bytes = engine->info().kv_bytes_per_token;
    if (full == 0) full = bytes;
    if (config.kv_cache_dtype == "int8") {
      EXPECT_GT(bytes, full / 4) << type;
      EXPECT_LT(bytes, full / 2) << type;
    } else {
      EXPECT_EQ(bytes, full * elem_bytes / 4) << type;
    }
    std::vector<Reply> alone;
    for (int i = 0; i < 6; ++i) alone.push_back(RunOne(*engine, Request(i)));
    config.page_size = 1;
    config.sched.chunked_prefill_size = 16;
    engine = Start(config);
    std::vector<GenerateRequest> requests;
    for (int i = 0; i < 6; ++i) requests.push_back(Request(i));
    const std::vector<Reply> together = RunTogether(*engine, std::move(requests));
    for (size_t i = 0; i < alone.size(); ++i) ExpectSame(alone[i], together[i], type);
  }
}

TEST(Engine, ForcedRetractionHappensAndIsReported) {
  EngineConfig config = Config();
  config.sched.test_retract_interval = 3;
  int64_t retractions = 0;
  for (const Reply& reply : Together(config)) retractions += reply.retractions;
  EXPECT_GT(retractions, 0);
}

TEST(Engine, SecondTimeComesFromTheCache) {
  auto engine = Start(Config());
  GenerateRequest request = Request(3);
  const Reply first = RunOne(*engine, request);
  request.rid += "again";
  const Reply second = RunOne(*engine, request);
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_GE(second.cached_tokens, 16);
  EXPECT_LT(second.cached_tokens, second.prompt_tokens);
  ExpectSame(first, second, "cached");

  std::promise<bool> flushed;
  engine->FlushCache(std::chrono::milliseconds(5000), [&](bool ok) { flushed.set_value(ok); });
  EXPECT_TRUE(flushed.get_future().get());
  request.rid += "flushed";
  EXPECT_EQ(RunOne(*engine, request).cached_tokens, 0);
}

TEST(Engine, PromptLogprobsAreCompleteAndDoNotDependOnChunks) {
  std::vector<Reply> replies;
  for (const int chunk : {-1, 16}) {
    EngineConfig config = Config();
    config.sched.chunked_prefill_size = chunk;
    auto engine = Start(config);
    (void)RunOne(*engine, Request(6));  // fills the cache: asked-for positions must be computed again
    GenerateRequest request = Request(6);
    request.logprob_start_len = 2;
    replies.push_back(RunOne(*engine, request));
  }
  const GenerateRequest request = Request(6);
  for (const Reply& reply : replies) {
    ASSERT_EQ(reply.input.size(), request.prompt.size() - 2);
    EXPECT_FALSE(reply.input[0].logprob.has_value());
    for (size_t i = 0; i < reply.input.size(); ++i) {
      EXPECT_EQ(reply.input[i].token, request.prompt[i + 2]);
      if (i == 0) continue;
      ASSERT_TRUE(reply.input[i].logprob.has_value());
      EXPECT_EQ(reply.input[i].logprob, replies[0].input[i].logprob);
      EXPECT_LT(*reply.input[i].logprob, 0);
      EXPECT_EQ(reply.input[i].top.size(), 3u);
    }
  }
}

TEST(Engine, LengthZeroGivesNoTokenButOneLogprob) {
  auto engine = Start(Config());
  const Reply reply = RunOne(*engine, Request(2, 0));
  EXPECT_TRUE(reply.tokens.empty());
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(reply.output.size(), 1u);
  ASSERT_TRUE(reply.finish);
  EXPECT_EQ(reply.finish->kind, FinishKind::kLength);
  EXPECT_EQ(reply.finish->length, 0);
}

TEST(Engine, StopsOnTokenStringAndRegex) {
  auto engine = Start(Config());
  const Reply free = RunOne(*engine, Request(4, 20));
  ASSERT_EQ(free.finish->kind, FinishKind::kLength);
  ASSERT_GE(free.text.size(), 4u) << free.text;

  GenerateRequest by_token = Request(4, 20);
  by_token.sampling.ignore_eos = false;
  by_token.sampling.stop_token_ids = {free.tokens[5]};
  const auto first = static_cast<size_t>(std::find(free.tokens.begin(), free.tokens.end(), free.tokens[5]) - free.tokens.begin());
  const Reply token = RunOne(*engine, by_token);
  EXPECT_EQ(std::get<TokenId>(token.finish->matched), free.tokens[5]);
  EXPECT_EQ(token.tokens, std::vector<TokenId>(free.tokens.begin(), free.tokens.begin() + static_cast<std::ptrdiff_t>(first + 1)));
  EXPECT_TRUE(free.text.starts_with(token.text));

  // A piece of the text that lies on character borders: ASCII only.
  size_t at = 1;
  while (at + 2 <= free.text.size() &&
         !(static_cast<unsigned char>(free.text[at]) < 0x80 && static_cast<unsigned char>(free.text[at + 1]) < 0x80))
    ++at;
  if (at + 2 <= free.text.size()) {
    const std::string stop = free.text.substr(at, 2);
    GenerateRequest by_string = Request(4, 20);
    by_string.sampling.stop = {"not there", stop};
    const Reply trimmed = RunOne(*engine, by_string);
    EXPECT_EQ(std::get<std::string>(trimmed.finish->matched), stop);
    EXPECT_EQ(trimmed.text, free.text.substr(0, free.text.find(stop)));
    GenerateRequest kept = by_string;
    kept.rid += "kept";
    kept.sampling.no_stop_trim = true;
    EXPECT_EQ(RunOne(*engine, kept).text, free.text.substr(0, free.text.find(stop) + 2));
  }
  GenerateRequest by_regex = Request(4, 20);
  by_regex.sampling.stop_regex = {"[\\s\\S]{3}"};
  const Reply regex = RunOne(*engine, by_regex);
  EXPECT_EQ(std::get<std::string>(regex.finish->matched), "[\\s\\S]{3}");
  EXPECT_LT(regex.tokens.size(), 20u);
}

TEST(Engine, RefusesWhatItCannotServe) {
  auto engine = Start(Config());
  const auto refused = [&](const std::function<void(GenerateRequest&)>& change) {
    GenerateRequest request = Request(1);
    change(request);
    const auto id = engine->Submit(std::move(request), [](TokenDelta) { ADD_FAILURE() << "a refused request must not get deltas"; });
    EXPECT_FALSE(id.ok());
    return id.ok() ? std::string() : id.error().message;
  };
  EXPECT_NE(refused([](GenerateRequest& r) { r.prompt.clear(); }).find("empty"), std::string::npos);
  EXPECT_NE(refused([](GenerateRequest& r) { r.prompt[0] = 320; }).find("320"), std::string::npos);
  EXPECT_NE(refused([](GenerateRequest& r) { r.prompt[0] = -1; }).find("-1"), std::string::npos);
  EXPECT_NE(refused([](GenerateRequest& r) { r.prompt.assign(500, 5); }).find("500 tokens"), std::string::npos);
  EXPECT_NE(refused([](GenerateRequest& r) { r.sampling.stop_regex = {"(unclosed"}; }).find("(unclosed"), std::string::npos);
  EXPECT_NE(refused([](GenerateRequest& r) { r.sampling.logit_bias = {{320, 1.0f}}; }).find("logit_bias"), std::string::npos);
  Collector first;
  GenerateRequest request = Request(1, 400);
  ASSERT_TRUE(engine->Submit(request, first.sink()).ok());
  EXPECT_NE(refused([&](GenerateRequest& r) { r.rid = request.rid; }).find(request.rid), std::string::npos);
  (void)first.Wait();
}

TEST(Engine, AbortInEveryStateGivesOneFinish) {
  EngineConfig config = Config();
  config.sched.max_running_requests = 2;
  config.sched.chunked_prefill_size = 16;
  auto engine = Start(config);
  std::mt19937 rng(42);
  for (int round = 0; round < 12; ++round) {
    std::vector<Collector> collectors(8);
    std::vector<RequestId> ids;
    std::vector<std::string> rids;
    for (size_t i = 0; i < collectors.size(); ++i) {
      GenerateRequest request = Request(static_cast<int>(i) * 7 + round, 60);
      rids.push_back(request.rid);
      ids.push_back(*engine->Submit(std::move(request), collectors[i].sink()));
    }
    if (round % 3 == 0) collectors[0].WaitForTokens(3);
    if (round % 4 == 3) {
      engine->AbortAll();
    } else {
      for (size_t i = 0; i < ids.size(); ++i) {
        if (rng() % 2 == 0) engine->Abort(ids[i]);
        if (rng() % 3 == 0) engine->AbortRid(rids[i]);
      }
    }
    for (Collector& c : collectors) {
      const Reply& reply = c.Wait();
      EXPECT_EQ(reply.finishes, 1);
      EXPECT_EQ(reply.deltas_after_finish, 0);
      EXPECT_EQ(reply.completion_tokens, static_cast<int64_t>(reply.tokens.size()));
      EXPECT_EQ(reply.output.size(), reply.tokens.size());
      EXPECT_GT(reply.e2e, 0);
      EXPECT_GT(reply.prompt_tokens, 0);
      if (reply.finish->kind == FinishKind::kAbort) {
        EXPECT_TRUE(reply.finish->message == "Aborted" || reply.finish->message == "Abort in waiting queue") << reply.finish->message;
        EXPECT_EQ(reply.finish->status_code, 0);
      }
    }
  }
  EXPECT_TRUE(engine->Drain(std::chrono::seconds(10)));
}

TEST(Engine, AbortRidIsExactOrWholeBatch) {
  EngineConfig config = Config();
  auto engine = Start(config);
  std::vector<Collector> collectors(4);
  const std::vector<std::string> rids = {"job", "job_0", "job_12", "job_x"};
  for (size_t i = 0; i < rids.size(); ++i) {
    GenerateRequest request = Request(static_cast<int>(i), 100);
    request.rid = rids[i];
    ASSERT_TRUE(engine->Submit(std::move(request), collectors[i].sink()).ok());
  }
  engine->AbortRid("jo");
  engine->AbortRid("job");
  EXPECT_EQ(collectors[0].Wait().finish->kind, FinishKind::kAbort);
  EXPECT_EQ(collectors[1].Wait().finish->kind, FinishKind::kAbort);
  EXPECT_EQ(collectors[2].Wait().finish->kind, FinishKind::kAbort);
  EXPECT_EQ(collectors[3].Wait().finish->kind, FinishKind::kLength);
}

TEST(Engine, ManyThreadsSubmitAndAbort) {
  EngineConfig config = Config();
  config.sched.max_running_requests = 8;
  auto engine = Start(config);
  std::vector<std::thread> clients;
  std::atomic<int> finished{0};
  for (int t = 0; t < 8; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        Collector collector;
        const auto id = engine->Submit(Request(t * 100 + i, 8), collector.sink());
        ASSERT_TRUE(id.ok());
        if (i % 3 == 0) engine->Abort(*id);
        (void)engine->stats();
        finished += collector.Wait().finishes;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(finished.load(), 80);
}

TEST(Engine, ShutdownEndsEverybodyAndRefusesNewcomers) {
  std::vector<Collector> collectors(6);
  {
    auto engine = Start(Config());
    for (size_t i = 0; i < collectors.size(); ++i)
      ASSERT_TRUE(engine->Submit(Request(static_cast<int>(i), 100000), collectors[i].sink()).ok());
    EXPECT_FALSE(engine->Drain(std::chrono::milliseconds(0)));
    const auto late = engine->Submit(Request(9), [](TokenDelta) {});
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, Code::kUnavailable);
  }
  for (Collector& c : collectors) EXPECT_EQ(c.Wait().finishes, 1);
}

TEST(Engine, QueueLimitIs503) {
  EngineConfig config = Config();
  config.sched.max_running_requests = 1;
  config.sched.max_queued_requests = 2;
  auto engine = Start(config);
  std::vector<Collector> collectors(12);
  for (size_t i = 0; i < collectors.size(); ++i) ASSERT_TRUE(engine->Submit(Request(static_cast<int>(i), 40), collectors[i].sink()).ok());
  int refused = 0;
  for (Collector& c : collectors) {
    const Reply& reply = c.Wait();
    if (reply.finish->kind != FinishKind::kAbort) continue;
    ++refused;
    EXPECT_EQ(reply.finish->status_code, 503);
    EXPECT_EQ(reply.finish->message, "The request queue is full.");
  }
  EXPECT_GT(refused, 0);
}

TEST(Engine, StartErrorsNameTheOption) {
  const auto failure = [](const std::function<void(EngineConfig&)>& change) {
    EngineConfig config = Config();
    change(config);
    auto engine = Engine::Create(config);
    EXPECT_FALSE(engine.ok());
    return engine.ok() ? std::string() : engine.error().message;
  };
  EXPECT_NE(failure([](EngineConfig& c) { c.dtype = "int3"; }).find("--dtype"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.kv_cache_dtype = "int3"; }).find("--kv-cache-dtype"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.load_format = "gguf"; }).find("--load-format"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.page_size = 24; }).find("--page-size"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.context_length = 100000; }).find("--context-length"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.max_total_tokens = 8; }).find("--max-total-tokens"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.max_total_tokens = int64_t{1} << 40; }).find("--max-total-tokens"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.json_model_override_args = "{"; }).find("--json-model-override-args"), std::string::npos);
  EXPECT_NE(failure([](EngineConfig& c) { c.model_path = "/does/not/exist"; }).find("/does/not/exist"), std::string::npos);
}

}  // namespace
}  // namespace sgl
