// SPDX-License-Identifier: Apache-2.0
#include "weights/gguf_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "weights/test_kit.h"

namespace sgl {
namespace {

using test::Bytes;
using test::GgufBuilder;
using test::GoldenDir;
using test::Raw;

void ExpectHas(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nexpected: " << part;
}

// The keys that every file has, for a model of 4 heads of width 8; `skip` leaves one out.
GgufBuilder Minimal(const std::string& arch, std::string_view skip = "") {
  GgufBuilder b;
  b.String("general.architecture", arch);
  const auto number = [&](const char* key, uint32_t n) {
    if (skip != key) b.Number(arch + "." + key, n);
  };
  number("embedding_length", 32);
  number("block_count", 2);
  number("feed_forward_length", 64);
  number("context_length", 128);
  number("attention.head_count", 4);
  if (skip != "attention.layer_norm_rms_epsilon") b.Float(arch + ".attention.layer_norm_rms_epsilon", 1e-6f);
  return b;
}

GgufBuilder WithEmbedding(GgufBuilder b) { return b.Tensor("token_embd.weight", {32, 7}, 0, 0); }
constexpr size_t kEmbeddingBytes = 32 * 7 * 4;

Result<Json> ConfigOf(const GgufBuilder& b, size_t data_bytes = 0) {
  const auto bytes = Bytes(b.Build(data_bytes));
  TRY(const std::unique_ptr<GgufFile> file, ParseGguf(bytes, "f"));
  return HuggingFaceConfig(*file);
}
Json Config(const GgufBuilder& b) {
  const auto config = ConfigOf(WithEmbedding(b), kEmbeddingBytes);
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? *config : Json();
}
std::string ConfigError(const GgufBuilder& b) {
  const auto config = ConfigOf(WithEmbedding(b), kEmbeddingBytes);
  EXPECT_FALSE(config.ok()) << "accepted";
  return config.ok() ? "" : config.error().message;
}

TEST(GgufConfig, LlamaOfTheReferenceWriter) {
  const auto file = OpenGguf(GoldenDir() / "llama.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto config = HuggingFaceConfig(**file);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(DumpJson(*config),
            R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,)"
            R"("num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"hidden_act":"silu","rms_norm_eps":1e-05,"rope_theta":5e+05,)"
            R"("rope_scaling":null,"max_position_embeddings":128,"vocab_size":5,"tie_word_embeddings":true,"attention_bias":false,)"
            R"("mlp_bias":false,"bos_token_id":3,"eos_token_id":[4,3],"pad_token_id":null})");
}

TEST(GgufConfig, DefaultsAndFamilies) {
  const Json llama = Config(Minimal("llama"));
  EXPECT_EQ(llama["num_key_value_heads"], Json(4));
  EXPECT_EQ(llama["rope_theta"], Json(10000.0));
  EXPECT_EQ(llama["rms_norm_eps"], Json(1e-6));  // not the f32 widened
  EXPECT_EQ(llama["vocab_size"], Json(7));
  EXPECT_TRUE(llama["eos_token_id"].is_null());
  EXPECT_EQ(llama.find("sliding_window"), nullptr);
  EXPECT_EQ(Config(Minimal("qwen2"))["architectures"], Json(Json::Array{"Qwen2ForCausalLM"}));
  const Json qwen3 = Config(Minimal("qwen3").Number("qwen3.attention.key_length", 16).Number("qwen3.attention.value_length", 16));
  EXPECT_EQ(qwen3["architectures"], Json(Json::Array{"Qwen3ForCausalLM"}));
  EXPECT_EQ(qwen3["model_type"], Json("qwen3"));
  EXPECT_EQ(qwen3["head_dim"], Json(16));
  EXPECT_EQ(qwen3.find("mlp_bias"), nullptr);
}

TEST(GgufConfig, UnknownArchitectures) {
  const auto unknown = ConfigOf(Minimal("gpt-j"));
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, Code::kUnimplemented);
  ExpectHas(unknown.error().message, "unknown GGUF architecture \"gpt-j\"; known: llama qwen2 qwen3");
  ExpectHas(ConfigOf(GgufBuilder()).error().message, "general.architecture is missing");
}

