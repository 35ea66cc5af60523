// What the engine keeps of one living request: its text so far, its sampling state, what it still owes the sink.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/constraint.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sessions.h"
#include "tensor/mat.h"
#include "text/regex.h"
#include "text/tokenizer.h"

namespace sgl {

// Thread: engine (Sample on any compute thread, one at a time per request). Lives from Submit to its Finish.
class ActiveRequest {
 public:
  ActiveRequest(RequestId id, GenerateRequest request, Sink sink, std::vector<Regex> stop_regex, const Tokenizer& tokenizer,
                std::vector<TokenId> stop_ids, uint64_t seed, int64_t max_new_tokens, TimePoint now);

  RequestId id() const { return id_; }
  const GenerateRequest& request() const { return request_; }
  int64_t max_new_tokens() const { return max_new_tokens_; }
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  void set_session(std::shared_ptr<SessionNode> node) { session_ = std::move(node); }
  void set_load_tokens(int64_t tokens) { load_tokens_ = tokens; }
  int64_t load_tokens() const { return load_tokens_ + output_tokens_; }  // as they count for EngineLoad
  int64_t output_tokens() const { return output_tokens_; }
  const std::vector<TokenId>& stop_ids() const { return stop_ids_; }

  // Before each step with a row of it. The first time: how long it had to wait for that.
  std::optional<Duration> OnScheduled(const PlanRow& row, TimePoint now);

  // Prompt positions [first, last) whose logits this chunk must deliver for input log-probabilities; empty when none are wanted.
  struct Range {
    int64_t first = 0, last = 0;
  };
  Range PromptLogitsWanted(const PlanRow& row) const;
  void TakePromptLogits(int64_t position, std::span<const float> logits);  // in ascending order of position

  // Before the first Sample; at most once.
  void Constrain(std::unique_ptr<OutputConstraint> constraint) { constraint_ = std::move(constraint); }

  // Positions of this row whose hidden states are wanted; those of the prompt are given once.
  Range HiddenWanted(const PlanRow& row) const;
  void TakeHidden(int64_t position, std::span<const float> hidden);  // in ascending order of position
  Mat<const float> embeds(int64_t width) const;                      // given embeddings of the prompt, [n, D]; n is 0 if none

  void SkipSampling();                   // instead of Sample, where only the hidden state was wanted
  void Sample(std::span<float> logits);  // chooses the next token, keeps the result
  // Text side of the chosen token: what the scheduler's Commit needs to know. Call once after Sample, on the engine thread.
  Sampled Decide();
  void DropChoice() { has_choice_ = false; }  // the step failed
  // After Commit: the delta for this step, sent to the sink. finish ends the request: no more calls after it.
  void DeliverProgress(int64_t computed_prompt_tokens);
  void Deliver(std::optional<Finish> finish, int64_t retractions, TimePoint now);

 private:
  bool Constrained(Sampled& sampled);
  PositionLogprob ToPosition(const SamplerState::Choice& choice) const;
  SamplerState::Wanted wanted() const;

  RequestId id_;
  GenerateRequest request_;
  Sink sink_;
  std::vector<Regex> stop_regex_;
  std::vector<TokenId> stop_ids_;
  int64_t max_new_tokens_ = 0;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  SamplerState sampler_;
  std::unique_ptr<OutputConstraint> constraint_;

  std::shared_ptr<SessionNode> session_;  // null: in no session

  int64_t load_tokens_ = 0;  // of the prompt as it was submitted
  int64_t output_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  std::string output_text_;                      // kept only for stop_regex
  std::vector<PositionLogprob> input_logprobs_;  // until the first delta
  int64_t next_prompt_logprob_ = 0;              // next prompt position whose own log-probability is missing
  std::vector<std::vector<float>> hidden_;       // until the next delta
  int64_t next_hidden_ = 0;                      // first position whose hidden state has not been taken
  SamplerState::Choice choice_;
  bool has_choice_ = false, stop_string_hit_ = false;
  std::string step_text_;  // text of this step's token
  TimePoint created_{};
  std::optional<TimePoint> scheduled_;
};

}  // namespace sgl
