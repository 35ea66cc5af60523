// The pieces of a structural tag, as JSON: what the grammars of tool calls are put together of.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sgl::tags {

// Whether the model has a special token of that text.
using Special = std::function<bool(std::string_view)>;

Json Text(std::string_view text);
Json AnyText();
Json Pattern(std::string_view regex);
Json JsonOf(Json schema);
Json Sequence(Json::Array elements);
Json OneOf(Json::Array elements);
Json Optional(Json content);
Json Star(Json content);

bool IsToken(const Json& piece);

// A text that is to come, as formats: special tokens of the model, and what is between them.
void AddPieces(std::string_view text, const Special& special, Json::Array& out);

// How a tag says the first or last of its pieces.
Json Mark(const Json& piece);

// Any text up to the first `end`, and that; none of `excludes` is in it. Where a token follows some text in the end (DeepSeek's
// </｜DSML｜), that text alone ends it already.
void AddTextUntil(std::string_view end, std::span<const std::string> excludes, const Special& special, Json::Array& out);

}  // namespace sgl::tags
