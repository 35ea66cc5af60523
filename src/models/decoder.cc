// SPDX-License-Identifier: Apache-2.0
#include "models/decoder.h"

#include <fmt/core.h>

#include <cstring>

namespace sgl {
namespace {

struct DecoderLayer {
  RmsNorm norm_attention, norm_mlp;
  Attention attention;
  GatedMlp mlp;
};

AttentionConfig LayerAttention(const DecoderConfig& c, int window) {
  return {.model_width = c.shape.width,
          .heads = c.heads,
          .groups = c.shape.groups,
          .head_width = c.shape.head_width,
          .qkv_bias = c.qkv_bias,
          .output_bias = c.output_bias,
          .qk_norm = c.qk_norm,
          .norm_eps = c.norm_eps,
          .window = window};
}

class Decoder final : public Model {
 public:
  explicit Decoder(DecoderConfig config) : config_(std::move(config)) { shape_ = config_.shape; }

  Status Load(const ModelFiles& files, ThreadPool& pool, const LoadOptions& options);
  int64_t weight_bytes() const override { return weight_bytes_; }
  void Zero() override { std::memset(memory_.data(), 0, memory_.bytes()); }
  size_t ScratchBytes(int64_t max_rows, int threads) const override;
  void Forward(RunContext& ctx, const Step& step, std::span<const KvLayer> kv, Mat<float> hidden) const override;
  void Logits(RunContext& ctx, Mat<const float> hidden, Mat<float> logits) const override;

 private:
  DecoderConfig config_;
  Embedding embed_;
  std::vector<DecoderLayer> layers_;
  RmsNorm norm_;
  Linear head_;  // unused when tied
  Buffer memory_;
  int64_t weight_bytes_ = 0;
};

Status Decoder::Load(const ModelFiles& files, ThreadPool& pool, const LoadOptions& options) {
  TRY(WeightLoader loader, WeightLoader::Create(files, pool, options));
  const ModelShape& s = shape_;
  TRY(embed_, Embedding::Load(loader, "model.embed_tokens", s.vocab_size, s.width));
  layers_.resize(static_cast<size_t>(s.layers));
  for (size_t i = 0; i < layers_.size(); ++i) {
    DecoderLayer& layer = layers_[i];
    const std::string name = fmt::format("model.layers.{}.", i);
    TRY(layer.norm_attention, RmsNorm::Load(loader, name + "input_layernorm", s.width, config_.norm_eps));
    TRY(layer.attention, Attention::Load(loader, name + "self_attn", LayerAttention(config_, config_.windows[i])));
    TRY(layer.norm_mlp, RmsNorm::Load(loader, name + "post_attention_layernorm", s.width, config_.norm_eps));
    TRY(layer.mlp, GatedMlp::Load(loader, name + "mlp", s.width, config_.mlp_width, config_.mlp_bias));
  }
  TRY(norm_, RmsNorm::Load(loader, "model.norm", s.width, config_.norm_eps));
  if (config_.tied) {
    loader.Ignore("lm_head.weight");
  } else {
    TRY(head_, Linear::Load(loader, {{.name = "lm_head", .n = s.vocab_size}}, s.width, false));
  }
  if (loader.Has("rope_freqs.weight")) {  // GGUF: Llama 3's frequency scaling as divisors
    const auto half = static_cast<int64_t>(config_.rope.inv_freq.size());
    TRY(const std::vector<float> divisors, loader.Vector("rope_freqs.weight", half));
    for (size_t i = 0; i < divisors.size(); ++i) config_.rope.inv_freq[i] /= divisors[i];
  }
  TRY_STATUS(loader.CheckAllUsed());
  weight_bytes_ = loader.packed_bytes();
  memory_ = loader.TakeMemory();
  return {};
}

size_t Decoder::ScratchBytes(int64_t max_rows, int threads) const {
  const auto rows = static_cast<size_t>(max_rows), d = static_cast<size_t>(shape_.width);
  const size_t shared = rows * d * sizeof(float) + rows * static_cast<size_t>(shape_.head_width) * sizeof(float) + 4096;
  const size_t attention = Attention::ScratchBytes(LayerAttention(config_, 0), max_rows, threads);
  return shared + std::max(attention, GatedMlp::ScratchBytes(max_rows, shape_.width, config_.mlp_width));
}

void Decoder::Forward(RunContext& ctx, const Step& step, std::span<const KvLayer> kv, Mat<float> hidden) const {
  ArenaScope scope(ctx.arena);
  const int64_t rows = step.size(), width = shape_.width;
  const Mat<float> x = ctx.arena.TakeMat<float>(rows, width);
  const Mat<float> cos_sin = ctx.arena.TakeMat<float>(rows, config_.rope.rotary());
  config_.rope.Angles(ctx, step.positions, cos_sin);
  ctx.schedule.Clear();  // a new step: the first layer makes its schedule

  embed_.Lookup(ctx, step.tokens, x);
  for (const auto& [row, values] : step.embeds) std::copy_n(values, width, x.row(row));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderLayer& layer = layers_[i];
    layer.attention.Forward(ctx, step, kv[i], cos_sin, ctx.schedule, {x, layer.norm_attention}, x, true);
    layer.mlp.Forward(ctx, {x, layer.norm_mlp}, x, true);
  }
  for (size_t r = 0; r < step.hidden_rows.size(); ++r) {
    const int64_t row = step.hidden_rows[r];
    norm_.Apply(ctx, x.Rows(row, 1), hidden.Rows(static_cast<int64_t>(r), 1));
  }
}

void Decoder::Logits(RunContext& ctx, Mat<const float> hidden, Mat<float> logits) const {
  (config_.tied ? embed_.as_head() : head_).Forward(ctx, hidden, logits);
}

}  // namespace

