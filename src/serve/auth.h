// Who may call what: Authorization: Bearer <key>, two keys, three levels.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace sgl {

enum class AuthLevel { kOpen, kNormal, kAdmin };

// What the caller must present: nothing ("" and true), or this key.
struct RequiredKey {
  bool open = true;
  std::string_view key;
};
RequiredKey KeyFor(AuthLevel level, std::string_view api_key, std::string_view admin_api_key);

// `authorization`: the header's value. The scheme's case does not matter; the key is compared in constant time.
bool MayPass(const RequiredKey& required, std::string_view authorization);

}  // namespace sgl
