// Request bodies as tables of fields: JsonReader(body)("top_p", params.top_p)("n", params.n).status().
// A field that is absent or null leaves its target alone; one of the wrong type is an error that names its path and what was expected:
// "sampling_params.stop[1]: expected a string, got integer". Fields nobody reads are ignored.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sgl {

// "T or a list of T", which many fields are.
template <class T>
struct OneOrMany {
  std::vector<T> values;
  bool many = false;  // a list was given, perhaps of one
  bool set = false;
  // Value number i of a batch: a single value counts for all. `fallback` when not set.
  T at(size_t i, T fallback) const { return !set ? fallback : many ? values[i] : values[0]; }
  // A list must have one entry per prompt.
  bool fits(size_t batch) const { return !set || !many || values.size() == batch; }
};

// ReadJson fills `out` and returns true; else `why` says where below the value and what was expected: "[1]: expected a string, got
// integer". Integers may be written as 3.0.
bool ReadJson(const Json& value, bool& out, std::string& why);
bool ReadJson(const Json& value, int& out, std::string& why);
bool ReadJson(const Json& value, int64_t& out, std::string& why);
bool ReadJson(const Json& value, double& out, std::string& why);
bool ReadJson(const Json& value, std::string& out, std::string& why);
bool ReadJson(const Json& value, Json& out, std::string& why);  // anything
bool ReadJsonObject(const Json& value, Json& out, std::string& why);
bool WrongType(const Json& value, std::string_view expected, std::string& why);  // false, for `return WrongType(...)`

template <class T>
bool ReadJson(const Json& value, std::optional<T>& out, std::string& why) {
  return ReadJson(value, out.emplace(), why);
}

template <class T>
bool ReadJson(const Json& value, std::vector<T>& out, std::string& why) {
  if (!value.is_array()) return WrongType(value, "a list", why);
  out.clear();
  out.reserve(value.as_array().size());
  for (size_t i = 0; i < value.as_array().size(); ++i) {
    T item{};
    if (!ReadJson(value.as_array()[i], item, why)) {
      why.insert(0, "[" + std::to_string(i) + "]");
      return false;
    }
    out.push_back(std::move(item));
  }
  return true;
}

namespace detail {
template <class T>
constexpr int kListDepth = 0;
template <class T>
constexpr int kListDepth<std::vector<T>> = 1 + kListDepth<T>;
inline int ListDepth(const Json& value) {  // as its first entry that is not null tells
  if (!value.is_array()) return 0;
  for (const Json& item : value.as_array())
    if (!item.is_null()) return 1 + ListDepth(item);
  return 1;
}
}  // namespace detail

template <class T>
bool ReadJson(const Json& value, OneOrMany<T>& out, std::string& why) {
  out = {{}, detail::ListDepth(value) > detail::kListDepth<T>, true};
  const size_t count = out.many ? value.as_array().size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const Json& source = out.many ? value.as_array()[i] : value;
    T item{};
    const bool absent = detail::kListDepth<T> > 0 && source.is_null();
    if (!absent && !ReadJson(source, item, why)) {
      if (out.many) why.insert(0, "[" + std::to_string(i) + "]");
      return false;
    }
    out.values.push_back(std::move(item));
  }
  return true;
}

namespace detail {
template <class T>
struct SchemaOf {
  static Json Get() { return Json(Json::Object{}); }  // anything
};
template <class T>
Json TypeSchema(const T& type) {
  return Json().Set("type", type);
}
template <>
struct SchemaOf<bool> {
  static Json Get() { return TypeSchema("boolean"); }
};
template <>
struct SchemaOf<int> {
  static Json Get() { return TypeSchema("integer"); }
};
template <>
struct SchemaOf<int64_t> {
  static Json Get() { return TypeSchema("integer"); }
};
template <>
struct SchemaOf<double> {
  static Json Get() { return TypeSchema("number"); }
};
template <>
struct SchemaOf<std::string> {
  static Json Get() { return TypeSchema("string"); }
};
template <class T>
struct SchemaOf<std::optional<T>> : SchemaOf<T> {};
template <class T>
struct SchemaOf<std::vector<T>> {
  static Json Get() { return TypeSchema("array").Set("items", SchemaOf<T>::Get()); }
};
template <class T>
struct SchemaOf<OneOrMany<T>> {
  static Json Get() { return Json().Set("anyOf", Json::Array{SchemaOf<T>::Get(), SchemaOf<std::vector<T>>::Get()}); }
};
}  // namespace detail

class JsonReader {
 public:
  // A reader that reads nothing: what is asked for becomes a JSON schema, {"type":"object","properties":{..},"required":[..]}.
  // The table that reads a body so also documents it.
  static JsonReader Describing(Json& schema);
  // `path` goes in front of field names in messages; "" for the body. A value that is not an object is an error.
  explicit JsonReader(const Json& object, std::string path = "");

  template <class T>
  JsonReader& operator()(std::string_view name, T& target) {
    if (schema_ != nullptr) return Describe(name, detail::SchemaOf<T>::Get());
    const Json* value = error_.empty() ? object_.find(name) : nullptr;
    if (value != nullptr && !value->is_null()) {
      if (std::string why; !ReadJson(*value, target, why)) Fail(name, why);
    }
    return *this;
  }
  template <class T>
  JsonReader& Required(std::string_view name, T& target) {
    if (schema_ != nullptr) required_.emplace_back(name);
    if (error_.empty() && object_[name].is_null()) Fail(name, ": field required");
    return (*this)(name, target);
  }
  JsonReader& Object(std::string_view name, Json& target);  // must be an object

  Status status() const;
  // The fields of an object inside, or of each object of a list: only told to a describing reader.
  template <class F>
  JsonReader& Nested(std::string_view name, F&& fields, bool or_list = false) {
    if (schema_ == nullptr) return *this;
    Json inside;
    JsonReader field = Describing(inside);
    fields(field);
    if (or_list) inside.Set("type", Json::Array{Json("object"), Json("array")});
    return Describe(name, std::move(inside));
  }

 private:
  JsonReader& Describe(std::string_view name, Json type);
  void Fail(std::string_view name, std::string_view why);
  const Json& object_;
  std::string path_, error_;
  Json* schema_ = nullptr;
  Json::Array required_;
};

// A body that may be empty, which is {}. Errors: not JSON.
Result<Json> ReadBody(const std::string& body);

// True for null, false, "", {}, [], and lists of these: what clients send for features they do not use.
bool IsInert(const Json& value);

}  // namespace sgl
