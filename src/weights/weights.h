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
  std::string file;                 // for error messages
};

// A GGUF metadata value as JSON; typed arrays become JSON arrays. Vocabulary arrays are large: they are kept here once.
struct GgufMetadata {
  std::map<std::string, Json, std::less<>> values;
  const Json* find(std::string_view key) const;
};

// Thread: immutable after Open, any thread may read. Lives while the mapping is needed.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  virtual const std::vector<TensorRef>& tensors() const = 0;
  virtual const TensorRef* find(std::string_view name) const = 0;
};

// Reads the header of a safetensors file and checks it completely (bounds, overlap, holes, shapes). Errors name the file and the tensor.
Result<std::unique_ptr<WeightFile>> OpenSafetensors(const std::filesystem::path& file);
// All shards of a directory: model.safetensors.index.json if present, else *.safetensors.
Result<std::unique_ptr<WeightFile>> OpenSafetensorsDir(const std::filesystem::path& dir);

class GgufFile : public WeightFile {
 public:
  virtual const GgufMetadata& metadata() const = 0;
};
Result<std::unique_ptr<GgufFile>> OpenGguf(const std::filesystem::path& file);

// For fuzzers and tests: the same parsers over bytes that the caller keeps alive.
Result<std::unique_ptr<WeightFile>> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name);
Result<std::unique_ptr<GgufFile>> ParseGguf(std::span<const std::byte> bytes, const std::string& name);

// A model as a user names it: a directory or a .gguf path. What is not there is null / empty.
struct ModelFiles {
  std::filesystem::path path;
  bool is_gguf = false;
  std::unique_ptr<WeightFile> weights;
  const GgufMetadata* gguf = nullptr;   // points into weights
  Json config;                          // config.json; for GGUF: the equivalent Hugging Face config, built from the metadata
  Json generation_config;               // generation_config.json or null
  Json tokenizer_config;                // tokenizer_config.json or null
  std::string tokenizer_json;           // text of tokenizer.json ("" for GGUF)
  std::string chat_template;            // chat_template.jinja / chat_template.json / tokenizer_config's / GGUF's; "" if none
};
// Errors: nothing there, neither form, config.json missing or not an object, unknown GGUF architecture, no weights (a .bin/.pt is refused with a hint).
Result<ModelFiles> OpenModel(const std::filesystem::path& path);

// Hugging Face names for GGUF tensors of the dense decoder families: "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight";
// "" if the name is unknown. rope_freqs.weight is kept under its own name.
std::string HuggingFaceName(std::string_view gguf_name);

}  // namespace sgl
