// The vocabulary of a request's life: what is asked for, and the one way it ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace sgl {

// Reasoning from `start` on is ended after so many tokens: with a new line, then `end`.
struct ThinkingLimit {
  TokenId start = 0, end = 0;
  std::optional<TokenId> newline{};  // nothing: no one token is a new line
  int64_t tokens = 0;
};
// No `size` tokens in a row come twice, as far as the last `window` tokens of prompt and output tell.
struct NoRepeatNgram {
  int64_t size = 1, window = 1;
  std::vector<TokenId> exempt{};  // these may come at any time
};

// One request's sampling parameters, validated and normalised. Names, defaults and ranges: SGLang's SamplingParams.
struct SamplingParams {
  std::optional<int64_t> max_new_tokens = 128;  // nothing: up to the context
  int64_t min_new_tokens = 0;
  double temperature = 1.0;         // < 1e-6: greedy
  double top_p = 1.0;               // (0, 1]
  int64_t top_k = -1;               // -1: all
  double min_p = 0.0;               // [0, 1]
  double frequency_penalty = 0.0;   // [-2, 2]
  double presence_penalty = 0.0;    // [-2, 2]
  double repetition_penalty = 1.0;  // (0, 2]
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  std::vector<std::string> stop_regex;
  bool ignore_eos = false;
  int64_t n = 1;
  bool skip_special_tokens = true;
  bool spaces_between_special_tokens = true;
  bool no_stop_trim = false;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::optional<int64_t> sampling_seed;  // the same seed gives the same tokens, always
  std::optional<int> stream_interval;
  std::optional<ThinkingLimit> thinking_limit;   // see SequenceRules
  std::optional<NoRepeatNgram> no_repeat_ngram;  // likewise
  // At most one of these: what the output has to match, as SGLang's fields of the same names say it.
  std::optional<std::string> json_schema, regex, ebnf, structural_tag;
};

// The place of a request in a session, see Sessions. Names: SGLang's session_params.
struct SessionParams {
  std::string id;
  std::optional<std::string> rid{};  // the request to build on; nothing: an empty context
  int64_t offset = 0;                // > 0: only so many tokens of the context
  bool replace = false;              // with rid: in the place of everything that was built on it; without: of the whole session
  bool drop_previous_output = false;
};

// One prompt, one sample: what Engine::Submit takes.
struct GenerateRequest {
  std::string rid;              // the client's name for it; unique among the living
  std::vector<TokenId> prompt;  // never empty
  SamplingParams sampling;      // n is already expanded: ignored
  bool return_logprob = false;
  int64_t logprob_start_len = -1;  // -1: output only; else the first prompt position
  int top_logprobs_num = 0;
  std::vector<TokenId> token_ids_logprob;
  bool original_logprob = false;  // set by the engine: EngineConfig::return_original_logprob
  std::string extra_key;          // cache namespace
  std::optional<SessionParams> session{};
  std::optional<int64_t> priority;         // nothing: --default-priority-value, else behind everybody who gave one
  std::string routing_key;                 // for --schedule-policy routing-key
  std::vector<TokenId> think_end;          // not empty: the output starts with reasoning; the grammar holds after these tokens
  std::optional<int64_t> thinking_budget;  // reasoning tokens before think_end is forced
  std::vector<TokenId> think_excluded;     // not empty: the reasoning has none of these tokens, and no stop token
  // Final hidden states to give back. kLast: of the last prompt token, in place of sampling (embeddings; max_new_tokens is 0).
  enum class Hidden { kNone, kAll, kLast } hidden = Hidden::kNone;
  std::shared_ptr<const std::vector<float>> input_embeds;  // [prompt.size(), D] instead of the prompt's own embeddings
  std::optional<int> dp_rank;                              // the data-parallel replica to go to; nothing: the balancer's choice
  bool progress = false;                                   // tell how far a long prompt has come
  bool internal = false;                                   // health probe: not logged
};

enum class FinishKind { kStop, kLength, kAbort };

// Why a request ended. Every accepted request gets exactly one.
struct Finish {
  FinishKind kind = FinishKind::kStop;
  std::variant<std::monostate, TokenId, std::string> matched;  // kStop: the token id, or the stop string / regex / "NaN happened"
  int64_t length = 0;                                          // kLength: max_new_tokens
  std::string message;                                         // kAbort
  int status_code = 0;                                         // kAbort: the HTTP status; 0: none (HTTP 200 with finish_reason abort)
  std::string err_type;                                        // kAbort: "BadRequestError"...; "" if none

  static Finish Abort(std::string message, int status_code = 0, std::string err_type = "") {
    Finish f;
    f.kind = FinishKind::kAbort;
    f.message = std::move(message);
    f.status_code = status_code;
    f.err_type = std::move(err_type);
    return f;
  }
};

}  // namespace sgl
