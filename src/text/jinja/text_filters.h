// Filters and methods on text that several tables share.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "text/jinja/render.h"

namespace sgl::jinja {

// str.replace; count < 0: all.
Value ReplaceText(Renderer& r, std::string_view text, std::string_view from, std::string_view to, int64_t count, bool markup);
Value CenterText(Renderer& r, std::string_view text, int64_t width, uint32_t fill, int align);  // align: -1 left, 0 centre, 1 right
Value WordWrap(Renderer& r, const Value& value, const Args& args);
// int(text, base), float(text): nullopt where Python raises ValueError.
std::optional<int64_t> ParseInt(Renderer& r, std::string_view text, int64_t base);
std::optional<double> ParseFloat(std::string_view text);
// An integer argument; fails when it is something else.
int64_t IntArg(Renderer& r, const Value& v, std::string_view what);

}  // namespace sgl::jinja
