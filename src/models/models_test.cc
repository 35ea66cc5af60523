// Every family against transformers' logits on tiny random models (tests/goldens/models, tools/make_model_goldens.py), and the
// determinism rule at model level: chunked or whole, batched or alone, one thread or several, any page size: the same bits.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>

#include "kv/kv_store.h"
#include "layers/attention_schedule.h"
#include "models/model.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

struct Golden {
  std::vector<std::vector<TokenId>> prompts, greedy;
  std::vector<float> logits;  // [prompts][33][vocab]
  int64_t vocab = 0;
  std::vector<double> bf16_error;  // of transformers in bfloat16, per prompt, as MaxRelativeError measures it
  const float* at(size_t prompt, size_t position) const {
    return logits.data() + (prompt * prompts[0].size() + position) * static_cast<size_t>(vocab);
  }
};

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path Folder(const std::string& name) { return fs::path(SGLANG_SOURCE_DIR) / "tests/goldens/models" / name; }

Golden ReadGolden(const std::string& name) {
  Golden golden;
  const auto json = ParseJson(ReadFile(Folder(name) / "golden.json"));
  EXPECT_TRUE(json.ok());
  const auto lists = [](const Json& source) {
    std::vector<std::vector<TokenId>> out;
    for (const Json& list : source.as_array()) {
      out.emplace_back();
      for (const Json& id : list.as_array()) out.back().push_back(static_cast<TokenId>(id.as_int()));
    }
    return out;
  };
  golden.prompts = lists((*json)["prompts"]);
  golden.greedy = lists((*json)["greedy"]);
  golden.vocab = (*json)["vocab"].as_int();
  for (const Json& error : (*json)["bf16_error"].as_array()) golden.bf16_error.push_back(error.as_double());
  const std::string raw = ReadFile(Folder(name) / "logits.f32");
  golden.logits.resize(raw.size() / 4);
  std::memcpy(golden.logits.data(), raw.data(), raw.size());
  EXPECT_EQ(golden.logits.size(), golden.prompts.size() * golden.prompts[0].size() * static_cast<size_t>(golden.vocab));
  return golden;
}

// A model with its own cache; sequences get consecutive pages.
class Harness {
 public:
  Harness(const std::string& name, WeightPrecision precision, int threads, int32_t page_size = 16, KvType kv = KvType::kF32)
      : pool_(threads), page_size_(page_size) {
    const fs::path folder = Folder(name);
    auto files = OpenModel(fs::exists(folder / "model.gguf") ? folder / "model.gguf" : folder);
    EXPECT_TRUE(files.ok()) << files.error().message;
    files_ = *std::move(files);
    auto model = MakeModel(files_.config, files_, pool_, {.precision = precision, .progress = {}, .packed_cache_dir = {}});
    EXPECT_TRUE(model.ok()) << model.error().message;
    model_ = *std::move(model);
    const ModelShape& s = model_->shape();
    store_ = std::make_unique<KvStore>(*KvStore::Allocate(s.layers, s.groups, s.head_width, kv, 16 * kSlots));
    arena_ = std::make_unique<Arena>(*Arena::Allocate(model_->ScratchBytes(256, threads) + (8 << 20)));
    for (int i = 0; i < s.layers; ++i) layers_.push_back(store_->layer(i));
    for (int seq = 0; seq < 16; ++seq) {
      tables_.emplace_back(kSlots / page_size);
      for (size_t i = 0; i < tables_.back().size(); ++i)  // not in ascending order: the table must be obeyed
        tables_.back()[i] = seq * kSlots / page_size + static_cast<int32_t>((i * 3 + 1) % tables_.back().size());
    }
  }

  struct Part {
    int seq;  // which cache
    int32_t first_pos;
    std::vector<TokenId> tokens;
  };
  // Logits of every row, [T][V].
  std::vector<float> Run(const std::vector<Part>& parts) {
    Step step;
    for (const Part& part : parts) {
      const auto& table = tables_[static_cast<size_t>(part.seq)];
      step.first_row.push_back(step.size());
      step.seqs.push_back(
          {.pages = table.data(), .page_size = page_size_, .first_pos = part.first_pos, .rows = static_cast<int32_t>(part.tokens.size())});
      for (size_t i = 0; i < part.tokens.size(); ++i) {
        const int32_t pos = part.first_pos + static_cast<int32_t>(i);
        step.hidden_rows.push_back(step.size());
        step.tokens.push_back(part.tokens[i]);
        step.positions.push_back(pos);
        step.slots.push_back(table[static_cast<size_t>(pos / page_size_)] * page_size_ + pos % page_size_);
      }
    }
    AttentionSchedule schedule;
    RunContext ctx{pool_, *arena_, schedule};
    ArenaScope scope(*arena_);
    const ModelShape& s = model_->shape();
    const Mat<float> hidden = arena_->TakeMat<float>(step.size(), s.width);
    model_->Forward(ctx, step, layers_, hidden);
    std::vector<float> logits(static_cast<size_t>(step.size() * s.vocab_size));
    model_->Logits(ctx, hidden, MakeMat(logits.data(), step.size(), s.vocab_size));
    return logits;
  }

