// SPDX-License-Identifier: Apache-2.0
#include "engine/probe.h"

#include <algorithm>
#include <string>

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

void PriorityGauges::Set(EngineProbe& probe, const Scheduler& scheduler) {
  const std::map<int64_t, PriorityLoad>& loads = scheduler.priorities();
  for (const auto& [priority, load] : loads) {
    if (seen_.contains(priority)) continue;
    const MetricLabels labels = {{"priority", std::to_string(priority)}};
    seen_[priority] = {&probe.running_by_priority.at(labels), &probe.queue_by_priority.at(labels)};
  }
  for (const auto& [priority, gauges] : seen_) {
    const auto found = loads.find(priority);  // a scheduler that had to start anew does not know it
    gauges.running->Set(found == loads.end() ? 0 : found->second.running);
    gauges.queue->Set(found == loads.end() ? 0 : found->second.waiting);
  }
}

}  // namespace sgl
