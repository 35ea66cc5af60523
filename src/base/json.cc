// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace sgl {
namespace {

const Json kNull;

Json Convert(simdjson::dom::element e) {
  using Type = simdjson::dom::element_type;
  switch (e.type()) {
    case Type::OBJECT: {
      Json::Object object;
      std::unordered_map<std::string_view, size_t> place;  // only for objects too large for a linear search
      const simdjson::dom::object source = e;
      object.reserve(source.size());
      for (const auto& [key, value] : source) {
        Json converted = Convert(value);
        size_t at = object.size();
        if (source.size() > 16) {
          at = place.try_emplace(key, object.size()).first->second;
        } else {
          for (size_t i = 0; i < object.size(); ++i)
            if (object[i].first == key) at = i;
        }
        if (at == object.size())
          object.emplace_back(std::string(key), std::move(converted));
        else
          object[at].second = std::move(converted);
      }
      return Json(std::move(object));
    }
    case Type::ARRAY: {
      Json::Array array;
      const simdjson::dom::array source = e;
      array.reserve(source.size());
      for (simdjson::dom::element child : source) array.push_back(Convert(child));
      return Json(std::move(array));
    }
    case Type::STRING: return Json(std::string_view(e));
    case Type::INT64: return Json(int64_t(e));
    case Type::UINT64: return Json(uint64_t(e));
    case Type::DOUBLE: return Json(double(e));
    case Type::BOOL: return Json(bool(e));
    case Type::NULL_VALUE: break;
  }
  return Json();
}

// simdjson does not tell where a document breaks; nlohmann's event parser does. Only run on documents already known to be bad.
class WhereItBreaks : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    at = position;
    return false;
  }
  size_t at = 0;
};

std::string Position(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  size_t line = 1, column = at;
  for (size_t i = 0; i + 1 < at; ++i) {
    if (text[i] == '\n') {
      ++line;
      column = at - i - 1;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(std::max<size_t>(column, 1));
}

// simdjson refuses integers beyond 64 bits, which JSON allows and tokenizer_config.json has (model_max_length: 1e30 written out).
// Gives them a fraction, so that they are read as doubles.
std::string WithLongIntegersAsDoubles(std::string_view text) {
  constexpr size_t kSafeDigits = 18;
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const auto digit = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    const bool after_number = i > 0 && std::string_view(".eE+").find(text[i - 1]) != std::string_view::npos;
    if (!in_string && digit(i) && !after_number) {
      size_t end = i;
      while (digit(end)) ++end;
      const bool integer = end == text.size() || std::string_view(".eE").find(text[end]) == std::string_view::npos;
      out += text.substr(i, end - i);
      if (integer && end - i > kSafeDigits) out += ".0";
      i = end;
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    out += text[i++];
  }
  return out;
}

}  // namespace

Json::Json(uint64_t v) {
  if (v <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    value_ = static_cast<int64_t>(v);
  else
    value_ = static_cast<double>(v);
}

const char* Json::type_name() const {
  constexpr const char* kNames[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
  return kNames[value_.index()];
}

const Json* Json::find(std::string_view key) const {
  if (const auto* object = std::get_if<Object>(&value_))
    for (const Member& member : *object)
      if (member.first == key) return &member.second;
  return nullptr;
}

const Json& Json::operator[](std::string_view key) const {
  const Json* found = find(key);
  return found != nullptr ? *found : kNull;
}

int64_t Json::get_int(std::string_view key, int64_t fallback) const {
  const Json& v = (*this)[key];
  return v.is_number() ? v.as_int() : fallback;
}
double Json::get_double(std::string_view key, double fallback) const {
  const Json& v = (*this)[key];
  return v.is_number() ? v.as_double() : fallback;
}
bool Json::get_bool(std::string_view key, bool fallback) const {
  const Json& v = (*this)[key];
  return v.is_bool() ? v.as_bool() : fallback;
}
std::string Json::get_string(std::string_view key, std::string_view fallback) const {
  const Json& v = (*this)[key];
  return v.is_string() ? v.as_string() : std::string(fallback);
}

Json& Json::Set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  for (Member& member : as_object()) {
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  }
  as_object().emplace_back(std::string(key), std::move(value));
  return *this;
}

void Json::Push(Json value) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(value));
}

bool operator==(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number() && a.is_int() != b.is_int()) return a.as_double() == b.as_double();
  return a.value_ == b.value_;
}

Result<Json> ParseJson(std::string_view text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const simdjson::error_code code = parser.parse(text.data(), text.size()).get(root);
  if (code == simdjson::NUMBER_ERROR) {
    const std::string rewritten = WithLongIntegersAsDoubles(text);
    if (rewritten.size() != text.size() && parser.parse(rewritten).get(root) == simdjson::SUCCESS) return Convert(root);
  }
  if (code == simdjson::SUCCESS) return Convert(root);
  if (code == simdjson::MEMALLOC) throw std::bad_alloc();  // as any other allocation here: the document is not to blame
  WhereItBreaks where;
  nlohmann::json::sax_parse(text.begin(), text.end(), &where);
  const size_t at = where.at != 0 ? where.at : text.size();
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return InvalidArgument("the JSON document is empty");
  return InvalidArgument(Position(text, at) + ": " + simdjson::error_message(code));
}

void AppendJsonNumber(std::string& out, int64_t value) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

void AppendJsonNumber(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";  // stays a float for whoever reads it
}

// Length of the UTF-8 sequence at text[i], 0 if it is not well formed (overlong, surrogate, above U+10FFFF, cut).
static size_t SequenceLength(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
  const auto tail = [&](size_t k) { return (byte(k) & 0xC0u) == 0x80u; };
  const unsigned b0 = byte(0), b1 = byte(1);
  if (b0 < 0x80) return 1;
  if (b0 >= 0xC2 && b0 <= 0xDF) return tail(1) ? 2 : 0;
  if (b0 >= 0xE0 && b0 <= 0xEF) return tail(1) && tail(2) && !(b0 == 0xE0 && b1 < 0xA0) && !(b0 == 0xED && b1 > 0x9F) ? 3 : 0;
  if (b0 >= 0xF0 && b0 <= 0xF4) return tail(1) && tail(2) && tail(3) && !(b0 == 0xF0 && b1 < 0x90) && !(b0 == 0xF4 && b1 > 0x8F) ? 4 : 0;
  return 0;
}

void AppendJsonString(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
      out += text[i++];
      continue;
    }
    if (c < 0x80) {
      switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        case '\b': out += "\\b"; break;
        case '\f': out += "\\f"; break;
        default:
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
      }
      ++i;
      continue;
    }
    const size_t length = SequenceLength(text, i);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  out += '"';
}

static void Append(std::string& out, const Json& value) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    AppendJsonNumber(out, value.as_int());
  } else if (value.is_double()) {
    AppendJsonNumber(out, value.as_double());
  } else if (value.is_string()) {
    AppendJsonString(out, value.as_string());
  } else if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.as_array().size(); ++i) {
      if (i != 0) out += ',';
      Append(out, value.as_array()[i]);
    }
    out += ']';
  } else {
    out += '{';
    for (size_t i = 0; i < value.as_object().size(); ++i) {
      if (i != 0) out += ',';
      AppendJsonString(out, value.as_object()[i].first);
      out += ':';
      Append(out, value.as_object()[i].second);
    }
    out += '}';
  }
}

std::string DumpJson(const Json& value) {
  std::string out;
  Append(out, value);
  return out;
}

}  // namespace sgl
