// Offline throughput: how fast this machine reads prompts and writes answers, without HTTP in between.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

#include "app/commands.h"
#include "app/serve_options.h"
#include "obs/log.h"

namespace sgl {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

struct BenchOptions {
  ServeOptions serve;
  std::vector<int64_t> batch_sizes = {1}, input_lens = {128}, output_lens = {64};
  bool json = false, skip_warmup = false;
  std::string log_level = "warning";

  void Visit(Options& field) {
    field.Group("Benchmark");
    field("batch-size", batch_sizes, "requests at once; every combination of the three lists is run", Range{1, 65536});
    field("input-len", input_lens, "prompt tokens per request", Range{1, 1 << 24}, OptionTrait::kHumanInt);
    field("output-len", output_lens, "answer tokens per request", Range{1, 1 << 24}, OptionTrait::kHumanInt);
    field("json", json, "write JSON lines instead of a table");
    field("skip-warmup", skip_warmup, "no first run before measuring");
    field("log-level", log_level, "least important lines to write to stderr", Choices{{"debug", "info", "warning", "error", "critical"}});
    serve.VisitEngine(field);
  }
};

struct Case {
  int64_t batch, input, output;
};

struct Measured {
  double ttft_s = 0;     // median over the batch, from submission
  double prefill_s = 0;  // submission to the last request's first token
  double decode_s = 0;   // from there to the end
  double total_s = 0;
};

// What the sinks of one batch tell the waiting thread.
struct Batch {
  std::mutex mutex;  // the engine thread writes, the main thread waits
  std::condition_variable ended;
  std::vector<SteadyTime> first;  // arrival of each request's first token
  std::vector<int64_t> tokens;
  int64_t open = 0;
  std::string error;

  void Take(size_t index, const TokenDelta& delta) {
    const SteadyTime now = std::chrono::steady_clock::now();
    std::lock_guard lock(mutex);
    if (!delta.tokens.empty() && tokens[index] == 0) first[index] = now;
    tokens[index] += static_cast<int64_t>(delta.tokens.size());
    if (!delta.finish) return;
    if (delta.finish->kind == FinishKind::kAbort) error = delta.finish->message;
    if (--open == 0) ended.notify_all();
  }
};

double SecondsBetween(SteadyTime from, SteadyTime to) { return std::chrono::duration<double>(to - from).count(); }

// Random prompts share no prefix, so nothing comes from the cache.
GenerateRequest RandomRequest(std::mt19937_64& random, int64_t vocabulary, const Case& c, const std::string& rid) {
  GenerateRequest request;
  request.rid = rid;
  for (int64_t i = 0; i < c.input; ++i) request.prompt.push_back(static_cast<TokenId>(random() % static_cast<uint64_t>(vocabulary)));
  request.sampling.max_new_tokens = c.output;
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  return request;
}

Result<Measured> Run(Engine& engine, const Case& c, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto batch = std::make_shared<Batch>();  // shared: after an error the sinks outlive this call
  batch->first.resize(static_cast<size_t>(c.batch));
  batch->tokens.resize(static_cast<size_t>(c.batch));
  batch->open = c.batch;
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < c.batch; ++i)
    requests.push_back(RandomRequest(random, engine.info().vocab_size, c, fmt::format("bench-{}-{}", seed, i)));

  const SteadyTime start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    const Result<RequestId> id = engine.Submit(std::move(requests[i]), [batch, i](TokenDelta delta) { batch->Take(i, delta); });
    if (!id.ok()) {
      engine.AbortAll();
      return Error(id.error());
    }
  }
  std::unique_lock lock(batch->mutex);
  batch->ended.wait(lock, [&] { return batch->open == 0; });
  const SteadyTime end = std::chrono::steady_clock::now();
  if (!batch->error.empty()) return Internal(batch->error);
  for (const int64_t tokens : batch->tokens)
    if (tokens != c.output) return Internal(fmt::format("a request gave {} tokens instead of {}", tokens, c.output));

  std::sort(batch->first.begin(), batch->first.end());
  Measured m;
  m.ttft_s = SecondsBetween(start, batch->first[batch->first.size() / 2]);
  m.prefill_s = SecondsBetween(start, batch->first.back());
  m.decode_s = SecondsBetween(batch->first.back(), end);
  m.total_s = SecondsBetween(start, end);
  return m;
}

// Tokens after each request's first one; they are what decoding steps make. Zero when there is nothing to divide.
double DecodeRate(const Case& c, const Measured& m) {
  return c.output > 1 && m.decode_s > 0 ? static_cast<double>(c.batch * (c.output - 1)) / m.decode_s : 0;
}
double StepMs(const Case& c, const Measured& m) { return c.output > 1 ? 1000 * m.decode_s / static_cast<double>(c.output - 1) : 0; }

void Print(const BenchOptions& config, const Case& c, const Measured& m) {
  const double prefill_rate = static_cast<double>(c.batch * c.input) / m.prefill_s;
  if (config.json) {
    Json row;
    row.Set("batch_size", c.batch).Set("input_len", c.input).Set("output_len", c.output);
    row.Set("prefill_tokens_per_s", prefill_rate).Set("decode_tokens_per_s", DecodeRate(c, m));
    row.Set("ttft_ms", 1000 * m.ttft_s).Set("decode_step_ms", StepMs(c, m)).Set("total_s", m.total_s);
    fmt::print("{}\n", DumpJson(row));
  } else {
    fmt::print("{:>6} {:>7} {:>7} {:>15.1f} {:>14.1f} {:>10.1f} {:>9.2f} {:>9.2f}\n", c.batch, c.input, c.output, prefill_rate,
               DecodeRate(c, m), 1000 * m.ttft_s, StepMs(c, m), m.total_s);
  }
  std::fflush(stdout);
}

Status Bench(BenchOptions& config) {
  EngineConfig& engine_config = config.serve.engine;
  TRY(engine_config.model_path, ResolveModelPath(engine_config.model_path, config.serve.revision));
  const int64_t largest = *std::max_element(config.batch_sizes.begin(), config.batch_sizes.end());
  engine_config.sched.max_running_requests = std::max(engine_config.sched.max_running_requests, static_cast<int>(largest));
  TRY(const std::unique_ptr<Engine> engine, Engine::Create(engine_config));
  const EngineInfo& info = engine->info();
  uint64_t seed = 1;
  if (!config.skip_warmup)
    TRY_STATUS([&]() -> Status {
      TRY(const Measured ignored, Run(*engine, {1, 16, 4}, seed));
      (void)ignored;
      return {};
    }());
  if (!config.json) {
    fmt::print("{}: {} threads, {}, KV cache {} tokens\n", info.served_model_name, info.threads, info.isa, info.max_total_tokens);
    fmt::print("{:>6} {:>7} {:>7} {:>15} {:>14} {:>10} {:>9} {:>9}\n", "batch", "input", "output", "prefill tok/s", "decode tok/s",
               "TTFT ms", "step ms", "total s");
  }
  for (const int64_t batch : config.batch_sizes)
    for (const int64_t input : config.input_lens)
      for (const int64_t output : config.output_lens) {
        const Case c{batch, input, output};
        TRY(const Measured m, Run(*engine, c, ++seed));
        Print(config, c, m);
      }
  return {};
}

}  // namespace

int RunBench(const Arguments& arguments) {
  BenchOptions config;
  Options options("sglang bench", "Runs random prompts through the engine, greedily and without stopping at end-of-sequence tokens.");
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
