// Where a model's tensors and metadata come from: a Hugging Face directory or a GGUF file, memory-mapped.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace sgl {

// One tensor in a mapped file. shape is outermost first ([N, K] for a linear weight), also for GGUF.
struct TensorRef {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // mapped, read-only; may be unaligned
  int64_t bytes = 0;
  std::string file;     // for error messages
  bool mapped = false;  // data lies in a file mapping (not in memory that a caller of Parse* owns)
};

// Page-cache hints for code that streams through tensors; they never change what data holds. No-ops unless tensor.mapped.
void Prefetch(const TensorRef& tensor);   // starts reading the tensor's pages from disk
void DropPages(const TensorRef& tensor);  // gives the pages that lie wholly inside the tensor back; the next access maps them again

// A GGUF metadata value as JSON; typed arrays become JSON arrays. Vocabulary arrays are large: they are kept here once.
// Strings are the file's bytes (they may hold NUL or invalid UTF-8); f32 values are widened exactly; u64 above 2^63-1 become doubles.
struct GgufMetadata {
  std::map<std::string, Json, std::less<>> values;
  const Json* find(std::string_view key) const;
};

// Thread: immutable after Open, any thread may read. Lives while the mapping is needed.
// tensors(): in the order of the header; several files one after the other, by name (GGUF parts by number).
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  virtual const std::vector<TensorRef>& tensors() const = 0;
  virtual const TensorRef* find(std::string_view name) const = 0;
};

// Reads the header of a safetensors file and checks it completely (bounds, overlap, holes, shapes, duplicate names). Errors name the
// file and the tensor. A tensor of a type that DType lacks (F8_E4M3, I16, ...) is refused: kUnimplemented.
Result<std::unique_ptr<WeightFile>> OpenSafetensors(const std::filesystem::path& file);
// All shards of a directory: model.safetensors.index.json if present (files it does not list are left alone), else *.safetensors
// (of consolidated.safetensors beside model.safetensors only the latter). A name in two files is an error unless the index picks one.
Result<std::unique_ptr<WeightFile>> OpenSafetensorsDir(const std::filesystem::path& dir);

class GgufFile : public WeightFile {
 public:
  virtual const GgufMetadata& metadata() const = 0;
};
// Versions 2 and 3, little-endian. Given the first part of a split model (name-00001-of-0000N.gguf), opens all of them; the metadata is
// the first part's. Tensor types outside DType (Q2_K, IQ4_XS, ...) are refused by name: kUnimplemented.
Result<std::unique_ptr<GgufFile>> OpenGguf(const std::filesystem::path& file);

// For fuzzers and tests: the same parsers over bytes that the caller keeps alive.
Result<std::unique_ptr<WeightFile>> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name);
Result<std::unique_ptr<GgufFile>> ParseGguf(std::span<const std::byte> bytes, const std::string& name);

// A model as a user names it: a directory or a .gguf path. What is not there is null / empty.
struct ModelFiles {
  std::filesystem::path path;
  bool is_gguf = false;
  std::unique_ptr<WeightFile> weights;
  const GgufMetadata* gguf = nullptr;                 // points into weights
  Json config;                                        // config.json; for GGUF: the equivalent Hugging Face config, built from the metadata
  Json generation_config;                             // generation_config.json or null
  Json tokenizer_config;                              // tokenizer_config.json or null
  std::string tokenizer_model, tokenizer_model_name;  // bytes and name of a SentencePiece, tiktoken or tekken file; without tokenizer.json
  std::string tokenizer_json;          // text of tokenizer.json; for GGUF: tokenizer.huggingface.json, "" for nearly all files
  std::string chat_template;           // chat_template.jinja / chat_template.json / tokenizer_config's / GGUF's; "" if none
  std::string chat_template_tool_use;  // the template named "tool_use", which some models have beside the default; "" if none
  bool gguf_permuted_qk = false;       // rows of attn_q and attn_k (weights and biases) are stored as UnpermutedRow says
};
// path: a directory (with config.json, or with one GGUF model in it), a .gguf file (for a split model its first part), or, if nothing
// has that path, the id "org/name" of a model in the local Hugging Face cache (revision: refs/main). Nothing is ever downloaded.
// Errors: nothing there, neither form, config.json missing or not an object, unknown GGUF architecture, no weights (a .bin/.pt is refused
// with a hint).
Result<ModelFiles> OpenModel(const std::filesystem::path& path);
// For --tokenizer-path: like OpenModel, but a directory with a tokenizer needs no weights (weights is then null).
Result<ModelFiles> OpenModelText(const std::filesystem::path& path);

// Hugging Face names for GGUF tensors of the dense decoder families: "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight";
// "" if the name is unknown. rope_freqs.weight is kept under its own name.
std::string HuggingFaceName(std::string_view gguf_name);

// The row of a GGUF attn_q / attn_k tensor that holds row `row` of the Hugging Face tensor, when gguf_permuted_qk. `heads` is the number
// of heads in that tensor (query heads for q, key/value heads for k). Preconditions: 0 <= row < heads * head_dim, head_dim even.
// Source: the converter writes w.reshape(heads, 2, head_dim / 2, K).swapaxes(1, 2), so that a rotary pair lies in neighbouring rows.
int64_t UnpermutedRow(int64_t row, int64_t heads, int64_t head_dim);

}  // namespace sgl