TEST(GgufConfig, RequiredKeys) {
  for (const char* key : {"embedding_length", "block_count", "feed_forward_length", "context_length", "attention.head_count",
                          "attention.layer_norm_rms_epsilon"})
    ExpectHas(ConfigError(Minimal("llama", key)), std::string("metadata llama.") + key + " is missing");
  ExpectHas(ConfigError(Minimal("llama", "block_count").Number("llama.block_count", 0)), "llama.block_count: expected a size from 1");
  ExpectHas(ConfigError(Minimal("llama", "block_count").String("llama.block_count", "2")), "found \"2\"");
  ExpectHas(ConfigError(Minimal("llama").Float("llama.rope.freq_base", -1.0f)),
            "llama.rope.freq_base: expected a positive number, found -1");
  ExpectHas(ConfigError(Minimal("llama").Float("llama.rope.freq_base", NAN)), "expected a positive number");
}

TEST(GgufConfig, HeadCountsPerLayer) {
  const auto with = [](const std::vector<uint32_t>& all) { return Minimal("llama").Numbers("llama.attention.head_count_kv", all); };
  EXPECT_EQ(Config(with({2, 2}))["num_key_value_heads"], Json(2));
  ExpectHas(ConfigError(with({2, 1})), "llama.attention.head_count_kv: expected the same number for every layer, found [2,1]");
  ExpectHas(ConfigError(with({})), "expected the same number for every layer");
  ExpectHas(ConfigError(with({3})), "attention.head_count 4 is not a multiple of head_count_kv 3");
}

TEST(GgufConfig, HeadWidths) {
  ExpectHas(ConfigError(Minimal("llama", "attention.head_count").Number("llama.attention.head_count", 5)),
            "embedding_length 32 is not a multiple of attention.head_count 5");
  ExpectHas(ConfigError(Minimal("llama").Number("llama.attention.value_length", 16)), "expected one even number");
  ExpectHas(ConfigError(Minimal("llama").Number("llama.rope.dimension_count", 4)), "rope.dimension_count 4: expected one even number");
  ExpectHas(ConfigError(Minimal("llama").Number("llama.attention.key_length", 7)), "expected one even number");
}

TEST(GgufConfig, RopeScaling) {
  const auto scaled = [](const char* type) { return Minimal("qwen2").String("qwen2.rope.scaling.type", type); };
  EXPECT_TRUE(Config(scaled("none"))["rope_scaling"].is_null());
  EXPECT_EQ(DumpJson(Config(scaled("linear").Float("qwen2.rope.scaling.factor", 2.5f))["rope_scaling"]),
            R"({"rope_type":"linear","factor":2.5})");
  EXPECT_EQ(DumpJson(Config(Minimal("qwen2").Float("qwen2.rope.scale_linear", 4))["rope_scaling"]),
            R"({"rope_type":"linear","factor":4.0})");
  const auto yarn = [&] {
    return scaled("yarn").Float("qwen2.rope.scaling.factor", 4).Number("qwen2.rope.scaling.original_context_length", 32);
  };
  EXPECT_EQ(DumpJson(Config(yarn())["rope_scaling"]), R"({"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32})");
  const Json full = Config(yarn()
                               .Float("qwen2.rope.scaling.attn_factor", 0.5f)
                               .Float("qwen2.rope.scaling.yarn_beta_fast", 16)
                               .Float("qwen2.rope.scaling.yarn_beta_slow", 2))["rope_scaling"];
  EXPECT_EQ(full["attention_factor"], Json(0.5 * (0.1 * std::log(4.0) + 1)));
  EXPECT_EQ(full["beta_fast"], Json(16.0));
  EXPECT_EQ(full["beta_slow"], Json(2.0));
  ExpectHas(ConfigError(scaled("longrope")), "unsupported rope.scaling.type \"longrope\"; known: none linear yarn");
  ExpectHas(ConfigError(scaled("linear")), "metadata qwen2.rope.scaling.factor is missing");
  ExpectHas(ConfigError(scaled("yarn").Float("qwen2.rope.scaling.factor", 4)), "qwen2.rope.scaling.original_context_length is missing");
  ExpectHas(ConfigError(Minimal("qwen2").Number("qwen2.rope.scaling.type", 1)), "qwen2.rope.scaling.type: expected a string, found 1");
}

