// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <set>

#include "app/app_test_util.h"
#include "app/bench_dataset.h"
#include "app/bench_load.h"
#include "app/bench_report.h"
#include "app/bench_roofs.h"

namespace sgl {
namespace {

TEST(BenchDataset, RandomLengthsStayInTheirRange) {
  DatasetOptions o;
  o.name = "random";
  o.num_prompts = 200;
  o.random_input_len = 40;
  o.random_output_len = 10;
  o.random_range_ratio = 0.5;
  const auto prompts = MakePrompts(o, nullptr, 50);
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 200u);
  std::set<int64_t> inputs;
  for (const BenchPrompt& p : *prompts) {
    EXPECT_EQ(p.prompt_len, static_cast<int64_t>(p.ids.size()));
    EXPECT_GE(p.prompt_len, 20);
    EXPECT_LE(p.prompt_len, 40);
    EXPECT_GE(p.output_len, 5);
    EXPECT_LE(p.output_len, 10);
    for (const TokenId id : p.ids) EXPECT_TRUE(id >= 0 && id < 50);
    inputs.insert(p.prompt_len);
  }
  EXPECT_GT(inputs.size(), 10u);
  o.random_range_ratio = 1;
  const auto whole = MakePrompts(o, nullptr, 50);
  ASSERT_TRUE(whole.ok());
  for (const BenchPrompt& p : *whole) EXPECT_EQ(p.prompt_len, 40);
}

TEST(BenchDataset, SharedPrefixesAreSharedInsideAGroupOnly) {
  DatasetOptions o;
  o.name = "generated-shared-prefix";
  o.gsp_num_groups = 3;
  o.gsp_prompts_per_group = 4;
  o.gsp_system_prompt_len = 16;
  o.gsp_question_len = 8;
  const auto prompts = MakePrompts(o, nullptr, 1000);
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 12u);
  std::multiset<std::vector<TokenId>> prefixes;
  std::set<std::vector<TokenId>> whole;
  for (const BenchPrompt& p : *prompts) {
    EXPECT_EQ(p.prompt_len, 24);
    prefixes.insert({p.ids.begin(), p.ids.begin() + 16});
    whole.insert(p.ids);
  }
  EXPECT_EQ(whole.size(), 12u);
  for (const auto& prefix : prefixes) EXPECT_EQ(prefixes.count(prefix), 4u);
}

TEST(BenchDataset, FilesNeedAPathAndATokenizer) {
  DatasetOptions o;
  EXPECT_NE(MakePrompts(o, nullptr, 10).error().message.find("--dataset-path"), std::string::npos);
  o.path = "/nowhere.json";
  EXPECT_NE(MakePrompts(o, nullptr, 10).error().message.find("--tokenizer"), std::string::npos);
}

// One token per byte.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text, bool) const override { return {text.begin(), text.end()}; }
  std::string Decode(std::span<const TokenId> ids, bool) const override { return {ids.begin(), ids.end()}; }
  std::string_view TokenBytes(TokenId) const override { return ""; }
  bool IsSpecial(TokenId) const override { return false; }
  int64_t vocab_size() const override { return 128; }
  std::optional<TokenId> TokenToId(std::string_view) const override { return std::nullopt; }
  std::string IdToToken(TokenId) const override { return ""; }
};

TEST(BenchDataset, ConversationsFromFiles) {
  const TempDir dir;
  const ByteTokenizer tokenizer;
  DatasetOptions o;
  o.path = dir.Write("a.json", R"([{"conversations":[{"value":"question"},{"value":"answer"}]}, {"conversations":[{"value":"alone"}]},
                                 {"conversations":[{"value":"a very long question indeed"},{"value":"yes"}]}])");
  o.sharegpt_context_len = 20;
  auto prompts = MakePrompts(o, &tokenizer, 128);
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 1u);
  EXPECT_EQ(prompts->front().text, "question");
  EXPECT_EQ(prompts->front().prompt_len, 8);
  EXPECT_EQ(prompts->front().output_len, 6);

  o.name = "custom";
  o.path = dir.Write("b.jsonl", "{\"conversations\":[{\"content\":\"hello\"},{\"content\":\"you\"}]}\n\n");
  o.sharegpt_output_len = 7;
  o.prompt_suffix = "!";
  prompts = MakePrompts(o, &tokenizer, 128);
  ASSERT_TRUE(prompts.ok());
  EXPECT_EQ(prompts->front().text, "hello!");
  EXPECT_EQ(prompts->front().output_len, 7);

  o.path = dir.Write("c.jsonl", "{}\n{\n");
  EXPECT_NE(MakePrompts(o, &tokenizer, 128).error().message.find("line 2"), std::string::npos);
  o.path = dir.Write("d.jsonl", "{}\n");
  EXPECT_FALSE(MakePrompts(o, &tokenizer, 128).ok());
}

