// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

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

Json TagOf(const ToolFunction& function, const ToolFormat& format, bool with_schema) {
  const ToolTag tag = format.tag(function.name);
  const Json schema = with_schema ? SchemaOf(function) : Json().Set("type", "object");
  return Json()
      .Set("type", "tag")
      .Set("begin", tag.begin)
      .Set("content", Json().Set("type", "json_schema").Set("json_schema", schema))
      .Set("end", tag.end);
}

std::string StructuralTag(Json format) { return DumpJson(Json().Set("type", "structural_tag").Set("format", std::move(format))); }

// Only calls, at least one.
std::string OnlyCalls(const Functions& functions, const ToolFormat& format, bool parallel) {
  Json tags{Json::Array{}};
  for (const ToolFunction* function : functions) tags.Push(TagOf(*function, format, true));
  return StructuralTag(Json()
                           .Set("type", "tags_with_separator")
                           .Set("tags", std::move(tags))
                           .Set("separator", format.separator)
                           .Set("at_least_one", true)
                           .Set("stop_after_first", !parallel));
}

// Any text, in which calls are as they should be.
std::string TextWithCalls(const Functions& functions, const ToolFormat& format, bool parallel, bool every_schema) {
  Json tags{Json::Array{}}, triggers{Json::Array{}};
  for (const ToolFunction* function : functions) {
    tags.Push(TagOf(*function, format, every_schema || function->strict));
    const Json trigger(format.tag(function->name).trigger);
    bool known = false;
    for (const Json& other : triggers.as_array()) known = known || other == trigger;
    if (!known) triggers.Push(trigger);
  }
  return StructuralTag(Json()
                           .Set("type", "triggered_tags")
                           .Set("triggers", std::move(triggers))
                           .Set("tags", std::move(tags))
                           .Set("at_least_one", false)
                           .Set("stop_after_first", !parallel));
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
  const bool native = format != nullptr && format->tag != nullptr && !demand.as_list;
  if (demand.choice == Choice::kAuto) {
    if (native && (strict || demand.strict_level >= 1))
      constraint.structural_tag = TextWithCalls(functions, *format, demand.parallel, demand.strict_level >= 2);
    return constraint;
  }
  if (native) {
    constraint.structural_tag = OnlyCalls(functions, *format, demand.parallel);
    return constraint;
  }
  TRY(constraint.json_schema, ListOfCalls(functions, demand.choice == Choice::kNamed, demand.parallel));
  constraint.forced_list = true;
  return constraint;
}

}  // namespace sgl
