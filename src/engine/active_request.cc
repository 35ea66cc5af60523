// SPDX-License-Identifier: Apache-2.0
#include "engine/active_request.h"

#include <algorithm>

#include "base/check.h"
#include "obs/log.h"

namespace sgl {

ActiveRequest::ActiveRequest(RequestId id, GenerateRequest request, Sink sink, std::vector<Regex> stop_regex, const Tokenizer& tokenizer,
                             std::vector<TokenId> stop_ids, uint64_t seed, int64_t max_new_tokens, TimePoint now)
    : id_(id),
      request_(std::move(request)),
      sink_(std::move(sink)),
      stop_regex_(std::move(stop_regex)),
      stop_ids_(std::move(stop_ids)),
      max_new_tokens_(max_new_tokens),
      decoder_(tokenizer, request_.sampling.skip_special_tokens),
      matcher_(request_.sampling.stop),
      sampler_(request_.sampling, seed, stop_ids_, request_.prompt),
      created_(now) {
  next_prompt_logprob_ = request_.return_logprob && request_.logprob_start_len >= 0 ? request_.logprob_start_len
                                                                                    : static_cast<int64_t>(request_.prompt.size());
}

SamplerState::Wanted ActiveRequest::wanted() const {
  return {.logprob = request_.return_logprob,
          .top = request_.top_logprobs_num,
          .token_ids = request_.token_ids_logprob,
          .at_temperature_1 = request_.original_logprob};
}

PositionLogprob ActiveRequest::ToPosition(const SamplerState::Choice& choice) const {
  return {.token = choice.token, .logprob = choice.logprob, .top = choice.top, .token_ids = choice.token_ids};
}

std::optional<Duration> ActiveRequest::OnScheduled(const PlanRow& row, TimePoint now) {
  if (scheduled_) return {};
  scheduled_ = now;
  cached_tokens_ = row.cached_tokens;
  if (next_prompt_logprob_ < static_cast<int64_t>(request_.prompt.size())) {  // nothing comes before the first one
    input_logprobs_.push_back(
        {.token = request_.prompt[static_cast<size_t>(next_prompt_logprob_)], .logprob = std::nullopt, .top = {}, .token_ids = {}});
    ++next_prompt_logprob_;
  }
  return now - created_;
}

ActiveRequest::Range ActiveRequest::PromptLogitsWanted(const PlanRow& row) const {
  const auto prompt = static_cast<int64_t>(request_.prompt.size());
  if (!scheduled_ || next_prompt_logprob_ >= prompt) return {};
  // The logits at position p are about token p + 1.
  const int64_t first = std::max<int64_t>(row.first_pos, next_prompt_logprob_ - 1);
  const int64_t last = std::min<int64_t>(row.first_pos + static_cast<int64_t>(row.tokens.size()), prompt - 1);
  return first < last ? Range{first, last} : Range{};
}

void ActiveRequest::TakePromptLogits(int64_t position, std::span<const float> logits) {
  CHECK(position + 1 == next_prompt_logprob_);
  const TokenId token = request_.prompt[static_cast<size_t>(position + 1)];
  input_logprobs_.push_back(ToPosition(PromptLogprobs(logits, token, wanted())));
  ++next_prompt_logprob_;
}

ActiveRequest::Range ActiveRequest::HiddenWanted(const PlanRow& row) const {
  const int64_t last = row.first_pos + static_cast<int64_t>(row.tokens.size());
  switch (request_.hidden) {
    case GenerateRequest::Hidden::kAll: return {std::max<int64_t>(row.first_pos, next_hidden_), last};
    case GenerateRequest::Hidden::kLast: return row.sample ? Range{last - 1, last} : Range{};
    case GenerateRequest::Hidden::kNone: break;
  }
  return {};
}

void ActiveRequest::TakeHidden(int64_t position, std::span<const float> hidden) {
  hidden_.emplace_back(hidden.begin(), hidden.end());
  next_hidden_ = position + 1;
}

Mat<const float> ActiveRequest::embeds(int64_t width) const {
  if (request_.input_embeds == nullptr) return {};
  return MakeMat(request_.input_embeds->data(), static_cast<int64_t>(request_.prompt.size()), width);
}

void ActiveRequest::SkipSampling() {
  choice_ = {};
  has_choice_ = true;
}

void ActiveRequest::DeliverProgress(int64_t computed_prompt_tokens) {
  TokenDelta delta;
  delta.id = id_;
  delta.computed_prompt_tokens = computed_prompt_tokens;
  delta.prompt_tokens = static_cast<int64_t>(request_.prompt.size());
  delta.cached_tokens = cached_tokens_;
  delta.completion_tokens = output_tokens_;
  sink_(std::move(delta));
}

void ActiveRequest::Sample(std::span<float> logits) {
  std::span<const uint32_t> allowed;
  bool at_end = false;
  if (constraint_) {
    allowed = constraint_->Fill();
    at_end = constraint_->only_stop();
  }
  choice_ = sampler_.Sample(logits, static_cast<int64_t>(request_.prompt.size()) + output_tokens_, wanted(), allowed, at_end);
  has_choice_ = true;
}

// The grammar's word on the chosen token: true when it ends the request here.
bool ActiveRequest::Constrained(Sampled& sampled) {
  if (choice_.is_nan && constraint_->nothing_allowed()) {
    sampled.hit = Finish::Abort("The grammar allows no further token after this text.", 400, "BadRequestError");
    return true;
  }
  if (choice_.is_nan) return false;
  switch (constraint_->Accept(choice_.token)) {
    case OutputConstraint::Verdict::kGoesOn: return false;
    case OutputConstraint::Verdict::kRejected:
      LOG_ERROR("The grammar of request {} rejected token {}, which its mask had allowed.", request_.rid, choice_.token);
      sampled.hit = Finish::Abort("The grammar rejected a token that was sampled.", 500, "InternalServerError");
      return true;
    case OutputConstraint::Verdict::kEnded: break;
  }
  sampled.hit = Finish{};  // also where stop tokens do not count: with ignore_eos, before min_new_tokens
  sampled.hit->matched = choice_.token;
  return !request_.sampling.no_stop_trim;
}

Sampled ActiveRequest::Decide() {
  CHECK(has_choice_);
  Sampled sampled;
  step_text_.clear();
  stop_string_hit_ = false;
  if (choice_.is_nan) {
    choice_.token = stop_ids_.empty() ? 0 : stop_ids_.front();
    sampled.hit = Finish{};
    sampled.hit->matched = std::string("NaN happened");
  }
  sampled.token = choice_.token;
  if (max_new_tokens_ == 0) return sampled;  // only the prompt was wanted: the token does not count
  if (constraint_ && Constrained(sampled)) return sampled;

  const bool at_length = output_tokens_ + 1 >= max_new_tokens_;
  const bool stop_token = std::find(stop_ids_.begin(), stop_ids_.end(), choice_.token) != stop_ids_.end();
  if ((stop_token && !at_length && !request_.sampling.no_stop_trim) || choice_.is_nan) return sampled;  // its text is trimmed

  const std::string piece = decoder_.Push(choice_.token);
  if (at_length || stop_token) {  // the end is decided already: stop strings are not looked for
    step_text_ = matcher_.Flush() + piece;
    return sampled;
  }
  StopMatcher::Step step = matcher_.Push(piece, request_.sampling.no_stop_trim);
  step_text_ = std::move(step.emit);
  if (step.matched) {
    stop_string_hit_ = true;
    sampled.hit = Finish{};
    sampled.hit->matched = *std::move(step.matched);
    return sampled;
  }
  if (!stop_regex_.empty()) {
    output_text_ += piece;
    for (size_t i = 0; i < stop_regex_.size() && !sampled.hit; ++i) {
      RegexMatch match;
      if (stop_regex_[i].Find(output_text_, 0, &match) != RegexOutcome::kMatch) continue;
      sampled.hit = Finish{};
      sampled.hit->matched = request_.sampling.stop_regex[i];
    }
  }
  return sampled;
}

void ActiveRequest::Deliver(std::optional<Finish> finish, int64_t retractions, TimePoint now) {
  TokenDelta delta;
  delta.id = id_;
  if (has_choice_) {
    if (request_.return_logprob) delta.output_logprobs.push_back(ToPosition(choice_));
    if (max_new_tokens_ > 0) {
      delta.tokens.push_back(choice_.token);
      sampler_.Accept(choice_.token);
      if (session_ != nullptr) session_->output.push_back(choice_.token);
      delta.text = std::move(step_text_);
      ++output_tokens_;
    }
    delta.input_logprobs = std::exchange(input_logprobs_, {});
    delta.hidden_states = std::exchange(hidden_, {});
    has_choice_ = false;
  }
  if (finish) {
    if (!stop_string_hit_) delta.text += matcher_.Flush() + decoder_.Flush();
    delta.input_logprobs.insert(delta.input_logprobs.end(), input_logprobs_.begin(), input_logprobs_.end());
    delta.e2e_latency_s = Seconds(now - created_);
    delta.queue_time_s = Seconds(scheduled_.value_or(now) - created_);
  }
  if (finish && session_ != nullptr) session_->finished_at = now;
  delta.finish = std::move(finish);
  delta.prompt_tokens = static_cast<int64_t>(request_.prompt.size());
  delta.completion_tokens = output_tokens_;
  delta.cached_tokens = cached_tokens_;
  delta.num_retractions = retractions;
  sink_(std::move(delta));
}

}  // namespace sgl