  const ModelShape& shape() const { return model_->shape(); }

 private:
  static constexpr int32_t kSlots = 128;
  ThreadPool pool_;
  int32_t page_size_;
  ModelFiles files_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvStore> store_;
  std::unique_ptr<Arena> arena_;
  std::vector<KvLayer> layers_;
  std::vector<std::vector<int32_t>> tables_;
};

double MaxRelativeError(const std::vector<float>& got, const float* want) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(double{want[i]}));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(double{got[i]} - want[i]);
    if (!(error <= worst)) worst = error;  // NaN sticks
  }
  return worst / largest;
}

const std::vector<std::string> kDirectories = {"smollm2", "llama31", "llama_bias", "mistral_window",
                                               "mistral", "qwen2",   "qwen2_yarn", "qwen3"};
const std::vector<std::string> kGgufs = {"gguf_llama_legacy", "gguf_qwen3_k"};
std::vector<std::string> All() {
  std::vector<std::string> all = kDirectories;
  all.insert(all.end(), kGgufs.begin(), kGgufs.end());
  return all;
}

class ModelGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(ModelGolden, LogitsInF32MatchTransformers) {
  const Golden golden = ReadGolden(GetParam());
  Harness model(GetParam(), WeightPrecision::kF32, 2);
  for (size_t p = 0; p < golden.prompts.size(); ++p)
    EXPECT_LE(MaxRelativeError(model.Run({{static_cast<int>(p), 0, golden.prompts[p]}}), golden.at(p, 0)), 2e-4) << "prompt " << p;
}

TEST_P(ModelGolden, GreedyTokensInF32EqualTransformers) {
  const Golden golden = ReadGolden(GetParam());
  Harness model(GetParam(), WeightPrecision::kF32, 2);
  for (size_t p = 0; p < golden.prompts.size(); ++p) {
    std::vector<TokenId> next = golden.prompts[p];
    int32_t pos = 0;
    for (const TokenId expected : golden.greedy[p]) {
      const std::vector<float> logits = model.Run({{static_cast<int>(p), pos, next}});
      pos += static_cast<int32_t>(next.size());
      const float* last = logits.data() + logits.size() - static_cast<size_t>(golden.vocab);
      const auto best = static_cast<TokenId>(std::max_element(last, last + golden.vocab) - last);
      ASSERT_EQ(best, expected) << "prompt " << p << " position " << pos;
      next = {best};
    }
  }
}

// The fast path: weights as stored, half-width cache. Block formats quantise activations to 8 bits, hence the wider bound.
TEST_P(ModelGolden, LogitsAsServedAreClose) {
  const Golden golden = ReadGolden(GetParam());
  Harness model(GetParam(), WeightPrecision::kAuto, 2, 16, KvType::kBF16);
  // Matrix units take inputs rounded to bf16. These toys with random weights show it: transformers in bf16 is the yardstick.
  const bool rounds = kernels().form(DType::kBF16) == Form::kBFloat;
  for (size_t p = 0; p < golden.prompts.size(); ++p) {
    const double bound = rounds ? std::max(2e-2, golden.bf16_error[p]) : 2e-2;
    EXPECT_LE(MaxRelativeError(model.Run({{static_cast<int>(p), 0, golden.prompts[p]}}), golden.at(p, 0)), bound) << "prompt " << p;
  }
}

