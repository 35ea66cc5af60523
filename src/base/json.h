// One JSON value for everything cold: configs, vocabularies, request bodies, template variables.
// Parsing is simdjson's; objects keep the order of their keys, because chat templates print them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace sgl {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in file order; duplicate keys: the last one wins, at the first one's place

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool v) : value_(v) {}
  Json(int v) : value_(int64_t{v}) {}
  Json(int64_t v) : value_(v) {}
  Json(uint64_t v);  // above 2^63-1 it becomes a double
  Json(double v) : value_(v) {}
  Json(const char* v) : value_(std::string(v)) {}
  Json(std::string v) : value_(std::move(v)) {}
  Json(std::string_view v) : value_(std::string(v)) {}
  Json(Array v) : value_(std::move(v)) {}
  Json(Object v) : value_(std::move(v)) {}

  bool is_null() const { return value_.index() == 0; }
  bool is_bool() const { return value_.index() == 1; }
  bool is_int() const { return value_.index() == 2; }
  bool is_double() const { return value_.index() == 3; }
  bool is_number() const { return is_int() || is_double(); }
  bool is_string() const { return value_.index() == 4; }
  bool is_array() const { return value_.index() == 5; }
  bool is_object() const { return value_.index() == 6; }
  const char* type_name() const;  // "null", "boolean", "integer", "number", "string", "array", "object"

  // Preconditions: the value is of that type (number for the first two).
  int64_t as_int() const { return is_int() ? std::get<int64_t>(value_) : static_cast<int64_t>(std::get<double>(value_)); }
  double as_double() const { return is_int() ? static_cast<double>(std::get<int64_t>(value_)) : std::get<double>(value_); }
  bool as_bool() const { return std::get<bool>(value_); }
  const std::string& as_string() const { return std::get<std::string>(value_); }
  std::string& as_string() { return std::get<std::string>(value_); }
  const Array& as_array() const { return std::get<Array>(value_); }
  Array& as_array() { return std::get<Array>(value_); }
  const Object& as_object() const { return std::get<Object>(value_); }
  Object& as_object() { return std::get<Object>(value_); }

  // Object look-up. find: null when absent or not an object. operator[]: a null Json then. get_*: `fallback` when absent or of another
  // type.
  const Json* find(std::string_view key) const;
  const Json& operator[](std::string_view key) const;
  int64_t get_int(std::string_view key, int64_t fallback) const;
  double get_double(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  std::string get_string(std::string_view key, std::string_view fallback) const;
  // Adds or replaces. A null value becomes an object first.
  Json& Set(std::string_view key, Json value);
  void Push(Json value);  // appends to an array; a null value becomes an array first

  friend bool operator==(const Json& a, const Json& b);

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

// Errors say what and where: "line 3, column 14: ...". Depth is bounded (simdjson: 1024).
Result<Json> ParseJson(std::string_view text);

// Compact UTF-8, no spaces. NaN and infinities become null.
std::string DumpJson(const Json& value);

// For append-style writers on hot paths: a JSON string with quotes and escapes; invalid UTF-8 becomes U+FFFD. A number, shortest form.
void AppendJsonString(std::string& out, std::string_view text);
void AppendJsonNumber(std::string& out, double value);
void AppendJsonNumber(std::string& out, int64_t value);

}  // namespace sgl
