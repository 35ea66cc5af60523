// Small helpers for URLs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace sgl {

// "a%2Fb" -> "a/b". Malformed escapes stay as they are; '+' stays '+'. The result may hold any byte.
std::string PercentDecode(std::string_view text);

// The first value of `key` in "a=1&b=x+y": percent-decoded, '+' is a space. nullopt when absent, "" for a key without '='.
std::optional<std::string> QueryValue(std::string_view query, std::string_view key);

}  // namespace sgl
