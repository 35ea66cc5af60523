// New weights for a running engine: loaded on a thread of their own, beside the old ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"
#include "models/model.h"

namespace sgl {

// One update, shared by the replicas that take part: loads the weights once, then collects a vote of each. Only when all are ready does
// anybody exchange its weights. Thread: any.
class WeightsUpdate {
 public:
  using Loaded = Result<std::shared_ptr<const Model>>;

  explicit WeightsUpdate(int replicas) : missing_(replicas) {}
  ~WeightsUpdate();  // waits for the loading

  // A replica takes part. The first one starts the loading: load runs on a thread of its own. wake: called, from whatever thread, when the
  // weights are there and when the verdict is; never after Leave.
  void Join(int rank, std::function<Loaded()> load, std::function<void()> wake);
  // What was loaded; null: not yet.
  const Loaded* loaded() const;
  // Once by every replica: it is ready, or why it cannot. Those that cannot even join vote, too.
  void Vote(const Status& status);
  // Nothing: some votes are missing. Else all are ready, or what the first one that is not says.
  std::optional<Status> verdict() const;
  // The replica is about to end; if the verdict is still open this is its vote.
  void Leave(int rank, const Error& why);

 private:
  void WakeAll();

  mutable std::mutex mutex_;  // held for a look, or while replicas are woken
  int missing_;
  Status worst_;
  std::optional<Loaded> loaded_;
  std::map<int, std::function<void()>> wakes_;
  std::thread thread_;
};

// The model at asked.model_path with `config`'s options. shape: it must have the same. scratch_bytes: what its passes may take at most with
// so many threads. Takes long.
WeightsUpdate::Loaded LoadNewWeights(const UpdateWeights& asked, EngineConfig config, const ModelShape& shape, size_t scratch_bytes,
                                     int threads);

// One tensor of the model at `model_path`, as float32, cut to the first `truncate_size` entries of its first dimension; a number, or lists
// of lists of numbers. name: as in Hugging Face checkpoints. Thread: any. Errors: no such tensor, with names that are near.
Result<Json> WeightByName(const std::string& model_path, const std::string& name, int64_t truncate_size);

// A checksum per tensor over type, shape and bytes, by name. Thread: any.
Result<std::vector<std::pair<std::string, uint64_t>>> WeightChecksums(const std::string& model_path);

}  // namespace sgl
