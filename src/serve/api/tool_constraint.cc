// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sgl {
namespace {

using Functions = std::vector<const ToolFunction*>;

// Arguments are an object, whether the schema says so or not.
Json SchemaOf(const ToolFunction& function) {
  Json schema = function.parameters.is_object() ? function.parameters : Json(Json::Object{});
  for (const char* key : {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})
    if (schema.find(key) != nullptr) return schema;
  return schema.Set("type", "object");
}

using Special = std::function<bool(std::string_view)>;

Json Token(std::string_view text) { return Json().Set("type", "token").Set("token", text); }
Json Const(std::string_view text) { return Json().Set("type", "const_string").Set("value", text); }
Json AnyText() { return Json().Set("type", "any_text"); }
Json Sequence(Json::Array elements) { return Json().Set("type", "sequence").Set("elements", Json(std::move(elements))); }

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

// A text that is to come, as formats: special tokens of the model, and what is between them.
void AddPieces(std::string_view text, const Special& special, Json::Array& out) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const std::string_view token = TokenAt(text.substr(at), special);
    if (token.empty()) {
      ++at;
      continue;
    }
    if (begin < at) out.push_back(Const(text.substr(begin, at - begin)));
    out.push_back(Token(token));
    begin = at += token.size();
  }
  if (begin < text.size()) out.push_back(Const(text.substr(begin)));
}

// How a tag says the first or last of its pieces.
Json Mark(const Json& piece) { return piece.get_string("type", "") == "token" ? piece : piece["value"]; }

// The text of a value up to the first end, and that. Where a token follows some text in it (DeepSeek's </｜DSML｜), that text alone ends it
// already.
void AddTextUntil(const ToolTag& tag, const Special& special, Json::Array& out) {
  Json::Array pieces;
  AddPieces(tag.value_end, special, pieces);
  Json text = AnyText();
  if (!tag.ends_value.empty()) {
    Json excludes{Json::Array{}};
    for (const std::string& end : tag.ends_value) excludes.Push(end);
    text.Set("excludes", std::move(excludes));
  }
  out.push_back(Json().Set("type", "tag").Set("begin", "").Set("content", std::move(text)).Set("end", Mark(pieces[0])));
  for (size_t i = 1; i < pieces.size(); ++i) out.push_back(std::move(pieces[i]));
}

bool Allows(std::initializer_list<std::string_view> names, const Json& object) {
  for (const auto& [key, value] : object.as_object())
    if (std::find(names.begin(), names.end(), key) == names.end()) return false;
  return true;
}

enum class ValueForm { kText, kChoice, kJson, kNone };

// How the value of a parameter is written between its tags: as text, as one of some texts, as JSON. kNone: that cannot be enforced.
ValueForm FormOf(const Json& schema) {
  if (!schema.is_object()) return ValueForm::kNone;
  const Json& type = schema["type"];
  if (type == Json("string")) {
    if (const Json* choices = schema.find("enum")) {
      bool texts = choices->is_array() && !choices->as_array().empty();
      if (texts)
        for (const Json& choice : choices->as_array()) texts = texts && choice.is_string();
      return texts && Allows({"type", "enum", "title", "description", "default", "examples"}, schema) ? ValueForm::kChoice
                                                                                                      : ValueForm::kNone;
    }
    return Allows({"type", "title", "description", "default", "examples"}, schema) ? ValueForm::kText : ValueForm::kNone;
  }
  for (const char* name : {"integer", "number", "boolean", "object", "array"})
    if (type == Json(name)) return ValueForm::kJson;
  return ValueForm::kNone;
}

