// Helpers for tests of the whole engine on the tiny models of tests/goldens/models.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "obs/log.h"

namespace sgl {

struct Reply {
  std::vector<TokenId> tokens;
  std::string text;
  std::vector<PositionLogprob> output, input;
  std::optional<Finish> finish;
  int finishes = 0, deltas_after_finish = 0;
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, retractions = 0;
  double e2e = 0;
};

// Collects one request's deltas; any thread may wait for the end.
class Collector {
 public:
  Sink sink() {
    return [this](TokenDelta delta) {
      std::lock_guard lock(mutex_);
      if (reply_.finishes > 0) ++reply_.deltas_after_finish;
      reply_.tokens.insert(reply_.tokens.end(), delta.tokens.begin(), delta.tokens.end());
      reply_.text += delta.text;
      for (auto& p : delta.output_logprobs) reply_.output.push_back(std::move(p));
      for (auto& p : delta.input_logprobs) reply_.input.push_back(std::move(p));
      reply_.prompt_tokens = delta.prompt_tokens;
      reply_.completion_tokens = delta.completion_tokens;
      reply_.cached_tokens = delta.cached_tokens;
      reply_.retractions = delta.num_retractions;
      if (delta.finish) {
        reply_.finish = std::move(delta.finish);
        reply_.e2e = delta.e2e_latency_s;
        ++reply_.finishes;
      }
      changed_.notify_all();
    };
  }
  const Reply& Wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return reply_.finishes > 0; })) << "no Finish";
    return reply_;
  }
  void WaitForTokens(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(120), [&] { return reply_.tokens.size() >= count || reply_.finishes > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Reply reply_;
};

inline EngineConfig Config(const std::string& model = "smollm2") {
  SetLogLevel(LogLevel::kError);
  EngineConfig config;
  config.model_path = (std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/models" / model).string();
  config.max_total_tokens = 2048;
  config.threads = 2;
  config.random_seed = 1;
  return config;
}

inline std::unique_ptr<Engine> Start(const EngineConfig& config) {
  auto engine = Engine::Create(config);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return engine.ok() ? *std::move(engine) : nullptr;
}

inline GenerateRequest Request(int which, int64_t max_new = 12) {
  static std::atomic<int> counter{0};
  std::mt19937 rng(static_cast<uint32_t>(which));
  GenerateRequest r;
  r.rid = "r" + std::to_string(counter++);
  const int shared = which % 3 == 0 ? 20 : 0;  // some prompts begin alike
  for (int i = 0; i < shared; ++i) r.prompt.push_back(10 + i);
  for (int i = 0; i < 5 + which % 30; ++i) r.prompt.push_back(static_cast<TokenId>(3 + rng() % 300));
  r.sampling.max_new_tokens = max_new;
  r.sampling.ignore_eos = true;
  if (which % 2 == 1) r.sampling.sampling_seed = which;
  if (which % 2 == 0) r.sampling.temperature = 0;
  if (which % 4 == 1) r.sampling.top_p = 0.8;
  if (which % 4 == 3) r.sampling.frequency_penalty = 0.3;
  r.return_logprob = true;
  r.top_logprobs_num = 3;
  return r;
}

inline Reply RunOne(Engine& engine, GenerateRequest request) {
  Collector collector;
  const auto id = engine.Submit(std::move(request), collector.sink());
  EXPECT_TRUE(id.ok()) << (id.ok() ? "" : id.error().message);
  return id.ok() ? collector.Wait() : Reply{};
}

inline std::vector<Reply> RunTogether(Engine& engine, std::vector<GenerateRequest> requests) {
  std::vector<Collector> collectors(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_TRUE(engine.Submit(std::move(requests[i]), collectors[i].sink()).ok());
  std::vector<Reply> replies;
  for (Collector& c : collectors) replies.push_back(c.Wait());
  return replies;
}

inline void ExpectSame(const Reply& a, const Reply& b, const std::string& what) {
  EXPECT_EQ(a.tokens, b.tokens) << what;
  EXPECT_EQ(a.text, b.text) << what;
  ASSERT_EQ(a.output.size(), b.output.size()) << what;
  for (size_t i = 0; i < a.output.size(); ++i) {
    EXPECT_EQ(a.output[i].logprob, b.output[i].logprob) << what << " token " << i;
    ASSERT_EQ(a.output[i].top.size(), b.output[i].top.size());
    for (size_t k = 0; k < a.output[i].top.size(); ++k) EXPECT_EQ(a.output[i].top[k].logprob, b.output[i].top[k].logprob) << what;
  }
}

}  // namespace sgl
