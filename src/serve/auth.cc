// SPDX-License-Identifier: Apache-2.0
#include "serve/auth.h"

#include <cstddef>

namespace sgl {
namespace {

// Looks at every byte of `given` whatever differs, so that time tells nothing about the key but its length.
bool SameSecret(std::string_view given, std::string_view key) {
  volatile unsigned difference = given.size() == key.size() ? 0U : 1U;
  for (size_t i = 0; i < given.size(); ++i)
    difference = difference | (static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i % key.size()]));
  return difference == 0;
}

}  // namespace

RequiredKey KeyFor(AuthLevel level, std::string_view api_key, std::string_view admin_api_key) {
  if (level == AuthLevel::kOpen) return {};
  const std::string_view key = level == AuthLevel::kAdmin && !admin_api_key.empty() ? admin_api_key : api_key;
  return {key.empty(), key};
}

bool MayPass(const RequiredKey& required, std::string_view authorization) {
  if (required.open) return true;
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != kScheme[i]) return false;
  }
  return SameSecret(authorization.substr(kScheme.size()), required.key);
}

}  // namespace sgl
