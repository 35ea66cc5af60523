// SPDX-License-Identifier: Apache-2.0
#include "serve/describe.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sgl {
namespace {

Json Ids(const std::vector<TokenId>& ids) {
  Json::Array out;
  out.reserve(ids.size());
  for (const TokenId id : ids) out.emplace_back(int64_t{id});
  return Json(std::move(out));
}

Json Texts(const std::vector<std::string>& texts) { return Json(Json::Array(texts.begin(), texts.end())); }

constexpr double kLowest = std::numeric_limits<float>::lowest();

// A cut of UTF-8 text moves back to the start of a character.
size_t CharacterStart(const std::string& text, size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

void AppendPythonString(std::string& out, const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  constexpr char kHex[] = "0123456789abcdef";
  out += quote;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += quote;
}

void AppendPython(std::string& out, const Json& value) {
  if (value.is_null()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "True" : "False";
  } else if (value.is_string()) {
    AppendPythonString(out, value.as_string());
  } else if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.as_array().size(); ++i) {
      if (i != 0) out += ", ";
      AppendPython(out, value.as_array()[i]);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (size_t i = 0; i < value.as_object().size(); ++i) {
      if (i != 0) out += ", ";
      AppendPythonString(out, value.as_object()[i].first);
      out += ": ";
      AppendPython(out, value.as_object()[i].second);
    }
    out += '}';
  } else {
    out += DumpJson(value);
  }
}

}  // namespace

Json DescribeSampling(const SamplingParams& p) {
  const SamplingParams d;
  Json out;
  out.Set("max_new_tokens", p.max_new_tokens ? Json(*p.max_new_tokens) : Json()).Set("temperature", p.temperature);
  const auto set = [&out](const char* name, const auto& value, const auto& usual) {
    if (value != usual) out.Set(name, value);
  };
  set("min_new_tokens", p.min_new_tokens, d.min_new_tokens);
  set("top_p", p.top_p, d.top_p);
  set("top_k", p.top_k, d.top_k);
  set("min_p", p.min_p, d.min_p);
  set("frequency_penalty", p.frequency_penalty, d.frequency_penalty);
  set("presence_penalty", p.presence_penalty, d.presence_penalty);
  set("repetition_penalty", p.repetition_penalty, d.repetition_penalty);
  set("ignore_eos", p.ignore_eos, d.ignore_eos);
  set("skip_special_tokens", p.skip_special_tokens, d.skip_special_tokens);
  set("spaces_between_special_tokens", p.spaces_between_special_tokens, d.spaces_between_special_tokens);
  set("no_stop_trim", p.no_stop_trim, d.no_stop_trim);
  if (!p.stop.empty()) out.Set("stop", Texts(p.stop));
  if (!p.stop_token_ids.empty()) out.Set("stop_token_ids", Ids(p.stop_token_ids));
  if (!p.stop_regex.empty()) out.Set("stop_regex", Texts(p.stop_regex));
  if (!p.logit_bias.empty()) {
    Json bias;
    for (const auto& [id, value] : p.logit_bias) bias.Set(std::to_string(id), std::max(double{value}, kLowest));  // "never" as a number
    out.Set("logit_bias", std::move(bias));
  }
  if (p.sampling_seed) out.Set("sampling_seed", *p.sampling_seed);
  if (p.json_schema) out.Set("json_schema", *p.json_schema);
  if (p.regex) out.Set("regex", *p.regex);
  if (p.ebnf) out.Set("ebnf", *p.ebnf);
  if (p.structural_tag) out.Set("structural_tag", *p.structural_tag);
  return out;
}