Result<DecoderConfig> ReadDecoderConfig(const Json& config) {
  DecoderConfig c;
  const auto need = [&](const char* key, int64_t limit) -> Result<int64_t> {
    const Json& value = config[key];
    if (!value.is_int() || value.as_int() < 1 || value.as_int() > limit)
      return InvalidArgument(fmt::format("config key '{}' must be an integer in [1, {}], got {}", key, limit, DumpJson(value)));
    return value.as_int();
  };
  TRY(c.shape.width, need("hidden_size", 1 << 20));
  TRY(c.mlp_width, need("intermediate_size", 1 << 22));
  TRY(c.shape.vocab_size, need("vocab_size", 1 << 24));
  TRY(const int64_t layers, need("num_hidden_layers", 4096));
  TRY(const int64_t heads, need("num_attention_heads", 4096));
  c.shape.layers = static_cast<int>(layers);
  c.heads = static_cast<int>(heads);
  c.shape.groups = static_cast<int>(config.get_int("num_key_value_heads", heads));
  if (c.shape.groups < 1 || heads % c.shape.groups != 0)
    return InvalidArgument(
        fmt::format("config key 'num_key_value_heads' ({}) must divide num_attention_heads ({})", c.shape.groups, heads));
  if (!config["head_dim"].is_number() && c.shape.width % heads != 0)
    return InvalidArgument(
        fmt::format("hidden_size {} is not a multiple of num_attention_heads {}, and head_dim is not given", c.shape.width, heads));
  c.shape.head_width = static_cast<int>(config.get_int("head_dim", c.shape.width / heads));
  if (c.shape.head_width < 2 || c.shape.head_width > 1024)
    return InvalidArgument(fmt::format("config key 'head_dim' must be in [2, 1024], got {}", c.shape.head_width));
  if (const std::string act = config.get_string("hidden_act", "silu"); act != "silu")
    return InvalidArgument(fmt::format("config key 'hidden_act': '{}' is not supported, expected 'silu'", act));
  c.norm_eps = static_cast<float>(config.get_double("rms_norm_eps", 1e-6));
  c.tied = config.get_bool("tie_word_embeddings", false);
  c.shape.model_type = config.get_string("model_type", "");
  c.shape.context_length = config.get_int("max_position_embeddings", 2048);
  TRY(c.rope, Rope::FromConfig(config, c.shape.head_width, c.shape.context_length));
  // Context: a scaled rope reaches further than max_position_embeddings unless that already is the scaled length.
  const Json& scaling = config["rope_parameters"].is_object() ? config["rope_parameters"] : config["rope_scaling"];
  const std::string type = scaling.get_string("rope_type", scaling.get_string("type", "default"));
  if (scaling.is_object() && scaling["factor"].is_number() && type != "llama3" &&
      scaling.find("original_max_position_embeddings") == nullptr)
    c.shape.context_length = static_cast<int64_t>(static_cast<double>(c.shape.context_length) * scaling.get_double("factor", 1));
  c.windows.assign(static_cast<size_t>(c.shape.layers), 0);
  return c;
}

Result<std::unique_ptr<Model>> LoadDecoder(DecoderConfig config, const ModelFiles& files, ThreadPool& pool, const LoadOptions& options) {
  auto decoder = std::make_unique<Decoder>(std::move(config));
  TRY_STATUS(decoder->Load(files, pool, options));
  return std::unique_ptr<Model>(std::move(decoder));
}

}  // namespace sgl