TEST(GgufConfig, Windows) {
  const Json mistral = Config(Minimal("llama").Number("llama.attention.sliding_window", 16));
  EXPECT_EQ(mistral["architectures"], Json(Json::Array{"MistralForCausalLM"}));
  EXPECT_EQ(mistral["model_type"], Json("mistral"));
  EXPECT_EQ(mistral["sliding_window"], Json(16));
  const Json qwen = Config(Minimal("qwen2").Number("qwen2.attention.sliding_window", 16));
  EXPECT_EQ(qwen["use_sliding_window"], Json(true));
  EXPECT_EQ(qwen["max_window_layers"], Json(0));
  EXPECT_EQ(Config(Minimal("llama").Number("llama.attention.sliding_window", 0)).find("sliding_window"), nullptr);
  ExpectHas(ConfigError(Minimal("llama").String("llama.attention.sliding_window", "x")), "llama.attention.sliding_window: expected a size");
}

TEST(GgufConfig, RefusesWhatTheLayersWouldIgnore) {
  const std::string error = ConfigError(Minimal("llama").Number("llama.expert_count", 8));
  ExpectHas(error, "metadata expert_count = 8 is not supported");
  EXPECT_EQ(Config(Minimal("llama").Number("llama.expert_count", 0))["hidden_size"], Json(32));
  EXPECT_EQ(Config(Minimal("llama").Float("llama.logit_scale", 1))["hidden_size"], Json(32));
  ExpectHas(ConfigError(Minimal("llama").Float("llama.logit_scale", 0.25f)), "logit_scale = 0.25 is not supported");
}

TEST(GgufConfig, VocabularyAndHead) {
  EXPECT_EQ((*ConfigOf(Minimal("llama").Strings("tokenizer.ggml.tokens", {"a", "b"})))["vocab_size"], Json(2));  // without an embedding
  EXPECT_EQ((*ConfigOf(Minimal("llama").Number("llama.vocab_size", 9)))["vocab_size"], Json(9));
  ExpectHas(ConfigOf(Minimal("llama")).error().message, "llama.vocab_size is missing");
  EXPECT_EQ(Config(Minimal("llama").Strings("tokenizer.ggml.tokens", {"a", "b"}))["vocab_size"], Json(7));  // padded rows count
  ExpectHas(ConfigError(Minimal("llama").Strings("tokenizer.ggml.tokens", {"1", "2", "3", "4", "5", "6", "7", "8"})),
            "expected at most 7 tokens (rows of token_embd.weight), found 8");
  ExpectHas(ConfigOf(Minimal("llama").Tensor("token_embd.weight", {7}, 0, 0), 28).error().message, "expected two dimensions");
  const auto untied = ConfigOf(WithEmbedding(Minimal("llama"))
                                   .Tensor("output.weight", {1}, 0, 896)
                                   .Tensor("blk.0.attn_q.bias", {1}, 0, 928)
                                   .Tensor("blk.0.ffn_gate.bias", {1}, 0, 960),
                               964);
  ASSERT_TRUE(untied.ok()) << untied.error().message;
  EXPECT_EQ((*untied)["tie_word_embeddings"], Json(false));
  EXPECT_EQ((*untied)["attention_bias"], Json(true));
  EXPECT_EQ((*untied)["mlp_bias"], Json(true));
}

