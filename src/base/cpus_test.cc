// SPDX-License-Identifier: Apache-2.0
#include "base/cpus.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>

namespace sgl {
namespace {

CpuFacts Machine(int cores, int threads_per_core, int nodes) {  // as Linux numbers them: all cores first, then their second threads
  CpuFacts facts;
  for (int id = 0; id < cores * threads_per_core; ++id) facts.allowed.push_back({id, id % cores, id % cores / (cores / nodes)});
  return facts;
}

TEST(PlanCpus, OneThreadPerCore) {
  const auto plan = PlanCpus(Machine(4, 2, 1), 0, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->cpus, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(plan->threads, 4);
  EXPECT_NE(plan->why.find("4 threads on CPUs 0-3"), std::string::npos) << plan->why;
}

TEST(PlanCpus, TheQuotaCounts) {
  CpuFacts facts = Machine(4, 1, 1);
  for (const auto& [quota, threads] : {std::pair{0.2, 1}, {1.2, 1}, {1.6, 2}, {3.0, 3}, {64.0, 4}}) {
    facts.quota = quota;
    EXPECT_EQ(PlanCpus(facts, 0, {})->threads, threads) << quota;
  }
}

TEST(PlanCpus, ACoreIsLeftForOthersOnLargeMachinesOnly) {
  EXPECT_EQ(PlanCpus(Machine(7, 1, 1), 0, {})->threads, 7);
  EXPECT_EQ(PlanCpus(Machine(8, 1, 1), 0, {})->threads, 7);
  EXPECT_EQ(PlanCpus(Machine(16, 2, 2), 0, {})->threads, 15);
  EXPECT_EQ(PlanCpus(Machine(16, 2, 2), 16, {})->threads, 16);
}

TEST(PlanCpus, ThreadsOfOneNodeStayTogether) {
  CpuFacts facts = Machine(4, 1, 1);
  for (Cpu& cpu : facts.allowed) cpu.node = cpu.id % 2;  // interleaved nodes
  const auto two = PlanCpus(facts, 2, {});
  EXPECT_EQ(two->cpus, (std::vector<int>{0, 2}));
  EXPECT_EQ(two->nodes, (std::vector<int>{0, 0}));
  const auto all = PlanCpus(facts, 0, {});
  EXPECT_EQ(all->cpus, (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(all->nodes, (std::vector<int>{0, 0, 1, 1}));
}

TEST(PlanCpus, BoundCpusAreTakenAsTheyAre) {
  const auto plan = PlanCpus(Machine(4, 2, 1), 0, {1, 5});  // two hardware threads of one core
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->cpus, (std::vector<int>{1, 5}));
  EXPECT_NE(PlanCpus(Machine(4, 1, 1), 0, {9}).error().message.find("CPU 9"), std::string::npos);
}

TEST(PlanCpus, MoreThreadsThanCpusAreNotPinned) {
  const auto plan = PlanCpus(Machine(2, 1, 1), 5, {});
  EXPECT_EQ(plan->threads, 5);
  EXPECT_TRUE(plan->cpus.empty());
}

TEST(PlanReplicas, NeighboursOfOneNodeEach) {
  const auto plans = PlanReplicas(Machine(8, 1, 2), 4, {}, 2);
  ASSERT_TRUE(plans.ok());
  ASSERT_EQ(plans->size(), 2u);
  EXPECT_EQ((*plans)[0].cpus, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ((*plans)[1].cpus, (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ((*plans)[1].nodes, (std::vector<int>{0, 0, 0, 0})) << "nodes count from 0 in every plan";
  const auto chosen = PlanReplicas(Machine(8, 1, 2), 0, {}, 2);  // seven of eight cores
  EXPECT_EQ((*chosen)[0].cpus, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ((*chosen)[1].cpus, (std::vector<int>{4, 5, 6}));
  EXPECT_EQ(PlanReplicas(Machine(4, 1, 1), 0, {}, 1)->front().cpus, PlanCpus(Machine(4, 1, 1), 0, {})->cpus);
}

TEST(PlanReplicas, MoreReplicasThanCpusHaveOneThreadEach) {
  const auto plans = PlanReplicas(Machine(2, 1, 1), 0, {}, 3);
  ASSERT_EQ(plans->size(), 3u);
  for (const CpuPlan& plan : *plans) EXPECT_EQ(plan.threads, 1);
  EXPECT_TRUE((*plans)[2].cpus.empty());
}

TEST(PlanReplicas, BoundCpusAreTakenAsTheyAre) {
  const auto plans = PlanReplicas(Machine(4, 1, 1), 0, {{3}, {0, 1}}, 2);
  EXPECT_EQ((*plans)[0].cpus, (std::vector<int>{3}));
  EXPECT_EQ((*plans)[1].cpus, (std::vector<int>{0, 1}));
  EXPECT_FALSE(PlanReplicas(Machine(4, 1, 1), 0, {{3}, {9}}, 2).ok());
}

TEST(ParseThreadsBind, OneListPerRank) {
  using Lists = std::vector<std::vector<int>>;
  EXPECT_EQ(*ParseThreadsBind("0-2|4,6", 2), (Lists{{0, 1, 2}, {4, 6}}));
  EXPECT_EQ(*ParseThreadsBind("0-2,8", 1), (Lists{{0, 1, 2, 8}}));
  EXPECT_TRUE(ParseThreadsBind("all", 1)->empty());
  EXPECT_TRUE(ParseThreadsBind("", 3)->empty());
  EXPECT_NE(ParseThreadsBind("0|1", 1).error().message.find("2 lists"), std::string::npos);
  for (const char* bad : {"x", "0-", "3-1", "0,,1", "-1", "0-5000"}) EXPECT_FALSE(ParseThreadsBind(bad, 1).ok()) << bad;
}

class FakeRoot {
 public:
  FakeRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sglang_cpus_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  void Write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(ReadCpuFacts, QuotasOfBothVersionsAndAllLevels) {
  {
    const FakeRoot root;
    EXPECT_TRUE(std::isinf(ReadCpuFacts(root.path()).quota));
    root.Write("/proc/self/cgroup", "0::/a/b\n");
    root.Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    root.Write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    root.Write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    EXPECT_DOUBLE_EQ(ReadCpuFacts(root.path()).quota, 1.5);
  }
  {
    const FakeRoot root;
    root.Write("/proc/self/cgroup", "3:cpuset:/\n1:cpu,cpuacct:/docker/x\n");
    root.Write("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "200000\n");
    root.Write("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
    root.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    root.Write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    EXPECT_DOUBLE_EQ(ReadCpuFacts(root.path()).quota, 2);
  }
}

TEST(ReadCpuFacts, SiblingsAndNodesOfTheAllowedCpus) {
  const FakeRoot root;
  root.Write("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,1\n");
  root.Write("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0,1\n");
  root.Write("/sys/devices/system/node/node2/cpulist", "0-1\n");
  const CpuFacts facts = ReadCpuFacts(root.path());
  ASSERT_FALSE(facts.allowed.empty());
  for (const Cpu& cpu : facts.allowed) {
    if (cpu.id > 1) continue;
    EXPECT_EQ(cpu.core, 0);
    EXPECT_EQ(cpu.node, 2);
  }
}

}  // namespace
}  // namespace sgl
