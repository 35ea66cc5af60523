// How GGUF calls the tensors of the dense decoder families, and how it orders the rows of q and k.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "weights/weights.h"

namespace sgl {
namespace {

struct Name {
  std::string_view gguf, hugging_face;
};

constexpr Name kModelNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
    {"rope_freqs.weight", "rope_freqs.weight"},
};
// Each with ".weight" or ".bias".
constexpr Name kLayerNames[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

}  // namespace

std::string HuggingFaceName(std::string_view gguf_name) {
  for (const Name& n : kModelNames)
    if (n.gguf == gguf_name) return std::string(n.hugging_face);
  constexpr std::string_view kPrefix = "blk.";
  if (!gguf_name.starts_with(kPrefix)) return "";
  const std::string_view rest = gguf_name.substr(kPrefix.size());
  const size_t layer_end = rest.find('.'), kind_begin = rest.rfind('.');
  if (layer_end == std::string_view::npos || kind_begin == layer_end) return "";
  const std::string_view layer = rest.substr(0, layer_end), kind = rest.substr(kind_begin);
  const std::string_view part = rest.substr(layer_end + 1, kind_begin - layer_end - 1);
  if (layer.empty() || !std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; })) return "";
  if (kind != ".weight" && kind != ".bias") return "";
  for (const Name& n : kLayerNames)
    if (n.gguf == part) return fmt::format("model.layers.{}.{}{}", layer, n.hugging_face, kind);
  return "";
}

int64_t UnpermutedRow(int64_t row, int64_t heads, int64_t head_dim) {
  DCHECK(head_dim > 0 && head_dim % 2 == 0 && row >= 0 && row < heads * head_dim);
  (void)heads;
  const int64_t head = row / head_dim, within = row % head_dim, pairs = head_dim / 2;
  return head * head_dim + within % pairs * 2 + within / pairs;
}

}  // namespace sgl
