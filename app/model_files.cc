// What --model-path and --chat-template stand for on disk.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "app/serve_options.h"
#include "base/env.h"
#include "text/chat_template.h"
#include "text/encoders/deepseek_v32.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

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
    if (path.extension() != ".json") {  // as SGLang reads them: no newlines around, and "\n" written out is one
      const size_t first = std::min(text.find_first_not_of('\n'), text.size());
      text = text.substr(first, text.find_last_not_of('\n') + 1 - first);
      for (size_t at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at + 1)) text.replace(at, 2, "\n");
      return text;
    }
    Result<Json> parsed = ParseJson(text);
    if (!parsed.ok()) return std::move(parsed).error().In(name_or_file);
    const Json& source = (*parsed)["chat_template"];
    if (!source.is_string()) return InvalidArgument(fmt::format("{}: expected an object with a string \"chat_template\"", name_or_file));
    return source.as_string();
  }
  if (name_or_file == kDeepSeekV32) return name_or_file;  // no Jinja: the server has an encoder of that name
  if (const std::string_view known = BuiltinChatTemplate(name_or_file); !known.empty()) return std::string(known);
  std::string names;
  for (const std::string_view name : BuiltinChatTemplates()) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
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
