// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "models/families.h"

namespace sgl {
namespace {

struct ModelEntry {
  std::string_view architecture;  // config.json's architectures[0]
  Result<DecoderConfig> (*read)(const Json& config);
};

constexpr ModelEntry kModels[] = {
    {"LlamaForCausalLM", LlamaConfig},
    {"MistralForCausalLM", MistralConfig},
    {"Qwen2ForCausalLM", Qwen2Config},
    {"Qwen3ForCausalLM", Qwen3Config},
};

}  // namespace

std::vector<std::string_view> KnownArchitectures() {
  std::vector<std::string_view> names;
  for (const ModelEntry& entry : kModels) names.push_back(entry.architecture);
  return names;
}

Result<std::unique_ptr<Model>> MakeModel(const Json& config, const ModelFiles& files, ThreadPool& pool, const LoadOptions& options) {
  const Json& architectures = config["architectures"];
  if (!architectures.is_array() || architectures.as_array().empty() || !architectures.as_array()[0].is_string())
    return InvalidArgument(fmt::format("{}: config key 'architectures' must be a list with one name", files.path.string()));
  const std::string& name = architectures.as_array()[0].as_string();
  for (const ModelEntry& entry : kModels) {
    if (entry.architecture != name) continue;
    auto decoder = entry.read(config);
    if (!decoder.ok()) return std::move(decoder).error().In(files.path.string());
    decoder->shape.architecture = name;
    return LoadDecoder(*std::move(decoder), files, pool, options);
  }
  return InvalidArgument(
      fmt::format("{}: architecture '{}' is not supported; known: {}", files.path.string(), name, fmt::join(KnownArchitectures(), ", ")));
}

}  // namespace sgl
