// Key names: gguf 0.19 constants.py. Hugging Face names: the config classes of transformers.
// SPDX-License-Identifier: Apache-2.0
#include "weights/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sgl {
namespace {

struct Family {
  std::string_view gguf, architecture, model_type;
  bool has_mlp_bias;  // the config has the key
};
constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", "llama", true},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", false},
    {"qwen3", "Qwen3ForCausalLM", "qwen3", false},
};

// Keys of other families that the layers of ours would silently ignore; the value that means "nothing" for each.
struct Refused {
  std::string_view key;
  double neutral;
};
constexpr Refused kRefused[] = {
    {"expert_count", 0},
    {"attention.scale", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"attention.clamp_kqv", 0},
    {"logit_scale", 1},
    {"residual_scale", 1},
    {"embedding_scale", 1},
    {"attention.q_lora_rank", 0},
    {"attention.kv_lora_rank", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.temperature_scale", 0},
};

// The double nearest to the shortest decimal of a number that was stored as f32: 1e-05, not 9.999999747378752e-06, so that it equals
// what config.json said before the conversion.
double Shortest(double value) {
  const auto single = static_cast<float>(value);
  if (!std::isfinite(value) || double{single} != value) return value;
  char text[32];
  const char* end = std::to_chars(text, text + sizeof text, single).ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

// Reads "{arch}.{key}".
class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string_view arch) : metadata_(metadata), arch_(arch) {}

  const Json* find(std::string_view key) const { return metadata_.find(fmt::format("{}.{}", arch_, key)); }

  Error Wrong(std::string_view key, std::string_view expected, const Json& found) const {
    std::string text = DumpJson(found);
    if (text.size() > 80) text = text.substr(0, 80) + "...";
    return InvalidArgument(fmt::format("{}.{}: expected {}, found {}", arch_, key, expected, text));
  }

  // A size in [1, 2^31). Some converters write one per layer: accepted if they agree. `fallback` < 0: the key is required.
  Result<int64_t> Size(std::string_view key, int64_t fallback = -1) const {
    const Json* value = find(key);
    if (value == nullptr) {
      if (fallback >= 0) return fallback;
      return InvalidArgument(fmt::format("metadata {}.{} is missing", arch_, key));
    }
    const Json* one = value;
    if (value->is_array()) {
      const Json::Array& all = value->as_array();
      if (all.empty() || !std::all_of(all.begin(), all.end(), [&](const Json& v) { return v == all[0]; }))
        return Wrong(key, "the same number for every layer", *value);
      one = &all[0];
    }
    if (!one->is_int() || one->as_int() < 1 || one->as_int() > INT32_MAX) return Wrong(key, "a size from 1 to 2^31-1", *value);
    return one->as_int();
  }

  // A finite number above zero. NaN as fallback: the key is required.
  Result<double> Positive(std::string_view key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) {
      if (!std::isnan(fallback)) return fallback;
      return InvalidArgument(fmt::format("metadata {}.{} is missing", arch_, key));
    }
    if (!value->is_number() || !std::isfinite(value->as_double()) || value->as_double() <= 0)
      return Wrong(key, "a positive number", *value);
    return Shortest(value->as_double());
  }

 private:
  const GgufMetadata& metadata_;
  std::string_view arch_;
};

constexpr double kRequired = std::numeric_limits<double>::quiet_NaN();

Status CheckRefused(const Keys& keys) {
  for (const Refused& r : kRefused) {
    const Json* value = keys.find(r.key);
    if (value == nullptr || !value->is_number() || value->as_double() == r.neutral || value->as_double() == 0) continue;
    return Unimplemented(fmt::format("metadata {} = {} is not supported for this architecture", r.key, DumpJson(*value)));
  }
  return {};
}

