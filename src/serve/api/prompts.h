// A field that holds prompts in any of four forms: "a", ["a", "b"], [1, 2] or [[1, 2], [3]].
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "serve/json_reader.h"

namespace sgl {

struct Prompts {
  std::vector<std::string> texts;
  std::vector<std::vector<int64_t>> ids;
  bool many = false;  // a list of prompts was given, perhaps of one
  bool by_text() const { return !texts.empty(); }
  size_t size() const { return by_text() ? texts.size() : ids.size(); }
  bool all_empty() const {
    return std::all_of(texts.begin(), texts.end(), [](const std::string& text) { return text.empty(); }) &&
           std::all_of(ids.begin(), ids.end(), [](const std::vector<int64_t>& list) { return list.empty(); });
  }
};

inline bool ReadJson(const Json& value, Prompts& out, std::string& why) {
  const Json* first = value.is_array() && !value.as_array().empty() ? &value.as_array().front() : nullptr;
  if (value.is_array() && first == nullptr) return true;  // refused later: "cannot be empty"
  if (value.is_string() || (first != nullptr && first->is_string())) {
    OneOrMany<std::string> texts;
    if (!ReadJson(value, texts, why)) return false;
    out.texts = std::move(texts.values);
    out.many = texts.many;
    return true;
  }
  if (first == nullptr || !(first->is_number() || first->is_array()))
    return WrongType(value, "a string, a list of strings, a list of token ids or a list of such lists", why);
  OneOrMany<std::vector<int64_t>> ids;
  if (!ReadJson(value, ids, why)) return false;
  out.ids = std::move(ids.values);
  out.many = ids.many;
  return true;
}

namespace detail {
template <>
struct SchemaOf<Prompts> {
  static Json Get() {
    const Json one = SchemaOf<std::vector<int64_t>>::Get();
    return Json().Set("anyOf", Json::Array{SchemaOf<std::string>::Get(), SchemaOf<std::vector<std::string>>::Get(), one,
                                           Json().Set("type", "array").Set("items", one)});
  }
};
}  // namespace detail

}  // namespace sgl
