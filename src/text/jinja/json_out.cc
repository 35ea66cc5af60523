// json.dumps.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "text/jinja/render.h"
#include "text/jinja/text_util.h"

namespace sgl::jinja {
namespace {

void AppendQuoted(std::string& out, std::string_view s, bool ascii) {
  static const char kHex[] = "0123456789abcdef";
  const auto escape = [&](uint32_t unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(unit >> shift) & 15];
  };
  out += '"';
  for (size_t pos = 0; pos < s.size();) {
    const auto byte = static_cast<unsigned char>(s[pos]);
    if (byte >= 0x80) {
      const size_t start = pos;
      const uint32_t c = NextCodePoint(s, pos);
      if (!ascii) {
        out.append(s.substr(start, pos - start));
      } else if (c < 0x10000) {
        escape(c);
      } else {
        escape(0xD800 + ((c - 0x10000) >> 10));
        escape(0xDC00 + ((c - 0x10000) & 0x3FF));
      }
      continue;
    }
    ++pos;
    switch (byte) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\f': out += "\\f"; break;
      case '\b': out += "\\b"; break;
      default:
        if (byte < 0x20)
          escape(byte);
        else
          out += static_cast<char>(byte);
    }
  }
  out += '"';
}

std::string JsonFloat(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
  return FloatRepr(v);
}

void NewLine(std::string& out, const JsonStyle& style) {
  out += '\n';
  for (int i = 0; i < style.level; ++i) out += style.indent;
}

bool KeyText(Renderer& r, const Value& key, std::string* out) {
  switch (key.kind()) {
    case Kind::kStr: *out = key.text(); return true;
    case Kind::kNone: *out = "null"; return true;
    case Kind::kBool: *out = key.integer() != 0 ? "true" : "false"; return true;
    case Kind::kInt: *out = fmt::to_string(key.integer()); return true;
    case Kind::kFloat: *out = JsonFloat(key.number()); return true;
    default: r.Fail(fmt::format("keys must be str, int, float, bool or None, not {}", TypeName(key))); return false;
  }
}

}  // namespace

void Renderer::ToJson(std::string& out, const Value& v, const JsonStyle& style) {
  if (!StackOk() || !RoomForText(out.size() + style.indent.size() * static_cast<size_t>(style.level))) return;
  JsonStyle inner;
  const auto open = [&](char c) {
    out += c;
    inner = style;
    ++inner.level;
    if (style.pretty) NewLine(out, inner);
  };
  const auto next = [&] {
    out += style.item_separator;
    if (style.pretty) NewLine(out, inner);
  };
  const auto close = [&](char c) {
    if (style.pretty) NewLine(out, style);
    out += c;
  };
  switch (v.kind()) {
    case Kind::kNone: out += "null"; return;
    case Kind::kBool: out += v.integer() != 0 ? "true" : "false"; return;
    case Kind::kInt: out += fmt::to_string(v.integer()); return;
    case Kind::kFloat: out += JsonFloat(v.number()); return;
    case Kind::kStr:
      if (RoomForText(out.size() + v.text().size())) AppendQuoted(out, v.text(), style.ascii);
      return;
    case Kind::kList:
    case Kind::kTuple: {
      const Values& items = AsList(v)->items;
      if (items.empty()) {
        out += "[]";
        return;
      }
      open('[');
      for (size_t i = 0; i < items.size() && !failed_; ++i) {
        if (i != 0) next();
        ToJson(out, items[i], inner);
      }
      close(']');
      return;
    }
    case Kind::kDict: {
      std::vector<const std::pair<Value, Value>*> items;
      for (const auto& item : AsDict(v)->items) items.push_back(&item);
      if (style.sort_keys) {
        std::stable_sort(items.begin(), items.end(),
                         [&](const auto* a, const auto* b) { return Ordered(CompareOp::kLt, a->first, b->first); });
      }
      if (items.empty()) {
        out += "{}";
        return;
      }
      open('{');
      std::string key;
      for (size_t i = 0; i < items.size() && !failed_; ++i) {
        if (i != 0) next();
        if (!KeyText(*this, items[i]->first, &key)) return;
        AppendQuoted(out, key, style.ascii);
        out += style.key_separator;
        ToJson(out, items[i]->second, inner);
      }
      close('}');
      return;
    }
    default: Fail(fmt::format("Object of type {} is not JSON serializable", TypeName(v)));
  }
}

}  // namespace sgl::jinja
