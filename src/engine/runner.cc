// SPDX-License-Identifier: Apache-2.0
#include "engine/runner.h"

#include <algorithm>

#include "base/check.h"

namespace sgl {

// PlanRow's page table is read as the int32 table that kernels take.
static_assert(sizeof(PageId) == sizeof(int32_t));

size_t Runner::ScratchBytes(const Model& model, int threads) {
  const ModelShape& s = model.shape();
  const auto hidden = static_cast<size_t>(kPassTokens * s.width) * sizeof(float);
  const auto logits = static_cast<size_t>(kLogitsRows * s.vocab_size) * sizeof(float);
  return hidden + logits + model.ScratchBytes(kPassTokens, threads) + 65536;
}

Result<std::unique_ptr<Runner>> Runner::Create(const Model& model, KvStore store, int32_t page_size, ThreadPool& pool) {
  TRY(Arena arena, Arena::Allocate(ScratchBytes(model, pool.threads())));
  return std::unique_ptr<Runner>(new Runner(model, std::move(store), page_size, pool, std::move(arena)));
}

Runner::Runner(const Model& model, KvStore store, int32_t page_size, ThreadPool& pool, Arena arena)
    : model_(&model), store_(std::move(store)), page_size_(page_size), arena_(std::move(arena)), ctx_{pool, arena_, schedule_} {
  for (int i = 0; i < model.shape().layers; ++i) layers_.push_back(store_.layer(i));
}

void Runner::Append(const PlanRow& row, int32_t from, int32_t count, Mat<const float> embeds) {
  const int32_t first_pos = row.first_pos + from;
  step_.first_row.push_back(step_.size());
  step_.seqs.push_back(
      {.pages = reinterpret_cast<const int32_t*>(row.pages), .page_size = page_size_, .first_pos = first_pos, .rows = count});
  for (int32_t i = 0; i < count; ++i) {
    const int32_t pos = first_pos + i;
    if (pos < embeds.rows) step_.embeds.emplace_back(step_.size(), embeds.row(pos));
    step_.tokens.push_back(row.tokens[static_cast<size_t>(from + i)]);
    step_.positions.push_back(pos);
    step_.slots.push_back(Index(row.pages[pos / page_size_]) * page_size_ + pos % page_size_);
  }
}

void Runner::RunPass(std::span<const LogitsRow> wanted, size_t first_wanted, ErasedUse use) {
  if (step_.size() == 0) return;
  ArenaScope scope(arena_);
  const auto rows = static_cast<int64_t>(step_.hidden_rows.size());
  const Mat<float> hidden = arena_.TakeMat<float>(kPassTokens, model_->shape().width).Rows(0, rows);
  model_->Forward(ctx_, step_, layers_, hidden);
  for (int64_t begin = 0; begin < rows; begin += kLogitsRows) {
    ArenaScope group(arena_);
    const int64_t count = std::min<int64_t>(kLogitsRows, rows - begin);
    const Mat<float> logits = arena_.TakeMat<float>(count, model_->shape().vocab_size);
    const size_t first = first_wanted + static_cast<size_t>(begin);
    const std::span<const LogitsRow> group_rows = wanted.subspan(first, static_cast<size_t>(count));
    if (std::any_of(group_rows.begin(), group_rows.end(), [](const LogitsRow& row) { return row.logits; }))
      model_->Logits(ctx_, hidden.Rows(begin, count), logits);
    use.call(use.use, first, hidden.Rows(begin, count), logits);
  }
  ClearPass();
}

void Runner::ClearPass() {
  step_.tokens.clear();
  step_.positions.clear();
  step_.slots.clear();
  step_.seqs.clear();
  step_.first_row.clear();
  step_.hidden_rows.clear();
  step_.embeds.clear();
}

void Runner::RunErased(const StepPlan& plan, std::span<const LogitsRow> wanted, std::span<const Mat<const float>> embeds, ErasedUse use) {
  ClearPass();  // an exception may have left one half built
  size_t next = 0, pass_first = 0;
  for (size_t r = 0; r < plan.rows.size(); ++r) {
    const PlanRow& row = plan.rows[r];
    const auto total = static_cast<int32_t>(row.tokens.size());
    for (int32_t from = 0; from < total;) {
      if (step_.size() == kPassTokens) {
        RunPass(wanted, pass_first, use);
        pass_first = next;
      }
      const int32_t count = std::min(total - from, kPassTokens - step_.size()), first_row = step_.size();
      Append(row, from, count, embeds.empty() ? Mat<const float>{} : embeds[r]);
      for (; next < wanted.size() && wanted[next].row == static_cast<int32_t>(r) && wanted[next].offset < from + count; ++next)
        step_.hidden_rows.push_back(first_row + wanted[next].offset - from);
      from += count;
    }
  }
  RunPass(wanted, pass_first, use);
  CHECK(next == wanted.size());
}

}  // namespace sgl
