// SPDX-License-Identifier: Apache-2.0
#include "engine/probe.h"

#include <algorithm>

namespace sgl {
namespace {

constexpr double kFullUsage = 0.9;  // a KV cache this full counts as utilised to the last

}  // namespace

void CountStep(EngineProbe& probe, const StepPlan& plan, TimePoint begin, TimePoint end) {
  double computed = 0, cached = 0, decoded = 0, lengths = 0;
  for (const PlanRow& row : plan.rows) {
    const auto tokens = static_cast<double>(row.tokens.size());
    if (row.prefill) {
      computed += tokens;
      cached += row.cached_tokens;
    } else {
      decoded += tokens;
      lengths += row.first_pos + tokens;
    }
  }
  probe.prefill_computed_tokens.Add(computed);
  probe.prefill_cached_tokens.Add(cached);
  probe.decoded_tokens.Add(decoded);
  if (computed > 0) {
    probe.extend_seconds.Add(Seconds(end - begin));
    probe.cache_hit_rate.Set(cached / (computed + cached));
  } else {
    probe.decode_seconds.Add(Seconds(end - begin));
    probe.cache_hit_rate.Set(0);
    probe.decode_sum_seq_lens.Set(lengths);
  }
}

void GaugeState(EngineProbe& probe, const SchedStats& stats, const KvCache& cache, double gen_throughput) {
  const auto page_size = static_cast<double>(cache.page_size());
  const double usage = stats.total_tokens > 0 ? static_cast<double>(stats.used_tokens) / static_cast<double>(stats.total_tokens) : 0;
  const bool idle = stats.running == 0 && stats.waiting == 0;
  const double slots = probe.max_running_reqs.value();
  probe.running_reqs.Set(stats.running);
  probe.queue_reqs.Set(stats.waiting);
  probe.gen_throughput.Set(idle ? 0 : gen_throughput);
  probe.token_usage.Set(usage);
  probe.used_tokens.Set(static_cast<double>(stats.used_tokens));
  probe.available_tokens.Set(cache.free_pages() * page_size);
  probe.evictable_tokens.Set(cache.evictable_pages() * page_size);
  probe.utilization.Set(std::max(slots > 0 ? stats.running / slots : 0, usage / kFullUsage));
  probe.new_token_ratio.Set(stats.new_token_ratio);
  const double retracted = static_cast<double>(stats.retractions) - probe.retracted_requests.value();
  probe.retracted_requests.Add(retracted);
  if (retracted > 0 || idle) probe.retracted_reqs.Set(idle ? 0 : retracted);
  probe.evicted_tokens.Add(static_cast<double>(cache.evicted_pages()) * page_size - probe.evicted_tokens.value());
}

}  // namespace sgl
