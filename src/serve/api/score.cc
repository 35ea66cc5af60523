// /score, /v1/score and /v1/rerank: how likely given tokens are to follow, as far as causal models can say.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/api/prompts.h"
#include "serve/json_reader.h"
#include "serve/params.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct ScoreBody {
  std::string model = "default";
  Json query;
  Prompts items;
  std::vector<int64_t> label_token_ids;
  bool apply_softmax = false, item_first = false;
};

void ReadScoreFields(JsonReader& field, ScoreBody& body) {
  field.Required("query", body.query).Required("items", body.items).Required("label_token_ids", body.label_token_ids);
  field("apply_softmax", body.apply_softmax)("item_first", body.item_first)("model", body.model);
}

// One token to look at after the prompt, none to keep.
GenerateRequest Look(ApiContext& context, std::vector<TokenId> prompt, const std::vector<TokenId>& labels) {
  GenerateRequest request;
  request.rid = context.ids.Next();
  request.prompt = std::move(prompt);
  request.sampling.max_new_tokens = 0;
  request.sampling.temperature = 0;
  request.return_logprob = true;
  request.token_ids_logprob = labels;
  return request;
}

Result<std::vector<GenerateRequest>> PlanScores(const ScoreBody& body, ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  TRY(const std::vector<TokenId> labels, CheckTokenIds(body.label_token_ids, info.vocab_size, "label_token_ids"));
  if (labels.empty()) return InvalidArgument("label_token_ids: expected at least one id.");
  if (body.items.size() == 0) return InvalidArgument("items: expected at least one item.");
  std::vector<int64_t> query_ids;
  std::string why;
  const bool by_text = body.query.is_string();
  if (!by_text && !ReadJson(body.query, query_ids, why)) return InvalidArgument("query" + why);
  if (by_text != body.items.by_text()) return InvalidArgument("items: must be texts if query is a text, and lists of ids if it is ids.");
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < body.items.size(); ++i) {
    std::vector<TokenId> prompt;
    if (by_text) {
      const std::string &query = body.query.as_string(), &item = body.items.texts[i];
      prompt = context.EncodePrompt(body.item_first ? item + query : query + item, true);
    } else {
      TRY(const std::vector<TokenId> query, CheckTokenIds(query_ids, info.vocab_size, "query"));
      TRY(const std::vector<TokenId> item, CheckTokenIds(body.items.ids[i], info.vocab_size, "items"));
      prompt = body.item_first ? item : query;
      const std::vector<TokenId>& rest = body.item_first ? query : item;
      prompt.insert(prompt.end(), rest.begin(), rest.end());
    }
    if (context.config.auto_truncate) FitPrompt(info, prompt);
    requests.push_back(Look(context, std::move(prompt), labels));
    TRY_STATUS(CheckRequest(requests.back(), info).ok() ? Status()
                                                        : InvalidArgument(fmt::format("items[{}]: with the query it has no tokens.", i)));
    TRY_STATUS(CheckLengths(static_cast<int64_t>(requests.back().prompt.size()), {}, info.context_length));
  }
  return requests;
}

// Probabilities of the labels after each prompt.
class LookFlight : public Flight {
 public:
  LookFlight(ApiContext& context, Exchange exchange, size_t count) : Flight(context, std::move(exchange), Options()), labels_(count) {}

 protected:
  void Take(size_t index, TokenDelta& delta) override {
    if (delta.output_logprobs.empty()) return;
    labels_[index].clear();
    for (const TopLogprob& label : delta.output_logprobs.front().token_ids) labels_[index].push_back(std::exp(double{label.logprob}));
  }
  void Emit(size_t) override {}
  // Relative to one another if `shared`, else as the model gives them.
  std::vector<double> probabilities(size_t index, bool shared) const {
    std::vector<double> out = labels_[index];
    double sum = 0;
    for (const double p : out) sum += p;
    if (shared && sum > 0)
      for (double& p : out) p /= sum;
    return out;
  }

 private:
  static FlightOptions Options() {
    FlightOptions options;
    options.style = ErrorStyle::kOpenAi;
    return options;
  }
  std::vector<std::vector<double>> labels_;
};

class ScoreFlight final : public LookFlight {
 public:
  ScoreFlight(ApiContext& context, Exchange exchange, size_t count, const ScoreBody& body)
      : LookFlight(context, std::move(exchange), count), softmax_(body.apply_softmax), model_(body.model) {}

 private:
  std::string Body() override {
    Json::Array scores;
    for (size_t i = 0; i < size(); ++i) {
      const std::vector<double> values = probabilities(i, softmax_);
      scores.emplace_back(Json::Array(values.begin(), values.end()));
    }
    Json usage_json = Json().Set("prompt_tokens", usage().prompt_tokens).Set("total_tokens", usage().prompt_tokens);
    Json out = Json().Set("scores", Json(std::move(scores))).Set("pooled_hidden_states", Json()).Set("model", model_);
    return DumpJson(out.Set("usage", usage_json.Set("completion_tokens", 0)).Set("object", "scoring"));
  }
  const bool softmax_;
  const std::string model_;
};

