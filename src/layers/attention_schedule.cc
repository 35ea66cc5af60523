// SPDX-License-Identifier: Apache-2.0
#include "layers/attention_schedule.h"

namespace sgl {
namespace {

// A sequence with more rows than this in one step reads its pages for many rows anyway.
constexpr int32_t kFewRows = 8;
// Reading a position costs about as much as scoring it for this many row-heads.
constexpr int64_t kReadCost = 16;
constexpr int64_t kTasksPerThread = 4;
// What a core keeps of one sequence while it goes from group to group.
constexpr int64_t kCacheBytes = int64_t{1} << 20;

int32_t Splits(int64_t positions) { return static_cast<int32_t>((positions + kKvSplit - 1) / kKvSplit); }

}  // namespace

int64_t AttentionSchedule::Work(int64_t rows, int64_t splits) const { return (rows * shape_.heads_per_group + kReadCost) * splits; }

AttnTask AttentionSchedule::Kernel(const Step& step, const AttentionTask& task) const {
  const AttnSeq& seq = step.seqs[static_cast<size_t>(task.seq)];
  return {.pages = seq.pages,
          .page_size = seq.page_size,
          .window = shape_.window,
          .rows = task.rows,
          .row = row_.data() + task.first,
          .pos = pos_.data() + task.first,
          .part = part_.data() + task.first,
          .group = task.group_begin,
          .heads_per_group = shape_.heads_per_group,
          .split_begin = task.split_begin,
          .split_end = task.split_end};
}

void AttentionSchedule::Run(const Kernels& kernel, const Step& step, const AttentionTask& task, float scale, Mat<const float> q,
                            const KvLayer& kv, Mat<float> out, float* partials, float* scratch) const {
  AttnTask call = Kernel(step, task);
  call.scale = scale;
  if (task.partials < 0) {
    for (; call.group < task.group_end; ++call.group) kernel.attention(q, kv, call, &out, nullptr, scratch);
    return;
  }
  for (int32_t split = task.split_begin; split < task.split_end; ++split) {
    call.split_begin = split;
    call.split_end = split + 1;
    call.fetch_next = split + 1 < task.split_end;
    const int64_t at = task.partials + (split - task.split_begin) * merge_stride();
    for (call.group = task.group_begin; call.group < task.group_end; ++call.group)
      kernel.attention(q, kv, call, nullptr, partials + call.group * plane_ + at, scratch);
  }
}

void AttentionSchedule::Run(const Kernels& kernel, const AttentionMerge& merge, const float* partials, Mat<float> out) const {
  const float* first = partials + merge.group * plane_ + merge.partials;
  float* head = out.row(merge.row) + int64_t{merge.group} * shape_.heads_per_group * shape_.width;
  for (int j = 0; j < shape_.heads_per_group; ++j, first += 2 + shape_.width, head += shape_.width)
    kernel.attention_merge(first, merge.parts, merge_stride(), shape_.width, head);
}

int32_t AttentionSchedule::CommonSplits(const Step& step, const Reader& a, const Reader& b) const {
  const AttnSeq &x = step.seqs[static_cast<size_t>(a.seq)], &y = step.seqs[static_cast<size_t>(b.seq)];
  const int64_t limit = std::min(a.splits, b.splits), pages = (limit * kKvSplit + x.page_size - 1) / x.page_size;
  const int64_t same = std::mismatch(x.pages, x.pages + pages, y.pages).first - x.pages;
  return static_cast<int32_t>(std::min<int64_t>(limit, same * x.page_size / kKvSplit));
}

// Readers in the order of their page tables: those that share a beginning lie side by side.
void AttentionSchedule::FindReaders(const Step& step) {
  readers_.clear();
  shares_.assign(step.seqs.size(), false);
  if (shape_.window > 0) return;
  int64_t floats = 0;
  for (size_t s = 0; s < step.seqs.size(); ++s) {
    const AttnSeq& seq = step.seqs[s];
    const int32_t splits = (seq.first_pos + 1) / kKvSplit;
    if (seq.rows > kFewRows || splits == 0) continue;
    readers_.push_back({.seq = static_cast<int32_t>(s), .splits = splits});
    floats += int64_t{seq.rows} * Splits(int64_t{seq.first_pos} + seq.rows) * merge_stride() * shape_.groups;
  }
  if (floats > kMaxPartialFloats) readers_.clear();
  if (readers_.size() < 2) return;
  std::sort(readers_.begin(), readers_.end(), [&](const Reader& a, const Reader& b) {
    const AttnSeq &x = step.seqs[static_cast<size_t>(a.seq)], &y = step.seqs[static_cast<size_t>(b.seq)];
    const auto pages = [](const Reader& r, const AttnSeq& seq) {
      return (int64_t{r.splits} * kKvSplit + seq.page_size - 1) / seq.page_size;
    };
    return std::lexicographical_compare(x.pages, x.pages + pages(a, x), y.pages, y.pages + pages(b, y));
  });
  for (size_t i = 1; i < readers_.size(); ++i) readers_[i].common = CommonSplits(step, readers_[i - 1], readers_[i]);
}

void AttentionSchedule::Place(int32_t row, int32_t splits) {
  part_[static_cast<size_t>(row)] = plane_;
  plane_ += splits * merge_stride();
}

// Readers [begin, end) have splits [0, from) behind them. Those they all share are one task for all, then each part of them goes on.
void AttentionSchedule::Share(const Step& step, size_t begin, size_t end, int32_t from) {
  if (end - begin == 1) {
    AddSequence(step, readers_[begin].seq, from);
    return;
  }
  int32_t common = readers_[begin + 1].common;
  for (size_t i = begin + 1; i < end; ++i) common = std::min(common, readers_[i].common);
  if (common > from) {
    if (from == 0) {  // the partials of these rows are laid out over all their splits
      for (size_t i = begin; i < end; ++i) {
        const auto s = static_cast<size_t>(readers_[i].seq);
        const AttnSeq& seq = step.seqs[s];
        for (int32_t r = 0; r < seq.rows; ++r) Place(step.first_row[s] + r, Splits(int64_t{seq.first_pos} + seq.rows));
      }
    }
    auto first = static_cast<int32_t>(row_.size());
    const auto flush = [&](int32_t seq) {
      const auto rows = static_cast<int32_t>(row_.size()) - first;
      if (rows > 0) AddRows(seq, first, rows, from, common, 0, true);
      first += rows;
    };
    for (size_t i = begin; i < end; ++i) {
      const auto s = static_cast<size_t>(readers_[i].seq);
      for (int32_t r = 0; r < step.seqs[s].rows; ++r) {
        const auto row = static_cast<size_t>(step.first_row[s] + r);
        row_.push_back(static_cast<int32_t>(row));
        pos_.push_back(pos_[row]);
        part_.push_back(part_[row]);
        if (static_cast<int32_t>(row_.size()) - first == kAttnRows) flush(readers_[i].seq);
      }
    }
    flush(readers_[begin].seq);
    from = common;
  }
  for (size_t i = begin; i < end;) {
    size_t next = i + 1;
    while (next < end && readers_[next].common > from) ++next;
    Share(step, i, next, from);
    i = next;
  }
}

// Few rows: when one worker would have too much, or when going through the groups one after the other would find in cache nothing of
// what was fetched beside the group before. Many rows: when one group is too much for one worker.
bool AttentionSchedule::MustCut(int64_t rows, int64_t splits) const {
  const int64_t bytes = splits * kKvSplit * shape_.groups * shape_.width * 4;
  if (rows <= kFewRows) return bytes > kCacheBytes || (shape_.threads > 1 && Work(rows, splits) * shape_.groups > target_);
  return shape_.threads > 1 && Work(rows, splits) > target_;
}

// The rows of one sequence over the splits from `from` on; those before are in partials already.
void AttentionSchedule::AddSequence(const Step& step, int32_t s, int32_t from) {
  const AttnSeq& seq = step.seqs[static_cast<size_t>(s)];
  const int32_t first_row = step.first_row[static_cast<size_t>(s)];
  for (int32_t row = 0; row < seq.rows; row += kAttnRows) {
    const int32_t rows = std::min(seq.rows - row, kAttnRows);
    const int32_t seen = shape_.window > 0 ? std::max(0, seq.first_pos + row - shape_.window + 1) : 0;
    const int32_t begin = std::max(from, seen / kKvSplit), end = Splits(int64_t{seq.first_pos} + row + rows), base = from > 0 ? 0 : begin;
    bool cut = from > 0;
    if (!cut && end - begin > 1 && MustCut(rows, end - begin)) {
      cut = (plane_ + int64_t{rows} * (end - begin) * merge_stride()) * shape_.groups <= kMaxPartialFloats;
      for (int32_t r = 0; cut && r < rows; ++r) Place(first_row + row + r, end - begin);
    }
    AddRows(s, first_row + row, rows, begin, end, base, cut);
    if (!cut) continue;
    // Sharers placed partials for every split of the sequence, the last row's.
    const int32_t parts = from > 0 ? Splits(int64_t{seq.first_pos} + seq.rows) : end - begin;
    for (int32_t r = first_row + row; r < first_row + row + rows; ++r)
      for (int32_t g = 0; g < shape_.groups; ++g)
        merges_.push_back({.row = r, .group = g, .partials = part_[static_cast<size_t>(r)], .parts = parts});
  }
}

// Tasks for a list of rows over splits [begin, end), whose partials are laid out from split `base` on. Many rows, direct: a task per
// group, so that a group's blocks stay in cache for all rows; few rows and what is cut: all groups, which lie side by side, in one.
void AttentionSchedule::AddRows(int32_t seq, int32_t first, int32_t rows, int32_t begin, int32_t end, int32_t base, bool cut) {
  const int32_t splits = end - begin;
  if (splits <= 0) return;
  const int32_t groups = shape_.groups, step = cut || rows <= kFewRows ? groups : 1;
  const auto wanted = static_cast<int32_t>((Work(rows, splits) * groups + target_ - 1) / target_);
  const int32_t parts = cut ? std::clamp(wanted, 1, splits) : 1;
  for (int32_t g = 0; g < groups; g += step)
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t from = begin + splits * part / parts, to = begin + splits * (part + 1) / parts;
      tasks_.push_back({.seq = seq,
                        .group_begin = g,
                        .group_end = g + step,
                        .first = first,
                        .rows = rows,
                        .split_begin = from,
                        .split_end = to,
                        .partials = cut ? (from - base) * merge_stride() : -1,
                        .work = Work(rows, to - from) * step});
    }
}

