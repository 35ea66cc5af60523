// /tokenize and /detokenize.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "serve/api/chat_prompt.h"
#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct TokenizeBody {
  OneOrMany<std::string> prompt;
  bool add_special_tokens = true;
};

void ReadTokenizeFields(JsonReader& field, TokenizeBody& body) {
  field("prompt", body.prompt)("add_special_tokens", body.add_special_tokens);
}

struct DetokenizeBody {
  OneOrMany<std::vector<int64_t>> tokens;
  bool skip_special_tokens = true;
};

void ReadDetokenizeFields(JsonReader& field, DetokenizeBody& body) {
  field.Required("tokens", body.tokens)("skip_special_tokens", body.skip_special_tokens);
}

// One result, or a list of them where a list was asked for.
Json OneOrList(std::vector<Json> values, bool many) { return many ? Json(std::move(values)) : std::move(values.front()); }

Json IdList(const std::vector<TokenId>& ids) {
  Json::Array out;
  out.reserve(ids.size());
  for (const TokenId id : ids) out.emplace_back(int64_t{id});
  return Json(std::move(out));
}

void SendTokens(ApiContext& context, const Exchange& exchange, const std::vector<std::vector<TokenId>>& prompts, bool many) {
  std::vector<Json> tokens, counts;
  for (const std::vector<TokenId>& prompt : prompts) {
    tokens.push_back(IdList(prompt));
    counts.emplace_back(static_cast<int64_t>(prompt.size()));
  }
  const int64_t given = context.backend.tokenizer()->model_max_length;
  Json out;
  out.Set("tokens", OneOrList(std::move(tokens), many)).Set("count", OneOrList(std::move(counts), many));
  out.Set("max_model_len", given > 0 ? given : context.backend.info().context_length);
  SendJson(*exchange, 200, DumpJson(out));
}

void TokenizeMessages(ApiContext& context, const Exchange& exchange, const Json& json) {
  ChatPrompt prompt;
  if (const Status status = ReadChatPrompt(json, prompt); !status.ok())
    return SendError(*exchange, SchemaErrorReply(status.error().message));
  if (const Status status = CheckChatPrompt(prompt); !status.ok()) return SendOpenAiError(*exchange, status.error());
  const Result<RenderedChat> rendered = RenderChat(prompt, context);
  if (!rendered.ok()) return SendOpenAiError(*exchange, rendered.error(), "BadRequest");
  SendTokens(context, exchange, {rendered->tokens}, false);
}

}  // namespace

void DescribeTokenize(JsonReader& field) {
  TokenizeBody body;
  ReadTokenizeFields(field, body);
}

void DescribeDetokenize(JsonReader& field) {
  DetokenizeBody body;
  ReadDetokenizeFields(field, body);
}

void HandleTokenize(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  TokenizeBody body;
  JsonReader field(*json);
  ReadTokenizeFields(field, body);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  const OneOrMany<std::string>& prompt = body.prompt;
  if (prompt.set == !(*json)["messages"].is_null())
    return SendError(*exchange, SchemaErrorReply("Exactly one of 'prompt' and 'messages' must be provided."));
  if (!prompt.set) return TokenizeMessages(context, exchange, *json);
  std::vector<std::vector<TokenId>> tokens;
  for (const std::string& text : prompt.values) tokens.push_back(context.EncodePrompt(text, body.add_special_tokens));
  SendTokens(context, exchange, tokens, prompt.many);
}

void HandleDetokenize(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  DetokenizeBody body;
  JsonReader field(*json);
  ReadDetokenizeFields(field, body);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  const std::shared_ptr<const Tokenizer> tokenizer = context.backend.tokenizer();
  std::vector<Json> texts;
  for (const std::vector<int64_t>& list : body.tokens.values) {
    const Result<std::vector<TokenId>> ids = CheckTokenIds(list, context.backend.info().vocab_size, "tokens");
    if (!ids.ok()) return SendOpenAiError(*exchange, ids.error());
    texts.emplace_back(tokenizer->Decode(*ids, body.skip_special_tokens));
  }
  SendJson(*exchange, 200, DumpJson(Json().Set("text", OneOrList(std::move(texts), body.tokens.many))));
}

}  // namespace sgl
