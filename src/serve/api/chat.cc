// POST /v1/chat/completions.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <utility>

#include "serve/api/chat_prompt.h"
#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/json_reader.h"
#include "serve/logprobs.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct ChatBody : OpenAiBody {
  ChatPrompt prompt;
  std::optional<int64_t> max_tokens;
  bool logprobs = false;
  int top_logprobs = 0;
};

// --sampling-defaults model: what the model's authors recommend, for the five parameters they usually give.
void ApplyGenerationConfig(const Json& config, SamplingParams& p) {
  p.temperature = config.get_double("temperature", p.temperature);
  p.top_p = config.get_double("top_p", p.top_p);
  p.min_p = config.get_double("min_p", p.min_p);
  p.repetition_penalty = config.get_double("repetition_penalty", p.repetition_penalty);
  p.top_k = config.get_int("top_k", p.top_k);
  if (p.top_k == 0) p.top_k = -1;  // transformers' way to say "all"
}

Result<ChatBody> ParseChat(const Json& json, const ApiContext& context) {
  ChatBody body;
  SamplingAsked& sampling = body.sampling;
  sampling.params.max_new_tokens.reset();  // up to the context
  if (context.config.sampling_defaults == "model") ApplyGenerationConfig(context.backend.info().generation_config, sampling.params);
  TRY_STATUS(ReadOpenAi(json, context, body));
  JsonReader field(json);
  field("max_tokens", body.max_tokens)("max_completion_tokens", body.max_tokens);  // the newer name wins
  field("logprobs", body.logprobs)("top_logprobs", body.top_logprobs);
  TRY_STATUS(field.status());
  if (body.max_tokens) {
    sampling.params.max_new_tokens = body.max_tokens;
    sampling.max_new_tokens_given = true;
  }
  TRY_STATUS(ReadChatPrompt(json, body.prompt));
  if (body.prompt.uses_tools()) sampling.params.skip_special_tokens = false;  // calls are written with special tokens
  return body;
}

Status CheckChat(const ChatBody& body, const Json& json, const ApiContext& context, const HttpRequest& http) {
  TRY_STATUS(CheckChatPrompt(body.prompt));
  TRY_STATUS(CheckOpenAi(json, body, context, http));
  TRY_STATUS(CheckSamples(1, body.sampling.params.n));
  const int64_t limit = context.backend.info().context_length;
  if (body.max_tokens && *body.max_tokens > limit)
    return InvalidArgument(
        fmt::format("max_completion_tokens is too large: {}. This model supports at most {} completion tokens.", *body.max_tokens, limit));
  return {};
}

Result<std::vector<GenerateRequest>> PlanChat(const ChatBody& body, std::vector<TokenId> tokens, const ApiContext& context,
                                              const std::string& id) {
  TRY(PromptPlan plan, PlanOpenAi(body, std::move(tokens), context));
  if (body.logprobs) {
    plan.request.return_logprob = true;
    plan.request.top_logprobs_num = body.top_logprobs;
  }
  TRY_STATUS(CheckRequest(plan.request, context.backend.info()));
  plan.rids = NumberedRids(id, static_cast<size_t>(plan.request.sampling.n));
  std::vector<PromptPlan> plans;
  plans.push_back(std::move(plan));
  return Expand(std::move(plans));
}

