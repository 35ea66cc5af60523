// SPDX-License-Identifier: Apache-2.0
#include "text/tools/coerce.h"

#include <cmath>
#include <cstdlib>

#include "text/tools/input.h"
#include "text/tools/value_relay.h"

namespace sgl::tools {
namespace {

constexpr int kMaxDepth = 16;  // of references and alternatives

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

void AddType(std::string_view type, ValueKinds& kinds) {
  kinds.known = true;
  if (type == "string" || type == "str" || type == "text" || type == "varchar" || type == "char" || type == "enum") {
    kinds.string = true;
  } else if (StartsWith(type, "int") || StartsWith(type, "uint") || StartsWith(type, "long") || StartsWith(type, "short") ||
             StartsWith(type, "unsigned")) {
    kinds.integer = true;
  } else if (StartsWith(type, "num") || StartsWith(type, "float") || type == "double") {
    kinds.number = true;
  } else if (StartsWith(type, "bool") || type == "binary") {
    kinds.boolean = true;
  } else if (type == "null" || type == "none" || type == "NoneType") {
    kinds.null = true;
  } else if (type == "array" || type == "arr" || StartsWith(type, "list") || type == "tuple") {
    kinds.list = true;
  } else if (type == "object" || StartsWith(type, "dict")) {
    kinds.object = true;
  } else {  // a name that we do not know: anything
    kinds.integer = kinds.number = kinds.boolean = kinds.null = kinds.list = kinds.object = true;
  }
}

void AddValue(const Json& value, ValueKinds& kinds) {
  kinds.known = true;
  if (value.is_string()) kinds.string = true;
  if (value.is_int()) kinds.integer = true;
  if (value.is_double()) kinds.number = true;
  if (value.is_bool()) kinds.boolean = true;
  if (value.is_null()) kinds.null = true;
  if (value.is_array()) kinds.list = true;
  if (value.is_object()) kinds.object = true;
}

// "#/$defs/x" within the schema; null if it leads nowhere.
const Json* Resolve(const Json& root, std::string_view reference) {
  if (!StartsWith(reference, "#/")) return nullptr;
  const Json* at = &root;
  reference.remove_prefix(2);
  while (at != nullptr) {
    const size_t end = reference.find('/');
    at = at->find(reference.substr(0, end));
    if (end == reference.npos) return at;
    reference.remove_prefix(end + 1);
  }
  return nullptr;
}

void AddSchema(const Json& root, const Json& schema, ValueKinds& kinds, int depth) {
  if (depth > kMaxDepth || !schema.is_object()) return;
  if (const Json* reference = schema.find("$ref"); reference != nullptr && reference->is_string())
    if (const Json* target = Resolve(root, reference->as_string())) AddSchema(root, *target, kinds, depth + 1);
  const Json& type = schema["type"];
  if (type.is_string()) AddType(type.as_string(), kinds);
  if (type.is_array())
    for (const Json& one : type.as_array())
      if (one.is_string()) AddType(one.as_string(), kinds);
  if (!type.is_null()) return;
  if (schema["enum"].is_array())
    for (const Json& value : schema["enum"].as_array()) AddValue(value, kinds);
  if (const Json* value = schema.find("const")) AddValue(*value, kinds);
  for (const char* key : {"anyOf", "oneOf", "allOf"})
    if (schema[key].is_array())
      for (const Json& one : schema[key].as_array()) AddSchema(root, one, kinds, depth + 1);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  AppendEscaped(out, text);
  return out += '"';
}

// 3, and 3.0 or 3e1, which JSON Schema counts as integers, too.
bool IsInteger(const std::string& json) {
  if (json.find_first_of(".eE") == json.npos) return true;
  const double value = std::strtod(json.c_str(), nullptr);
  return std::isfinite(value) && value == std::floor(value);
}

bool Fits(char first, const std::string& json, const ValueKinds& kinds) {
  if (first == '{') return kinds.object;
  if (first == '[') return kinds.list;
  if (first == '"') return kinds.string;
  if (first == 't' || first == 'f') return kinds.boolean;
  if (first == 'n') return kinds.null;
  return kinds.number || (kinds.integer && IsInteger(json));
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

}  // namespace

ValueKinds KindsOf(const ToolFunction* function, std::string_view parameter) {
  ValueKinds kinds;
  if (function == nullptr) return kinds;
  if (const Json* schema = function->parameters["properties"].find(parameter)) AddSchema(function->parameters, *schema, kinds, 0);
  return kinds;
}

std::string Coerce(std::string_view text, const ValueKinds& kinds, bool guess) {
  if (kinds.known ? kinds.only_string() : !guess) return Quoted(text);
  const std::string_view trimmed = Trim(text);
  if (trimmed.empty()) return Quoted(text);
  const std::string lower = Lower(trimmed);
  if (trimmed == "None" || lower == "null") return kinds.string && !kinds.null ? Quoted(text) : "null";
  if (kinds.boolean && (lower == "true" || lower == "false")) return lower;
  for (const ValueRelay::Dialect dialect : {ValueRelay::Dialect::kJson, ValueRelay::Dialect::kPython}) {
    std::string json;
    if (!RelayAll(dialect, trimmed, json)) continue;
    if (!kinds.known || Fits(json[0], json, kinds)) {
      // Text in quotes, where text may stand: are the quotes meant? As elsewhere, text is what is written.
      if (json[0] == '"' && kinds.string) return Quoted(text);
      return json;
    }
  }
  return Quoted(text);
}

}  // namespace sgl::tools