Json DescribeRequest(const GenerateRequest& r, bool stream, const Tokenizer& tokenizer) {
  Json out, sampling = DescribeSampling(r.sampling);
  out.Set("rid", r.rid).Set("text", tokenizer.Decode(r.prompt, false)).Set("input_ids", Ids(r.prompt));
  if (r.thinking_budget) sampling.Set("custom_params", Json().Set("thinking_budget", *r.thinking_budget));
  if (const auto& limit = r.sampling.thinking_limit) {
    out.Set("custom_logit_processor", "ThinkingBudgetLogitProcessor");
    sampling.Set("custom_params", Json().Set("thinking_budget", limit->tokens));
  }
  if (const auto& rule = r.sampling.no_repeat_ngram) {
    out.Set("custom_logit_processor", "DeepseekOCRNoRepeatNGramLogitProcessor");
    Json params = Json().Set("ngram_size", rule->size).Set("window_size", rule->window);
    sampling.Set("custom_params", params.Set("whitelist_token_ids", Ids(rule->exempt)));
  }
  out.Set("sampling_params", std::move(sampling)).Set("return_logprob", r.return_logprob);
  out.Set("logprob_start_len", r.logprob_start_len).Set("top_logprobs_num", int64_t{r.top_logprobs_num});
  out.Set("token_ids_logprob", r.token_ids_logprob.empty() ? Json() : Ids(r.token_ids_logprob)).Set("stream", stream);
  if (!r.extra_key.empty()) out.Set("extra_key", r.extra_key);
  if (!r.think_end.empty()) out.Set("require_reasoning", true);
  if (r.priority) out.Set("priority", *r.priority);
  return out;
}

void AppendVector(std::string& out, const std::vector<float>& values) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ',';
    AppendJsonNumber(out, double{values[i]});
  }
  out += ']';
}

void AppendHiddenStates(std::string& out, const std::vector<std::vector<float>>& rows) {
  if (rows.empty()) return;
  const bool prompt = out.empty();
  out += prompt ? "[" : ",";
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i != 0) out += ',';
    AppendVector(out, rows[i]);
  }
  if (prompt) out += ']';
}

void AppendFinishReason(std::string& out, const std::optional<Finish>& finish) {
  if (!finish) {
    out += "null";
    return;
  }
  switch (finish->kind) {
    case FinishKind::kLength:
      out += R"({"type":"length","length":)";
      AppendJsonNumber(out, finish->length);
      break;
    case FinishKind::kStop:
      out += R"({"type":"stop","matched":)";
      if (const auto* id = std::get_if<TokenId>(&finish->matched))
        AppendJsonNumber(out, int64_t{*id});
      else if (const auto* text = std::get_if<std::string>(&finish->matched))
        AppendJsonString(out, *text);
      else
        out += "null";
      break;
    case FinishKind::kAbort:
      out += R"({"type":"abort","message":)";
      AppendJsonString(out, finish->message);
      if (finish->message == "Abort in waiting queue") break;  // SGLang's queue says no more than this
      out += R"(,"status_code":)";
      out += finish->status_code != 0 ? std::to_string(finish->status_code) : "null";
      out += R"(,"err_type":)";
      if (finish->err_type.empty())
        out += "null";
      else
        AppendJsonString(out, finish->err_type);
  }
  out += '}';
}

std::string PythonRepr(const Json& value) {
  std::string out;
  AppendPython(out, value);
  return out;
}

Json Shortened(const Json& value, size_t limit) {
  const size_t half = limit / 2;
  if (value.is_string() && value.as_string().size() > limit) {
    const std::string& text = value.as_string();
    return text.substr(0, CharacterStart(text, half)) + " ... " + text.substr(CharacterStart(text, text.size() - half));
  }
  if (value.is_array()) {
    const Json::Array& list = value.as_array();
    Json::Array out;
    for (size_t i = 0; i < list.size(); ++i) {
      if (list.size() > limit && i == half) {
        out.emplace_back("...");
        i = list.size() - half;
      }
      out.push_back(Shortened(list[i], limit));
    }
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json out{Json::Object{}};
  for (const auto& [name, item] : value.as_object()) out.Set(name, Shortened(item, limit));
  return out;
}

}  // namespace sgl
