// SPDX-License-Identifier: Apache-2.0
#include "app/bench_roofs.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/thread_pool.h"
#include "tensor/buffer.h"

namespace sgl {
namespace {

constexpr int kSlices = 11;
constexpr int64_t kTileBytes = 512 << 10;  // half of a second-level cache of the last ten years
constexpr double kSliceSeconds = 0.008;

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Operations per second of `threads` threads that all do the same.
double UnitRate(ThreadPool& pool, int threads, RoofUnit unit, const std::byte* tiles) {
  std::vector<double> done(static_cast<size_t>(threads)), rates;
  int64_t rounds = 1;
  const auto slice = [&] {
    const double begin = Now();
    pool.Run(threads,
             [&](int task, int) { done[static_cast<size_t>(task)] = RunUnit(unit, tiles + task * kTileBytes, kTileBytes, rounds); });
    return Now() - begin;
  };
  while (slice() < kSliceSeconds / 2 && rounds < (int64_t{1} << 30)) rounds *= 2;
  for (int i = 0; i < kSlices; ++i) {
    const double seconds = slice();
    double operations = 0;
    for (const double d : done) operations += d;
    rates.push_back(operations / seconds);
  }
  return Median(rates);
}

double ReadRate(ThreadPool& pool, int threads, const Buffer& memory, std::vector<uint64_t>& sinks) {
  const auto bytes = static_cast<int64_t>(memory.bytes());
  std::vector<double> rates;
  for (int i = 0; i < kSlices; ++i) {
    const double begin = Now();
    // Small tasks, as the engine has them: a thread that loses its core costs little.
    const int tasks = threads * 8;
    pool.Run(tasks, [&](int task, int worker) {
      const int64_t from = bytes / tasks * task;
      sinks[static_cast<size_t>(worker)] ^= ReadStream(memory.data() + from, bytes / tasks);
    });
    rates.push_back(static_cast<double>(bytes) / (Now() - begin) * 1e-9);
  }
  return Median(rates);
}

}  // namespace

double Roofs::operations_per_s(RoofUnit unit) const {
  for (const Unit& u : units)
    if (u.unit == unit) return u.all_threads;
  return 0;
}

Result<Roofs> MeasureRoofs(int threads, const std::vector<int>& bind, int64_t read_bytes) {
  const CpuFacts facts = ReadCpuFacts();
  Roofs roofs;
  roofs.read_bytes = read_bytes;
  TRY(const Buffer memory, Buffer::Allocate(static_cast<size_t>(read_bytes)));
  TRY(const Buffer tiles, Buffer::Allocate(static_cast<size_t>(kTileBytes * threads)));
  std::memset(memory.data(), 1, memory.bytes());
  std::memset(tiles.data(), 0, tiles.bytes());
  std::vector<uint64_t> sinks(static_cast<size_t>(threads));
  std::vector<int> counts;
  for (int count = 1; count < threads; count *= 2) counts.push_back(count);
  counts.push_back(threads);
  for (const int count : counts) {
    TRY(const CpuPlan plan, PlanCpus(facts, count, bind));
    ThreadPool pool(plan);
    roofs.reads.push_back({count, ReadRate(pool, count, memory, sinks)});
  }
  TRY(const CpuPlan plan, PlanCpus(facts, threads, bind));
  ThreadPool one(1), all(plan);
  for (const RoofUnit unit : kRoofUnits)
    if (HasUnit(unit)) roofs.units.push_back({unit, UnitRate(one, 1, unit, tiles.data()), UnitRate(all, threads, unit, tiles.data())});
  return roofs;
}

std::string RoofsTable(const Roofs& roofs) {
  std::string table;
  for (const Roofs::Read& read : roofs.reads)
    table += fmt::format("{:<24} {:>2} threads {:>10.1f} GB/s\n", fmt::format("read {} MiB", roofs.read_bytes >> 20), read.threads,
                         read.gb_per_s);
  for (const Roofs::Unit& unit : roofs.units)
    table += fmt::format("{:<24}  1 thread  {:>10.3f} T/s, all {:>8.3f} T/s\n", Name(unit.unit), unit.one_thread * 1e-12,
                         unit.all_threads * 1e-12);
  return table;
}

Json RoofsJson(const Roofs& roofs) {
  Json out, reads(Json::Array{});
  for (const Roofs::Read& read : roofs.reads) {
    Json entry;
    entry.Set("threads", read.threads).Set("gb_per_s", read.gb_per_s);
    reads.Push(std::move(entry));
  }
  out.Set("read_bytes", roofs.read_bytes).Set("read", std::move(reads));
  for (const Roofs::Unit& unit : roofs.units) {
    Json entry;
    entry.Set("one_thread", unit.one_thread).Set("all_threads", unit.all_threads);
    out.Set(Name(unit.unit), std::move(entry));
  }
  return out;
}

}  // namespace sgl
