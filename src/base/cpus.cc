// SPDX-License-Identifier: Apache-2.0
#include "base/cpus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "base/cgroup.h"

namespace sgl {
namespace {

constexpr int kMaxCpu = 4095;
constexpr int kReserveFrom = 8;  // cores: with fewer, one is too much to give away

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<int> ParseInt(std::string_view text) {
  int value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// Version 2: "max 100000" or "150000 100000". Version 1: two files. Infinity where there is no limit.
double QuotaOf(const std::string& directory) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double quota = -1, period = 0;
  if (const auto line = FirstLine(directory + "/cpu.max")) {
    std::istringstream(*line) >> quota >> period;  // "max" does not parse
  } else {
    std::istringstream(FirstLine(directory + "/cpu.cfs_quota_us").value_or("")) >> quota;
    std::istringstream(FirstLine(directory + "/cpu.cfs_period_us").value_or("")) >> period;
  }
  return quota > 0 && period > 0 ? quota / period : kNone;
}

double ReadQuota(const std::string& root) {
  double quota = std::numeric_limits<double>::infinity();
  for (const std::string& directory : CgroupDirectories("cpu", root)) quota = std::min(quota, QuotaOf(directory));
  return quota;
}

std::vector<int> AffinityMask() {
  std::vector<int> cpus;
  std::vector<cpu_set_t> set((kMaxCpu + 1) / (8 * sizeof(cpu_set_t)));
  const size_t bytes = set.size() * sizeof(cpu_set_t);
  if (sched_getaffinity(0, bytes, set.data()) == 0)
    for (int cpu = 0; cpu <= kMaxCpu; ++cpu)
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set.data())) cpus.push_back(cpu);
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// {0, 1, 2, 5} -> "0-2,5"
std::string Ranges(const std::vector<int>& cpus) {
  std::string out;
  for (size_t i = 0; i < cpus.size();) {
    size_t j = i;
    while (j + 1 < cpus.size() && cpus[j + 1] == cpus[j] + 1) ++j;
    out += fmt::format("{}{}", out.empty() ? "" : ",", cpus[i]);
    if (j > i) out += fmt::format("-{}", cpus[j]);
    i = j + 1;
  }
  return out;
}

}  // namespace

CpuFacts ReadCpuFacts(const std::string& root) {
  CpuFacts facts;
  std::map<int, int> node_of;
  for (int node = 0; node < 1024; ++node) {
    const auto list = FirstLine(fmt::format("{}/sys/devices/system/node/node{}/cpulist", root, node));
    if (!list) {
      if (node > 64) break;  // numbers may have gaps, but not such
      continue;
    }
    if (const auto cpus = ParseCpuList(*list); cpus.ok())
      for (const int cpu : *cpus) node_of[cpu] = node;
  }
  for (const int id : AffinityMask()) {
    Cpu cpu{id, id, 0};
    if (const auto found = node_of.find(id); found != node_of.end()) cpu.node = found->second;
    const auto siblings = FirstLine(fmt::format("{}/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", root, id));
    if (siblings)
      if (const auto cpus = ParseCpuList(*siblings); cpus.ok()) cpu.core = cpus->front();
    facts.allowed.push_back(cpu);
  }
  facts.quota = ReadQuota(root);
  return facts;
}

