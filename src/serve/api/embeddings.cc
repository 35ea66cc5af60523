// /v1/embeddings, /encode, /api/embed: the last token's final hidden state, normalised. Needs --is-embedding.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cmath>
#include <optional>
#include <utility>

#include "serve/api/handlers.h"
#include "serve/api/openai.h"
#include "serve/api/prompts.h"
#include "serve/describe.h"
#include "serve/json_reader.h"
#include "serve/params.h"
#include "serve/reply.h"

namespace sgl {
namespace {

struct EmbedBody {
  std::string model = "default", extra_key;
  Prompts input;
  OneOrMany<std::string> rid;
  Json encoding_format, dimensions;
  std::optional<int64_t> priority;
};

Result<GenerateRequest> Plan(const EmbedBody& body, size_t i, std::string_view name, ApiContext& context) {
  const EngineInfo& info = context.backend.info();
  GenerateRequest request;
  if (body.input.by_text()) {
    if (body.input.texts[i].find_first_not_of(" \t\r\n") == std::string::npos)
      return InvalidArgument(fmt::format("{}: text number {} is empty.", name, i));
    request.prompt = context.EncodePrompt(body.input.texts[i], true);
  } else {
    TRY(request.prompt, CheckTokenIds(body.input.ids[i], info.vocab_size, name));
    if (request.prompt.empty()) return InvalidArgument(fmt::format("{}: list number {} is empty.", name, i));
  }
  if (context.config.auto_truncate) FitPrompt(info, request.prompt);
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length > info.max_req_input_len)
    return InvalidArgument(fmt::format("{}: the input ({} tokens) is longer than {} tokens.", name, length, info.max_req_input_len));
  request.rid = !body.rid.set     ? context.ids.Next()
                : body.rid.many   ? body.rid.values[i]
                : body.input.many ? fmt::format("{}_{}", body.rid.values[0], i)
                                  : body.rid.values[0];
  request.sampling.max_new_tokens = 0;
  request.hidden = GenerateRequest::Hidden::kLast;
  request.extra_key = body.extra_key;
  request.priority = body.priority;
  return request;
}

Result<std::vector<GenerateRequest>> PlanAll(const EmbedBody& body, const Json& json, std::string_view name, ApiContext& context) {
  if (!context.config.is_embedding)
    return InvalidArgument(
        "This model does not appear to be an embedding model by default. Please add `--is-embedding` when launching the server.");
  if (body.input.size() == 0) return InvalidArgument(fmt::format("{} cannot be empty.", name));
  if (!IsInert(body.dimensions))
    return InvalidArgument("dimensions: this model's embeddings have one size, " + std::to_string(context.backend.info().width) + ".");
  TRY_STATUS(RefuseFields(json, {"lora_path", "image_data", "embed_overrides", "return_pooled_hidden_states"}));
  TRY_STATUS(CheckSamples(body.input.size(), 1));
  if (body.rid.set && body.rid.many && body.rid.values.size() != body.input.size())
    return InvalidArgument(fmt::format("The length of rid should be equal to the batch size {}.", body.input.size()));
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < body.input.size(); ++i) {
    TRY(GenerateRequest request, Plan(body, i, name, context));
    requests.push_back(std::move(request));
  }
  return requests;
}

class EmbedFlight : public Flight {
 public:
  EmbedFlight(ApiContext& context, Exchange exchange, FlightOptions options, size_t count)
      : Flight(context, std::move(exchange), std::move(options)), vectors_(count) {}

 protected:
  void Take(size_t index, TokenDelta& delta) override {
    if (!delta.hidden_states.empty()) vectors_[index] = Normalised(delta.hidden_states.back());
  }
  void Emit(size_t) override {}
  // "[[..],[..]]" without the brackets around all.
  const std::string& vector(size_t index) const { return vectors_[index]; }

 private:
  static std::string Normalised(std::vector<float> values) {
    double squares = 0;
    for (const float value : values) squares += double{value} * value;
    const double length = std::max(std::sqrt(squares), 1e-12);
    for (float& value : values) value = static_cast<float>(value / length);
    std::string out;
    AppendVector(out, values);
    return out;
  }
  std::vector<std::string> vectors_;  // as JSON
};

class OpenAiEmbedFlight final : public EmbedFlight {
 public:
  using EmbedFlight::EmbedFlight;

 private:
  std::string Body() override {
    std::string out = R"({"data":[)";
    for (size_t i = 0; i < size(); ++i)
      out += fmt::format(R"({}{{"embedding":{},"index":{},"object":"embedding"}})", i == 0 ? "" : ",", vector(i), i);
    out += R"(],"model":)";
    AppendJsonString(out, context().backend.info().model_path);
    const Usage tokens = usage();
    return out += fmt::format(R"(,"object":"list","usage":{{"prompt_tokens":{},"total_tokens":{},"completion_tokens":0,)"
                              R"("prompt_tokens_details":null}}}})",
                              tokens.prompt_tokens, tokens.prompt_tokens);
  }
};

class NativeEmbedFlight final : public EmbedFlight {
 public:
  NativeEmbedFlight(ApiContext& context, Exchange exchange, FlightOptions options, size_t count, bool many)
      : EmbedFlight(context, std::move(exchange), std::move(options), count), many_(many) {}

