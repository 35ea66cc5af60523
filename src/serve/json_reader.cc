// SPDX-License-Identifier: Apache-2.0
#include "serve/json_reader.h"

#include <cmath>
#include <limits>

namespace sgl {

bool WrongType(const Json& value, std::string_view expected, std::string& why) {
  why = ": expected " + std::string(expected) + ", got " + value.type_name();
  return false;
}

bool ReadJson(const Json& value, bool& out, std::string& why) {
  if (!value.is_bool()) return WrongType(value, "a boolean", why);
  out = value.as_bool();
  return true;
}

bool ReadJson(const Json& value, int64_t& out, std::string& why) {
  if (value.is_double()) {
    const double number = value.as_double();
    constexpr double kLimit = 9007199254740992.0;  // 2^53: beyond it a double no longer tells integers apart
    if (std::trunc(number) != number || std::fabs(number) > kLimit) return WrongType(value, "an integer", why);
  } else if (!value.is_int()) {
    return WrongType(value, "an integer", why);
  }
  out = value.as_int();
  return true;
}

bool ReadJson(const Json& value, int& out, std::string& why) {
  int64_t wide = 0;
  if (!ReadJson(value, wide, why)) return false;
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max()) {
    why = ": expected an integer of 32 bits, got " + std::to_string(wide);
    return false;
  }
  out = static_cast<int>(wide);
  return true;
}

bool ReadJson(const Json& value, double& out, std::string& why) {
  if (!value.is_number()) return WrongType(value, "a number", why);
  out = value.as_double();
  return true;
}

bool ReadJson(const Json& value, std::string& out, std::string& why) {
  if (!value.is_string()) return WrongType(value, "a string", why);
  out = value.as_string();
  return true;
}

bool ReadJson(const Json& value, Json& out, std::string&) {
  out = value;
  return true;
}

bool ReadJsonObject(const Json& value, Json& out, std::string& why) {
  if (!value.is_object()) return WrongType(value, "an object", why);
  out = value;
  return true;
}

JsonReader::JsonReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (object.is_object()) return;
  error_ = (path_.empty() ? "body" : path_) + ": expected an object, got " + object.type_name();
}

JsonReader JsonReader::Describing(Json& schema) {
  static const Json nothing{Json::Object{}};
  JsonReader reader(nothing);
  schema = Json().Set("type", "object").Set("properties", Json(Json::Object{}));
  reader.schema_ = &schema;
  return reader;
}

JsonReader& JsonReader::Describe(std::string_view name, Json type) {
  Json properties = (*schema_)["properties"];
  properties.Set(name, std::move(type));
  schema_->Set("properties", std::move(properties));
  if (!required_.empty()) schema_->Set("required", Json(required_));
  return *this;
}

JsonReader& JsonReader::Object(std::string_view name, Json& target) {
  if (schema_ != nullptr) return Describe(name, detail::TypeSchema("object"));
  const Json* value = error_.empty() ? object_.find(name) : nullptr;
  if (value != nullptr && !value->is_null()) {
    if (std::string why; !ReadJsonObject(*value, target, why)) Fail(name, why);
  }
  return *this;
}

void JsonReader::Fail(std::string_view name, std::string_view why) {
  error_ = path_;
  if (!path_.empty()) error_ += '.';
  error_ += name;
  error_ += why;
}

Status JsonReader::status() const {
  if (error_.empty()) return {};
  return InvalidArgument(error_);
}

Result<Json> ReadBody(const std::string& body) {
  if (body.empty()) return Json(Json::Object{});
  Result<Json> json = ParseJson(body);
  if (!json.ok()) return InvalidArgument("Invalid JSON: " + json.error().message);
  return json;
}

bool IsInert(const Json& value) {
  if (value.is_null()) return true;
  if (value.is_bool()) return !value.as_bool();
  if (value.is_string()) return value.as_string().empty();
  if (value.is_object()) return value.as_object().empty();
  if (!value.is_array()) return false;
  for (const Json& item : value.as_array())
    if (!IsInert(item)) return false;
  return true;
}

}  // namespace sgl