// Llama.cpp's YaRN magnitude is attn_factor * (0.1 ln factor + 1); Hugging Face's attention_factor replaces the whole of it.
Status AddYarn(const Keys& keys, double factor, Json& scaling) {
  TRY(const int64_t original, keys.Size("rope.scaling.original_context_length"));
  TRY(const double attn_factor, keys.Positive("rope.scaling.attn_factor", 1));
  TRY(const double yarn_attn_factor, keys.Positive("rope.scaling.yarn_attn_factor", 1));
  scaling.Set("original_max_position_embeddings", original);
  if (const double extra = attn_factor * yarn_attn_factor; extra != 1)
    scaling.Set("attention_factor", extra * (factor > 1 ? 0.1 * std::log(factor) + 1 : 1));
  for (const auto& [gguf, name] :
       {std::pair("rope.scaling.yarn_beta_fast", "beta_fast"), std::pair("rope.scaling.yarn_beta_slow", "beta_slow")}) {
    if (keys.find(gguf) == nullptr) continue;
    TRY(const double beta, keys.Positive(gguf, kRequired));
    scaling.Set(name, beta);
  }
  return {};
}

// null when positions are not scaled.
Result<Json> RopeScaling(const Keys& keys) {
  const Json* type = keys.find("rope.scaling.type");
  if (type != nullptr && !type->is_string()) return keys.Wrong("rope.scaling.type", "a string", *type);
  const Json* old_linear = keys.find("rope.scale_linear");  // before rope.scaling existed
  const std::string name = type != nullptr ? type->as_string() : old_linear != nullptr ? "linear" : "none";
  if (name == "none") return Json();
  if (name != "linear" && name != "yarn")
    return Unimplemented(fmt::format("unsupported rope.scaling.type \"{}\"; known: none linear yarn", name));
  TRY(const double factor, keys.Positive(type != nullptr ? "rope.scaling.factor" : "rope.scale_linear", kRequired));
  Json scaling;
  scaling.Set("rope_type", name).Set("factor", factor);
  if (name == "yarn") TRY_STATUS(AddYarn(keys, factor, scaling));
  return scaling;
}

Status AddAttention(const Keys& keys, int64_t hidden, Json& config) {
  TRY(const int64_t heads, keys.Size("attention.head_count"));
  TRY(const int64_t kv_heads, keys.Size("attention.head_count_kv", heads));
  if (heads % kv_heads != 0)
    return InvalidArgument(fmt::format("attention.head_count {} is not a multiple of head_count_kv {}", heads, kv_heads));
  if (keys.find("attention.key_length") == nullptr && hidden % heads != 0) {
    return InvalidArgument(fmt::format("embedding_length {} is not a multiple of attention.head_count {}", hidden, heads));
  }
  TRY(const int64_t head_dim, keys.Size("attention.key_length", hidden / heads));
  TRY(const int64_t value_dim, keys.Size("attention.value_length", head_dim));
  TRY(const int64_t rotated, keys.Size("rope.dimension_count", head_dim));
  if (value_dim != head_dim || rotated != head_dim || head_dim % 2 != 0) {
    return Unimplemented(
        fmt::format("attention.key_length {}, attention.value_length {}, rope.dimension_count {}: expected one even number", head_dim,
                    value_dim, rotated));
  }
  config.Set("num_attention_heads", heads).Set("num_key_value_heads", kv_heads).Set("head_dim", head_dim);
  return {};
}

// Ids from tokenizer.ggml.*; null when absent. Errors: not an id.
Result<Json> TokenId(const GgufMetadata& metadata, std::string_view name) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  const Json* value = metadata.find(key);
  if (value == nullptr) return Json();
  if (!value->is_int() || value->as_int() < 0 || value->as_int() > INT32_MAX)
    return InvalidArgument(fmt::format("{}: expected a token id, found {}", key, DumpJson(*value)));
  return *value;
}

// eos_token_id is a list when the end of a turn is another token than the end of the text.
Status AddTokenIds(const GgufMetadata& metadata, Json& config) {
  Json end;
  for (const std::string_view name : {"eos", "eot"}) {
    TRY(const Json id, TokenId(metadata, name));
    if (id.is_null() || (end.is_array() && end.as_array()[0] == id)) continue;
    end.Push(id);
  }
  TRY(const Json bos, TokenId(metadata, "bos"));
  TRY(const Json pad, TokenId(metadata, "padding"));
  config.Set("bos_token_id", bos);
  config.Set("eos_token_id", end.is_array() && end.as_array().size() == 1 ? end.as_array()[0] : end);
  config.Set("pad_token_id", pad);
  return {};
}

