// Start-up: from a model path and options to everything the loops of all replicas need.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "engine/runner.h"
#include "kv/kv_cache.h"

namespace sgl {

// One replica.
struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;
  std::shared_ptr<const Model> model;  // all replicas read the same
  std::unique_ptr<Runner> runner;
  std::unique_ptr<KvCache> cache;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string chat_template;
  SchedConfig sched;  // with every size filled in
  EngineInfo info;
};

// config.dp_size of them.
Result<std::vector<LoadedModel>> LoadReplicas(const EngineConfig& config);
// Only the model at config.model_path, with the options that concern weights.
Result<std::unique_ptr<Model>> LoadWeights(const EngineConfig& config, ThreadPool& pool);

// Memory that this process may still take, in bytes: what the system and the cgroup have left. total: of the machine or cgroup.
struct MemoryBudget {
  int64_t total = 0, available = 0;
};
MemoryBudget ReadMemoryBudget();

}  // namespace sgl