void AttentionSchedule::Make(const Step& step, const AttentionShape& shape) {
  shape_ = shape;
  made_ = true;
  plane_ = 0;
  tasks_.clear();
  merges_.clear();
  const auto rows = static_cast<size_t>(step.size());
  row_.resize(rows);
  for (size_t i = 0; i < rows; ++i) row_[i] = static_cast<int32_t>(i);
  pos_.assign(step.positions.begin(), step.positions.end());
  part_.assign(rows, 0);

  int64_t total = 0;
  for (const AttnSeq& seq : step.seqs)
    for (int32_t row = 0; row < seq.rows; row += kAttnRows) {
      const int32_t last = std::min(seq.rows, row + kAttnRows);
      const int32_t seen = shape.window > 0 ? std::max(0, seq.first_pos + row - shape.window + 1) : 0;
      total += Work(last - row, Splits(int64_t{seq.first_pos} + last) - seen / kKvSplit);
    }
  target_ = std::max(total * shape.groups / (kTasksPerThread * shape.threads), Work(1, 1) * shape.groups);

  FindReaders(step);
  for (size_t i = 1; i < readers_.size(); ++i)
    if (readers_[i].common > 0) shares_[static_cast<size_t>(readers_[i - 1].seq)] = shares_[static_cast<size_t>(readers_[i].seq)] = true;
  for (size_t begin = 0; begin < readers_.size();) {
    size_t end = begin + 1;
    while (end < readers_.size() && readers_[end].common > 0) ++end;
    if (end - begin > 1) Share(step, begin, end, 0);
    begin = end;
  }
  for (size_t s = 0; s < step.seqs.size(); ++s)
    if (!shares_[s]) AddSequence(step, static_cast<int32_t>(s), 0);
  std::sort(tasks_.begin(), tasks_.end(), [](const AttentionTask& a, const AttentionTask& b) { return a.work > b.work; });
}

}  // namespace sgl
