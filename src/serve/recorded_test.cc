// Replays tests/api/*.json: a request, what the engine then says, and the exact reply.
//   {"name", "config"?, "request": {"method"?, "path", "query"?, "headers"?, "json"? | "body"?},
//    "engine"?: [{"sub", "tokens"?, "text"?, "hidden"?, "computed"?, "logprobs"?, "input_logprobs"?, "cached"?, "finish"?}], "refuse"?:
//    {"after", "code", "message"}, "expect": {"status", "body"? (JSON) | "text"?, "events"? [JSON or string], "submitted"? [..], "aborted"?
//    [sub..]}}
// With SGLANG_RECORD set, what happened is printed as JSON lines instead of compared; read them before they become expectations.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "serve/fakes.h"

namespace sgl {
namespace {

ApiConfig Config(const Json& json) {
  ApiConfig config;
  config.api_key = json.get_string("api_key", "");
  config.admin_api_key = json.get_string("admin_api_key", "");
  config.sampling_defaults = json.get_string("sampling_defaults", "model");
  config.preferred_sampling_params = json["preferred_sampling_params"];
  config.tool_call_parser = json.get_string("tool_call_parser", "");
  config.reasoning_parser = json.get_string("reasoning_parser", "");
  config.enable_cache_report = json.get_bool("enable_cache_report", false);
  config.stream_includes_usage = json.get_bool("stream_includes_usage", false);
  config.auto_truncate = json.get_bool("auto_truncate", false);
  config.incremental_streaming_output = json.get_bool("incremental_streaming_output", false);
  config.stream_interval = static_cast<int>(json.get_int("stream_interval", 1));
  config.health_generates = json.get_bool("health_generates", true);
  config.is_embedding = json.get_bool("is_embedding", false);
  config.enable_return_hidden_states = json.get_bool("enable_return_hidden_states", false);
  config.enable_custom_logit_processor = json.get_bool("enable_custom_logit_processor", false);
  config.server_args = json["server_args"];
  return config;
}

HttpRequest Request(const Json& json) {
  HttpRequest request;
  request.method = json.get_string("method", "POST");
  request.path = json.get_string("path", "");
  request.query = json.get_string("query", "");
  request.body = json.find("json") != nullptr ? DumpJson(json["json"]) : json.get_string("body", "");
  if (request.method != "GET") request.headers.emplace_back("content-type", "application/json");
  if (json["headers"].is_object()) {
    request.headers.clear();
    for (const auto& [name, value] : json["headers"].as_object()) request.headers.emplace_back(name, value.as_string());
  }
  return request;
}

std::vector<TopLogprob> Tops(const Json& json) {
  std::vector<TopLogprob> out;
  if (json.is_array())
    for (const Json& top : json.as_array())
      out.push_back({static_cast<float>(top.as_array()[1].as_double()), static_cast<TokenId>(top.as_array()[0].as_int())});
  return out;
}

// [{"id", "lp": number or null, "top": [[id, lp]..], "ids": [[id, lp]..]}]
std::vector<PositionLogprob> Logprobs(const Json& json) {
  std::vector<PositionLogprob> out;
  if (!json.is_array()) return out;
  for (const Json& item : json.as_array()) {
    PositionLogprob& p = out.emplace_back();
    p.token = static_cast<TokenId>(item.get_int("id", 0));
    if (item["lp"].is_number()) p.logprob = static_cast<float>(item["lp"].as_double());
    if (item["lp"] == Json("-inf")) p.logprob = -std::numeric_limits<float>::infinity();
    p.top = Tops(item["top"]);
    p.token_ids = Tops(item["ids"]);
  }
  return out;
}

std::optional<Finish> ReadFinish(const Json& json) {
  if (json.is_null()) return {};
  Finish finish;
  const std::string type = json.get_string("type", "");
  if (type == "abort")
    return Finish::Abort(json.get_string("message", ""), static_cast<int>(json.get_int("status_code", 0)), json.get_string("err_type", ""));
  finish.kind = type == "length" ? FinishKind::kLength : FinishKind::kStop;
  finish.length = json.get_int("length", 0);
  if (json["matched"].is_int()) finish.matched = static_cast<TokenId>(json["matched"].as_int());
  if (json["matched"].is_string()) finish.matched = json["matched"].as_string();
  return finish;
}

void Play(FakeServer& server, const Json& step) {
  TokenDelta delta;
  if (step["tokens"].is_array())
    for (const Json& id : step["tokens"].as_array()) delta.tokens.push_back(static_cast<TokenId>(id.as_int()));
  delta.text = step.get_string("text", "");
  delta.output_logprobs = Logprobs(step["logprobs"]);
  delta.input_logprobs = Logprobs(step["input_logprobs"]);
  delta.cached_tokens = step.get_int("cached", 0);
  if (step["hidden"].is_array()) {
    for (const Json& row : step["hidden"].as_array()) {
      std::vector<float>& values = delta.hidden_states.emplace_back();
      for (const Json& value : row.as_array()) values.push_back(static_cast<float>(value.as_double()));
    }
  }
  if (step["computed"].is_int()) delta.computed_prompt_tokens = step["computed"].as_int();
  delta.finish = ReadFinish(step["finish"]);
  const auto sub = static_cast<size_t>(step.get_int("sub", 0));
  ASSERT_LT(sub, server.backend.accepted.size()) << "the engine cannot answer what it was not asked";
  server.Say(sub, std::move(delta));
}

Json Strings(const std::vector<std::string>& list) {
  Json out{Json::Array{}};
  for (const std::string& item : list) out.Push(item);
  return out;
}

// What differs from the defaults of a request, by the names of GenerateRequest.
Json Submitted(const GenerateRequest& r) {
  const SamplingParams& p = r.sampling;
  const SamplingParams d;
  Json out;
  Json::Array prompt, ids, stops, bias;
  for (const TokenId id : r.prompt) prompt.emplace_back(int64_t{id});
  for (const TokenId id : r.token_ids_logprob) ids.emplace_back(int64_t{id});
  for (const TokenId id : p.stop_token_ids) stops.emplace_back(int64_t{id});
  for (const auto& [id, value] : p.logit_bias) bias.emplace_back(Json(Json::Array{Json(int64_t{id}), Json(double{value})}));
  out.Set("rid", r.rid);
  if (prompt.size() > 16)
    out.Set("prompt_text", ByteTokenizer().Decode(r.prompt, false));
  else
    out.Set("prompt", Json(prompt));
  const auto number = [&](const char* name, auto value, auto fallback) {
    if (value != fallback) out.Set(name, value);
  };
  if (p.max_new_tokens != d.max_new_tokens) out.Set("max_new_tokens", p.max_new_tokens ? Json(*p.max_new_tokens) : Json());
  number("min_new_tokens", p.min_new_tokens, d.min_new_tokens);
  number("temperature", p.temperature, d.temperature);
  number("top_p", p.top_p, d.top_p);
  number("top_k", p.top_k, d.top_k);
  number("min_p", p.min_p, d.min_p);
  number("frequency_penalty", p.frequency_penalty, d.frequency_penalty);
  number("presence_penalty", p.presence_penalty, d.presence_penalty);
  number("repetition_penalty", p.repetition_penalty, d.repetition_penalty);
  if (!p.stop.empty()) out.Set("stop", Strings(p.stop));
  if (!p.stop_regex.empty()) out.Set("stop_regex", Strings(p.stop_regex));
  if (!stops.empty()) out.Set("stop_token_ids", Json(stops));
  number("ignore_eos", p.ignore_eos, d.ignore_eos);
  number("skip_special_tokens", p.skip_special_tokens, d.skip_special_tokens);
  number("spaces_between_special_tokens", p.spaces_between_special_tokens, d.spaces_between_special_tokens);
  number("no_stop_trim", p.no_stop_trim, d.no_stop_trim);
  if (!bias.empty()) out.Set("logit_bias", Json(bias));
  if (p.sampling_seed) out.Set("sampling_seed", *p.sampling_seed);
  if (p.json_schema) out.Set("json_schema", *p.json_schema);
  if (p.structural_tag) out.Set("structural_tag", *p.structural_tag);
  if (!r.think_end.empty()) out.Set("think_end", ByteTokenizer().Decode(r.think_end, false));
  number("return_logprob", r.return_logprob, false);
  number("logprob_start_len", r.logprob_start_len, int64_t{-1});
  number("top_logprobs_num", r.top_logprobs_num, 0);
  if (!ids.empty()) out.Set("token_ids_logprob", Json(ids));
  if (r.hidden != GenerateRequest::Hidden::kNone) out.Set("hidden", r.hidden == GenerateRequest::Hidden::kAll ? "all" : "last");
  if (r.input_embeds != nullptr) {
    Json::Array values;
    for (const float value : *r.input_embeds) values.emplace_back(double{value});
    out.Set("input_embeds", Json(values));
  }
  if (!r.extra_key.empty()) out.Set("extra_key", r.extra_key);
  if (r.priority) out.Set("priority", *r.priority);
  if (!r.routing_key.empty()) out.Set("routing_key", r.routing_key);
  if (r.session) out.Set("session", r.session->id);
  return out;
}

// Everything that can be expected of a case, in the form of "expect".
Json Happened(FakeServer& server, const FakeExchange& exchange, const Json& wanted) {
  Json out;
  out.Set("status", exchange.status);
  if (exchange.streaming) {
    Json events{Json::Array{}};
    for (const std::string& event : exchange.events()) {
      Result<Json> json = ParseJson(event);
      events.Push(json.ok() && DumpJson(*json) == event ? *json : Json(event));  // compact JSON as JSON, all else as it is
    }
    out.Set("events", std::move(events));
    if (!exchange.ended) out.Set("open", true);
  } else {
    Result<Json> json = ParseJson(exchange.body);
    if (json.ok() && DumpJson(*json) == exchange.body)
      out.Set("body", *std::move(json));
    else
      out.Set("text", exchange.body);
  }
  if (wanted.find("headers") != nullptr || !exchange.headers.empty()) {
    Json headers;
    for (const auto& [name, value] : exchange.headers) headers.Set(name, value);
    out.Set("headers", std::move(headers));
  }
  if (wanted.find("content_type") != nullptr) out.Set("content_type", exchange.content_type);
  if (wanted.find("submitted") != nullptr) {
    Json submitted{Json::Array{}};
    for (const auto& accepted : server.backend.accepted) submitted.Push(Submitted(accepted.request));
    out.Set("submitted", std::move(submitted));
  }
  Json aborted{Json::Array{}};
  for (size_t i = 0; i < server.backend.accepted.size(); ++i)
    if (server.backend.accepted[i].aborted) aborted.Push(static_cast<int64_t>(i));
  if (!aborted.as_array().empty()) out.Set("aborted", std::move(aborted));
  if (!server.backend.aborted_rids.empty()) out.Set("aborted_rids", Strings(server.backend.aborted_rids));
  return out;
}

Code CodeNamed(const std::string& name) {
  return name == "exhausted"     ? Code::kExhausted
         : name == "unavailable" ? Code::kUnavailable
         : name == "internal"    ? Code::kInternal
                                 : Code::kInvalidArgument;
}

void Replay(const Json& test, const std::string& file) {
  SCOPED_TRACE(file + ": " + test.get_string("name", "?"));
  FakeServer server(Config(test["config"]), test["config"].get_bool("parts", false));
  server.backend.info_.generation_config = test["config"]["generation_config"];
  server.backend.info_.width = 2;
  server.backend.info_.radix_cache = test["config"].get_bool("radix_cache", true);
  server.backend.flush_result = test["config"].get_bool("flush_result", true);
  if (test["config"].get_bool("stopping", false)) server.context().state = ServerState::kStopping;
  if (test["config"].get_bool("starting", false)) server.context().state = ServerState::kStarting;
  server.text_full = test["config"].get_bool("text_full", false);
  server.context().steady_now = [] { return std::chrono::steady_clock::time_point(); };  // durations are nothing
  if (!test["refuse"].is_null()) {
    server.backend.refuse_after = static_cast<int>(test["refuse"].get_int("after", 0));
    server.backend.refusal = {CodeNamed(test["refuse"].get_string("code", "")), test["refuse"].get_string("message", "")};
  }
  const auto exchange = server.Handle(Request(test["request"]));
  if (test["engine"].is_array()) {
    for (const Json& step : test["engine"].as_array()) {
      if (step.get_bool("disconnect", false))
        exchange->Disconnect();
      else
        Play(server, step);
    }
  }
  EXPECT_LE(exchange->replies, 1);
  const Json happened = Happened(server, *exchange, test["expect"]);
  if (std::getenv("SGLANG_RECORD") != nullptr)
    printf("RECORD %s\n", DumpJson(Json(Json::Array{Json(file), test["name"], happened})).c_str());
  else
    EXPECT_EQ(DumpJson(happened), DumpJson(test["expect"]));
}

TEST(Recorded, AllExchanges) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SGLANG_SOURCE_DIR "/tests/api")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const Result<Json> cases = ParseJson(text);
    ASSERT_TRUE(cases.ok()) << entry.path() << ": " << cases.error().message;
    for (const Json& test : cases->as_array()) Replay(test, entry.path().filename().string());
    count += cases->as_array().size();
  }
  EXPECT_GE(count, 60U);
}

}  // namespace
}  // namespace sgl
