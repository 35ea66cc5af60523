// What --model-path and --chat-template stand for on disk.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "app/serve_options.h"
#include "base/env.h"
#include "text/encoders/deepseek_v32.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

struct BuiltInTemplate {
  std::string_view name, text;
};
constexpr BuiltInTemplate kTemplates[] = {
    {"chatml",
     "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
     "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"},
    {"llama-2",
     "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}[INST] <<SYS>>\n{{ message.content }}\n<</SYS>>\n\n"
     "{% elif message.role == 'user' %}{% if loop.first or messages[0].role != 'system' or loop.index0 != 1 %}[INST] {% endif %}"
     "{{ message.content }} [/INST]{% else %} {{ message.content }} {{ eos_token }}{{ bos_token }}{% endif %}{% endfor %}"},
    {"llama-3",
     "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n{{ message.content }}<|eot_id|>"
     "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"},
    {"plain",
     "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n{% endfor %}"
     "{% if add_generation_prompt %}Assistant:{% endif %}"},
};

Result<std::string> ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) return NotFound(fmt::format("cannot read {}", path.string()));
  return std::move(text).str();
}

std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

fs::path HubCache() {
  if (const auto cache = RawEnv("HF_HUB_CACHE")) return *cache;
  if (const auto home = RawEnv("HF_HOME")) return fs::path(*home) / "hub";
  return fs::path(RawEnv("HOME").value_or("/")) / ".cache" / "huggingface" / "hub";
}

// "org/name", nothing that could leave the cache directory.
bool IsHubName(const std::string& name) {
  const size_t slash = name.find('/');
  return slash != std::string::npos && slash != 0 && slash + 1 < name.size() && name.find('/', slash + 1) == std::string::npos &&
         name.find("..") == std::string::npos;
}

}  // namespace

Result<std::string> ReadChatTemplate(const std::string& name_or_file) {
  std::error_code ignored;
  const fs::path path(name_or_file);
  if (fs::is_regular_file(path, ignored)) {
    TRY(std::string text, ReadText(path));
    if (path.extension() != ".json") return text;
    Result<Json> parsed = ParseJson(text);
    if (!parsed.ok()) return std::move(parsed).error().In(name_or_file);
    const Json& source = (*parsed)["chat_template"];
    if (!source.is_string()) return InvalidArgument(fmt::format("{}: expected an object with a string \"chat_template\"", name_or_file));
    return source.as_string();
  }
  if (name_or_file == kDeepSeekV32) return name_or_file;  // no Jinja: the server has an encoder of that name
  std::string names;
  for (const BuiltInTemplate& known : kTemplates) {
    if (known.name == name_or_file) return std::string(known.text);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  return NotFound(fmt::format("'{}' is neither a file nor one of {}, {}", name_or_file, names, kDeepSeekV32));
}

Result<std::string> ResolveModelPath(const std::string& name, const std::string& revision) {
  std::error_code ignored;
  if (fs::exists(name, ignored)) return name;
  if (!IsHubName(name)) return NotFound(fmt::format("model {} not found: there is no such file or directory", name));
  std::string folder = "models--" + name;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path repo = HubCache() / folder;
  const std::string wanted = revision.empty() ? "main" : revision;
  if (wanted.find("..") != std::string::npos) return InvalidArgument(fmt::format("'{}' is not a revision", wanted));
  for (const std::string& commit : {FirstLine(repo / "refs" / wanted), wanted}) {
    const fs::path snapshot = repo / "snapshots" / commit;
    if (!commit.empty() && fs::is_directory(snapshot, ignored)) return snapshot.string();
  }
  return NotFound(
      fmt::format("model {} not found: there is no such directory, and no snapshot of revision {} in {}", name, wanted, repo.string()));
}

}  // namespace sgl
