// SPDX-License-Identifier: Apache-2.0
#include "app/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sgl {
namespace {

double Mean(const std::vector<double>& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double Deviation(const std::vector<double>& values) {
  const double mean = Mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

void Distribution(Json& out, const std::string& name, std::vector<double> values) {
  for (double& v : values) v *= 1000;
  out.Set("mean_" + name, Mean(values)).Set("median_" + name, Percentile(values, 50)).Set("std_" + name, Deviation(values));
  for (const int percent : {90, 95, 99}) out.Set(fmt::format("p{}_{}", percent, name), Percentile(values, percent));
  out.Set("max_" + name, values.empty() ? 0.0 : *std::max_element(values.begin(), values.end()));
}

// The most that any whole second of the run saw, and the most requests open at once.
struct Peaks {
  double tokens_per_s = 0;
  int64_t concurrent = 0;
};
Peaks FindPeaks(const BenchRun& run) {
  Peaks peaks;
  std::vector<int64_t> per_second(static_cast<size_t>(std::max(0.0, run.duration_s)) + 2);
  std::vector<std::pair<double, int>> edges;
  for (const BenchOutcome& o : run.outcomes) {
    if (!o.ok) continue;
    double at = o.start_s + o.ttft_s;
    const auto count = [&] { ++per_second[std::min(per_second.size() - 1, static_cast<size_t>(std::max(0.0, at)))]; };
    count();
    for (const double gap : o.itl_s) {
      at += gap;
      count();
    }
    edges.emplace_back(o.start_s, 1);
    edges.emplace_back(o.start_s + o.latency_s, -1);
  }
  std::sort(edges.begin(), edges.end());
  int64_t open = 0;
  for (const auto& [at, step] : edges) peaks.concurrent = std::max(peaks.concurrent, open += step);
  peaks.tokens_per_s = static_cast<double>(*std::max_element(per_second.begin(), per_second.end()));
  return peaks;
}

}  // namespace

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

Json Summary(const BenchRun& run) {
  std::vector<double> e2e, ttft, tpot, itl;
  int64_t completed = 0, input = 0, output = 0, retokenized = 0;
  for (const BenchOutcome& o : run.outcomes) {
    if (!o.ok) continue;
    ++completed;
    input += o.prompt_len;
    output += o.output_len;
    retokenized += o.retokenized_len;
    e2e.push_back(o.latency_s);
    ttft.push_back(o.ttft_s);
    if (o.output_len > 1) tpot.push_back((o.latency_s - o.ttft_s) / static_cast<double>(o.output_len - 1));
    itl.insert(itl.end(), o.itl_s.begin(), o.itl_s.end());
  }
  const auto per_second = [&](int64_t count) { return run.duration_s > 0 ? static_cast<double>(count) / run.duration_s : 0.0; };
  const Peaks peaks = FindPeaks(run);
  Json out;
  out.Set("duration", run.duration_s).Set("completed", completed);
  out.Set("total_input_tokens", input).Set("total_output_tokens", output).Set("total_output_tokens_retokenized", retokenized);
  out.Set("request_throughput", per_second(completed)).Set("input_throughput", per_second(input));
  out.Set("output_throughput", per_second(output)).Set("output_throughput_retokenized", per_second(retokenized));
  out.Set("total_throughput", per_second(input + output)).Set("max_output_tokens_per_s", peaks.tokens_per_s);
  out.Set("max_concurrent_requests", peaks.concurrent);
  out.Set("concurrency", run.duration_s > 0 ? std::accumulate(e2e.begin(), e2e.end(), 0.0) / run.duration_s : 0.0);
  Distribution(out, "e2e_latency_ms", e2e);
  Distribution(out, "ttft_ms", ttft);
  Distribution(out, "tpot_ms", tpot);
  Distribution(out, "itl_ms", itl);
  return out;
}

std::string SummaryTable(const BenchRun& run, const Json& summary) {
  std::string table = fmt::format("{:=^50}\n", " Serving Benchmark Result ");
  const auto text = [&](const char* name, const std::string& value) { table += fmt::format("{:<40} {:<10}\n", name, value); };
  const auto count = [&](const char* name, const char* key) { text(name, fmt::format("{}", summary[key].as_int())); };
  const auto real = [&](const char* name, const std::string& key) { text(name, fmt::format("{:.2f}", summary[key].as_double())); };
  text("Backend:", run.backend);
  text("Traffic request rate:", std::isinf(run.request_rate) ? "inf" : fmt::format("{}", run.request_rate));
  text("Max request concurrency:", run.max_concurrency > 0 ? fmt::format("{}", run.max_concurrency) : "not set");
  count("Successful requests:", "completed");
  real("Benchmark duration (s):", "duration");
  count("Total input tokens:", "total_input_tokens");
  count("Total generated tokens:", "total_output_tokens");
  count("Total generated tokens (retokenized):", "total_output_tokens_retokenized");
  real("Request throughput (req/s):", "request_throughput");
  real("Input token throughput (tok/s):", "input_throughput");
  real("Output token throughput (tok/s):", "output_throughput");
  real("Peak output token throughput (tok/s):", "max_output_tokens_per_s");
  count("Peak concurrent requests:", "max_concurrent_requests");
  real("Total token throughput (tok/s):", "total_throughput");
  real("Concurrency:", "concurrency");
  struct Section {
    const char *title, *label, *key;
  };
  for (const Section& s :
       {Section{"End-to-End Latency", "E2E Latency", "e2e_latency_ms"}, Section{"Time to First Token", "TTFT", "ttft_ms"},
        Section{"Time per Output Token (excl. 1st token)", "TPOT", "tpot_ms"}, Section{"Inter-Token Latency", "ITL", "itl_ms"}}) {
    table += fmt::format("{:-^50}\n", s.title);
    for (const auto& [name, prefix] :
         {std::pair{"Mean", "mean_"}, {"Median", "median_"}, {"P90", "p90_"}, {"P95", "p95_"}, {"P99", "p99_"}, {"Max", "max_"}})
      real(fmt::format("{} {} (ms):", name, s.label).c_str(), prefix + std::string(s.key));
  }
  return table + std::string(50, '=') + "\n";
}

}  // namespace sgl
