// What one forward pass computes on, and the memory it works in.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"

namespace sgl {

// The new rows of one sequence: row r is the token at position first_pos + r.
struct AttnSeq {
  const int32_t* pages = nullptr;  // page table: pages[i] holds positions [i*page_size, (i+1)*page_size)
  int32_t page_size = kKvBlock;    // 1, or a multiple of kKvBlock
  int32_t first_pos = 0;
  int32_t rows = 0;
};

// The tokens of one forward pass, sequence after sequence. T tokens, S sequences.
struct Step {
  std::vector<TokenId> tokens;                           // [T]
  std::vector<int32_t> positions;                        // [T]
  std::vector<int32_t> slots;                            // [T] where each token's key and value go
  std::vector<AttnSeq> seqs;                             // [S]
  std::vector<int32_t> first_row;                        // [S] row of each sequence's first token
  std::vector<int32_t> hidden_rows;                      // [R] rows whose final hidden state is wanted, ascending
  std::vector<std::pair<int32_t, const float*>> embeds;  // rows whose embedding [D] is given; their token is not looked at
  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
};

// Bump allocator over one Buffer, sized at start for the largest step; nothing is allocated while serving.
class Arena {
 public:
  static Result<Arena> Allocate(size_t bytes) {
    Arena arena;
    TRY(arena.buffer_, Buffer::Allocate(bytes));
    return arena;
  }
  // 64-byte aligned, uninitialised. Running out is our bug: the size was computed from the same shapes.
  template <class T>
  T* Take(int64_t count) {
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    CHECK(used_ + bytes <= buffer_.bytes());
    T* out = reinterpret_cast<T*>(buffer_.data() + used_);
    used_ += bytes;
    return out;
  }
  template <class T>
  Mat<T> TakeMat(int64_t rows, int64_t cols) {
    return MakeMat(Take<T>(rows * cols), rows, cols);
  }
  size_t used() const { return used_; }
  size_t capacity() const { return buffer_.bytes(); }
  void Rewind(size_t mark) { used_ = mark; }

 private:
  Buffer buffer_;
  size_t used_ = 0;
};

// Gives back what a scope took.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.used()) {}
  ~ArenaScope() { arena_.Rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  size_t mark_;
};

class AttentionSchedule;

// Thread: engine (worker 0 of the pool). Lives as long as the runner.
struct RunContext {
  ThreadPool& pool;
  Arena& arena;
  AttentionSchedule& schedule;  // of the pass under way; it keeps its memory
};

// Calls job(row_begin, row_end) over [0, rows) in parallel, in pieces of at least `grain` rows. Rows are independent of one another.
template <class Job>
void ForRows(RunContext& ctx, int64_t rows, int64_t grain, const Job& job) {
  const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(rows / grain, int64_t{4} * ctx.pool.threads()));
  if (pieces == 1 || ctx.pool.threads() == 1) {
    job(int64_t{0}, rows);
    return;
  }
  ctx.pool.Run(static_cast<int>(pieces), [&](int task, int) { job(rows * task / pieces, rows * (task + 1) / pieces); });
}

}  // namespace sgl
