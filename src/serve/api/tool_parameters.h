// The arguments of a call, as a tool-call format writes them, for the grammar.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

#include "serve/api/tag_formats.h"
#include "text/tools/tool_parser.h"

namespace sgl {

// Whether the format can write a function, or a parameter, of that name.
bool CanWriteFunction(std::string_view name, const ToolTag& tag);
bool CanWriteParameter(std::string_view name, const ToolTag& tag);

// What stands between begin and end of a call with arguments that fit `schema`, an object's: the parameters in the order of the schema
// (kQuoted: of their names, as its models learn it). False: they cannot be enforced in this format.
bool AddParameters(const Json& schema, const ToolTag& tag, const tags::Special& special, Json::Array& out);
// Arguments of any kind. form: not kJson.
void AddAnyParameters(const ToolTag& tag, Json::Array& out);

}  // namespace sgl