TEST(GgufConfig, TokenIds) {
  const auto with = [](uint32_t eos, uint32_t eot) {
    return Minimal("llama").Number("tokenizer.ggml.eos_token_id", eos).Number("tokenizer.ggml.eot_token_id", eot);
  };
  EXPECT_EQ(Config(with(2, 2))["eos_token_id"], Json(2));
  EXPECT_EQ(Config(with(2, 5))["eos_token_id"], Json(Json::Array{2, 5}));
  EXPECT_EQ(Config(Minimal("llama").Number("tokenizer.ggml.eot_token_id", 5))["eos_token_id"], Json(5));
  EXPECT_EQ(Config(Minimal("llama").Number("tokenizer.ggml.padding_token_id", 6))["pad_token_id"], Json(6));
  ExpectHas(ConfigError(with(0xffffffff, 2)), "tokenizer.ggml.eos_token_id: expected a token id, found 4294967295");
  ExpectHas(ConfigError(Minimal("llama").String("tokenizer.ggml.bos_token_id", "x")), "bos_token_id: expected a token id");
}

TEST(GgufNames, MapToHuggingFace) {
  const std::pair<const char*, const char*> names[] = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
      {"rope_freqs.weight", "rope_freqs.weight"},
      {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"blk.3.attn_q.weight", "model.layers.3.self_attn.q_proj.weight"},
      {"blk.3.attn_q.bias", "model.layers.3.self_attn.q_proj.bias"},
      {"blk.31.attn_k.weight", "model.layers.31.self_attn.k_proj.weight"},
      {"blk.31.attn_v.bias", "model.layers.31.self_attn.v_proj.bias"},
      {"blk.7.attn_output.weight", "model.layers.7.self_attn.o_proj.weight"},
      {"blk.7.attn_q_norm.weight", "model.layers.7.self_attn.q_norm.weight"},
      {"blk.7.attn_k_norm.weight", "model.layers.7.self_attn.k_norm.weight"},
      {"blk.7.ffn_norm.weight", "model.layers.7.post_attention_layernorm.weight"},
      {"blk.7.ffn_gate.weight", "model.layers.7.mlp.gate_proj.weight"},
      {"blk.7.ffn_up.weight", "model.layers.7.mlp.up_proj.weight"},
      {"blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight"},
  };
  for (const auto& [gguf, hugging_face] : names) EXPECT_EQ(HuggingFaceName(gguf), hugging_face);
  for (const char* unknown :
       {"", "blk", "blk.", "blk.0", "blk.0.", "blk.0.attn_q", "blk..attn_q.weight", "blk.x.attn_q.weight", "blk.-1.attn_q.weight",
        "blk.0.attn_q.scale", "blk.0.attn_qkv.weight", "blk.0.attn_q.weight.weight", "blk.0..weight", "output"})
    EXPECT_EQ(HuggingFaceName(unknown), "") << unknown;
}

TEST(GgufNames, UnpermutedRowUndoesTheConverter) {
  const auto gguf = OpenGguf(GoldenDir() / "llama.gguf");
  const auto original = OpenSafetensors(GoldenDir() / "llama_qk.safetensors");
  ASSERT_TRUE(gguf.ok() && original.ok());
  constexpr int64_t kHeadDim = 8, kRowBytes = 32 * 2;
  for (const auto& [name, heads] : {std::pair<std::string, int64_t>("blk.0.attn_q.weight", 4), {"blk.0.attn_k.weight", 2}}) {
    const TensorRef* permuted = (*gguf)->find(name);
    const TensorRef* plain = (*original)->find(HuggingFaceName(name));
    ASSERT_TRUE(permuted != nullptr && plain != nullptr) << name;
    ASSERT_EQ(plain->shape, permuted->shape);
    ASSERT_EQ(plain->shape[0], heads * kHeadDim);
    for (int64_t row = 0; row < plain->shape[0]; ++row) {
      const std::byte* found = permuted->data + UnpermutedRow(row, heads, kHeadDim) * kRowBytes;
      EXPECT_EQ(std::memcmp(plain->data + row * kRowBytes, found, kRowBytes), 0) << name << " row " << row;
    }
  }
}

}  // namespace
}  // namespace sgl