// The parameters of a schema, each between its tags, in the order of the schema. False: this schema is not of that kind.
bool AddParameters(const Json& schema, const ToolTag& tag, const Special& special, Json::Array& out) {
  if (!Allows({"type", "properties", "required", "additionalProperties", "$defs", "title", "description", "$schema"}, schema)) return false;
  const Json& required = schema["required"];
  const Json& properties = schema["properties"];
  const auto needed = [&](std::string_view name) {
    return required.is_array() &&
           std::find(required.as_array().begin(), required.as_array().end(), Json(name)) != required.as_array().end();
  };
  if (required.is_array())
    for (const Json& name : required.as_array())
      if (!name.is_string() || !properties.is_object() || properties.find(name.as_string()) == nullptr) return false;
  if (!properties.is_object()) return properties.is_null();
  for (const auto& [name, property] : properties.as_object()) {
    const ValueForm form = FormOf(property);
    if (form == ValueForm::kNone) return false;
    Json::Array parts;
    AddPieces(tag.param_begin + name + (form == ValueForm::kJson && !tag.json_key_end.empty() ? tag.json_key_end : tag.key_end), special,
              parts);
    if (form == ValueForm::kText) {
      AddTextUntil(tag, special, parts);
    } else if (form == ValueForm::kChoice) {
      Json::Array choices;
      for (const Json& choice : property["enum"].as_array()) choices.push_back(Const(choice.as_string()));
      parts.push_back(Json().Set("type", "or").Set("elements", Json(std::move(choices))));
      AddPieces(tag.value_tail + tag.value_end, special, parts);
    } else {
      Json value = property;
      if (schema.find("$defs") != nullptr) value.Set("$defs", schema["$defs"]);
      parts.push_back(Json().Set("type", "json_schema").Set("json_schema", std::move(value)));
      AddPieces(tag.value_tail + tag.value_end, special, parts);
    }
    Json whole = Sequence(std::move(parts));
    out.push_back(needed(name) ? std::move(whole) : Json().Set("type", "optional").Set("content", std::move(whole)));
  }
  return true;
}

// One call. Null: the function's schema cannot be enforced in this format.
Json TagOf(const ToolFunction& function, const ToolTag& tag, const Special& special, bool with_schema) {
  Json::Array begin, content, end;
  AddPieces(tag.begin, special, begin);
  AddPieces(tag.end, special, end);
  for (size_t i = 1; i < begin.size(); ++i) content.push_back(begin[i]);
  if (!tag.after_number.empty()) {
    content.push_back(Json().Set("type", "regex").Set("pattern", "[0-9]{1,4}"));
    AddPieces(tag.after_number, special, content);
  }
  if (tag.param_begin.empty()) {
    content.push_back(
        Json().Set("type", "json_schema").Set("json_schema", with_schema ? SchemaOf(function) : Json().Set("type", "object")));
  } else if (with_schema) {
    if (!AddParameters(SchemaOf(function), tag, special, content)) return {};
  } else {
    content.push_back(AnyText());
  }
  for (size_t i = 0; i + 1 < end.size(); ++i) content.push_back(end[i]);
  Json out = Json().Set("type", "tag").Set("begin", Mark(begin[0]));
  if (content.size() == 1)
    out.Set("content", std::move(content[0]));
  else if (content.empty())
    out.Set("content", Const(""));
  else
    out.Set("content", Sequence(std::move(content)));
  return out.Set("end", end.empty() ? Json("") : Mark(end.back()));
}

std::string StructuralTag(Json format) { return DumpJson(Json().Set("type", "structural_tag").Set("format", std::move(format))); }

// Calls, at least one, and what the format puts around them. Null: not in this format.
Json Section(const Functions& functions, const ToolFormat& format, const ToolDemand& demand, bool all_schemas) {
  Json tags{Json::Array{}};
  ToolTag tag;
  for (const ToolFunction* function : functions) {
    tag = format.tag(function->name, demand.special);
    Json one = TagOf(*function, tag, demand.special, all_schemas || function->strict);
    if (one.is_null()) return {};
    tags.Push(std::move(one));
  }
  Json calls = Json()
                   .Set("type", "tags_with_separator")
                   .Set("tags", std::move(tags))
                   .Set("separator", tag.separator)
                   .Set("at_least_one", true)
                   .Set("stop_after_first", !demand.parallel);
  if (tag.section_begin.empty()) return calls;
  Json::Array parts;
  AddPieces(tag.section_begin, demand.special, parts);
  parts.push_back(std::move(calls));
  AddPieces(tag.section_end, demand.special, parts);
  return Sequence(std::move(parts));
}

// Any text, in which calls are as they should be. "": not in this format.
std::string TextWithCalls(const Functions& functions, const ToolFormat& format, const ToolDemand& demand) {
  const bool all_schemas = demand.strict_level >= 2;
  const std::string trigger = format.tag("", demand.special).trigger;
  if (trigger.empty()) return "";
  Json::Array begin;
  AddPieces(trigger, demand.special, begin);
  if (begin.size() > 1 || begin[0].get_string("type", "") == "token") {  // no text has the token, so it says where calls begin
    Json section = Section(functions, format, demand, all_schemas);
    if (section.is_null()) return "";
    Json once = Sequence({AnyText(), std::move(section)});
    Json calls = Json().Set("type", demand.parallel ? "star" : "optional").Set("content", std::move(once));
    return StructuralTag(Sequence({std::move(calls), AnyText()}));
  }
  Json tags{Json::Array{}};
  for (const ToolFunction* function : functions) {
    ToolTag tag = format.tag(function->name, demand.special);
    tag.begin = tag.section_begin + tag.begin;
    tag.end += tag.section_end;
    Json one = TagOf(*function, tag, demand.special, all_schemas || function->strict);
    if (one.is_null() || !one["begin"].is_string()) return "";
    tags.Push(std::move(one));
  }
  return StructuralTag(Json()
                           .Set("type", "triggered_tags")
                           .Set("triggers", Json(Json::Array{Json(trigger)}))
                           .Set("tags", std::move(tags))
                           .Set("at_least_one", false)
                           .Set("stop_after_first", !demand.parallel));
}

