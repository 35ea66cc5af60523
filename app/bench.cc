// Offline throughput: how fast this machine reads prompts and writes answers, without HTTP in between, next to what it could do at most.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

#include "app/bench_report.h"
#include "app/bench_roofs.h"
#include "app/commands.h"
#include "app/serve_options.h"
#include "obs/log.h"

namespace sgl {
namespace {

struct BenchOptions {
  ServeOptions serve;
  std::vector<int64_t> batch_sizes = {1}, input_lens = {128}, output_lens = {64};
  std::string mode = "batch";
  int repeats = 1;
  bool json = false, skip_warmup = false, skip_roofs = false;
  std::string log_level = "warning";

  void Visit(Options& field) {
    field.Group("Benchmark");
    field("mode", mode,
          "batch: all prompts at once, then all answers; mixed: --batch-size requests in flight, of half to the whole of the lengths, so "
          "that prompts arrive while answers are written",
          Choices{{"batch", "mixed"}});
    field("batch-size", batch_sizes, "requests at once; every combination of the three lists is run", Range{1, 65536});
    field("input-len", input_lens, "prompt tokens per request", Range{1, 1 << 24}, OptionTrait::kHumanInt);
    field("output-len", output_lens, "answer tokens per request", Range{1, 1 << 24}, OptionTrait::kHumanInt);
    field("repeats", repeats, "runs of every combination; their medians are shown", Range{1, 1000});
    field("json", json, "write JSON lines instead of a table");
    field("skip-warmup", skip_warmup, "no first run before measuring");
    field("skip-roofs", skip_roofs, "do not measure what the machine can do at most");
    field("log-level", log_level, "least important lines to write to stderr", Choices{{"debug", "info", "warning", "error", "critical"}});
    serve.VisitEngine(field);
  }
};

struct Case {
  int64_t batch, input, output;
};

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// What the sinks of one run tell the waiting thread.
struct Tally {
  std::mutex mutex;  // the engine thread writes, the main thread waits
  std::condition_variable ended;
  struct Arrival {
    double at;
    int64_t tokens;
  };
  std::vector<std::vector<Arrival>> arrivals;  // per request
  int64_t open = 0;
  std::string error;

