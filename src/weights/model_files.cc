// A model as the user names it, opened: configs, tokenizer text, chat templates and weights.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "weights/gguf_config.h"
#include "weights/hub_cache.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = 64 << 20;
constexpr int64_t kMaxTokenizerBytes = 512 << 20;

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// An object; null if there is no such file.
Result<Json> ReadObject(const fs::path& path) {
  if (!Exists(path)) return Json();
  TRY(const std::string text, ReadText(path, kMaxConfigBytes));
  auto json = ParseJson(text);
  if (!json.ok()) return std::move(json).error().In(path.string());
  if (!json->is_object()) return InvalidArgument(fmt::format("{}: expected a JSON object, found {}", path.string(), json->type_name()));
  return json;
}

struct Templates {
  std::string chat, tool_use;
};

// A chat_template value: one template, or a list of {"name", "template"}. Of a list without "default", the first is the default.
Result<Templates> ReadTemplates(const Json& value, const fs::path& path) {
  Templates found;
  if (value.is_null()) return found;
  if (value.is_string()) return Templates{value.as_string(), ""};
  if (!value.is_array()) {
    return InvalidArgument(fmt::format("{}: chat_template: expected a string or a list, found {}", path.string(), value.type_name()));
  }
  for (const Json& item : value.as_array()) {
    if (!item["name"].is_string() || !item["template"].is_string()) {
      return InvalidArgument(fmt::format("{}: chat_template: expected a list of {{name, template}}", path.string()));
    }
    const std::string& name = item["name"].as_string();
    if (name == "default" || found.chat.empty()) found.chat = item["template"].as_string();
    if (name == "tool_use") found.tool_use = item["template"].as_string();
  }
  return found;
}

// The first of chat_template.jinja, chat_template.json, tokenizer_config.json that has one; additional_chat_templates/ goes with the first.
Result<Templates> FindTemplates(const fs::path& dir, const Json& tokenizer_config) {
  if (const fs::path jinja = dir / "chat_template.jinja"; Exists(jinja)) {
    TRY(std::string chat, ReadText(jinja, kMaxConfigBytes));
    std::string tool_use;
    if (const fs::path extra = dir / "additional_chat_templates" / "tool_use.jinja"; Exists(extra)) {
      TRY(tool_use, ReadText(extra, kMaxConfigBytes));
    }
    return Templates{std::move(chat), std::move(tool_use)};
  }
  const fs::path file = dir / "chat_template.json";
  TRY(const Json json, ReadObject(file));
  if (!json["chat_template"].is_null()) return ReadTemplates(json["chat_template"], file);
  return ReadTemplates(tokenizer_config["chat_template"], dir / "tokenizer_config.json");
}

// The file that a directory without tokenizer.json has its tokenizer in; "" if there is none.
std::string TokenizerModelIn(const fs::path& dir) {
  for (const char* name :
       {"tekken.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "tiktoken.model"})
    if (Exists(dir / name)) return name;
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->path().extension() == ".tiktoken" || name.starts_with("tokenizer.model.")) found.push_back(name);
  }
  return found.empty() ? "" : *std::max_element(found.begin(), found.end());  // of several versions the latest
}

// Everything of a directory but its weights.
Result<ModelFiles> ReadTextFiles(const fs::path& dir) {
  ModelFiles model;
  model.path = dir;
  TRY(model.config, ReadObject(dir / "config.json"));
  TRY(model.generation_config, ReadObject(dir / "generation_config.json"));
  TRY(model.tokenizer_config, ReadObject(dir / "tokenizer_config.json"));
  if (const fs::path tokenizer = dir / "tokenizer.json"; Exists(tokenizer)) {
    TRY(model.tokenizer_json, ReadText(tokenizer, kMaxTokenizerBytes));
  } else if (model.tokenizer_model_name = TokenizerModelIn(dir); !model.tokenizer_model_name.empty()) {
    TRY(model.tokenizer_model, ReadText(dir / model.tokenizer_model_name, kMaxTokenizerBytes));
  }
  TRY(Templates templates, FindTemplates(dir, model.tokenizer_config));
  model.chat_template = std::move(templates.chat);
  model.chat_template_tool_use = std::move(templates.tool_use);
  return model;
}

Result<ModelFiles> OpenDirectory(const fs::path& dir) {
  TRY(ModelFiles model, ReadTextFiles(dir));
  TRY(model.weights, OpenSafetensorsDir(dir));
  return model;
}

std::string StringOrEmpty(const GgufMetadata& metadata, std::string_view key) {
  const Json* value = metadata.find(key);
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

Result<ModelFiles> OpenGgufModel(const fs::path& path) {
  TRY(std::unique_ptr<GgufFile> file, OpenGguf(path));
  auto config = HuggingFaceConfig(*file);
  if (!config.ok()) return std::move(config).error().In(path.string());
  const GgufMetadata& metadata = file->metadata();
  ModelFiles model;
  model.path = path;
  model.is_gguf = true;
  model.gguf = &metadata;
  model.config = *std::move(config);
  model.tokenizer_json = StringOrEmpty(metadata, "tokenizer.huggingface.json");
  model.chat_template = StringOrEmpty(metadata, "tokenizer.chat_template");
  model.chat_template_tool_use = StringOrEmpty(metadata, "tokenizer.chat_template.tool_use");
  model.gguf_permuted_qk = StringOrEmpty(metadata, "general.architecture") == "llama";
  model.weights = std::move(file);
  return model;
}

// "name-00002-of-00003.gguf" and on: opened with the first part.
bool IsLaterPart(std::string_view name) {
  constexpr std::string_view kFirst = "-00001-of-", kShape = "-00000-of-00000.gguf";
  if (name.size() < kShape.size()) return false;
  const std::string_view tail = name.substr(name.size() - kShape.size());
  for (size_t i = 0; i < kShape.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kShape[i] == '0' ? !digit : tail[i] != kShape[i]) return false;
  }
  return !tail.starts_with(kFirst);
}

// The GGUF models in a directory, sorted.
std::vector<std::string> GgufModelsIn(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->path().extension() == ".gguf" && !IsLaterPart(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<ModelFiles> OpenModelText(const fs::path& path) {
  if (Exists(path / "tokenizer.json") || !TokenizerModelIn(path).empty()) return ReadTextFiles(path);
  return OpenModel(path);
}

Result<ModelFiles> OpenModel(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    if (Exists(path / "config.json")) return OpenDirectory(path);
    const std::vector<std::string> models = GgufModelsIn(path);
    if (models.size() == 1) return OpenGgufModel(path / models[0]);
    if (models.size() > 1) {
      return InvalidArgument(fmt::format("{}: holds several GGUF models ({}); name one of them", path.string(), SomeOf(models)));
    }
    return NotFound(path.string() + ": config.json is missing (and there is no .gguf file)");
  }
  if (fs::exists(status)) {
    if (path.extension() == ".gguf") return OpenGgufModel(path);
    return InvalidArgument(path.string() + ": expected a model directory or a .gguf file");
  }
  if (path.extension() == ".gguf") return NotFound(path.string() + ": no such file");
  TRY(const fs::path snapshot, FindInHubCache(path.string()));
  return OpenModel(snapshot);
}

}  // namespace sgl