// References are written from the root of a function's schema ("#/$defs/x"), so all definitions go to the root of the list's.
Status MergeDefinitions(const Functions& functions, Json& merged) {
  for (const ToolFunction* function : functions) {
    const Json& definitions = function->parameters["$defs"];
    if (!definitions.is_object()) continue;
    for (const auto& [name, definition] : definitions.as_object()) {
      const Json* known = merged.find(name);
      if (known != nullptr && !(*known == definition))
        return InvalidArgument("Tool definition '" + name + "' has multiple schemas, which is not supported.");
      merged.Set(name, definition);
    }
  }
  return {};
}

Json ListItem(const ToolFunction& function) {
  const Json schema = SchemaOf(function);
  Json::Object parameters;
  for (const auto& [key, value] : schema.as_object())
    if (key != "$defs") parameters.emplace_back(key, value);
  const Json name = Json().Set("type", "string").Set("enum", Json(Json::Array{Json(function.name)}));
  return Json()
      .Set("type", "object")
      .Set("properties", Json().Set("name", name).Set("parameters", Json(std::move(parameters))))
      .Set("required", Json(Json::Array{Json("name"), Json("parameters")}))
      .Set("additionalProperties", false);
}

Result<std::string> ListOfCalls(const Functions& functions, bool named, bool parallel) {
  Json definitions, items;
  TRY_STATUS(MergeDefinitions(functions, definitions));
  if (named) {
    items = ListItem(*functions.front());
  } else {
    Json any{Json::Array{}};
    for (const ToolFunction* function : functions) any.Push(ListItem(*function));
    items.Set("anyOf", std::move(any));
  }
  Json schema;
  schema.Set("type", "array").Set("minItems", 1);
  if (!parallel) schema.Set("maxItems", 1);
  schema.Set("items", std::move(items));
  if (definitions.is_object()) schema.Set("$defs", std::move(definitions));
  return DumpJson(schema);
}

}  // namespace

Result<ToolConstraint> ConstrainTools(const ToolSet& tools, const ToolFormat* format, const ToolDemand& demand) {
  using Choice = ToolDemand::Choice;
  Functions functions;
  bool strict = false;
  for (const ToolFunction& function : tools.functions) {
    if (demand.choice == Choice::kNamed && function.name != demand.name) continue;
    functions.push_back(&function);
    strict = strict || function.strict;
  }
  Json ignored;
  TRY_STATUS(MergeDefinitions(functions, ignored));
  ToolConstraint constraint;
  if (functions.empty()) return constraint;
  const bool native = format != nullptr && format->tag != nullptr;
  if (demand.choice == Choice::kAuto) {
    if (native && (strict || demand.strict_level >= 1)) constraint.structural_tag = TextWithCalls(functions, *format, demand);
    return constraint;
  }
  if (native) {
    Json section = Section(functions, *format, demand, true);
    if (!section.is_null()) {
      constraint.structural_tag = StructuralTag(std::move(section));
      return constraint;
    }
  }
  TRY(constraint.json_schema, ListOfCalls(functions, demand.choice == Choice::kNamed, demand.parallel));
  constraint.forced_list = true;
  return constraint;
}

std::vector<std::string> SpecialTokensOf(const ToolFormat& format, const std::function<bool(std::string_view)>& special) {
  std::vector<std::string> out;
  if (format.tag == nullptr) return out;
  const ToolTag tag = format.tag("", special);
  Json::Array pieces;
  for (const std::string* text : {&tag.section_begin, &tag.begin, &tag.after_number, &tag.param_begin, &tag.key_end, &tag.json_key_end,
                                  &tag.value_end, &tag.end, &tag.section_end})
    AddPieces(*text, special, pieces);
  for (const Json& piece : pieces)
    if (piece.get_string("type", "") == "token") out.push_back(piece["token"].as_string());
  return out;
}

}  // namespace sgl
