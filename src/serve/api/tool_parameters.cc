// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_parameters.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/tools/input.h"

namespace sgl {
namespace {

using Form = ToolTag::Form;

constexpr int kMaxDepth = 6;         // of objects and lists in one another, and of references: each is several levels of the tag
constexpr size_t kMaxOptional = 24;  // members of an object of which none is required: the tag grows with their square

bool Allows(std::initializer_list<std::string_view> names, const Json& object) {
  for (const auto& [key, value] : object.as_object())
    if (std::find(names.begin(), names.end(), key) == names.end() && key != "title" && key != "description" && key != "default" &&
        key != "examples")
      return false;
  return true;
}

bool IsOneOf(std::string_view what, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

bool IsWord(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (name.empty() || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-'; });
}

// Members, with a separator between those that are there.
struct Member {
  Json format;
  bool needed = false;
};
void AddSeparated(std::vector<Member> members, const std::string& separator, Json::Array& out) {
  const auto add = [&](Member& member, bool before, bool after, Json::Array& to) {
    Json::Array parts;
    if (before) parts.push_back(tags::Text(separator));
    parts.push_back(member.format);
    if (after) parts.push_back(tags::Text(separator));
    Json whole = parts.size() == 1 ? std::move(parts[0]) : tags::Sequence(std::move(parts));
    to.push_back(member.needed ? std::move(whole) : tags::Optional(std::move(whole)));
  };
  const auto needed = std::find_if(members.begin(), members.end(), [](const Member& m) { return m.needed; });
  if (separator.empty() || needed != members.end()) {  // around the first that is certain to come
    bool before = false;
    for (Member& member : members) {
      const bool first = !separator.empty() && &member == &*needed;
      add(member, before, !separator.empty() && !before && !first, out);
      before = before || first;
    }
    return;
  }
  if (members.empty()) return;
  Json::Array arms;
  for (size_t i = 0; i < members.size(); ++i) {
    Json::Array parts = {members[i].format};
    for (size_t k = i + 1; k < members.size(); ++k) add(members[k], true, false, parts);
    arms.push_back(tags::Sequence(std::move(parts)));
  }
  out.push_back(tags::Optional(tags::OneOf(std::move(arms))));
}

class Writer {
 public:
  Writer(const Json& root, const ToolTag& tag, const tags::Special& special) : root_(root), tag_(tag), special_(special) {}

  // The members of an object. False: they cannot be enforced.
  bool Members(const Json& schema, int depth, Json::Array& out) const {
    if (!Allows({"type", "properties", "required", "additionalProperties", "$defs", "$schema"}, schema)) return false;
    const Json& required = schema["required"];
    const Json& properties = schema["properties"];
    if (required.is_array())
      for (const Json& name : required.as_array())
        if (!name.is_string() || !properties.is_object() || properties.find(name.as_string()) == nullptr) return false;
    if (!properties.is_object() || properties.as_object().empty()) {  // no members, unless any may come
      const Json* others = schema.find("additionalProperties");
      return others == nullptr ? depth == 0 : *others == Json(false);
    }
    std::vector<Member> members;
    for (const Json::Member* property : InOrder(properties.as_object())) {
      std::optional<Json> format = Parameter(property->first, property->second, depth);
      if (!format) return false;
      const bool needed = required.is_array() && std::find(required.as_array().begin(), required.as_array().end(), Json(property->first)) !=
                                                     required.as_array().end();
      members.push_back({*std::move(format), needed});
    }
    const bool none_needed = std::none_of(members.begin(), members.end(), [](const Member& m) { return m.needed; });
    if (none_needed && !tag_.param_separator.empty() && members.size() > kMaxOptional) return false;
    AddSeparated(std::move(members), tag_.param_separator, out);
    return true;
  }

 private:
  std::vector<const Json::Member*> InOrder(const Json::Object& properties) const {
    std::vector<const Json::Member*> out;
    for (const Json::Member& one : properties) out.push_back(&one);
    if (tag_.form != Form::kQuoted) return out;
    const auto lower = [](std::string text) {
      for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      return text;
    };
    std::stable_sort(out.begin(), out.end(),
                     [&](const Json::Member* a, const Json::Member* b) { return lower(a->first) < lower(b->first); });
    return out;
  }

  // What a reference leads to; the schema itself if it is none. Null: nowhere that we follow.
  const Json* Resolve(const Json& schema) const {
    constexpr std::string_view kWhere = "#/$defs/";
    const Json* at = &schema;
    for (int i = 0; at != nullptr && at->is_object() && i < kMaxDepth; ++i) {
      const Json* reference = at->find("$ref");
      if (reference == nullptr) return at;
      if (!reference->is_string() || reference->as_string().substr(0, kWhere.size()) != kWhere || !Allows({"$ref"}, *at)) return nullptr;
      at = root_["$defs"].find(std::string_view(reference->as_string()).substr(kWhere.size()));
    }
    return nullptr;
  }

  // The kinds of value that a schema lets choose from, references followed; empty: not to be told.
  std::vector<Json> Alternatives(const Json& schema, int depth) const {
    const Json* at = depth > kMaxDepth ? nullptr : Resolve(schema);
    if (at == nullptr) return {};
    std::vector<Json> out;
    for (const char* key : {"anyOf", "oneOf"}) {
      const Json& arms = (*at)[key];
      if (!arms.is_array()) continue;
      if (!Allows({key}, *at)) return {};
      for (const Json& arm : arms.as_array()) {
        std::vector<Json> inner = Alternatives(arm, depth + 1);
        if (inner.empty()) return {};
        out.insert(out.end(), inner.begin(), inner.end());
      }
      return out;
    }
    if ((*at)["type"].is_array()) {
      for (const Json& type : (*at)["type"].as_array()) out.push_back(Json(*at).Set("type", type));
      return out;
    }
    return {*at};
  }

  static bool IsText(const Json& schema) { return schema["type"] == Json("string") && Allows({"type"}, schema); }
  static bool IsScalar(const Json& schema) {
    const Json& type = schema["type"];
    return type.is_string() && IsOneOf(type.as_string(), {"integer", "number", "boolean", "null"});
  }

  // Texts to choose from; empty: the schema is not of that kind. Only those that come back as they are.
  static std::vector<std::string> ChoicesOf(const Json& schema) {
    const Json* type = schema.find("type");
    if ((type != nullptr && *type != Json("string")) || !Allows({"type", "enum", "const"}, schema)) return {};
    Json::Array values;
    if (schema["enum"].is_array()) values = schema["enum"].as_array();
    if (const Json* value = schema.find("const")) values = {*value};
    std::vector<std::string> out;
    for (const Json& value : values) {
      if (!value.is_string()) return {};
      const std::string& text = value.as_string();
      if (text.empty() || tools::Trim(text) != text || text.find_first_of("<&\n") != text.npos) return {};
      out.push_back(text);
    }
    return out;
  }

  Json JsonValue(const Json& schema) const {
    Json value = schema;
    if (value.is_object() && root_.find("$defs") != nullptr) value.Set("$defs", root_["$defs"]);
    return tags::JsonOf(std::move(value));
  }

  std::optional<Json> Parameter(const std::string& name, const Json& schema, int depth) const {
    if (!CanWriteParameter(name, tag_)) return {};
    if (tag_.form == Form::kTagged) return Tagged(name, schema);
    Json value = tag_.form == Form::kPython ? Python(schema) : Quoted(schema, depth);
    if (value.is_null()) return {};
    return tags::Sequence({tags::Text(name + tag_.key_end), std::move(value)});
  }

  // Between tags: text as it is, one of some texts, or JSON. What a text may turn into by the schema always fits it.
  std::optional<Json> Tagged(const std::string& name, const Json& schema) const {
    const std::vector<Json> kinds = Alternatives(schema, 0);
    bool text = false, json = !kinds.empty(), scalars = true;
    std::vector<std::string> choices;
    bool null = false, other = false;
    for (const Json& kind : kinds) {
      const Json& type = kind["type"];
      null = null || type == Json("null");
      if (type.is_string() && IsOneOf(type.as_string(), {"integer", "number", "boolean", "object", "array", "null"})) {
        scalars = scalars && IsScalar(kind) && Allows({"type"}, kind);
        other = other || type != Json("null");
        continue;
      }
      json = false;
      text = text || IsText(kind);
      if (IsText(kind)) continue;
      const std::vector<std::string> some = ChoicesOf(kind);
      if (some.empty()) return {};
      choices.insert(choices.end(), some.begin(), some.end());
    }
    if (kinds.empty() || (text && !scalars) || (!json && !text && other)) return {};
    Json::Array parts;
    tags::AddPieces(tag_.param_begin + name + (json && !tag_.json_key_end.empty() ? tag_.json_key_end : tag_.key_end), special_, parts);
    if (text) {
      AddText(parts);
      return tags::Sequence(std::move(parts));
    }
    if (json) {
      parts.push_back(JsonValue(schema));
    } else {
      // With a key_end that says "text" there is no null: the texts alone fit as well.
      if (null && tag_.json_key_end.empty()) choices.emplace_back("null");
      Json::Array arms;
      for (const std::string& choice : choices) arms.push_back(tags::Text(choice));
      parts.push_back(tags::OneOf(std::move(arms)));
    }
    tags::AddPieces(tag_.value_tail + tag_.value_end, special_, parts);
    return tags::Sequence(std::move(parts));
  }

  void AddText(Json::Array& out) const {
    if (tag_.raw_begin.empty()) return tags::AddTextUntil(tag_.value_end, tag_.ends_value, special_, out);
    Json::Array raw, plain;
    tags::AddPieces(tag_.raw_begin, special_, raw);
    tags::AddTextUntil(tag_.raw_end, {}, special_, raw);
    tags::AddPieces(tag_.value_end, special_, raw);
    std::vector<std::string> excludes = tag_.ends_value;
    excludes.push_back(tag_.raw_begin);
    tags::AddTextUntil(tag_.value_end, excludes, special_, plain);
    out.push_back(tags::OneOf({tags::Sequence(std::move(raw)), tags::Sequence(std::move(plain))}));
  }

  // JSON is Python, where the parser takes JSON's three words, too.
  Json Python(const Json& schema) const {
    if (schema.is_object() && schema["type"] == Json("boolean") && Allows({"type"}, schema))
      return tags::OneOf({tags::Text("True"), tags::Text("False")});
    return JsonValue(schema);
  }

  // Texts in the format's quotes, everything else as JSON, but that keys stand bare. Null: not to be enforced.
  Json Quoted(const Json& schema, int depth) const {
    Json::Array arms;
    for (const Json& kind : Alternatives(schema, depth)) {
      Json arm = QuotedKind(kind, depth);
      if (arm.is_null()) return {};
      arms.push_back(std::move(arm));
    }
    if (arms.empty()) return {};
    return arms.size() == 1 ? std::move(arms[0]) : tags::OneOf(std::move(arms));
  }
  Json QuotedKind(const Json& kind, int depth) const {
    if (IsScalar(kind)) return JsonValue(kind);
    Json::Array parts;
    if (IsText(kind)) {
      tags::AddPieces(tag_.text_quote, special_, parts);
      tags::AddTextUntil(tag_.text_quote, {}, special_, parts);
      return tags::Sequence(std::move(parts));
    }
    if (const std::vector<std::string> choices = ChoicesOf(kind); !choices.empty()) {
      Json::Array arms;
      for (const std::string& choice : choices) arms.push_back(tags::Text(choice));
      tags::AddPieces(tag_.text_quote, special_, parts);
      parts.push_back(tags::OneOf(std::move(arms)));
      tags::AddPieces(tag_.text_quote, special_, parts);
      return tags::Sequence(std::move(parts));
    }
    if (depth >= kMaxDepth) return {};
    if (kind["type"] == Json("object")) {
      parts.push_back(tags::Text("{"));
      if (!Members(kind, depth + 1, parts)) return {};
      parts.push_back(tags::Text("}"));
      return tags::Sequence(std::move(parts));
    }
    if (kind["type"] != Json("array") || !Allows({"type", "items", "minItems", "maxItems"}, kind)) return {};
    Json item = Quoted(kind["items"], depth + 1);
    return item.is_null() ? item : List(std::move(item), kind);
  }
  static Json List(Json item, const Json& schema) {
    constexpr int64_t kMost = 10000;
    const int64_t least = schema.get_int("minItems", 0), most = schema.get_int("maxItems", -1);
    if (least < 0 || least > kMost || most > kMost || (most >= 0 && most < least)) return {};
    if (most == 0) return tags::Text("[]");
    Json more = Json().Set("type", "repeat").Set("content", tags::Sequence({tags::Text(","), item}));
    more.Set("min", std::max<int64_t>(least - 1, 0)).Set("max", most < 0 ? -1 : most - 1);
    Json items = tags::Sequence({std::move(item), std::move(more)});
    return tags::Sequence({tags::Text("["), least == 0 ? tags::Optional(std::move(items)) : std::move(items), tags::Text("]")});
  }

  const Json& root_;
  const ToolTag& tag_;
  const tags::Special& special_;
};

}  // namespace

bool CanWriteFunction(std::string_view name, const ToolTag& tag) {
  if (tag.form == Form::kPython) return IsWord(name);
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || std::string_view("\"\\<>{}[]()").find(c) != std::string_view::npos;
  };
  return !name.empty() && std::none_of(name.begin(), name.end(), odd);
}

bool CanWriteParameter(std::string_view name, const ToolTag& tag) {
  if (tag.form != Form::kTagged) return IsWord(name);
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) < ' ' || std::string_view("\"<>&").find(c) != std::string_view::npos;
  };
  return !name.empty() && tools::Trim(name) == name && std::none_of(name.begin(), name.end(), odd);
}

bool AddParameters(const Json& schema, const ToolTag& tag, const tags::Special& special, Json::Array& out) {
  return Writer(schema, tag, special).Members(schema, 0, out);
}

void AddAnyParameters(const ToolTag& tag, Json::Array& out) {
  if (tag.form != Form::kPython) return out.push_back(tags::AnyText());
  const Json value = tags::OneOf({tags::Text("True"), tags::Text("False"), tags::Text("None"), tags::JsonOf(Json(true))});
  const Json one = tags::Sequence({tags::Pattern("[A-Za-z_][A-Za-z0-9_]*"), tags::Text(tag.key_end), value});
  const Json more = tags::Star(tags::Sequence({tags::Text(tag.param_separator), one}));
  out.push_back(tags::Optional(tags::Sequence({one, more})));
}

}  // namespace sgl
