// SPDX-License-Identifier: Apache-2.0
#include "app/bench_load.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <random>

#include "serve/http_streams.h"

namespace sgl {
namespace {

constexpr BenchBackend kBackends[] = {
    {"sglang", BenchApi::kGenerate, 30000},        {"sglang-native", BenchApi::kGenerate, 30000},
    {"sglang-oai", BenchApi::kCompletions, 30000}, {"sglang-oai-chat", BenchApi::kChat, 30000},
    {"vllm", BenchApi::kCompletions, 8000},        {"vllm-chat", BenchApi::kChat, 8000},
    {"openai", BenchApi::kCompletions, 8000},      {"openai-chat", BenchApi::kChat, 8000},
    {"lmdeploy", BenchApi::kCompletions, 23333},   {"lmdeploy-chat", BenchApi::kChat, 23333},
};

const char* Route(BenchApi api) {
  switch (api) {
    case BenchApi::kGenerate: return "/generate";
    case BenchApi::kCompletions: return "/v1/completions";
    case BenchApi::kChat: return "/v1/chat/completions";
  }
  return "";
}

Json Ids(std::span<const TokenId> ids) {
  Json list = Json(Json::Array{});
  for (const TokenId id : ids) list.Push(int64_t{id});
  return list;
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The first choice's text, whatever the API calls it.
std::string ChoiceText(const Json& reply, BenchApi api, bool stream) {
  const Json& choices = reply["choices"];
  if (!choices.is_array() || choices.as_array().empty()) return "";
  const Json& first = choices.as_array().front();
  if (api == BenchApi::kCompletions) return first.get_string("text", "");
  const Json& message = first[stream ? "delta" : "message"];
  return message.get_string("reasoning_content", "") + message.get_string("content", "");
}

}  // namespace

std::span<const BenchBackend> BenchBackends() { return kBackends; }

Json RequestBody(const LoadConfig& config, const BenchPrompt& prompt) {
  Json body;
  if (config.backend.api == BenchApi::kGenerate) {
    if (config.send_ids)
      body.Set("input_ids", Ids(prompt.ids));
    else
      body.Set("text", prompt.text);
    Json sampling;
    sampling.Set("temperature", 0.0).Set("max_new_tokens", prompt.output_len).Set("ignore_eos", config.ignore_eos);
    body.Set("sampling_params", std::move(sampling)).Set("return_logprob", config.return_logprob).Set("logprob_start_len", -1);
  } else {
    body.Set("model", config.model).Set("temperature", 0.0).Set("ignore_eos", config.ignore_eos);
    if (config.backend.api == BenchApi::kChat) {
      Json message;
      message.Set("role", "user").Set("content", prompt.text);
      body.Set("messages", Json(Json::Array{std::move(message)})).Set("max_completion_tokens", prompt.output_len);
    } else {
      body.Set("prompt", config.send_ids ? Ids(prompt.ids) : Json(prompt.text)).Set("max_tokens", prompt.output_len);
    }
  }
  body.Set("stream", config.stream);
  if (config.extra.is_object())
    for (const Json::Member& member : config.extra.as_object()) body.Set(member.first, member.second);
  return body;
}

void ReplyReader::TakeTokens(int64_t total, double now_s) {
  if (total <= tokens_) return;
  if (tokens_ == 0) {
    ttft_s_ = now_s;
  } else {  // several tokens in one event share its gap
    const auto added = static_cast<size_t>(total - tokens_);
    itl_s_.insert(itl_s_.end(), added, (now_s - last_s_) / static_cast<double>(added));
  }
  tokens_ = total;
  last_s_ = now_s;
}

void ReplyReader::TakeReply(const Json& reply, double now_s) {
  if (const Json& error = reply["error"]; !error.is_null()) error_ = error.is_string() ? error.as_string() : DumpJson(error);
  const Json& usage = reply["usage"];
  if (usage.is_object()) usage_tokens_ = usage.get_int("completion_tokens", usage_tokens_);
  if (api_ == BenchApi::kGenerate) {
    std::string text = reply.get_string("text", "");
    if (stream_ && text.empty()) return;
    text_ = std::move(text);
    TakeTokens(reply["meta_info"].get_int("completion_tokens", tokens_ + 1), now_s);
    return;
  }
  const std::string text = ChoiceText(reply, api_, stream_);
  if (text.empty()) return;
  text_ += text;
  TakeTokens(tokens_ + 1, now_s);
}

void ReplyReader::TakeEvent(std::string_view data, double now_s) {
  if (data == "[DONE]") return;
  const Result<Json> event = ParseJson(data);
  if (event.ok())
    TakeReply(*event, now_s);
  else
    error_ = fmt::format("an event that is not JSON: {}", data.substr(0, 200));
}

void ReplyReader::Take(std::string_view piece, double now_s) {
  if (body_.size() < (1 << 20) || !stream_) body_ += piece;
  if (stream_) events_.Feed(piece, [&](std::string_view, std::string_view data) { TakeEvent(data, now_s); });
}

void ReplyReader::End(int status, const Status& ended, double now_s, BenchOutcome& outcome) {
  if (status >= 200 && status < 300 && ended.ok() && !stream_) TakeEvent(body_, now_s);
  if (!ended.ok()) error_ = ended.error().message;
  if (status != 0 && (status < 200 || status > 299)) error_ = fmt::format("HTTP {}: {}", status, body_.substr(0, 500));
  if (error_.empty() && tokens_ == 0 && usage_tokens_ == 0) error_ = "the reply holds no token";
  outcome.ok = error_.empty();
  outcome.error = error_;
  outcome.text = std::move(text_);
  outcome.ttft_s = ttft_s_;
  outcome.latency_s = now_s;
  outcome.itl_s = std::move(itl_s_);
  // Streams of the OpenAI API count events, not tokens: what usage says, else what was asked for.
  outcome.output_len = api_ == BenchApi::kGenerate ? tokens_ : usage_tokens_ > 0 ? usage_tokens_ : expected_;
}

Result<BenchRun> RunLoad(const LoadConfig& config, std::span<const BenchPrompt> prompts) {
  TRY(const std::unique_ptr<HttpStreams> streams, HttpStreams::Create(config.url.host, config.url.port));
  BenchRun run;
  run.backend = config.backend.name;
  run.request_rate = config.request_rate;
  run.max_concurrency = config.max_concurrency;
  run.outcomes.resize(prompts.size());
  std::string prefix = config.url.target;
  while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  const std::string target = prefix + Route(config.backend.api);
  HttpHeaders headers = config.headers;
  headers.emplace_back("content-type", "application/json");
  std::vector<std::string> bodies;  // made before the clock starts
  for (const BenchPrompt& prompt : prompts) bodies.push_back(DumpJson(RequestBody(config, prompt)));

  std::mt19937_64 random(static_cast<uint64_t>(config.seed));
  std::exponential_distribution<double> gap(std::isinf(config.request_rate) ? 1 : config.request_rate);
  const double begin = Now();
  double due = begin;
  size_t next = 0, ended = 0;
  while (ended < prompts.size()) {
    const bool free = config.max_concurrency <= 0 || static_cast<int64_t>(streams->open()) < config.max_concurrency;
    if (next < prompts.size() && free && Now() >= due) {
      const BenchPrompt& prompt = prompts[next];
      BenchOutcome& outcome = run.outcomes[next];
      const double start = Now();
      outcome.start_s = start - begin;
      outcome.prompt_len = prompt.prompt_len;
      const auto reader = std::make_shared<ReplyReader>(config.backend.api, config.stream, prompt.output_len);
      streams->Start("POST", target, headers, bodies[next],
                     {[reader, start](std::string_view piece) { reader->Take(piece, Now() - start); },
                      [reader, start, &outcome, &ended](int status, const Status& how) {
                        reader->End(status, how, Now() - start, outcome);
                        ++ended;
                      }});
      ++next;
      if (!std::isinf(config.request_rate)) due += gap(random);
      streams->Poll(std::chrono::microseconds(0));
      continue;
    }
    double wait = 0.1;
    if (next < prompts.size() && free) wait = std::max(0.0, due - Now());
    streams->Poll(std::chrono::microseconds(static_cast<int64_t>(std::min(wait, 0.1) * 1e6)));
  }
  run.duration_s = Now() - begin;
  return run;
}

}  // namespace sgl
