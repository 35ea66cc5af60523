// SPDX-License-Identifier: Apache-2.0
#include "serve/api/chat_request.h"

#include <fmt/core.h>

#include <utility>

#include "obs/log.h"
#include "serve/api/chat_format.h"
#include "serve/api/tool_constraint.h"
#include "serve/json_reader.h"

namespace sgl {
namespace {

// --sampling-defaults model: what the model's authors recommend, for the five parameters they usually give.
void ApplyGenerationConfig(const Json& config, SamplingParams& p) {
  p.temperature = config.get_double("temperature", p.temperature);
  p.top_p = config.get_double("top_p", p.top_p);
  p.min_p = config.get_double("min_p", p.min_p);
  p.repetition_penalty = config.get_double("repetition_penalty", p.repetition_penalty);
  p.top_k = config.get_int("top_k", p.top_k);
  if (p.top_k == 0) p.top_k = -1;  // transformers' way to say "all"
}

void ReadChatFields(JsonReader& field, ChatRequest& request) {
  field("max_tokens", request.max_tokens)("max_completion_tokens", request.max_tokens);  // the newer name wins
  field("logprobs", request.logprobs)("top_logprobs", request.top_logprobs);
}

Status ReadChat(const Json& json, const ApiContext& context, ChatRequest& request) {
  SamplingAsked& sampling = request.sampling;
  sampling.params.max_new_tokens.reset();  // up to the context
  if (context.config.sampling_defaults == "model") ApplyGenerationConfig(context.backend.info().generation_config, sampling.params);
  TRY_STATUS(ReadOpenAi(json, context, request));
  JsonReader field(json);
  ReadChatFields(field, request);
  TRY_STATUS(field.status());
  if (request.max_tokens) {
    sampling.params.max_new_tokens = request.max_tokens;
    sampling.max_new_tokens_given = true;
  }
  TRY_STATUS(ReadChatPrompt(json, request.prompt));
  // Calls, and some models' reasoning tags, are written with special tokens.
  const ReasoningFormat* reasoning = FindReasoningFormat(context.config.reasoning_parser);
  if (request.prompt.uses_tools() || (reasoning != nullptr && WritesSpecialTokens(*reasoning, *context.backend.tokenizer())))
    sampling.params.skip_special_tokens = false;
  return {};
}

Status CheckChat(ChatRequest& request, const Json& json, const ApiContext& context, const HttpRequest& http) {
  TRY_STATUS(CheckChatPrompt(request.prompt));
  TRY_STATUS(CheckOpenAi(json, request, context, http));
  TRY_STATUS(CheckSamples(1, request.sampling.params.n));
  const int64_t limit = context.backend.info().context_length;
  if (request.max_tokens && *request.max_tokens > limit)
    return InvalidArgument(fmt::format("max_completion_tokens is too large: {}. This model supports at most {} completion tokens.",
                                       *request.max_tokens, limit));
  return {};
}

// What tool_choice asks of the answer goes to the grammar, unless the request brings a grammar of its own.
Status ConstrainCalls(ChatRequest& request, const ApiContext& context, ChatFormat& format) {
  const ChatPrompt& prompt = request.prompt;
  if (!prompt.uses_tools()) return {};
  ToolDemand demand;
  demand.parallel = prompt.parallel_tool_calls;
  demand.strict_level = context.config.tool_strict_level;
  if (prompt.tool_choice.is_object()) {
    demand.choice = ToolDemand::Choice::kNamed;
    demand.name = prompt.tool_choice["function"].get_string("name", "");
  } else if (prompt.tool_choice == Json("required")) {
    demand.choice = ToolDemand::Choice::kRequired;
  }
  demand.special = SpecialsOf(context.backend.tokenizer());
  demand.bounded_reasoning = format.reasoning != nullptr && (context.config.strict_thinking || context.config.max_think_tokens >= 0 ||
                                                             request.sampling.custom_params["thinking_budget"].is_int());
  const SamplingParams& params = request.sampling.params;
  TRY(ToolConstraint constraint, ConstrainTools(*format.functions, format.tools, demand));
  if (constraint.structural_tag.empty() && constraint.json_schema.empty()) return {};
  if (params.json_schema || params.regex || params.ebnf || params.structural_tag) {
    LOG_WARNING("A request asks for tool calls and for another form of its answer: the form wins");
    return {};
  }
  if (constraint.forced_list) format.tools = FindToolFormat("json_array");
  format.grammar_reads_reasoning = constraint.from_first_token;
  // The same way as a grammar that a client names: where those are refused, so is this.
  Json grammar;
  if (!constraint.structural_tag.empty()) grammar.Set("structural_tag", constraint.structural_tag);
  if (!constraint.json_schema.empty()) grammar.Set("json_schema", constraint.json_schema);
  return ReadSamplingParams(grammar, "tool_choice", request.sampling);
}

Result<std::vector<GenerateRequest>> PlanSamples(const ChatRequest& request, const ChatFormat& format, std::vector<TokenId> tokens,
                                                 const ApiContext& context, const std::string& id) {
  TRY(PromptPlan plan, PlanOpenAi(request, std::move(tokens), context));
  SetThinking(format, context, plan.request);
  if (request.logprobs) {
    plan.request.return_logprob = true;
    plan.request.top_logprobs_num = request.top_logprobs;
  }
  TRY_STATUS(CheckRequest(plan.request, context.backend.info()));
  plan.rids = NumberedRids(id, static_cast<size_t>(plan.request.sampling.n));
  std::vector<PromptPlan> plans;
  plans.push_back(std::move(plan));
  return Expand(std::move(plans));
}

}  // namespace

void DescribeChatFields(JsonReader& field) {
  ChatRequest request;
  Json stream_options;
  ReadOpenAiFields(field, request, stream_options);
  ReadChatFields(field, request);
  std::vector<Json> messages, tools;
  ReadChatPromptFields(field, request.prompt, messages, tools);
}

Result<ChatPlan> PrepareChat(const Json& body, ApiContext& context, const HttpRequest& http, ChatFault& fault) {
  ChatPlan plan;
  ChatRequest& request = plan.request;
  fault = ChatFault::kSchema;
  TRY_STATUS(ReadChat(body, context, request));
  request.routing_key = RoutingKey(body, http);
  fault = ChatFault::kValue;
  TRY_STATUS(CheckChat(request, body, context, http));
  fault = ChatFault::kConversion;
  TRY(RenderedChat rendered, RenderChat(request.prompt, context));
  fault = ChatFault::kValue;
  plan.format = MakeChatFormat(request.prompt, rendered, context);
  plan.format.mode = request.stream ? ToolMode::kStream : ToolMode::kWhole;
  TRY_STATUS(ConstrainCalls(request, context, plan.format));
  plan.id = request.rid.empty() ? context.ids.Next() : request.rid;
  TRY(plan.samples, PlanSamples(request, plan.format, std::move(rendered.tokens), context, plan.id));
  return plan;
}

}  // namespace sgl