TEST(BenchReport, PercentilesInterpolate) {
  EXPECT_EQ(Percentile({}, 50), 0);
  EXPECT_EQ(Percentile({4}, 99), 4);
  EXPECT_DOUBLE_EQ(Percentile({3, 1, 2}, 50), 2);
  EXPECT_DOUBLE_EQ(Percentile({1, 2, 3, 4}, 50), 2.5);
  EXPECT_DOUBLE_EQ(Percentile({0, 10}, 90), 9);
}

TEST(BenchReport, FiguresOfTwoRequests) {
  BenchRun run;
  run.backend = "sglang";
  run.request_rate = std::numeric_limits<double>::infinity();
  run.duration_s = 2;
  BenchOutcome a;
  a.ok = true;
  a.prompt_len = 10;
  a.output_len = 3;
  a.start_s = 0;
  a.ttft_s = 0.5;
  a.latency_s = 1.5;
  a.itl_s = {0.4, 0.6};
  BenchOutcome b = a;
  b.start_s = 0.25;
  BenchOutcome failed;
  failed.error = "no";
  run.outcomes = {a, b, failed};
  const Json s = Summary(run);
  EXPECT_EQ(s["completed"].as_int(), 2);
  EXPECT_EQ(s["total_input_tokens"].as_int(), 20);
  EXPECT_EQ(s["total_output_tokens"].as_int(), 6);
  EXPECT_DOUBLE_EQ(s["output_throughput"].as_double(), 3);
  EXPECT_DOUBLE_EQ(s["request_throughput"].as_double(), 1);
  EXPECT_DOUBLE_EQ(s["median_ttft_ms"].as_double(), 500);
  EXPECT_DOUBLE_EQ(s["mean_tpot_ms"].as_double(), 500);
  EXPECT_DOUBLE_EQ(s["mean_itl_ms"].as_double(), 500);
  EXPECT_DOUBLE_EQ(s["max_itl_ms"].as_double(), 600);
  EXPECT_DOUBLE_EQ(s["concurrency"].as_double(), 1.5);
  EXPECT_EQ(s["max_concurrent_requests"].as_int(), 2);
  const std::string table = SummaryTable(run, s);
  EXPECT_NE(table.find("Median TTFT (ms):                        500.00"), std::string::npos) << table;
  EXPECT_NE(table.find("Traffic request rate:                    inf"), std::string::npos) << table;
}

TEST(BenchLoad, NativeStreamsAreCumulative) {
  ReplyReader reader(BenchApi::kGenerate, true, 9);
  const std::string events =
      "data: {\"text\":\"a\",\"meta_info\":{\"completion_tokens\":1}}\n\n"
      "data: {\"text\":\"ab\",\"meta_info\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
  reader.Take(std::string_view(events).substr(0, 60), 1.0);  // the first event and a part of the second
  reader.Take(std::string_view(events).substr(60), 2.0);
  BenchOutcome o;
  reader.End(200, {}, 2.5, o);
  EXPECT_TRUE(o.ok) << o.error;
  EXPECT_EQ(o.text, "ab");
  EXPECT_EQ(o.output_len, 3);
  EXPECT_DOUBLE_EQ(o.ttft_s, 1.0);
  EXPECT_EQ(o.itl_s, (std::vector<double>{0.5, 0.5}));
  EXPECT_DOUBLE_EQ(o.latency_s, 2.5);
}

