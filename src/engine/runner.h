// Runs a StepPlan through the model, in passes that fit the scratch memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kv/kv_store.h"
#include "layers/attention_schedule.h"
#include "layers/context.h"
#include "models/model.h"
#include "sched/scheduler.h"

namespace sgl {

// One wanted row of logits: token `offset` of plan row `row`. logits false: only its hidden state is wanted.
struct LogitsRow {
  int32_t row = 0, offset = 0;
  bool logits = true;
};

// Thread: engine. Lives as long as Engine.
class Runner {
 public:
  // Tokens that go through the model in one pass. A longer step takes several; by the determinism rule the result is the same.
  static constexpr int32_t kPassTokens = 512;
  static constexpr int32_t kLogitsRows = 64;  // logits that exist at the same time

  static Result<std::unique_ptr<Runner>> Create(const Model& model, KvStore store, int32_t page_size, ThreadPool& pool);
  // Bytes that Create will take besides the store.
  static size_t ScratchBytes(const Model& model, int threads);

  // From now on this model, whose shape and ScratchBytes are no larger than the first one's.
  void Use(const Model& model) { model_ = &model; }

  // use(first, hidden, logits): hidden [count, D] and logits [count, V] of wanted[first, first + count), in order; logits may be
  // overwritten, and hold nothing where they are not wanted. wanted: ascending by (row, offset). embeds: one per plan row, or none at all;
  // [n, D], given embeddings of a sequence's first n tokens. Allocates nothing once its vectors have seen the largest step.
  template <class Use>
  void Run(const StepPlan& plan, std::span<const LogitsRow> wanted, std::span<const Mat<const float>> embeds, const Use& use) {
    RunErased(plan, wanted, embeds,
              {[](const void* u, size_t first, Mat<const float> hidden, Mat<float> logits) {
                 (*static_cast<const Use*>(u))(first, hidden, logits);
               },
               &use});
  }

 private:
  Runner(const Model& model, KvStore store, int32_t page_size, ThreadPool& pool, Arena arena);
  void Append(const PlanRow& row, int32_t from, int32_t count, Mat<const float> embeds);
  struct ErasedUse {
    void (*call)(const void* use, size_t first, Mat<const float> hidden, Mat<float> logits);
    const void* use;
  };
  void RunErased(const StepPlan& plan, std::span<const LogitsRow> wanted, std::span<const Mat<const float>> embeds, ErasedUse use);
  void ClearPass();
  void RunPass(std::span<const LogitsRow> wanted, size_t first_wanted, ErasedUse use);

  const Model* model_;
  KvStore store_;
  std::vector<KvLayer> layers_;
  int32_t page_size_;
  Arena arena_;
  AttentionSchedule schedule_;
  RunContext ctx_;
  Step step_;
};

}  // namespace sgl
