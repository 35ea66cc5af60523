// SPDX-License-Identifier: Apache-2.0
#include "weights/hub_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "weights/mapped_file.h"
#include "weights/tensor_table.h"

namespace sgl {
namespace {

namespace fs = std::filesystem;

fs::path Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? fs::path(value) : fs::path();
}

fs::path HubCache() {
  if (const fs::path cache = Variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = Variable("HF_HOME"); !home.empty()) return home / "hub";
  if (const fs::path cache = Variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "huggingface" / "hub";
  return Variable("HOME") / ".cache" / "huggingface" / "hub";
}

// One path component of an id or a revision.
bool IsName(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !text.empty() && text[0] != '.' && std::all_of(text.begin(), text.end(), allowed);
}

}  // namespace

Result<fs::path> FindInHubCache(std::string_view id) {
  const size_t slash = id.find('/');
  if (slash == std::string_view::npos || !IsName(id.substr(0, slash)) || !IsName(id.substr(slash + 1))) {
    return NotFound(fmt::format("{}: no such file or directory", Quoted(id)));
  }
  const fs::path root = HubCache() / fmt::format("models--{}--{}", id.substr(0, slash), id.substr(slash + 1));
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) {
    return NotFound(
        fmt::format("{}: no such file or directory, and no such model in the Hugging Face cache ({}). The server does not "
                    "download models: fetch it first, for example with `huggingface-cli download {}`",
                    Quoted(id), root.string(), id));
  }
  TRY(std::string revision, ReadText(root / "refs" / "main", 256));
  while (!revision.empty() && (revision.back() == '\n' || revision.back() == ' ')) revision.pop_back();
  if (!IsName(revision))
    return InvalidArgument(fmt::format("{}: expected a revision, found {}", (root / "refs" / "main").string(), Quoted(revision)));
  const fs::path snapshot = root / "snapshots" / revision;
  if (!fs::is_directory(snapshot, ignored)) {
    return NotFound(fmt::format("{}: the cached model is incomplete: {} is missing; fetch it again", Quoted(id), snapshot.string()));
  }
  return snapshot;
}

}  // namespace sgl