// ---- rerank ----

struct RerankBody {
  std::string query, instruct = "Given a web search query, retrieve relevant passages that answer the query";
  std::vector<std::string> documents;
  std::optional<int64_t> top_n;
  bool return_documents = true;
};

void ReadRerankFields(JsonReader& field, RerankBody& body) {
  field.Required("query", body.query).Required("documents", body.documents)("instruct", body.instruct)("top_n", body.top_n);
  field("return_documents", body.return_documents);
}

// The prompt that Qwen3-Reranker models are made for: the next token is "yes" or "no".
std::string Question(const RerankBody& body, const std::string& document) {
  return fmt::format(
      "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the "
      "answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: {}\n<Query>: {}\n<Document>: {}<|im_end|>\n"
      "<|im_start|>assistant\n<think>\n\n</think>\n\n",
      body.instruct, body.query, document);
}

Result<std::vector<GenerateRequest>> PlanRerank(const RerankBody& body, ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  const std::shared_ptr<const Tokenizer> tokenizer = context.backend.tokenizer();
  if (body.query.empty()) return InvalidArgument("query cannot be empty.");
  if (body.documents.empty()) return InvalidArgument("documents cannot be empty.");
  if (body.top_n && *body.top_n < 1) return InvalidArgument(fmt::format("top_n must be at least 1, got {}.", *body.top_n));
  const std::optional<TokenId> yes = tokenizer->TokenToId("yes"), no = tokenizer->TokenToId("no");
  if (!yes || !no || !tokenizer->TokenToId("<|im_start|>"))
    return InvalidArgument("This model cannot rerank: it does not know the tokens of the question that rerankers are asked.");
  std::vector<GenerateRequest> requests;
  for (const std::string& document : body.documents) {
    requests.push_back(Look(context, context.EncodePrompt(Question(body, document), false), {*yes, *no}));
    TRY_STATUS(CheckLengths(static_cast<int64_t>(requests.back().prompt.size()), {}, info.context_length));
  }
  return requests;
}

class RerankFlight final : public LookFlight {
 public:
  RerankFlight(ApiContext& context, Exchange exchange, size_t count, RerankBody body)
      : LookFlight(context, std::move(exchange), count), body_(std::move(body)) {}

 private:
  std::string Body() override {
    std::vector<std::pair<double, size_t>> order;
    for (size_t i = 0; i < size(); ++i) {
      const std::vector<double> yes_no = probabilities(i, true);
      order.emplace_back(yes_no.empty() ? 0 : yes_no.front(), i);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    if (body_.top_n) order.resize(std::min(order.size(), static_cast<size_t>(*body_.top_n)));
    std::string out = "[";
    for (const auto& [score, index] : order) {
      if (out.size() > 1) out += ',';
      out += R"({"score":)";
      AppendJsonNumber(out, score);
      if (body_.return_documents) {
        out += R"(,"document":)";
        AppendJsonString(out, body_.documents[index]);
      }
      out += fmt::format(R"(,"index":{},"meta_info":)", index);
      AppendMetaInfo(out, context(), progress(index), times(index), "");
      out += '}';
    }
    return out += ']';
  }
  const RerankBody body_;
};

// The body as JSON with its fields read, or an answered exchange.
template <class Body>
std::optional<Body> ReadBody(const Exchange& exchange, void (*fields)(JsonReader&, Body&)) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return {};
  Body body;
  JsonReader field(*json);
  fields(field, body);
  if (field.status().ok()) return body;
  SendError(*exchange, SchemaErrorReply(field.status().error().message));
  return {};
}

}  // namespace

void DescribeScore(JsonReader& field) {
  ScoreBody body;
  ReadScoreFields(field, body);
}

void DescribeRerank(JsonReader& field) {
  RerankBody body;
  ReadRerankFields(field, body);
}

void HandleScore(ApiContext& context, const Exchange& exchange) {
  const std::optional<ScoreBody> body = ReadBody<ScoreBody>(exchange, ReadScoreFields);
  if (!body) return;
  Result<std::vector<GenerateRequest>> requests = PlanScores(*body, context);
  if (!requests.ok()) return SendOpenAiError(*exchange, requests.error());
  const auto flight = std::make_shared<ScoreFlight>(context, exchange, requests->size(), *body);
  flight->Launch(*std::move(requests));
}

void HandleRerank(ApiContext& context, const Exchange& exchange) {
  std::optional<RerankBody> body = ReadBody<RerankBody>(exchange, ReadRerankFields);
  if (!body) return;
  Result<std::vector<GenerateRequest>> requests = PlanRerank(*body, context);
  if (!requests.ok()) return SendOpenAiError(*exchange, requests.error());
  const auto flight = std::make_shared<RerankFlight>(context, exchange, requests->size(), *std::move(body));
  flight->Launch(*std::move(requests));
}

}  // namespace sgl
