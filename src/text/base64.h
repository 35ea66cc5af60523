// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace sgl {

// The bytes of standard base64, padded or not; nullopt when it is not that.
std::optional<std::string> Base64Decode(std::string_view text);

}  // namespace sgl
