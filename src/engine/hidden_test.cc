// Hidden states, embeddings and given embeddings: the same whatever the chunks, and consistent with one another.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <future>
#include <random>

#include "engine/engine.h"
#include "obs/log.h"
#include "weights/weights.h"

namespace sgl {
namespace {

constexpr int64_t kPrompt = 70, kNew = 5;

std::filesystem::path ModelPath() { return std::filesystem::path(SGLANG_SOURCE_DIR) / "tests/goldens/models/smollm2"; }

std::unique_ptr<Engine> Start(int chunk, bool radix = true) {
  SetLogLevel(LogLevel::kError);
  EngineConfig config;
  config.model_path = ModelPath().string();
  config.dtype = "float32";  // as the file has it
  config.max_total_tokens = 2048;
  config.threads = 2;
  config.random_seed = 1;
  config.disable_radix_cache = !radix;
  config.sched.chunked_prefill_size = chunk;
  auto engine = Engine::Create(config);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return engine.ok() ? *std::move(engine) : nullptr;
}

GenerateRequest Request(const char* rid, int64_t max_new = kNew) {
  GenerateRequest r;
  std::mt19937 rng(7);
  for (int64_t i = 0; i < kPrompt; ++i) r.prompt.push_back(static_cast<TokenId>(3 + rng() % 300));
  r.rid = rid;
  r.sampling.max_new_tokens = max_new;
  r.sampling.temperature = 0;
  r.sampling.ignore_eos = true;
  r.return_logprob = true;
  return r;
}

struct Reply {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<std::vector<float>> hidden;
  std::vector<int64_t> progress;
  Finish finish;
};

Reply RunOne(Engine& engine, GenerateRequest request) {
  Reply reply;
  std::promise<void> ended;
  const auto id = engine.Submit(std::move(request), [&](TokenDelta delta) {
    if (delta.computed_prompt_tokens) reply.progress.push_back(*delta.computed_prompt_tokens);
    reply.tokens.insert(reply.tokens.end(), delta.tokens.begin(), delta.tokens.end());
    for (const PositionLogprob& p : delta.output_logprobs) reply.logprobs.push_back(p.logprob.value_or(0));
    for (auto& row : delta.hidden_states) reply.hidden.push_back(std::move(row));
    if (!delta.finish) return;
    reply.finish = *delta.finish;
    ended.set_value();
  });
  EXPECT_TRUE(id.ok()) << (id.ok() ? "" : id.error().message);
  if (id.ok()) ended.get_future().wait();
  return reply;
}

Reply WithHidden(Engine& engine, GenerateRequest::Hidden hidden, const char* rid) {
  GenerateRequest request = Request(rid, hidden == GenerateRequest::Hidden::kLast ? 0 : kNew);
  request.hidden = hidden;
  return RunOne(engine, std::move(request));
}

TEST(HiddenStates, OnePerTokenWhateverTheChunks) {
  const auto whole = Start(-1), chunked = Start(16);
  const Reply plain = RunOne(*whole, Request("p"));
  const Reply a = WithHidden(*whole, GenerateRequest::Hidden::kAll, "a");  // its prompt is in the cache now, and yet there are all rows
  const Reply b = WithHidden(*chunked, GenerateRequest::Hidden::kAll, "b");
  ASSERT_EQ(a.hidden.size(), static_cast<size_t>(kPrompt + kNew - 1));
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.tokens, plain.tokens);
  EXPECT_EQ(a.logprobs, plain.logprobs);
  EXPECT_EQ(static_cast<int64_t>(a.hidden[0].size()), whole->info().width);
}

TEST(HiddenStates, AnEmbeddingIsTheLastOfThePrompt) {
  const auto engine = Start(16);
  const Reply all = WithHidden(*engine, GenerateRequest::Hidden::kAll, "a");
  for (const char* rid : {"fresh", "cached"}) {
    const Reply last = WithHidden(*engine, GenerateRequest::Hidden::kLast, rid);
    ASSERT_EQ(last.hidden.size(), 1U);
    EXPECT_EQ(last.hidden[0], all.hidden[kPrompt - 1]);
    EXPECT_TRUE(last.tokens.empty());
    EXPECT_EQ(last.finish.kind, FinishKind::kLength);
  }
}

// The model's own embeddings, handed in as numbers, give what the ids give.
TEST(InputEmbeds, OfTheModelItselfChangeNothing) {
  const Result<ModelFiles> files = OpenModel(ModelPath());
  ASSERT_TRUE(files.ok());
  const TensorRef* table = files->weights->find("model.embed_tokens.weight");
  ASSERT_NE(table, nullptr);
  const auto engine = Start(16, false);
  const int64_t width = engine->info().width;
  GenerateRequest request = Request("by ids");
  auto embeds = std::make_shared<std::vector<float>>();
  for (const TokenId id : request.prompt) {
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = id * width + i;
      float value = 0;
      uint16_t half = 0;
      if (table->dtype == DType::kF32) {
        std::memcpy(&value, table->data + at * 4, 4);
      } else {
        ASSERT_EQ(table->dtype, DType::kBF16);
        std::memcpy(&half, table->data + at * 2, 2);
        const uint32_t bits = uint32_t{half} << 16;
        std::memcpy(&value, &bits, 4);
      }
      embeds->push_back(value);
    }
  }
  const Reply by_ids = RunOne(*engine, request);
  request.rid = "by embeds";
  request.input_embeds = embeds;
  request.prompt.assign(request.prompt.size(), TokenId{1});
  const Reply by_embeds = RunOne(*engine, request);
  EXPECT_EQ(by_embeds.tokens, by_ids.tokens);
  EXPECT_EQ(by_embeds.logprobs, by_ids.logprobs);
  request.rid = "too few";
  request.input_embeds = std::make_shared<std::vector<float>>(3);
  EXPECT_FALSE(engine->Submit(request, [](TokenDelta) {}).ok());
  request.rid = "in a session";
  request.input_embeds = embeds;
  request.session = SessionParams{.id = "s"};  // whose tokens would come in front of the vectors
  EXPECT_NE(engine->Submit(request, [](TokenDelta) {}).error().message.find("session_params"), std::string::npos);
}

TEST(Progress, IsToldWhenAskedFor) {
  const auto engine = Start(16, false);
  EXPECT_TRUE(RunOne(*engine, Request("quiet")).progress.empty());
  GenerateRequest request = Request("told");
  request.progress = true;
  const Reply reply = RunOne(*engine, std::move(request));
  EXPECT_EQ(reply.progress, (std::vector<int64_t>{0, 16, 32, 48, 64}));
  EXPECT_EQ(reply.tokens.size(), static_cast<size_t>(kNew));
  EXPECT_TRUE(engine->stats().prefilling.empty());
}

}  // namespace
}  // namespace sgl
