// What `sglang bench serve` measured, as the table and the result line of SGLang's bench_serving.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace sgl {

struct BenchOutcome {
  bool ok = false;
  std::string error, text;
  int64_t prompt_len = 0, output_len = 0, retokenized_len = 0;
  double start_s = 0, ttft_s = 0, latency_s = 0;  // start from the beginning of the run
  std::vector<double> itl_s;                      // gaps between tokens, one per token after the first
};

struct BenchRun {
  std::string backend;
  double request_rate = 0;      // infinity: all at once
  int64_t max_concurrency = 0;  // 0: not set
  double duration_s = 0;
  std::vector<BenchOutcome> outcomes;
};

// Value below which `percent` of the values lie, interpolated between neighbours; 0 of none. values need not be sorted.
double Percentile(std::vector<double> values, double percent);

// Every figure under the name that bench_serving gives it.
Json Summary(const BenchRun& run);
std::string SummaryTable(const BenchRun& run, const Json& summary);

}  // namespace sgl
