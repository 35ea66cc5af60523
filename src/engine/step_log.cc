// SPDX-License-Identifier: Apache-2.0
#include "engine/step_log.h"

#include <fmt/core.h>

#include "obs/log.h"

namespace sgl {

void StepLog::Record(const StepPlan& plan, const SchedStats& stats, TimePoint begin, TimePoint end) {
  int64_t prefill_sequences = 0, prefill_tokens = 0, cached_tokens = 0, decoded = 0;
  for (const PlanRow& row : plan.rows) {
    if (row.prefill) {
      ++prefill_sequences;
      prefill_tokens += static_cast<int64_t>(row.tokens.size());
      cached_tokens += row.cached_tokens;
    } else {
      ++decoded;
    }
  }
  ++steps_;
  const auto batch = [&](const char* kind) {
    return numbered_ ? fmt::format("{} batch [{}]", kind, steps_) : fmt::format("{} batch", kind);
  };
  const double usage = stats.total_tokens > 0 ? static_cast<double>(stats.used_tokens) / static_cast<double>(stats.total_tokens) : 0;
  if (prefill_sequences > 0) {
    LOG_INFO(
        "{}, #new-seq: {}, #new-token: {}, #cached-token: {}, token usage: {:.2f}, #running-req: {}, #queue-req: {}, "
        "#pending-token: {}, cpu graph: False, input throughput (token/s): {:.2f}",
        batch("Prefill"), prefill_sequences, prefill_tokens, cached_tokens, usage, stats.running, stats.waiting, stats.pending_tokens,
        static_cast<double>(prefill_tokens) / std::max(Seconds(end - begin), 1e-9));
  }
  if (decoded == 0) return;
  if (decode_steps_ == 0) window_begin_ = begin;
  ++decode_steps_;
  decoded_ += decoded;
  throughput_ = static_cast<double>(decoded_) / std::max(Seconds(end - window_begin_), 1e-9);
  if (decode_steps_ < interval_) return;
  LOG_INFO("{}, #running-req: {}, #token: {}, token usage: {:.2f}, cpu graph: False, gen throughput (token/s): {:.2f}, #queue-req: {}",
           batch("Decode"), stats.running, stats.used_tokens, usage, throughput_, stats.waiting);
  decode_steps_ = 0;
  decoded_ = 0;
}

void LogRetractions(const SchedStats& before, const SchedStats& after) {
  const int64_t count = after.retractions - before.retractions, gain = after.retraction_gain - before.retraction_gain;
  if (count == 0) return;
  if (after.test_retractions - before.test_retractions == count)
    LOG_WARNING("Testing retraction. #retracted_reqs: {}, #new_tokens_gained: {}", count, gain);
  else
    LOG_WARNING("KV cache pool is full. Retract requests. #retracted_reqs: {}, #new_tokens_gained: {}, #new_token_ratio: {:.4f} -> {:.4f}",
                count, gain, before.new_token_ratio, after.new_token_ratio);
}

}  // namespace sgl