  void Take(size_t index, const TokenDelta& delta) {
    const double now = Now();
    std::lock_guard lock(mutex);
    if (!delta.tokens.empty()) arrivals[index].push_back({now, static_cast<int64_t>(delta.tokens.size())});
    if (!delta.finish) return;
    if (delta.finish->kind == FinishKind::kAbort) error = delta.finish->message;
    --open;
    ended.notify_all();
  }
};

// Random prompts share no prefix, so nothing comes from the cache.
GenerateRequest RandomRequest(std::mt19937_64& random, int64_t vocabulary, int64_t input, int64_t output, const std::string& rid) {
  GenerateRequest request;
  request.rid = rid;
  for (int64_t i = 0; i < input; ++i) request.prompt.push_back(static_cast<TokenId>(random() % static_cast<uint64_t>(vocabulary)));
  request.sampling.max_new_tokens = output;
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  return request;
}

// Submits all requests, at most `limit` open at once, and waits for the last token. Returns when the first was submitted.
Result<double> RunAll(Engine& engine, std::vector<GenerateRequest> requests, int64_t limit, const std::shared_ptr<Tally>& tally) {
  tally->arrivals.resize(requests.size());
  const double start = Now();
  for (size_t i = 0; i < requests.size(); ++i) {
    {
      std::unique_lock lock(tally->mutex);
      tally->ended.wait(lock, [&] { return tally->open < limit; });
      ++tally->open;
    }
    // The sinks share the tally: after an error they outlive this call.
    const Result<RequestId> id = engine.Submit(std::move(requests[i]), [tally, i](TokenDelta delta) { tally->Take(i, delta); });
    if (!id.ok()) {
      engine.AbortAll();
      return Error(id.error());
    }
  }
  std::unique_lock lock(tally->mutex);
  tally->ended.wait(lock, [&] { return tally->open == 0; });
  if (!tally->error.empty()) return Internal(tally->error);
  return start;
}

// All figures of one run. Rates in tokens per second.
struct Measured {
  double prefill_rate = 0, decode_rate = 0, ttft_ms = 0, step_ms = 0, total_s = 0;
  double output_rate = 0, total_rate = 0, itl_p50_ms = 0, itl_p99_ms = 0;
};

std::vector<double> Gaps(const Tally& tally) {
  std::vector<double> gaps;
  for (const auto& arrivals : tally.arrivals)
    for (size_t i = 1; i < arrivals.size(); ++i) gaps.push_back(arrivals[i].at - arrivals[i - 1].at);
  return gaps;
}

Result<Measured> RunBatch(Engine& engine, const Case& c, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < c.batch; ++i)
    requests.push_back(RandomRequest(random, engine.info().vocab_size, c.input, c.output, fmt::format("bench-{}-{}", seed, i)));
  const auto tally = std::make_shared<Tally>();
  TRY(const double start, RunAll(engine, std::move(requests), c.batch, tally));
  std::vector<double> first;
  double end = start;
  for (const auto& arrivals : tally->arrivals) {
    first.push_back(arrivals.front().at);
    end = std::max(end, arrivals.back().at);
  }
  const double decode_start = *std::max_element(first.begin(), first.end());
  int64_t decoded = 0;  // after the last request's first token
  std::vector<double> steps;
  for (const auto& arrivals : tally->arrivals)
    for (size_t i = 1; i < arrivals.size(); ++i) {
      if (arrivals[i].at <= decode_start) continue;
      decoded += arrivals[i].tokens;
      if (arrivals[i - 1].at >= decode_start) steps.push_back(arrivals[i].at - arrivals[i - 1].at);
    }
  Measured m;
  m.ttft_ms = 1000 * (Percentile(first, 50) - start);
  m.prefill_rate = static_cast<double>(c.batch * c.input) / (decode_start - start);
  m.decode_rate = decoded > 0 ? static_cast<double>(decoded) / (end - decode_start) : 0;
  m.step_ms = 1000 * Percentile(steps, 50);
  m.total_s = end - start;
  return m;
}

constexpr int64_t kMixedRounds = 4;  // requests per place in flight

Result<Measured> RunMixed(Engine& engine, const Case& c, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto length = [&](int64_t full) {
    return full - static_cast<int64_t>(random() % static_cast<uint64_t>(std::max<int64_t>(1, full / 2)));
  };
  std::vector<GenerateRequest> requests;
  int64_t input = 0, output = 0;
  for (int64_t i = 0; i < c.batch * kMixedRounds; ++i) {
    const int64_t in = length(c.input), out = length(c.output);
    input += in;
    output += out;
    requests.push_back(RandomRequest(random, engine.info().vocab_size, in, out, fmt::format("bench-{}-{}", seed, i)));
  }
  const auto tally = std::make_shared<Tally>();
  TRY(const double start, RunAll(engine, std::move(requests), c.batch, tally));
  Measured m;
  m.total_s = Now() - start;
  m.output_rate = static_cast<double>(output) / m.total_s;
  m.total_rate = static_cast<double>(input + output) / m.total_s;
  const std::vector<double> gaps = Gaps(*tally);
  m.itl_p50_ms = 1000 * Percentile(gaps, 50);
  m.itl_p99_ms = 1000 * Percentile(gaps, 99);
  return m;
}

Measured Medians(const std::vector<Measured>& runs) {
  Measured m;
  for (double Measured::*figure :
       {&Measured::prefill_rate, &Measured::decode_rate, &Measured::ttft_ms, &Measured::step_ms, &Measured::total_s, &Measured::output_rate,
        &Measured::total_rate, &Measured::itl_p50_ms, &Measured::itl_p99_ms}) {
    std::vector<double> values;
    for (const Measured& run : runs) values.push_back(run.*figure);
    m.*figure = Percentile(values, 50);
  }
  return m;
}

// The unit that products with this model's weights would best use here.
RoofUnit ProductUnit(const EngineInfo& info) {
  if (info.weights_quantised) {
    if (HasUnit(RoofUnit::kAmxInt8)) return RoofUnit::kAmxInt8;
    if (HasUnit(RoofUnit::kDot8)) return RoofUnit::kDot8;
  } else if (HasUnit(RoofUnit::kAmxBf16)) {
    return RoofUnit::kAmxBf16;
  }
  return RoofUnit::kFma;
}

// Shares of the roofs, in percent. Prefill: products of the layers' matrices alone, against the product unit. Decoding: weights and the
// cache's mean length, read once per step, against reading alone.
double PrefillShare(const EngineInfo& info, const Roofs& roofs, const Measured& m) {
  const double roof = roofs.operations_per_s(ProductUnit(info));
  return roof > 0 ? 100 * 2 * static_cast<double>(info.layer_params) * m.prefill_rate / roof : 0;
}
double DecodeShare(const EngineInfo& info, const Roofs& roofs, const Case& c, const Measured& m) {
  if (m.step_ms <= 0 || roofs.read_bytes_per_s() <= 0) return 0;
  const double cached = static_cast<double>(c.batch) * (static_cast<double>(c.input) + static_cast<double>(c.output) / 2);
  const double bytes = static_cast<double>(info.step_weight_bytes) + cached * static_cast<double>(info.kv_bytes_per_token);
  return 100 * bytes / (m.step_ms / 1000) / roofs.read_bytes_per_s();
}

void PrintHead(const BenchOptions& config, const EngineInfo& info, const Roofs& roofs) {
  if (config.json) {
    Json head;
    head.Set("model", info.served_model_name).Set("threads", info.threads).Set("isa", info.isa);
    head.Set("weight_bytes", info.weight_bytes).Set("layer_params", info.layer_params);
    if (!config.skip_roofs) head.Set("roofs", RoofsJson(roofs));
    fmt::print("{}\n", DumpJson(head));
    return;
  }
  fmt::print("{}: {} threads, {}, KV cache {} tokens\n", info.served_model_name, info.threads, info.isa, info.max_total_tokens);
  if (!config.skip_roofs) fmt::print("{}", RoofsTable(roofs));
  if (config.mode == "mixed")
    fmt::print("{:>6} {:>7} {:>7} {:>12} {:>13} {:>11} {:>11} {:>9}\n", "batch", "input", "output", "total tok/s", "output tok/s",
               "ITL p50 ms", "ITL p99 ms", "total s");
  else
    fmt::print("{:>6} {:>7} {:>7} {:>14} {:>7} {:>13} {:>7} {:>10} {:>9} {:>9}\n", "batch", "input", "output", "prefill tok/s", "% roof",
               "decode tok/s", "% roof", "TTFT ms", "step ms", "total s");
}

void Print(const BenchOptions& config, const EngineInfo& info, const Roofs& roofs, const Case& c, const Measured& m) {
  const double prefill_share = PrefillShare(info, roofs, m), decode_share = DecodeShare(info, roofs, c, m);
  const bool mixed = config.mode == "mixed";
  if (config.json) {
    Json row;
    row.Set("mode", config.mode).Set("batch_size", c.batch).Set("input_len", c.input).Set("output_len", c.output);
    if (mixed) {
      row.Set("total_tokens_per_s", m.total_rate).Set("output_tokens_per_s", m.output_rate);
      row.Set("itl_p50_ms", m.itl_p50_ms).Set("itl_p99_ms", m.itl_p99_ms);
    } else {
      row.Set("prefill_tokens_per_s", m.prefill_rate).Set("decode_tokens_per_s", m.decode_rate);
      row.Set("ttft_ms", m.ttft_ms).Set("decode_step_ms", m.step_ms);
      if (!config.skip_roofs) row.Set("prefill_roof_percent", prefill_share).Set("decode_roof_percent", decode_share);
    }
    fmt::print("{}\n", DumpJson(row.Set("total_s", m.total_s)));
  } else if (mixed) {
    fmt::print("{:>6} {:>7} {:>7} {:>12.1f} {:>13.1f} {:>11.2f} {:>11.2f} {:>9.2f}\n", c.batch, c.input, c.output, m.total_rate,
               m.output_rate, m.itl_p50_ms, m.itl_p99_ms, m.total_s);
  } else {
    fmt::print("{:>6} {:>7} {:>7} {:>14.1f} {:>7.1f} {:>13.1f} {:>7.1f} {:>10.1f} {:>9.2f} {:>9.2f}\n", c.batch, c.input, c.output,
               m.prefill_rate, prefill_share, m.decode_rate, decode_share, m.ttft_ms, m.step_ms, m.total_s);
  }
  std::fflush(stdout);
}

constexpr int64_t kMinReadBytes = int64_t{64} << 20, kMaxReadBytes = int64_t{1} << 30;

Status Bench(BenchOptions& config) {
  EngineConfig& engine_config = config.serve.engine;
  TRY(engine_config.model_path, ResolveModelPath(engine_config.model_path, config.serve.revision));
  const int64_t largest = *std::max_element(config.batch_sizes.begin(), config.batch_sizes.end());
  engine_config.sched.max_running_requests = std::max(engine_config.sched.max_running_requests, static_cast<int>(largest));
  TRY(const std::unique_ptr<Engine> engine, Engine::Create(engine_config));
  const EngineInfo& info = engine->info();
  Roofs roofs;
  if (!config.skip_roofs) {
    TRY(roofs, MeasureRoofs(info.threads, engine_config.cpus.empty() ? std::vector<int>{} : engine_config.cpus.front(),
                            std::clamp(info.step_weight_bytes, kMinReadBytes, kMaxReadBytes)));
  }
  uint64_t seed = 1;
  if (!config.skip_warmup) {
    TRY(const Measured ignored, RunBatch(*engine, {1, 16, 4}, seed));
    (void)ignored;
  }
  PrintHead(config, info, roofs);
  for (const int64_t batch : config.batch_sizes)
    for (const int64_t input : config.input_lens)
      for (const int64_t output : config.output_lens) {
        const Case c{batch, input, output};
        std::vector<Measured> runs;
        for (int i = 0; i < config.repeats; ++i) {
          TRY(const Measured m, config.mode == "mixed" ? RunMixed(*engine, c, ++seed) : RunBatch(*engine, c, ++seed));
          runs.push_back(m);
        }
        Print(config, info, roofs, c, Medians(runs));
      }
  return {};
}

}  // namespace

int RunBench(const Arguments& arguments) {
  if (!arguments.empty() && arguments.front() == "serve") return RunBenchServe(Arguments(arguments.begin() + 1, arguments.end()));
  BenchOptions config;
  Options options("sglang bench",
                  "Runs random prompts through the engine, greedily and without stopping at end-of-sequence tokens. `sglang bench serve` "
                  "measures a running server.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("bench", options, arguments, warnings)) return *done;
  if (const Status status = config.serve.Finish(); !status.ok()) return Fail("bench", status.error().message, 2);
  SetLogLevel(config.log_level);
  LogWarnings(warnings);
  if (const Status status = Bench(config); !status.ok()) return Fail("bench", status.error().message);
  return 0;
}

}  // namespace sgl
