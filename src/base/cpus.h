// Which processors to compute on: what the system lets this process use, cut down to what is worth using.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sgl {

struct Cpu {
  int id = 0;
  int core = 0;  // lowest id among its hardware threads (SMT siblings)
  int node = 0;  // NUMA node
};

// What the system says. Unknown things get harmless values: every CPU its own core, one node, no quota.
struct CpuFacts {
  std::vector<Cpu> allowed;                                // this process's affinity mask, which cgroup cpusets are part of; ascending
  double quota = std::numeric_limits<double>::infinity();  // CPUs worth of time that cgroups grant (cpu.max, v1: cfs_quota)
};
// root: put in front of /sys and /proc, for tests.
CpuFacts ReadCpuFacts(const std::string& root = "");

struct CpuPlan {
  std::vector<int> cpus;   // one per thread, ascending; empty: threads are not pinned
  std::vector<int> nodes;  // of those CPUs, as indices 0, 1, ... of the nodes in use; same size as cpus
  int threads = 1;
  std::string why;  // one line for the log
};
// wanted: threads the user asked for, 0: choose. bind: CPUs the user named, empty: choose. Chosen are: one hardware thread per core, no
// more than the quota grants, one core left for the other threads of the process from eight cores on. More threads than CPUs are not
// pinned. Errors: a named CPU that this process may not use.
Result<CpuPlan> PlanCpus(const CpuFacts& facts, int wanted, const std::vector<int>& bind);

// One plan per replica. What PlanCpus chooses for all is dealt out in groups of neighbours, so that replicas lie on NUMA nodes where their
// number allows. wanted: threads of each; where there are fewer CPUs than replicas, each has one thread that is not pinned.
// bind: CPUs of each replica; empty: choose.
Result<std::vector<CpuPlan>> PlanReplicas(const CpuFacts& facts, int wanted, const std::vector<std::vector<int>>& bind, int replicas);

// "0-3,8" -> {0, 1, 2, 3, 8}. Errors: not a list of CPUs, empty, a CPU number above 4095.
Result<std::vector<int>> ParseCpuList(std::string_view text);
// SGLANG_CPU_OMP_THREADS_BIND: one list of CPUs per rank, separated by '|'; "all" or "" is empty. Errors: another number of lists than
// ranks.
Result<std::vector<std::vector<int>>> ParseThreadsBind(std::string_view text, int ranks);

}  // namespace sgl
