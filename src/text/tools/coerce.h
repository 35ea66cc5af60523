// Values that a model wrote as plain text, to JSON by what the function's schema says of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "text/tools/tool_parser.h"

namespace sgl::tools {

// What a parameter may be.
struct ValueKinds {
  bool known = false;  // the schema says something about it
  bool string = false, integer = false, number = false, boolean = false, null = false, list = false, object = false;
  bool only_string() const { return string && !integer && !number && !boolean && !null && !list && !object; }
};

// Follows type (also Python's names: str, int...), enum, const, anyOf, oneOf, allOf and references within the schema.
ValueKinds KindsOf(const ToolFunction* function, std::string_view parameter);

// The text as JSON: the first of its kinds that it is; a string if it is none. Not known: `guess`: whatever JSON it is, else a string.
std::string Coerce(std::string_view text, const ValueKinds& kinds, bool guess);

}  // namespace sgl::tools
