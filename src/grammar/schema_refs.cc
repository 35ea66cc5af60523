// SPDX-License-Identifier: Apache-2.0
#include "grammar/schema_refs.h"

#include <charconv>
#include <unordered_set>

namespace sgl {
namespace {

// RFC 3986, as far as schema documents need it: relative path and fragment against an absolute base.
std::string Join(const std::string& base, const std::string& ref) {
  const size_t scheme = ref.find(':');
  if (scheme != std::string::npos && ref.find_first_of("/?#") > scheme) return ref;
  const std::string stem = base.substr(0, base.find('#'));
  if (ref.empty() || ref[0] == '#') return stem + ref;
  const size_t authority = stem.find("://");
  if (ref[0] == '/') {
    const size_t path = authority == std::string::npos ? 0 : stem.find('/', authority + 3);
    return (path == std::string::npos ? stem : stem.substr(0, path)) + ref;
  }
  const size_t slash = stem.rfind('/');
  if (slash == std::string::npos || (authority != std::string::npos && slash < authority + 3))
    return (stem.empty() ? "" : stem + "/") + ref;
  return stem.substr(0, slash + 1) + ref;
}

std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

const std::string* IdOf(const Json& object) {
  for (const std::string_view key : {"$id", "id"})
    if (const Json* id = object.find(key); id != nullptr && id->is_string()) return &id->as_string();
  return nullptr;
}

std::string WithoutEmptyFragment(std::string uri) {
  if (!uri.empty() && uri.back() == '#') uri.pop_back();
  return uri;
}

}  // namespace

// schema: the value stands where a schema is expected, or in a list or map of them. known: only such places are looked at, else the others.
void SchemaRefs::Walk(const Json& value, const std::string& base, bool schema, bool known, int depth) {
  if (depth > 200) return;
  if (value.is_array()) {
    for (const Json& v : value.as_array()) Walk(v, base, schema, known, depth + 1);
    return;
  }
  if (!value.is_object()) return;
  const std::string* inner = &base;
  std::string joined;
  // `id` under `properties` names a property; then it is an object, not a string.
  const bool here = schema == known;
  if (const std::string* id = IdOf(value); id != nullptr && (here || schema) && !(lonely_ && value.find("$ref") != nullptr)) {
    joined = WithoutEmptyFragment(Join(base, *id));
    if (here) by_uri_.try_emplace(joined, &value);
    if (joined.find('#') == std::string::npos) inner = &joined;
  }
  for (const std::string_view key : {"$anchor", "$dynamicAnchor"})
    if (const Json* anchor = value.find(key); here && anchor != nullptr && anchor->is_string())
      by_uri_.try_emplace(*inner + "#" + anchor->as_string(), &value);
  if (here && *inner != root_base_) base_of_.emplace(&value, *inner);
  static const std::unordered_set<std::string_view> kOne = {"additionalProperties",
                                                            "additionalItems",
                                                            "items",
                                                            "contains",
                                                            "not",
                                                            "if",
                                                            "then",
                                                            "else",
                                                            "propertyNames",
                                                            "unevaluatedItems",
                                                            "unevaluatedProperties",
                                                            "contentSchema",
                                                            "extends",
                                                            "allOf",
                                                            "anyOf",
                                                            "oneOf",
                                                            "prefixItems"};
  static const std::unordered_set<std::string_view> kMaps = {"properties",  "patternProperties", "$defs",
                                                             "definitions", "dependentSchemas",  "dependencies"};
  for (const auto& [key, member] : value.as_object()) {
    if (key == "enum" || key == "const" || key == "default" || key == "examples") continue;
    if (schema && kMaps.contains(key) && member.is_object()) {
      for (const auto& [name, kid] : member.as_object()) Walk(kid, *inner, true, known, depth + 2);
    } else if (schema && kOne.contains(key)) {
      Walk(member, *inner, true, known, depth + 1);
    } else if (!known) {
      Walk(member, *inner, false, known, depth + 1);
    }
  }
}

void SchemaRefs::Index() {
  indexed_ = true;
  if (!root_.is_object()) return;
  if (const std::string* id = IdOf(root_)) root_base_ = WithoutEmptyFragment(*id);
  if (root_base_.find('#') != std::string::npos) root_base_.clear();
  by_uri_.emplace(root_base_, &root_);
  Walk(root_, root_base_, true, true, 0);
  Walk(root_, root_base_, true, false, 0);  // elsewhere, for documents that keep schemas in places of their own
}

const Json* SchemaRefs::Pointer(const Json& from, std::string_view pointer) const {
  const Json* at = &from;
  while (!pointer.empty()) {
    if (pointer[0] != '/') return nullptr;
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    const std::string raw = PercentDecoded(pointer.substr(0, end));
    std::string key;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1'))
        key += raw[++i] == '0' ? '~' : '/';
      else
        key += raw[i];
    }
    pointer.remove_prefix(end);
    if (at->is_object()) {
      at = at->find(key);
    } else if (at->is_array()) {
      size_t index = 0;
      const auto [stop, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      at = error == std::errc() && stop == key.data() + key.size() && index < at->as_array().size() ? &at->as_array()[index] : nullptr;
    } else {
      return nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

Result<SchemaRefs::Target> SchemaRefs::Resolve(const Json& from, const std::string& ref) {
  if (!indexed_) Index();
  const auto base = base_of_.find(&from);
  const std::string uri = Join(base == base_of_.end() ? root_base_ : base->second, ref);
  const size_t hash = uri.find('#');
  const std::string stem = uri.substr(0, hash), fragment = hash == std::string::npos ? "" : uri.substr(hash + 1);
  const Json* target = nullptr;
  if (fragment.empty() || fragment[0] == '/') {
    const auto found = by_uri_.find(stem);
    if (found != by_uri_.end()) target = Pointer(*found->second, fragment);
    // Generated schemas often carry ids that nobody resolves by: a local pointer then means this document.
    if (target == nullptr && !ref.empty() && ref[0] == '#') target = Pointer(root_, fragment);
  } else {
    auto found = by_uri_.find(uri);
    if (found == by_uri_.end() && ref[0] == '#') found = by_uri_.find(root_base_ + ref);
    if (found != by_uri_.end()) target = found->second;
  }
  if (target == nullptr)
    return InvalidArgument(ref.empty() || ref[0] == '#' ? "'" + ref + "' is not in this schema"
                                                        : "'" + ref + "' is outside this schema: only local references can be followed");
  return Target{target, ref};
}

}  // namespace sgl
