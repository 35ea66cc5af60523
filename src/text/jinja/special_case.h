// Characters whose case forms have several code points, or that fold otherwise than they lower.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace sgl::jinja {

struct SpecialCase {
  uint32_t code;
  const char *upper, *lower, *title, *fold;  // UTF-8; null: the simple mapping
};

const SpecialCase* FindSpecialCase(uint32_t code);  // null: none

}  // namespace sgl::jinja