void CheckThatRowsStandAlone(const std::string& name, WeightPrecision precision) {
  const Golden golden = ReadGolden(name);
  Harness whole(name, precision, 1), chunked(name, precision, 3, 1), batched(name, precision, 2, 64);
  const std::vector<TokenId>& prompt = golden.prompts[0];
  const std::vector<float> expected = whole.Run({{0, 0, prompt}});

  std::vector<float> pieces;
  for (const auto& [begin, end] : std::vector<std::pair<int, int>>{{0, 1}, {1, 8}, {8, 24}, {24, 33}}) {
    const std::vector<float> part = chunked.Run({{1, begin, {prompt.begin() + begin, prompt.begin() + end}}});
    pieces.insert(pieces.end(), part.begin(), part.end());
  }
  EXPECT_EQ(expected, pieces) << "chunked, page size 1, 3 threads";

  std::vector<Harness::Part> parts;
  for (int seq = 0; seq < 5; ++seq)
    parts.push_back({seq, 0, std::vector<TokenId>(golden.prompts[1].begin(), golden.prompts[1].begin() + 3 + seq)});
  parts.insert(parts.begin() + 2, {7, 0, prompt});
  const std::vector<float> batch = batched.Run(parts);
  const size_t first = (3 + 4) * static_cast<size_t>(golden.vocab);
  EXPECT_EQ(expected, std::vector<float>(batch.begin() + static_cast<std::ptrdiff_t>(first),
                                         batch.begin() + static_cast<std::ptrdiff_t>(first + expected.size())))
      << "batched, page size 64, 2 threads";
}

TEST_P(ModelGolden, RowsDoNotDependOnTheirNeighbours) { CheckThatRowsStandAlone(GetParam(), WeightPrecision::kAuto); }

// Layers as bytes: w8a8_int8.
class ModelInBytes : public ::testing::TestWithParam<std::string> {};

TEST_P(ModelInBytes, LogitsAreClose) {
  const Golden golden = ReadGolden(GetParam());
  Harness model(GetParam(), WeightPrecision::kInt8, 2, 16, KvType::kBF16);
  for (size_t p = 0; p < golden.prompts.size(); ++p)
    EXPECT_LE(MaxRelativeError(model.Run({{static_cast<int>(p), 0, golden.prompts[p]}}), golden.at(p, 0)), 2e-1) << "prompt " << p;
}

TEST_P(ModelInBytes, RowsDoNotDependOnTheirNeighbours) { CheckThatRowsStandAlone(GetParam(), WeightPrecision::kInt8); }

INSTANTIATE_TEST_SUITE_P(Families, ModelInBytes, ::testing::ValuesIn(kDirectories), [](const auto& test) { return test.param; });

INSTANTIATE_TEST_SUITE_P(Families, ModelGolden, ::testing::ValuesIn(All()), [](const auto& test) { return test.param; });

// ---- what must be refused, by name ----

class BrokenModel : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("sgl_models_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    for (const auto& file : fs::directory_iterator(Folder("qwen3"))) fs::copy(file, folder_, fs::copy_options::overwrite_existing);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Failure(const std::function<void(Json&)>& change) {
    auto files = OpenModel(folder_);
    EXPECT_TRUE(files.ok());
    Json config = files->config;
    change(config);
    ThreadPool pool(1);
    auto model = MakeModel(config, *files, pool, {});
    EXPECT_FALSE(model.ok());
    return model.ok() ? "" : model.error().message;
  }
  fs::path folder_;
};

TEST_F(BrokenModel, NamesWhatIsWrong) {
  const auto has = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  std::string e = Failure([](Json& c) { c.Set("architectures", Json::Array{Json("GPT9ForCausalLM")}); });
  EXPECT_TRUE(has(e, "GPT9ForCausalLM") && has(e, "Qwen3ForCausalLM")) << e;
  e = Failure([](Json& c) { c.Set("num_hidden_layers", 4); });
  EXPECT_TRUE(has(e, "'model.layers.3.input_layernorm.weight' is missing") && has(e, "[48]")) << e;
  e = Failure([](Json& c) { c.Set("num_hidden_layers", 2); });
  EXPECT_TRUE(has(e, "does not have: 'model.layers.2.")) << e;
  e = Failure([](Json& c) { c.Set("intermediate_size", 81); });
  EXPECT_TRUE(has(e, "model.layers.0.mlp.gate_proj.weight") && has(e, "[80, 48]") && has(e, "[81, 48]")) << e;
  e = Failure([](Json& c) { c.Set("num_key_value_heads", 5); });
  EXPECT_TRUE(has(e, "num_key_value_heads")) << e;
  e = Failure([](Json& c) { c.Set("hidden_size", "many"); });
  EXPECT_TRUE(has(e, "'hidden_size'")) << e;
  e = Failure([](Json& c) { c.Set("hidden_act", "gelu"); });
  EXPECT_TRUE(has(e, "hidden_act")) << e;
  e = Failure([](Json& c) { c.Set("rope_parameters", Json(Json::Object{{"rope_type", "longrope"}})); });
  EXPECT_TRUE(has(e, "longrope")) << e;
}

}  // namespace
}  // namespace sgl
