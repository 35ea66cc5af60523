// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

#include <utility>
#include <vector>

#include "serve/api/tag_formats.h"
#include "serve/api/tool_parameters.h"

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

// One call. Null: the function cannot be enforced in this format.
Json TagOf(const ToolFunction& function, const ToolTag& tag, const tags::Special& special, bool with_schema) {
  if (!CanWriteFunction(function.name, tag)) return {};
  Json::Array begin, content, end;
  tags::AddPieces(tag.begin, special, begin);
  tags::AddPieces(tag.end, special, end);
  for (size_t i = 1; i < begin.size(); ++i) content.push_back(begin[i]);
  if (!tag.after_number.empty()) {
    content.push_back(tags::Pattern("[0-9]{1,4}"));
    tags::AddPieces(tag.after_number, special, content);
  }
  if (tag.form == ToolTag::Form::kJson) {
    content.push_back(tags::JsonOf(with_schema ? SchemaOf(function) : Json().Set("type", "object")));
  } else if (!with_schema) {
    AddAnyParameters(tag, content);
  } else if (!AddParameters(SchemaOf(function), tag, special, content)) {
    return {};
  }
  for (size_t i = 0; i + 1 < end.size(); ++i) content.push_back(end[i]);
  Json out = Json().Set("type", "tag").Set("begin", tags::Mark(begin[0]));
  if (content.size() == 1)
    out.Set("content", std::move(content[0]));
  else if (content.empty())
    out.Set("content", tags::Text(""));
  else
    out.Set("content", tags::Sequence(std::move(content)));
  return out.Set("end", end.empty() ? Json("") : tags::Mark(end.back()));
}

std::string StructuralTag(Json format) { return DumpJson(Json().Set("type", "structural_tag").Set("format", std::move(format))); }

// Calls, at least one, and what the format puts around them. Null: not in this format.
Json Section(const Functions& functions, const ToolFormat& format, const ToolDemand& demand, bool all_schemas) {
  Json list{Json::Array{}};
  ToolTag tag;
  for (const ToolFunction* function : functions) {
    tag = format.tag(function->name, demand.special);
    Json one = TagOf(*function, tag, demand.special, all_schemas || function->strict);
    if (one.is_null()) return {};
    list.Push(std::move(one));
  }
  Json calls = Json()
                   .Set("type", "tags_with_separator")
                   .Set("tags", std::move(list))
                   .Set("separator", tag.separator)
                   .Set("at_least_one", true)
                   .Set("stop_after_first", !demand.parallel || tag.one_call);
  if (tag.section_begin.empty()) return calls;
  Json::Array parts;
  tags::AddPieces(tag.section_begin, demand.special, parts);
  parts.push_back(std::move(calls));
  tags::AddPieces(tag.section_end, demand.special, parts);
  return tags::Sequence(std::move(parts));
}

// A message of an answer whose parts all have headers, and the start of the next one.
Json Message(const std::string& begin, const ToolTag& tag, const tags::Special& special) {
  Json::Array parts;
  tags::AddPieces(begin, special, parts);
  tags::AddTextUntil(tag.message_end, {}, special, parts);
  return tags::Sequence(std::move(parts));
}

// The whole of such an answer. forced: reasoning and a call; otherwise there may be remarks, and an answer instead of a call.
Json AnswerOfMessages(Json section, const ToolTag& tag, const tags::Special& special, bool forced) {
  const Json thought = Message(tag.thought_begin, tag, special);
  if (forced) return tags::Sequence({tags::Star(thought), std::move(section)});
  Json::Array answer;
  tags::AddPieces(tag.answer_begin, special, answer);
  answer.push_back(tags::AnyText());
  return tags::Sequence({tags::Star(tags::OneOf({thought, Message(tag.remark_begin, tag, special)})),
                         tags::OneOf({std::move(section), tags::Sequence(std::move(answer))})});
}

// Any text, in which calls are as they should be. "": not in this format.
std::string TextWithCalls(const Functions& functions, const ToolFormat& format, const ToolDemand& demand) {
  const bool all_schemas = demand.strict_level >= 2;
  const ToolTag any = format.tag("", demand.special);
  if (any.trigger.empty()) return "";
  Json::Array begin;
  tags::AddPieces(any.trigger, demand.special, begin);
  const bool messages = !any.answer_begin.empty();
  if (messages || begin.size() > 1 || tags::IsToken(begin[0])) {  // no text has the token, so it says where calls begin
    Json section = Section(functions, format, demand, all_schemas);
    if (section.is_null()) return "";
    if (messages) return StructuralTag(AnswerOfMessages(std::move(section), any, demand.special, false));
    Json once = tags::Sequence({tags::AnyText(), std::move(section)});
    Json calls = demand.parallel && !any.one_call ? tags::Star(std::move(once)) : tags::Optional(std::move(once));
    return StructuralTag(tags::Sequence({std::move(calls), tags::AnyText()}));
  }
  Json list{Json::Array{}};
  for (const ToolFunction* function : functions) {
    ToolTag tag = format.tag(function->name, demand.special);
    tag.begin = tag.section_begin + tag.begin;
    tag.end += tag.section_end;
    Json one = TagOf(*function, tag, demand.special, all_schemas || function->strict);
    if (one.is_null() || !one["begin"].is_string()) return "";
    list.Push(std::move(one));
  }
  return StructuralTag(Json()
                           .Set("type", "triggered_tags")
                           .Set("triggers", Json(Json::Array{Json(any.trigger)}))
                           .Set("tags", std::move(list))
                           .Set("at_least_one", false)
                           .Set("stop_after_first", !demand.parallel || any.one_call));
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
  // Reasoning that has a limit of its own ends before a grammar begins, which thus cannot begin with the answer.
  const bool native = format != nullptr && format->tag != nullptr;
  const bool whole = native && !format->tag("", demand.special).answer_begin.empty();
  const bool usable = native && !(whole && demand.bounded_reasoning);
  if (demand.choice == Choice::kAuto) {
    if (usable && (strict || demand.strict_level >= 1)) constraint.structural_tag = TextWithCalls(functions, *format, demand);
    constraint.from_first_token = whole && !constraint.structural_tag.empty();
    return constraint;
  }
  if (usable) {
    Json section = Section(functions, *format, demand, true);
    if (!section.is_null()) {
      if (whole) section = AnswerOfMessages(std::move(section), format->tag("", demand.special), demand.special, true);
      constraint.structural_tag = StructuralTag(std::move(section));
      constraint.from_first_token = whole;
      return constraint;
    }
  }
  TRY(constraint.json_schema, ListOfCalls(functions, demand.choice == Choice::kNamed, demand.parallel));
  constraint.forced_list = true;
  return constraint;
}

std::vector<std::string> SpecialTokensOf(const ToolFormat& format, const tags::Special& special) {
  std::vector<std::string> out;
  if (format.tag == nullptr) return out;
  const ToolTag tag = format.tag("", special);
  if (!tag.answer_begin.empty()) return out;  // messages of reasoning have the same ones
  Json::Array pieces;
  for (const std::string* text : {&tag.section_begin, &tag.begin, &tag.after_number, &tag.param_begin, &tag.key_end, &tag.json_key_end,
                                  &tag.text_quote, &tag.value_end, &tag.end, &tag.section_end})
    tags::AddPieces(*text, special, pieces);
  for (const Json& piece : pieces)
    if (tags::IsToken(piece)) out.push_back(piece["token"].as_string());
  return out;
}

}  // namespace sgl
