// SPDX-License-Identifier: Apache-2.0
#include "text/prefix_encoder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <thread>

namespace sgl {
namespace {

std::unique_ptr<Tokenizer> Toy(const std::string& name) {
  std::ifstream in(std::string(SGLANG_SOURCE_DIR) + "/tests/goldens/tokenizer/" + name + ".json");
  std::stringstream text;
  text << in.rdbuf();
  auto loaded = LoadTokenizer(text.str(), Json());
  EXPECT_TRUE(loaded.ok()) << name;
  return *std::move(loaded);
}

std::string RandomText(std::mt19937& rng, size_t bytes) {
  const char* parts[] = {"hello ",
                         "World",
                         " ",
                         "\n",
                         "\n\n",
                         "  ",
                         "'s",
                         "12345",
                         "你好",
                         "é",
                         "e\xCC\x81",
                         "!",
                         "<|im_end|>",
                         "<|im_start|>user\n",
                         "<s>",
                         "a b c\n",
                         "\xE2\x96\x81",
                         " \n",
                         "x\r\ny",
                         "word",
                         "<left>",
                         " <both> ",
                         "été",
                         "[INST]",
                         "--",
                         "\t"};
  std::string out;
  while (out.size() < bytes) out += parts[rng() % std::size(parts)];
  return out;
}

class AllToys : public testing::TestWithParam<const char*> {};

// Every cut that is reported makes no difference, whatever follows it.
TEST_P(AllToys, CutsMakeNoDifference) {
  const auto tokenizer = Toy(GetParam());
  std::mt19937 rng(5);
  size_t seen = 0;
  for (int round = 0; round < 40; ++round) {
    const std::string text = RandomText(rng, 300);
    const std::vector<TokenId> want = tokenizer->Encode(text, false);
    std::vector<Tokenizer::Cut> cuts, more;
    std::vector<TokenId> got;
    tokenizer->EncodeFrom(text, 0, 10, &cuts, &got);
    ASSERT_EQ(got, want) << text;
    for (const Tokenizer::Cut& cut : cuts) {
      std::vector<TokenId> tail(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(cut.tokens));
      tokenizer->EncodeFrom(text, cut.bytes, 20, &more, &tail);
      ASSERT_EQ(tail, want) << text << "\n" << cut.bytes;
      // Another text that goes on differently behind the next character.
      size_t length = 1;
      while (cut.bytes + length < text.size() && (static_cast<unsigned char>(text[cut.bytes + length]) & 0xC0) == 0x80) ++length;
      const std::string other = text.substr(0, cut.bytes + length) + RandomText(rng, 40);
      const std::vector<TokenId> ids = tokenizer->Encode(other, false);
      ASSERT_GE(ids.size(), cut.tokens);
      ASSERT_TRUE(std::equal(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cut.tokens), want.begin())) << other << "\n"
                                                                                                                << cut.bytes;
      tail.assign(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(cut.tokens));
      tokenizer->EncodeFrom(other, cut.bytes, 20, &more, &tail);
      ASSERT_EQ(tail, ids) << other << "\n" << cut.bytes;
    }
    seen += cuts.size();
  }
  EXPECT_GT(seen, 100u);
}

TEST_P(AllToys, AGrowingChatCostsWhatIsNew) {
  const auto tokenizer = Toy(GetParam());
  PrefixEncoder encoder(*tokenizer, 1 << 20, 64);
  std::mt19937 rng(6);
  std::string text = RandomText(rng, 5000);
  for (int turn = 0; turn < 30; ++turn) {
    for (const bool special : {false, true}) ASSERT_EQ(encoder.Encode(text, special), tokenizer->Encode(text, special)) << turn;
    text += RandomText(rng, 200);
  }
  const PrefixEncoder::Stats stats = encoder.stats();
  EXPECT_GT(stats.reused_bytes, 8 * stats.encoded_bytes);
}

INSTANTIATE_TEST_SUITE_P(Toys, AllToys, testing::Values("smollm", "llama3", "qwen", "llama2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(PrefixEncoder, StaysWithinItsMemory) {
  const auto tokenizer = Toy("llama3");
  PrefixEncoder encoder(*tokenizer, 20000, 64);
  std::mt19937 rng(7);
  const std::string shared = RandomText(rng, 1000);
  for (int i = 0; i < 200; ++i) {
    const std::string text = (i % 3 == 0 ? "" : shared) + RandomText(rng, rng() % 4000);
    ASSERT_EQ(encoder.Encode(text, false), tokenizer->Encode(text, false));
    ASSERT_LE(encoder.stats().cache_bytes, 20000u);
  }
  EXPECT_GT(encoder.stats().blocks, 0u);
}

TEST(PrefixEncoder, BadUtf8AndShortTextsGoPastTheCache) {
  const auto tokenizer = Toy("llama3");
  PrefixEncoder encoder(*tokenizer, 1 << 20, 64);
  std::mt19937 rng(8);
  const std::string bad = RandomText(rng, 1000) + "\xFF";
  for (const std::string& text : {bad, std::string("short"), std::string()})
    EXPECT_EQ(encoder.Encode(text, true), tokenizer->Encode(text, true));
  EXPECT_EQ(encoder.stats().blocks, 0u);
}

TEST(PrefixEncoder, ManyThreads) {
  const auto tokenizer = Toy("qwen");
  PrefixEncoder encoder(*tokenizer, 30000, 64);
  std::vector<std::string> texts;
  std::vector<std::vector<TokenId>> want;
  std::mt19937 rng(9);
  const std::string shared = RandomText(rng, 1500);
  for (int i = 0; i < 20; ++i) {
    texts.push_back(shared.substr(0, shared.find(' ', rng() % 1000)) + RandomText(rng, 1000));
    want.push_back(tokenizer->Encode(texts.back(), true));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 60; ++i)
        wrong[t] += encoder.Encode(texts[(i * 7 + t) % texts.size()], true) != want[(i * 7 + t) % texts.size()];
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace sgl
