// How the attention of one step is cut into tasks: balanced over threads by work, pages that several sequences share read once.
// Plans work only, never results: whatever the cut, a row's result has the same bits.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "layers/context.h"

namespace sgl {

struct AttentionShape {
  int heads_per_group = 1, groups = 1, width = 1;  // H/G, G, C
  int window = 0;                                  // 0: none
  int threads = 1;
};

// What one worker does in one go: direct tasks one call of Kernels::attention per group, the others one per split and group, in this
// order, because the heads of a block lie side by side and memory is fetched ahead. Afterwards attention_merge for every merge.
struct AttentionTask {
  int32_t seq = 0;                         // whose page table
  int32_t group_begin = 0, group_end = 0;  // key/value heads
  int32_t first = 0, rows = 0;             // entries of AttentionSchedule's row lists
  int32_t split_begin = 0, split_end = 0;  // of kKvSplit positions
  int64_t partials = -1;                   // added to the rows' places; -1: the task writes its output itself
  int64_t work = 0;
};
struct AttentionMerge {  // all heads of one row and group
  int32_t row = 0, group = 0;
  int64_t partials = 0;
  int32_t parts = 0;
};

// Thread: engine. Keeps its memory: no allocation once the largest step was seen.
class AttentionSchedule {
 public:
  // Floats of partials that a plan may ask for.
  static constexpr int64_t kMaxPartialFloats = int64_t{4} << 20;

  void Make(const Step& step, const AttentionShape& shape);
  void Clear() { made_ = false; }
  // Made for the same step and window?
  bool IsFor(int window) const { return made_ && shape_.window == window; }

  const std::vector<AttentionTask>& tasks() const { return tasks_; }  // the most work first
  const std::vector<AttentionMerge>& merges() const { return merges_; }
  int64_t partial_floats() const { return plane_ * shape_.groups; }
  // Runs one task: a call of `attention` of `kernel` per group and, unless the task is direct, split.
  void Run(const Kernels& kernel, const Step& step, const AttentionTask& task, float scale, Mat<const float> q, const KvLayer& kv,
           Mat<float> out, float* partials, float* scratch) const;
  // Runs one merge, all heads of its group.
  void Run(const Kernels& kernel, const AttentionMerge& merge, const float* partials, Mat<float> out) const;
  // A task as the kernel takes it, first group, all splits, partials at place 0. scale is left to the caller.
  AttnTask Kernel(const Step& step, const AttentionTask& task) const;
  int64_t merge_stride() const { return int64_t{shape_.heads_per_group} * (2 + shape_.width); }

 private:
  struct Reader {  // a sequence with few rows, which may share pages with others
    int32_t seq = 0;
    int32_t splits = 0;  // that all its rows see whole
    int32_t common = 0;  // splits whose pages it shares with the reader before it
  };
  int32_t CommonSplits(const Step& step, const Reader& a, const Reader& b) const;
  void FindReaders(const Step& step);
  void Share(const Step& step, size_t begin, size_t end, int32_t from);
  void AddSequence(const Step& step, int32_t seq, int32_t from);
  void AddRows(int32_t seq, int32_t first, int32_t rows, int32_t begin, int32_t end, int32_t base, bool cut);
  int64_t Work(int64_t rows, int64_t splits) const;
  bool MustCut(int64_t rows, int64_t splits) const;
  void Place(int32_t row, int32_t splits);

  AttentionShape shape_;
  bool made_ = false;
  int64_t plane_ = 0;   // floats of partials of one group
  int64_t target_ = 0;  // work that one task should have
  std::vector<AttentionTask> tasks_;
  std::vector<AttentionMerge> merges_;
  std::vector<int32_t> row_, pos_;  // first the step's rows in order, then the lists of tasks that span sequences
  std::vector<int64_t> part_;       // place of each row's partials in its group's plane
  std::vector<Reader> readers_;
  std::vector<bool> shares_;  // [S] read through Share
};

}  // namespace sgl
