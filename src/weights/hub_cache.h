// Finds a model in the cache that the Hugging Face tools keep on disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace sgl {

// The snapshot that refs/main of "org/name" points to, below $HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub (the first that is
// set). Errors: not of that form, not in the cache, a broken reference. Layout: huggingface_hub, "Understand caching".
Result<std::filesystem::path> FindInHubCache(std::string_view id);

}  // namespace sgl
