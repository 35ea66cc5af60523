// What the engine counts. Names and meanings: SGLang's scheduler metrics.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>

#include "kv/kv_cache.h"
#include "obs/buckets.h"
#include "obs/metrics.h"
#include "sched/scheduler.h"

namespace sgl {

// Written by the engine thread, read by any. Gauges follow every step.
struct EngineProbe {
  Gauge running_reqs, queue_reqs, gen_throughput, cache_hit_rate, decode_sum_seq_lens, token_usage, used_tokens;
  Gauge available_tokens, evictable_tokens, retracted_reqs, utilization, new_token_ratio;
  Gauge max_total_tokens, max_running_reqs, page_size, pages, context_length, load_weights_seconds, startup_seconds;  // set at start
  Counter retracted_requests, evicted_tokens;
  Counter prefill_computed_tokens, prefill_cached_tokens, decoded_tokens;
  Counter extend_seconds, decode_seconds;
  Histogram queue_time{buckets::kQueueTime};
  Gauge grammar_queue_reqs, paused_reqs;
  Gauge nothing;  // 0, for dashboards that ask for what there is none of
  Counter grammars, grammar_cache_hits, grammars_aborted;
  Histogram grammar_compile{buckets::kGrammarCompile};
  Labelled<Gauge> running_by_priority, queue_by_priority;

  template <class V>
  void Visit(V&& v) const {
    v("num_running_reqs", running_reqs, "requests in the running batch");
    v("num_queue_reqs", queue_reqs, "requests in the waiting queue");
    v("num_running_reqs", running_by_priority, "requests in the running batch");
    v("num_queue_reqs", queue_by_priority, "requests in the waiting queue");
    v("gen_throughput", gen_throughput, "output tokens per second in the last decode window; 0 when idle");
    v("cache_hit_rate", cache_hit_rate, "share of the last prefill batch that came from the prefix cache");
    v("decode_sum_seq_lens", decode_sum_seq_lens, "tokens of all sequences in the last decode batch");
    v("token_usage", token_usage, "share of the KV cache held by requests");
    v("full_token_usage", token_usage, "share of the full-attention KV cache held by requests");
    v("num_used_tokens", used_tokens, "tokens of the KV cache held by requests");
    v("kv_used_tokens", used_tokens, "tokens of the KV cache held by requests");
    v("kv_available_tokens", available_tokens, "free tokens of the KV cache");
    v("kv_evictable_tokens", evictable_tokens, "tokens of the prefix cache that nobody uses");
    v("num_retracted_reqs", retracted_reqs, "requests sent back to the queue by the last step that did so; 0 when idle");
    v("utilization", utilization, "the larger of running over most running requests, and token usage over 0.9");
    v("new_token_ratio", new_token_ratio, "share of max_new_tokens that admission reserves");
    v("max_total_num_tokens", max_total_tokens, "size of the KV cache in tokens");
    v("max_running_requests", max_running_reqs, "most requests running at once");
    v("page_size", page_size, "tokens per page of the KV cache");
    v("num_pages", pages, "pages of the KV cache");
    v("context_len", context_length, "longest prompt plus answer in tokens");
    v("engine_load_weights_time", load_weights_seconds, "seconds it took to load the model");
    v("engine_startup_time", startup_seconds, "seconds it took to start the engine");
    v("num_retracted_requests_total", retracted_requests, "requests sent back to the queue because the KV cache was full");
    v("evicted_tokens_total", evicted_tokens, "tokens that left the prefix cache to make room", {{"cache_type", "RadixCache"}});
    constexpr const char* kTokens = "tokens that went through the scheduler";
    v("realtime_tokens_total", prefill_computed_tokens, kTokens, {{"mode", "prefill_compute"}});
    v("realtime_tokens_total", prefill_cached_tokens, kTokens, {{"mode", "prefill_cache"}});
    v("realtime_tokens_total", decoded_tokens, kTokens, {{"mode", "decode"}});
    constexpr const char* kSeconds = "seconds spent in forward passes";
    v("forward_execution_seconds_total", extend_seconds, kSeconds, {{"category", "extend"}});
    v("forward_execution_seconds_total", decode_seconds, kSeconds, {{"category", "decode"}});
    v("num_paused_reqs", paused_reqs, "requests held back until generation continues");
    v("is_cuda_graph", nothing, "there are no graphs");
    v("spec_accept_length", nothing, "there is no speculative decoding");
    v("spec_accept_rate", nothing, "there is no speculative decoding");
    v("num_grammar_queue_reqs", grammar_queue_reqs, "requests whose grammar is being compiled");
    v("num_grammar_total", grammars, "requests with a grammar");
    v("num_grammar_cache_hit_total", grammar_cache_hits, "requests whose grammar had been compiled already");
    v("num_grammar_aborted_total", grammars_aborted, "requests whose grammar was refused or no longer waited for");
    v("grammar_compilation_time_seconds", grammar_compile, "seconds it took to compile a grammar");
    v("queue_time_seconds", queue_time, "seconds from arrival to the first computed token");
  }
};

// Sets the gauges of each priority. Thread: engine.
class PriorityGauges {
 public:
  void Set(EngineProbe& probe, const Scheduler& scheduler);

 private:
  struct Pair {
    Gauge *running, *queue;
  };
  std::map<int64_t, Pair> seen_;  // a priority stays, as 0 once nobody has it
};

// One step that ran from `begin` to `end`.
void CountStep(EngineProbe& probe, const StepPlan& plan, TimePoint begin, TimePoint end);
// The state between two steps.
void GaugeState(EngineProbe& probe, const SchedStats& stats, const KvCache& cache, double gen_throughput);

}  // namespace sgl