Result<CpuPlan> PlanCpus(const CpuFacts& facts, int wanted, const std::vector<int>& bind) {
  std::vector<Cpu> chosen;
  std::vector<std::string> why = {fmt::format("{} CPUs allowed", facts.allowed.size())};
  if (!bind.empty()) {
    for (const int id : bind) {
      const auto found = std::find_if(facts.allowed.begin(), facts.allowed.end(), [&](const Cpu& cpu) { return cpu.id == id; });
      if (found == facts.allowed.end()) return InvalidArgument(fmt::format("this process may not run on CPU {}", id));
      chosen.push_back(*found);
    }
    why.push_back("as bound");
  } else {
    for (const Cpu& cpu : facts.allowed)
      if (std::none_of(chosen.begin(), chosen.end(), [&](const Cpu& other) { return other.core == cpu.core; })) chosen.push_back(cpu);
    if (chosen.size() < facts.allowed.size()) why.push_back(fmt::format("one of {} cores each", chosen.size()));
  }
  // Neighbours on one node first, so that a few threads do not span two.
  std::stable_sort(chosen.begin(), chosen.end(), [](const Cpu& a, const Cpu& b) { return a.node < b.node; });

  size_t count = chosen.size();
  if (std::isfinite(facts.quota)) {
    const auto granted = static_cast<size_t>(std::max<long>(1, std::lround(facts.quota)));
    why.push_back(fmt::format("cgroup grants {:.2f}", facts.quota));
    count = std::min(count, granted);
  }
  if (bind.empty() && wanted == 0 && count >= kReserveFrom && count == chosen.size()) {
    --count;
    why.push_back("one core left for I/O");
  }
  if (wanted > 0) {
    count = static_cast<size_t>(wanted);
    why.push_back("--threads");
  }
  CpuPlan plan;
  plan.threads = static_cast<int>(count);
  std::vector<int> nodes;
  if (count <= chosen.size()) {
    chosen.resize(count);
    for (const Cpu& cpu : chosen) {
      if (std::find(nodes.begin(), nodes.end(), cpu.node) == nodes.end()) nodes.push_back(cpu.node);
      plan.cpus.push_back(cpu.id);
      plan.nodes.push_back(static_cast<int>(std::find(nodes.begin(), nodes.end(), cpu.node) - nodes.begin()));
    }
    if (nodes.size() > 1) why.push_back(fmt::format("{} NUMA nodes", nodes.size()));
  }
  std::vector<int> sorted = plan.cpus;
  std::sort(sorted.begin(), sorted.end());
  plan.why = plan.cpus.empty() ? fmt::format("{} threads, not pinned: more than CPUs ({})", count, fmt::join(why, ", "))
                               : fmt::format("{} threads on CPUs {} ({})", count, Ranges(sorted), fmt::join(why, ", "));
  return plan;
}

Result<std::vector<CpuPlan>> PlanReplicas(const CpuFacts& facts, int wanted, const std::vector<std::vector<int>>& bind, int replicas) {
  std::vector<CpuPlan> plans;
  if (!bind.empty() || replicas == 1) {
    for (int r = 0; r < replicas; ++r) {
      TRY(CpuPlan plan, PlanCpus(facts, wanted, bind.empty() ? std::vector<int>{} : bind[static_cast<size_t>(r)]));
      plans.push_back(std::move(plan));
    }
    return plans;
  }
  TRY(const CpuPlan all, PlanCpus(facts, wanted * replicas, {}));
  const auto total = static_cast<size_t>(all.threads), count = static_cast<size_t>(replicas);
  size_t next = 0;
  for (size_t r = 0; r < count; ++r) {
    CpuPlan plan;
    const size_t share = std::max<size_t>(1, total / count + (r < total % count));
    plan.threads = static_cast<int>(share);
    if (next + share <= all.cpus.size()) {
      std::vector<int> nodes;
      for (size_t i = next; i < next + share; ++i) {
        plan.cpus.push_back(all.cpus[i]);
        const auto known = std::find(nodes.begin(), nodes.end(), all.nodes[i]);
        plan.nodes.push_back(static_cast<int>(known - nodes.begin()));
        if (known == nodes.end()) nodes.push_back(all.nodes[i]);
      }
      next += share;
    }
    std::vector<int> sorted = plan.cpus;
    std::sort(sorted.begin(), sorted.end());
    plan.why = plan.cpus.empty() ? fmt::format("replica {}: {} threads, not pinned", r, share)
                                 : fmt::format("replica {}: {} threads on CPUs {}", r, share, Ranges(sorted));
    plans.push_back(std::move(plan));
  }
  return plans;
}

Result<std::vector<int>> ParseCpuList(std::string_view text) {
  const Error invalid = InvalidArgument(fmt::format("'{}' is not a list of CPUs such as 0-15,32", text));
  std::vector<int> cpus;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    const size_t dash = part.find('-');
    const auto first = ParseInt(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParseInt(part.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last > kMaxCpu) return invalid;
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    begin = end + 1;
  }
  return cpus;
}

Result<std::vector<std::vector<int>>> ParseThreadsBind(std::string_view text, int ranks) {
  if (text.empty() || text == "all") return std::vector<std::vector<int>>{};
  std::vector<std::string_view> lists;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('|', begin), text.size());
    lists.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (static_cast<int>(lists.size()) != ranks)
    return InvalidArgument(fmt::format("'{}' has {} lists of CPUs, but there {} {} rank{}", text, lists.size(), ranks == 1 ? "is" : "are",
                                       ranks, ranks == 1 ? "" : "s"));
  std::vector<std::vector<int>> out;
  for (const std::string_view list : lists) {
    TRY(std::vector<int> cpus, ParseCpuList(list));
    out.push_back(std::move(cpus));
  }
  return out;
}

}  // namespace sgl
