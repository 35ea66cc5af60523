// New weights for a running engine: loaded on a thread of their own, beside the old ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"
#include "models/model.h"

namespace sgl {

// Thread: engine; one at a time. Joins its thread when destroyed.
class WeightsUpdate {
 public:
  // Starts loading `asked.model_path` with `config`'s options; `ready` is called on the loading thread when the result is there.
  // shape: the new model must have the same. scratch_bytes: what the runner's arena holds.
  WeightsUpdate(UpdateWeights wanted, EngineConfig config, ModelShape shape, size_t scratch_bytes, int threads, ControlDone when_done,
                std::function<void()> ready);
  ~WeightsUpdate();

  // Once `ready` was called.
  Result<std::unique_ptr<Model>>& result() { return result_; }

  const UpdateWeights asked;
  const ControlDone done;
  uint64_t abort_before = 0;  // with asked.abort_all_requests: requests with smaller ids

 private:
  Result<std::unique_ptr<Model>> result_;
  std::thread thread_;
};

// One tensor of the model at `model_path`, as float32, cut to the first `truncate_size` entries of its first dimension; a number, or lists
// of lists of numbers. name: as in Hugging Face checkpoints. Thread: any. Errors: no such tensor, with names that are near.
Result<Json> WeightByName(const std::string& model_path, const std::string& name, int64_t truncate_size);

// A checksum per tensor over type, shape and bytes, by name. Thread: any.
Result<std::vector<std::pair<std::string, uint64_t>>> WeightChecksums(const std::string& model_path);

}  // namespace sgl