// Rows of the embedding. A vocabulary longer than that has ids that no row belongs to.
Result<int64_t> VocabSize(const GgufFile& file, const Keys& keys) {
  const Json* tokens = file.metadata().find("tokenizer.ggml.tokens");
  const int64_t listed = tokens != nullptr && tokens->is_array() ? static_cast<int64_t>(tokens->as_array().size()) : 0;
  const TensorRef* embedding = file.find("token_embd.weight");
  if (embedding == nullptr) return listed != 0 ? listed : keys.Size("vocab_size");
  if (embedding->shape.size() != 2) return InvalidArgument("tensor token_embd.weight: expected two dimensions");
  if (listed > embedding->shape[0]) {
    return InvalidArgument(fmt::format("tokenizer.ggml.tokens: expected at most {} tokens (rows of token_embd.weight), found {}",
                                       embedding->shape[0], listed));
  }
  return embedding->shape[0];
}

// "Mistral" files are of architecture llama; a window is what tells them apart.
Status AddWindow(const Keys& keys, const Family& family, Json& config) {
  const Json* window = keys.find("attention.sliding_window");
  if (window == nullptr || (window->is_int() && window->as_int() == 0)) return {};
  TRY(const int64_t size, keys.Size("attention.sliding_window"));
  config.Set("sliding_window", size);
  if (family.gguf == "llama") {
    config.Set("architectures", Json::Array{Json("MistralForCausalLM")}).Set("model_type", "mistral");
  } else {
    config.Set("use_sliding_window", true).Set("max_window_layers", 0);  // every layer
  }
  return {};
}

Result<const Family*> FindFamily(const GgufMetadata& metadata) {
  const Json* arch = metadata.find("general.architecture");
  if (arch == nullptr || !arch->is_string()) return InvalidArgument("metadata general.architecture is missing");
  std::string known;
  for (const Family& f : kFamilies) {
    if (f.gguf == arch->as_string()) return &f;
    known += (known.empty() ? "" : " ") + std::string(f.gguf);
  }
  return Unimplemented(fmt::format("unknown GGUF architecture \"{}\"; known: {}", arch->as_string(), known));
}

}  // namespace

Result<Json> HuggingFaceConfig(const GgufFile& file) {
  TRY(const Family* family, FindFamily(file.metadata()));
  const Keys keys(file.metadata(), family->gguf);
  TRY_STATUS(CheckRefused(keys));
  TRY(const int64_t hidden, keys.Size("embedding_length"));
  TRY(const int64_t layers, keys.Size("block_count"));
  TRY(const int64_t intermediate, keys.Size("feed_forward_length"));
  TRY(const int64_t context, keys.Size("context_length"));
  TRY(const double eps, keys.Positive("attention.layer_norm_rms_epsilon", kRequired));
  TRY(const double theta, keys.Positive("rope.freq_base", 10000));
  TRY(const int64_t vocabulary, VocabSize(file, keys));
  TRY(Json scaling, RopeScaling(keys));

  Json config;
  config.Set("architectures", Json::Array{Json(family->architecture)}).Set("model_type", family->model_type);
  config.Set("hidden_size", hidden).Set("intermediate_size", intermediate).Set("num_hidden_layers", layers);
  TRY_STATUS(AddAttention(keys, hidden, config));
  config.Set("hidden_act", "silu").Set("rms_norm_eps", eps);
  config.Set("rope_theta", theta).Set("rope_scaling", std::move(scaling)).Set("max_position_embeddings", context);
  config.Set("vocab_size", vocabulary).Set("tie_word_embeddings", file.find("output.weight") == nullptr);
  config.Set("attention_bias", file.find("blk.0.attn_q.bias") != nullptr);
  if (family->has_mlp_bias) config.Set("mlp_bias", file.find("blk.0.ffn_gate.bias") != nullptr);
  TRY_STATUS(AddWindow(keys, *family, config));
  TRY_STATUS(AddTokenIds(file.metadata(), config));
  return config;
}

}  // namespace sgl
