// /parse_function_call and /separate_reasoning: the chat's parsers for texts from elsewhere.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "serve/api/chat_format.h"
#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct ParseBody {
  std::string text, parser;
  std::vector<Json> tools;
};

void ReadParseFields(JsonReader& field, ParseBody& body) {
  field.Required("text", body.text)("tools", body.tools)("tool_call_parser", body.parser);
}

struct SeparateBody {
  std::string text, parser;
};

void ReadSeparateFields(JsonReader& field, SeparateBody& body) { field.Required("text", body.text)("reasoning_parser", body.parser); }

void SendBadValue(const Exchange& exchange, const std::string& message) {
  SendError(*exchange, FromError(InvalidArgument(message), ErrorStyle::kNative));
}

std::optional<Json> Body(const Exchange& exchange) {
  Result<Json> json = ParseJson(exchange->request().body);
  if (json.ok()) return *std::move(json);
  SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  return {};
}

}  // namespace

void DescribeParseFunctionCall(JsonReader& field) {
  ParseBody body;
  ReadParseFields(field, body);
}

void DescribeSeparateReasoning(JsonReader& field) {
  SeparateBody body;
  ReadSeparateFields(field, body);
}

void HandleParseFunctionCall(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  ParseBody body;
  auto& [text, parser, tools] = body;
  JsonReader field(*json);
  ReadParseFields(field, body);
  Status status = field.status();
  if (status.ok()) status = ReadTools(tools);
  if (!status.ok()) return SendError(*exchange, SchemaErrorReply(status.error().message));
  if (parser.empty()) parser = context.config.tool_call_parser;
  const Result<std::string> name = ResolveToolFormat(parser, "");
  if (!name.ok()) return SendBadValue(exchange, name.error().message);
  if (name->empty()) return SendBadValue(exchange, "tool_call_parser: field required, because this server has no parser of its own");
  const std::shared_ptr<const ToolSet> functions = FunctionsOf(Json(std::move(tools)), context.config.forward_unknown_tools);
  ParsedText parsed{text, {}};
  if (!functions->functions.empty() || functions->forward_unknown)
    parsed = ParseToolCalls(*FindToolFormat(SpellingOf(*name, *context.backend.tokenizer())), functions, text);
  Json calls{Json::Array{}};
  for (const ParsedCall& call : parsed.calls)
    calls.Push(Json().Set("tool_index", functions->Find(call.name)).Set("name", call.name).Set("parameters", call.arguments));
  SendJson(*exchange, 200, DumpJson(Json().Set("normal_text", parsed.text).Set("calls", std::move(calls))));
}

void HandleSeparateReasoning(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = Body(exchange);
  if (!json) return;
  SeparateBody body;
  auto& [text, parser] = body;
  JsonReader field(*json);
  ReadSeparateFields(field, body);
  const Status status = field.status();
  if (!status.ok()) return SendError(*exchange, SchemaErrorReply(status.error().message));
  if (parser.empty()) parser = context.config.reasoning_parser;
  const Result<std::string> name = ResolveReasoningFormat(parser, "");
  if (!name.ok()) return SendBadValue(exchange, name.error().message);
  if (name->empty()) return SendBadValue(exchange, "reasoning_parser: field required, because this server has no parser of its own");
  const ReasoningFormat& format = *FindReasoningFormat(SpellingOf(*name, *context.backend.tokenizer()));
  const SplitReasoning split = ParseReasoning(format, format.starts == ReasoningStart::kAlways, text);
  SendJson(*exchange, 200, DumpJson(Json().Set("reasoning_text", split.reasoning).Set("text", split.text)));
}

}  // namespace sgl
