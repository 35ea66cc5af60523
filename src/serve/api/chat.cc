// POST /v1/chat/completions.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "serve/api/chat_request.h"
#include "serve/api/handlers.h"
#include "serve/logprobs.h"
#include "serve/reply.h"

namespace sgl {
namespace {

class ChatFlight final : public OpenAiFlight {
 public:
  ChatFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatPlan& plan)
      : OpenAiFlight(context, std::move(exchange), options, plan.request, "chat.completion", "chat.completion.chunk", plan.id),
        with_logprobs_(plan.request.logprobs),
        format_(plan.format) {
    choices_.reserve(options.samples);
    for (size_t i = 0; i < options.samples; ++i) choices_.emplace_back(format_);
  }

 private:
  struct Choice {
    explicit Choice(const ChatFormat& format) : output(format) {}
    ChatOutput output;
    ChatLogprobs logprobs;
    bool has_role = false;
  };

  void Take(size_t index, TokenDelta& delta) override {
    choices_[index].output.Push(delta);
    TakeHiddenStates(index, delta);
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

  static std::string Delta(const ChatEvent& event) {
    using Kind = ChatEvent::Kind;
    std::string delta = event.kind == Kind::kReasoning ? R"({"reasoning_content":)" : R"({"reasoning_content":null,)";
    if (event.kind == Kind::kReasoning) {
      AppendJsonString(delta, event.text);
    } else if (event.kind == Kind::kContent) {
      delta += R"("content":)";
      AppendJsonString(delta, event.text);
    } else {
      const bool begins = event.kind == Kind::kToolCall;
      delta += R"("tool_calls":[{)";
      if (begins) {
        delta += R"("id":)";
        AppendJsonString(delta, event.id);
        delta += ',';
      }
      delta += R"("index":)";
      AppendJsonNumber(delta, int64_t{event.call});
      // Later parts do not repeat id, type and name, not even as null: OpenAI's Node client takes that for another call.
      delta += begins ? R"(,"type":"function","function":{"name":)" : R"(,"function":{"arguments":)";
      AppendJsonString(delta, event.text);
      delta += begins ? R"(,"arguments":""}}])" : "}}]";
    }
    return delta += '}';
  }

  static void AppendMessage(std::string& out, const ChatMessage& message) {
    const auto text_or_null = [&](std::string_view name, const std::string& text) {
      out += name;
      if (text.empty())
        out += "null";
      else
        AppendJsonString(out, text);
    };
    text_or_null(R"({"role":"assistant","content":)", message.content);
    text_or_null(R"(,"reasoning_content":)", message.reasoning);
    out += R"(,"tool_calls":)";
    if (message.tool_calls.empty()) out += "null";
    for (const ChatToolCall& call : message.tool_calls) {
      out += &call == message.tool_calls.data() ? R"([{"id":)" : R"(,{"id":)";
      AppendJsonString(out, call.id);
      out += R"(,"index":)";
      AppendJsonNumber(out, int64_t{call.tool});
      out += R"(,"type":"function","function":{"name":)";
      AppendJsonString(out, call.name);
      out += R"(,"arguments":)";
      AppendJsonString(out, call.arguments);
      out += "}}";
    }
    out += message.tool_calls.empty() ? "}" : "]}";
  }

  int64_t ReasoningTokens(size_t index) const override { return choices_[index].output.reasoning_tokens(); }
  bool HasCalls(size_t index) const { return !choices_[index].output.message().tool_calls.empty(); }

  void EndChunk(std::string& out, size_t index) {
    out += "}]";
    const std::string usage = ContinuousUsage(index);
    if (!usage.empty()) out += R"(,"usage":)" + usage;
    WriteEvent(out += '}');
  }

  bool emits_early() const override { return true; }

  void Emit(size_t index) override {
    Choice& choice = choices_[index];
    constexpr std::string_view kRunning = R"("finish_reason":null,"matched_stop":null)";
    if (!std::exchange(choice.has_role, true)) {
      std::string out = prefix();
      BeginChunk(out, index, R"({"reasoning_content":null,"role":"assistant","content":""})", "null");
      EndChunk(out += kRunning, index);
    }
    for (const ChatEvent& event : choice.output.TakeEvents()) {
      std::string out = prefix();
      BeginChunk(out, index, Delta(event), with_logprobs_ ? choice.logprobs.Take() : "null");
      EndChunk(out += kRunning, index);
    }
    // Tokens without text yet (parts of a character) keep their logprobs for the next chunk; at the end they go out as they are.
    if (!progress(index).finish || choice.logprobs.empty()) return;
    std::string out = prefix();
    BeginChunk(out, index, Delta({}), choice.logprobs.Take());
    EndChunk(out += kRunning, index);
  }

  void EmitTail() override {
    for (size_t i = 0; i < size(); ++i) {
      std::string out = prefix();
      BeginChunk(out, i, R"({"reasoning_content":null})", "null");
      AppendFinish(out, i, HasCalls(i));
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
      out += R"(,"message":)";
      AppendMessage(out, choice.output.message());
      out += R"(,"logprobs":)";
      out += with_logprobs_ ? choice.logprobs.Take() : "null";
      out += ',';
      AppendFinish(out, i, HasCalls(i));
      out += '}';
    }
    return out += Suffix();
  }

  const bool with_logprobs_;
  const ChatFormat format_;
  std::vector<Choice> choices_;
};

void SendChatError(HttpExchange& exchange, const Error& error, ChatFault fault) {
  if (fault == ChatFault::kSchema) return SendError(exchange, SchemaErrorReply(error.message));
  SendOpenAiError(exchange, error, fault == ChatFault::kConversion ? "BadRequest" : "BadRequestError");
}

}  // namespace

void DescribeChat(JsonReader& field) { DescribeChatFields(field); }

void HandleChat(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  ChatFault fault{};
  Result<ChatPlan> plan = PrepareChat(*json, context, exchange->request(), fault);
  if (!plan.ok()) return SendChatError(*exchange, plan.error(), fault);
  const FlightOptions options = OpenAiOptions(plan->request, context, plan->samples.size());
  const auto flight = std::make_shared<ChatFlight>(context, exchange, options, *plan);
  flight->Launch(std::move(plan->samples));
}

}  // namespace sgl
