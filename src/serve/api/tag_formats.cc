// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tag_formats.h"

#include <algorithm>
#include <utility>

namespace sgl::tags {
namespace {

Json Of(const char* type, const char* key, Json value) { return Json().Set("type", type).Set(key, std::move(value)); }

bool StartsToken(std::string_view text) { return text[0] == '<' || text[0] == '[' || text.substr(0, 3) == "｜"; }

// The longest special token that `text` begins with; "" if there is none.
std::string_view TokenAt(std::string_view text, const Special& special) {
  constexpr size_t kLongest = 64;
  if (!StartsToken(text)) return "";
  for (size_t size = std::min(text.size(), kLongest); size > 1; --size) {
    const std::string_view token = text.substr(0, size);
    const bool ends = token.back() == '>' || token.back() == ']' || (size > 3 && token.substr(size - 3) == "｜");
    if (ends && special(token)) return token;
  }
  return "";
}

}  // namespace

Json Text(std::string_view text) { return Of("const_string", "value", text); }
Json AnyText() { return Json().Set("type", "any_text"); }
Json Pattern(std::string_view regex) { return Of("regex", "pattern", regex); }
Json JsonOf(Json schema) { return Of("json_schema", "json_schema", std::move(schema)); }
Json Sequence(Json::Array elements) { return Of("sequence", "elements", Json(std::move(elements))); }
Json OneOf(Json::Array elements) { return Of("or", "elements", Json(std::move(elements))); }
Json Optional(Json content) { return Of("optional", "content", std::move(content)); }
Json Star(Json content) { return Of("star", "content", std::move(content)); }

bool IsToken(const Json& piece) { return piece.get_string("type", "") == "token"; }

void AddPieces(std::string_view text, const Special& special, Json::Array& out) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const std::string_view token = TokenAt(text.substr(at), special);
    if (token.empty()) {
      ++at;
      continue;
    }
    if (begin < at) out.push_back(Text(text.substr(begin, at - begin)));
    out.push_back(Of("token", "token", token));
    begin = at += token.size();
  }
  if (begin < text.size()) out.push_back(Text(text.substr(begin)));
}

Json Mark(const Json& piece) { return IsToken(piece) ? piece : piece["value"]; }

void AddTextUntil(std::string_view end, std::span<const std::string> excludes, const Special& special, Json::Array& out) {
  Json::Array pieces;
  AddPieces(end, special, pieces);
  Json text = AnyText();
  if (!excludes.empty()) {
    Json list{Json::Array{}};
    for (const std::string& one : excludes) list.Push(one);
    text.Set("excludes", std::move(list));
  }
  out.push_back(Json().Set("type", "tag").Set("begin", "").Set("content", std::move(text)).Set("end", Mark(pieces[0])));
  for (size_t i = 1; i < pieces.size(); ++i) out.push_back(std::move(pieces[i]));
}

}  // namespace sgl::tags