class ChatFlight final : public OpenAiFlight {
 public:
  ChatFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatBody& body, std::string id)
      : OpenAiFlight(context, std::move(exchange), options, body, "chat.completion", "chat.completion.chunk", std::move(id)),
        with_logprobs_(body.logprobs),
        choices_(options.samples) {}

 private:
  struct Choice {
    std::string text;  // since the last Emit
    ChatLogprobs logprobs;
    bool has_role = false;
  };

  void Take(size_t index, TokenDelta& delta) override {
    choices_[index].text += delta.text;
    if (with_logprobs_) choices_[index].logprobs.Append(delta.output_logprobs, tokenizer());
  }

  // {"index":i,"delta":<delta>,"logprobs":<logprobs>,
  void BeginChunk(std::string& out, size_t index, std::string_view delta, std::string_view logprobs) const {
    out += R"({"index":)";
    AppendJsonNumber(out, static_cast<int64_t>(index));
    out += R"(,"delta":)";
    out += delta;
    out += R"(,"logprobs":)";
    out += logprobs;
    out += ',';
  }

  void EndChunk(std::string& out, size_t index) {
    out += "}]";
    const std::string usage = ContinuousUsage(index);
    if (!usage.empty()) out += R"(,"usage":)" + usage;
    WriteEvent(out += '}');
  }

  void Emit(size_t index) override {
    Choice& choice = choices_[index];
    constexpr std::string_view kRunning = R"("finish_reason":null,"matched_stop":null)";
    if (!std::exchange(choice.has_role, true)) {
      std::string out = prefix();
      BeginChunk(out, index, R"({"reasoning_content":null,"role":"assistant","content":""})", "null");
      EndChunk(out += kRunning, index);
    }
    // Tokens without text yet (parts of a character) keep their logprobs for the next chunk; at the end they go out as they are.
    const bool last_logprobs = progress(index).finish && !choice.logprobs.empty();
    if (choice.text.empty() && !last_logprobs) return;
    std::string delta = R"({"reasoning_content":null,"content":)";
    AppendJsonString(delta, choice.text);
    choice.text.clear();
    std::string out = prefix();
    BeginChunk(out, index, delta += '}', with_logprobs_ ? choice.logprobs.Take() : "null");
    EndChunk(out += kRunning, index);
  }

  void EmitTail() override {
    for (size_t i = 0; i < size(); ++i) {
      std::string out = prefix();
      BeginChunk(out, i, R"({"reasoning_content":null})", "null");
      AppendFinish(out, i);
      EndChunk(out, i);
    }
    EmitUsage();
  }

  std::string Body() override {
    std::string out = prefix();
    for (size_t i = 0; i < size(); ++i) {
      Choice& choice = choices_[i];
      if (i != 0) out += ',';
      out += R"({"index":)";
      AppendJsonNumber(out, static_cast<int64_t>(i));
      out += R"(,"message":{"role":"assistant","content":)";
      if (choice.text.empty())
        out += "null";
      else
        AppendJsonString(out, choice.text);
      out += R"(,"reasoning_content":null,"tool_calls":null},"logprobs":)";
      out += with_logprobs_ ? choice.logprobs.Take() : "null";
      out += ',';
      AppendFinish(out, i);
      out += '}';
    }
    return out += Suffix();
  }

  const bool with_logprobs_;
  std::vector<Choice> choices_;
};

}  // namespace

void HandleChat(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  Result<ChatBody> body = ParseChat(*json, context);
  if (!body.ok()) return SendError(*exchange, SchemaErrorReply(body.error().message));
  body->routing_key = RoutingKey(*json, exchange->request());
  if (const Status status = CheckChat(*body, *json, context, exchange->request()); !status.ok())
    return SendOpenAiError(*exchange, status.error());
  Result<std::vector<TokenId>> tokens = RenderChat(body->prompt, context);
  if (!tokens.ok()) return SendOpenAiError(*exchange, tokens.error(), "BadRequest");
  const std::string id = body->rid.empty() ? context.ids.Next() : body->rid;
  Result<std::vector<GenerateRequest>> requests = PlanChat(*body, *std::move(tokens), context, id);
  if (!requests.ok()) return SendOpenAiError(*exchange, requests.error());
  LogReceived(context, "/v1/chat/completions", *requests);
  const FlightOptions options = OpenAiOptions(*body, context, requests->size());
  const auto flight = std::make_shared<ChatFlight>(context, exchange, options, *body, id);
  flight->Launch(*std::move(requests));
}

}  // namespace sgl