 private:
  std::string Body() override {
    std::string out = many_ ? "[" : "";
    for (size_t i = 0; i < size(); ++i) {
      out += fmt::format(R"({}{{"embedding":{},"meta_info":)", i == 0 ? "" : ",", vector(i));
      AppendMetaInfo(out, context(), progress(i), times(i), "");
      out += '}';
    }
    return out += many_ ? "]" : "";
  }
  const bool many_;
};

class OllamaEmbedFlight final : public EmbedFlight {
 public:
  OllamaEmbedFlight(ApiContext& context, Exchange exchange, FlightOptions options, size_t count, std::string model)
      : EmbedFlight(context, std::move(exchange), std::move(options), count), model_(std::move(model)) {}

 private:
  std::string Body() override {
    std::string out = R"({"model":)";
    AppendJsonString(out, model_);
    out += R"(,"embeddings":[)";
    for (size_t i = 0; i < size(); ++i) out += (i == 0 ? "" : ",") + vector(i);
    return out += fmt::format(R"(],"total_duration":{},"load_duration":0,"prompt_eval_count":{}}})",
                              static_cast<int64_t>(progress(0).e2e_latency_s * 1e9), usage().prompt_tokens);
  }
  const std::string model_;
};

void ReadEmbeddingsFields(JsonReader& field, EmbedBody& body) {
  field.Required("input", body.input)("model", body.model)("encoding_format", body.encoding_format)("dimensions", body.dimensions);
  field("rid", body.rid)("priority", body.priority)("extra_key", body.extra_key);
}

struct EncodeBody : EmbedBody {
  OneOrMany<std::string> text;
  OneOrMany<std::vector<int64_t>> input_ids;
};

void ReadEncodeFields(JsonReader& field, EncodeBody& body) {
  field("text", body.text)("input_ids", body.input_ids)("rid", body.rid)("dimensions", body.dimensions)("priority", body.priority);
  field("extra_key", body.extra_key);
}

void ReadOllamaFields(JsonReader& field, EmbedBody& body) {
  field.Required("input", body.input)("model", body.model)("dimensions", body.dimensions);
}

}  // namespace

void DescribeEmbeddings(JsonReader& field) {
  EmbedBody body;
  ReadEmbeddingsFields(field, body);
}

void DescribeEncode(JsonReader& field) {
  EncodeBody body;
  ReadEncodeFields(field, body);
}

void DescribeOllamaEmbed(JsonReader& field) {
  EmbedBody body;
  ReadOllamaFields(field, body);
}

void HandleEmbeddings(ApiContext& context, const Exchange& exchange) {
  const std::optional<Json> json = OpenAiJson(exchange);
  if (!json) return;
  EmbedBody body;
  JsonReader field(*json);
  ReadEmbeddingsFields(field, body);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  Result<std::vector<GenerateRequest>> requests = PlanAll(body, *json, "input", context);
  if (!requests.ok()) return SendOpenAiError(*exchange, requests.error());
  FlightOptions options;
  options.style = ErrorStyle::kOpenAi;
  const auto flight = std::make_shared<OpenAiEmbedFlight>(context, exchange, options, requests->size());
  flight->Launch(*std::move(requests));
}

void HandleEncode(ApiContext& context, const Exchange& exchange) {
  const Result<Json> json = ParseJson(exchange->request().body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  EncodeBody body;
  JsonReader field(*json);
  ReadEncodeFields(field, body);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  if (body.text.set == body.input_ids.set)
    return SendError(*exchange, FromError(InvalidArgument("Exactly one of text and input_ids should be provided."), ErrorStyle::kNative));
  body.input = {body.text.values, body.input_ids.values, body.text.set ? body.text.many : body.input_ids.many};
  Result<std::vector<GenerateRequest>> requests = PlanAll(body, *json, body.text.set ? "text" : "input_ids", context);
  if (!requests.ok()) return SendError(*exchange, FromError(requests.error(), ErrorStyle::kNative));
  const auto flight = std::make_shared<NativeEmbedFlight>(context, exchange, FlightOptions(), requests->size(), body.input.many);
  flight->Launch(*std::move(requests));
}

void HandleOllamaEmbed(ApiContext& context, const Exchange& exchange) {
  const auto refuse = [&](const Error& error) { SendError(*exchange, FromError(error, ErrorStyle::kOllama)); };
  const Result<Json> json = ParseJson(exchange->request().body);
  if (!json.ok()) return refuse(InvalidArgument("Invalid JSON: " + json.error().message));
  EmbedBody body;
  JsonReader field(*json);
  ReadOllamaFields(field, body);
  if (!field.status().ok()) return refuse(field.status().error());
  Result<std::vector<GenerateRequest>> requests = PlanAll(body, *json, "input", context);
  if (!requests.ok()) return refuse(requests.error());
  FlightOptions options;
  options.style = ErrorStyle::kOllama;
  const auto flight = std::make_shared<OllamaEmbedFlight>(context, exchange, options, requests->size(), body.model);
  flight->Launch(*std::move(requests));
}

}  // namespace sgl