TEST(BenchLoad, OpenAiStreamsAndReplies) {
  BenchOutcome o;
  ReplyReader chat(BenchApi::kChat, true, 7);
  chat.Take("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":null}}]}\n\n", 1);
  chat.Take("data: {\"choices\":[],\"usage\":{\"completion_tokens\":5}}\n\n", 2);
  chat.End(200, {}, 2, o);
  EXPECT_TRUE(o.ok);
  EXPECT_EQ(o.text, "x");
  EXPECT_EQ(o.output_len, 5);

  ReplyReader completions(BenchApi::kCompletions, true, 7);
  completions.Take("data: {\"choices\":[{\"text\":\"x\"}]}\n\n", 1);
  completions.End(200, {}, 2, o);
  EXPECT_EQ(o.output_len, 7);  // no usage: what was asked for

  ReplyReader whole(BenchApi::kChat, false, 7);
  whole.Take("{\"choices\":[{\"message\":{\"content\":\"y\"}}],\"usage\":{\"completion_tokens\":4}}", 1);
  whole.End(200, {}, 3, o);
  EXPECT_TRUE(o.ok);
  EXPECT_EQ(o.text, "y");
  EXPECT_EQ(o.output_len, 4);
}

TEST(BenchLoad, FailuresAreTold) {
  BenchOutcome o;
  ReplyReader refused(BenchApi::kGenerate, true, 1);
  refused.Take("{\"error\":{\"message\":\"full\"}}", 1);
  refused.End(503, {}, 1, o);
  EXPECT_FALSE(o.ok);
  EXPECT_NE(o.error.find("HTTP 503"), std::string::npos);
  EXPECT_NE(o.error.find("full"), std::string::npos);
  ReplyReader inside(BenchApi::kGenerate, true, 1);
  inside.Take("data: {\"error\":{\"message\":\"broke\"}}\n\n", 1);
  inside.End(200, {}, 1, o);
  EXPECT_NE(o.error.find("broke"), std::string::npos);
  ReplyReader silent(BenchApi::kCompletions, true, 1);
  silent.End(200, {}, 1, o);
  EXPECT_FALSE(o.ok);
}

TEST(BenchLoad, BodiesOfEachApi) {
  LoadConfig config;
  config.model = "m";
  BenchPrompt prompt{"hi", {1, 2}, 2, 5};
  config.backend = {"sglang", BenchApi::kGenerate, 1};
  Json body = RequestBody(config, prompt);
  EXPECT_EQ(body["text"].as_string(), "hi");
  EXPECT_EQ(body["sampling_params"]["max_new_tokens"].as_int(), 5);
  EXPECT_TRUE(body["sampling_params"]["ignore_eos"].as_bool());
  config.send_ids = true;
  EXPECT_EQ(RequestBody(config, prompt)["input_ids"].as_array().size(), 2u);
  config.backend.api = BenchApi::kCompletions;
  EXPECT_EQ(RequestBody(config, prompt)["prompt"].as_array().size(), 2u);
  config.backend.api = BenchApi::kChat;
  config.extra.Set("temperature", 0.5);
  body = RequestBody(config, prompt);
  EXPECT_EQ(body["messages"].as_array()[0]["content"].as_string(), "hi");
  EXPECT_EQ(body["max_completion_tokens"].as_int(), 5);
  EXPECT_EQ(body["temperature"].as_double(), 0.5);
}

TEST(BenchRoofs, ReadsAndUnits) {
  const auto roofs = MeasureRoofs(2, {}, 1 << 20);
  ASSERT_TRUE(roofs.ok());
  ASSERT_EQ(roofs->reads.size(), 2u);
  EXPECT_EQ(roofs->reads.back().threads, 2);
  EXPECT_GT(roofs->read_bytes_per_s(), 0);
  for (const Roofs::Unit& unit : roofs->units) EXPECT_GT(unit.all_threads, 0);
  EXPECT_NE(RoofsTable(*roofs).find("read 1 MiB"), std::string::npos);
}

}  // namespace
}  // namespace sgl
