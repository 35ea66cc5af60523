// Attention over the paged cache. Two ways to the same bits: a single row reads the cache's blocks as they lie; for more rows a split of
// 256 positions is brought into scratch as floats and serves them all, scores and weighted values as two runs of the float
// micro-kernel. Per row and head, every operation and its order depend on the row's position alone: scores run over c ascending; the sum
// of exponentials per lane over blocks, then a fixed tree; values over the row's own visible positions ascending; splits ascending.
// Source: arXiv:2309.06180 (pages), arXiv:2205.14135 (rescaling).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/attention_merge.h"
#include "kernels/any/attention_scratch.h"
#include "kernels/any/float_tile.h"
#include "kernels/any/kernels_any.h"
#include "kernels/any/kv_blocks.h"
#include "kernels/any/kv_elem.h"

namespace sgl::KERNEL_ISA {
namespace {

static_assert(kTileRows <= kAttnBatch);
constexpr int kSplitBlocks = kKvSplit / kKvBlock;
constexpr int kDirectHeads = kLanes == 16 && kTilePanels > 1 ? 4 : 2;  // row-heads that share a read of the cache

// A K chunk as floats [C][16].
template <class Elem>
void LoadKeys(const std::byte* chunk, int64_t width, float* out) {
  const auto* p = reinterpret_cast<const typename Elem::T*>(chunk);
  if constexpr (!Elem::kPaired) {
    for (int64_t c = 0; c < width; ++c) Store(Elem::LoadRow(p + c * 16), out + c * 16);
  } else {
    for (int64_t c = 0; c < width; c += 2) {
      F32x16 even, odd;
      Elem::LoadPairs(p + c * 16, even, odd);
      Store(even, out + c * 16);
      if (c + 1 < width) Store(odd, out + c * 16 + 16);
    }
  }
}

// Sixteen elements from column c of a V chunk: planar types of token s; paired ones of tokens s and s + 1, s even. Zero beyond C.
template <class Elem>
SIMD_FN F32x16 LoadValue(const std::byte* chunk, int64_t width, int64_t s, int64_t c) {
  const auto* p = reinterpret_cast<const typename Elem::T*>(chunk) + s * width + c;
  if (c + 16 <= width) return Elem::LoadRow(p);
  typename Elem::T tail[16] = {};
  for (int64_t i = 0; c + i < width; ++i) tail[i] = p[i];
  return Elem::LoadRow(tail);
}
template <class Elem>
SIMD_FN void LoadValuePair(const std::byte* chunk, int64_t width, int64_t s, int64_t c, F32x16& even, F32x16& odd) {
  const auto* p = reinterpret_cast<const typename Elem::T*>(chunk) + (s / 2 * width + c) * 2;
  if (c + 16 <= width) return Elem::LoadPairs(p, even, odd);
  typename Elem::T tail[32] = {};
  for (int64_t i = 0; i < 2 * (width - c); ++i) tail[i] = p[i];
  Elem::LoadPairs(tail, even, odd);
}

// Lanes [begin, end) of a V chunk as floats: panels kKvSplit * 16 floats apart, zero beyond C. Lanes are written in pairs.
template <class Elem>
void LoadValues(const std::byte* chunk, int64_t width, int begin, int end, float* out) {
  for (int64_t c = 0; c < width; c += 16) {
    float* panel = out + c * kKvSplit;
    if constexpr (!Elem::kPaired) {
      for (int s = begin; s < end; ++s) Store(LoadValue<Elem>(chunk, width, s, c), panel + s * 16);
    } else {
      for (int s = begin / 2 * 2; s < end; s += 2) {
        F32x16 even, odd;
        LoadValuePair<Elem>(chunk, width, s, c, even, odd);
        Store(even, panel + s * 16);
        Store(odd, panel + s * 16 + 16);
      }
    }
  }
}

// Scores of `range` -> exponentials, in place; other lanes of its blocks become 0. Scaled types: scores are multiplied by k_scale first,
// and the exponentials, after their sum is taken, by v_scale.
template <bool kScaled>
void SoftmaxSplit(float* s, Range range, float scale, const float* k_scale, const float* v_scale, float* max, float* sum) {
  const F32x16 factor = Set(scale), nothing = Set(kNothing);
  const int first = range.begin / kLanes, last = (range.end - 1) / kLanes;
  const auto seen = [&](int b, F32x16 yes, F32x16 no) {
    const int begin = b == first ? range.begin % kLanes : 0, end = b == last ? (range.end - 1) % kLanes + 1 : kLanes;
    return SelectLanes(begin, end, yes, no);
  };
  F32x16 top = nothing;
  for (int b = first; b <= last; ++b) {
    F32x16 score = Load(s + b * kLanes);
    if constexpr (kScaled) score = Mul(score, Load(k_scale + b * kLanes));
    const F32x16 scaled = seen(b, Mul(score, factor), nothing);
    Store(scaled, s + b * kLanes);
    top = Max(scaled, top);
  }
  float lanes[kLanes], most = kNothing;
  Store(top, lanes);
  for (const float lane : lanes) most = lane > most ? lane : most;
  F32x16 total = Zero();
  for (int b = first; b <= last; ++b) {
    F32x16 e = Exp(Sub(Load(s + b * kLanes), Set(most)));  // exp(-inf) is 0
    total = Add(total, e);
    if constexpr (kScaled) e = seen(b, Mul(e, Load(v_scale + b * kLanes)), Zero());
    Store(e, s + b * kLanes);
  }
  *max = most;
  *sum = Sum(total);
}

// values[i] += sum over positions [begin, end) of p[i][pos] * v[pos], for `rows` row-heads.
void AddValues(int rows, int begin, int end, const float* p, const float* v, int64_t padded, float* values) {
  if (begin >= end) return;
  for (int64_t panel = 0; panel < padded / 16; panel += kTilePanels) {
    const int panels = padded / 16 - panel < kTilePanels ? 1 : kTilePanels;
    FloatTile(rows, panels, p + begin, kKvSplit, end - begin, v + panel * kKvSplit * 16 + begin * 16, kKvSplit * 16, values + panel * 16,
              padded);
  }
}

struct Scratch {
  int64_t padded;
  float *k, *v, *k_scale, *v_scale, *q, *scores, *values, *running;
  std::byte *k_chunk, *v_chunk;
  Scratch(const AttnScratch& at, float* base, int64_t chunk_bytes)
      : padded(at.padded),
        k(base + at.k),
        v(base + at.v),
        k_scale(base + at.k_scale),
        v_scale(base + at.v_scale),
        q(base + at.q),
        scores(base + at.scores),
        values(base + at.values),
        running(base + at.running),
        k_chunk(reinterpret_cast<std::byte*>(base + at.chunks)),
        v_chunk(k_chunk + chunk_bytes) {}
  float* state(int64_t row_head) const { return running + row_head * (2 + padded); }
};

void MergeInto(const Scratch& scratch, int row_head, float max, float sum, const float* part) {
  float* state = scratch.state(row_head);
  Running total{state[0], state[1]};
  float ours, theirs;
  total.Merge(max, sum, ours, theirs);
  state[0] = total.max;
  state[1] = total.sum;
  for (int64_t c = 0; c < scratch.padded; c += 16) Store(MergeValues(Load(state + 2 + c), Load(part + c), ours, theirs), state + 2 + c);
}

// ---- one row, read as it lies ----

// kHeads rows of scores against one block.
template <class Elem, int kHeads>
void DirectScores(const float* q, int64_t width, const std::byte* chunk, float* scores) {
  const auto* p = reinterpret_cast<const typename Elem::T*>(chunk);
  F32x16 acc[kHeads];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) acc[h] = Zero();
  const auto add = [&](F32x16 keys, int64_t c) {
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) acc[h] = Fma(Set(q[h * width + c]), keys, acc[h]);
  };
  int64_t c = 0;
  if constexpr (Elem::kPaired) {
    for (; c < width; c += 2) {
      F32x16 even, odd;
      Elem::LoadPairs(p + c * 16, even, odd);
      add(even, c);
      if (c + 1 < width) add(odd, c + 1);
    }
  } else {
    for (; c < width; ++c) add(Elem::LoadRow(p + c * 16), c);
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) Store(acc[h], scores + h * kKvSplit);
}

// values[h][c .. c + 16 * kPanels) += p[h][pos] * v[pos] over positions [begin, end) of the split whose chunks are given.
template <class Elem, int kHeads, int kPanels>
void DirectValues(const float* p, const std::byte* const* chunks, int64_t width, int64_t c, int begin, int end, float* values,
                  int64_t padded) {
  F32x16 acc[kHeads][kPanels];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h)
#pragma GCC unroll 4
    for (int i = 0; i < kPanels; ++i) acc[h][i] = Zero();
  const auto add = [&](const F32x16* v, int pos) {
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const F32x16 weight = Set(p[h * kKvSplit + pos]);
#pragma GCC unroll 4
      for (int i = 0; i < kPanels; ++i) acc[h][i] = Fma(weight, v[i], acc[h][i]);
    }
  };
  F32x16 even[kPanels], odd[kPanels];
  if constexpr (Elem::kPaired) {
    for (int pos = begin / 2 * 2; pos < end; pos += 2) {
#pragma GCC unroll 4
      for (int i = 0; i < kPanels; ++i) LoadValuePair<Elem>(chunks[pos / kKvBlock], width, pos % kKvBlock, c + 16 * i, even[i], odd[i]);
      if (pos >= begin) add(even, pos);
      if (pos + 1 < end) add(odd, pos + 1);
    }
  } else {
    for (int pos = begin; pos < end; ++pos) {
#pragma GCC unroll 4
      for (int i = 0; i < kPanels; ++i) even[i] = LoadValue<Elem>(chunks[pos / kKvBlock], width, pos % kKvBlock, c + 16 * i);
      add(even, pos);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h)
#pragma GCC unroll 4
    for (int i = 0; i < kPanels; ++i) Store(acc[h][i], values + h * padded + c + 16 * i);
}

void Prefetch(const std::byte* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i);
}

// Row-heads [first, first + kHeads), all of one row that sees `range`, against a split whose blocks are whole.
template <class Elem, int kHeads>
void DirectSplit(const Scratch& scratch, int first, int64_t width, Range range, const std::byte* const* k, const std::byte* const* v,
                 float scale, int64_t chunk_bytes) {
  for (int b = range.begin / kKvBlock; b * kKvBlock < range.end; ++b) {
    Prefetch(v[b], chunk_bytes);
    DirectScores<Elem, kHeads>(scratch.q + first * width, width, k[b], scratch.scores + b * kKvBlock);
  }
  float max[kHeads], sum[kHeads];
  for (int h = 0; h < kHeads; ++h)
    SoftmaxSplit<Elem::kScaled>(scratch.scores + h * kKvSplit, range, scale, scratch.k_scale, scratch.v_scale, max + h, sum + h);
  int64_t c = 0;
  for (; c + 16 * kTilePanels <= scratch.padded; c += 16 * kTilePanels)
    DirectValues<Elem, kHeads, kTilePanels>(scratch.scores, v, width, c, range.begin, range.end, scratch.values, scratch.padded);
  for (; c < scratch.padded; c += 16)
    DirectValues<Elem, kHeads, 1>(scratch.scores, v, width, c, range.begin, range.end, scratch.values, scratch.padded);
  for (int h = 0; h < kHeads; ++h) MergeInto(scratch, first + h, max[h], sum[h], scratch.values + h * scratch.padded);
}

template <class Elem, int kHeads>
void DirectHeads(const Scratch& scratch, int first, int count, int64_t width, Range range, const std::byte* const* k,
                 const std::byte* const* v, float scale, int64_t chunk_bytes) {
  if (count < kHeads) {
    if constexpr (kHeads > 1) DirectHeads<Elem, kHeads - 1>(scratch, first, count, width, range, k, v, scale, chunk_bytes);
    return;
  }
  DirectSplit<Elem, kHeads>(scratch, first, width, range, k, v, scale, chunk_bytes);
  if (count > kHeads) DirectHeads<Elem, kHeads>(scratch, first + kHeads, count - kHeads, width, range, k, v, scale, chunk_bytes);
}

// ---- many rows, through scratch ----

// Row-heads [first, first + count) against split `base`, merged into their running results.
template <class Elem>
void TileBatch(const AttnTask& task, const Scratch& scratch, int64_t width, int first, int count, int64_t base) {
  Range range[kAttnBatch];
  int low = kKvSplit, high = 0, common_begin = 0, common_end = kKvSplit;
  for (int i = 0; i < count; ++i) {
    range[i] = Visible(task.window, task.pos[(first + i) / task.heads_per_group], base);
    common_begin = range[i].begin > common_begin ? range[i].begin : common_begin;
    common_end = range[i].end < common_end ? range[i].end : common_end;
    if (range[i].begin == range[i].end) continue;
    low = range[i].begin < low ? range[i].begin : low;
    high = range[i].end > high ? range[i].end : high;
  }
  if (high == 0) return;
  float *scores = scratch.scores, *values = scratch.values;
  const int64_t padded = scratch.padded;
  const int block_begin = low / kKvBlock, block_end = (high + kKvBlock - 1) / kKvBlock;
  for (int i = 0; i < count; ++i) {
    for (int b = block_begin; b < block_end; ++b) Store(Zero(), scores + i * kKvSplit + b * kKvBlock);
    for (int64_t c = 0; c < padded; c += 16) Store(Zero(), values + i * padded + c);
  }
  for (int b = block_begin; b < block_end; b += kTilePanels)
    FloatTile(count, block_end - b < kTilePanels ? 1 : kTilePanels, scratch.q + first * width, width, width,
              scratch.k + b * kKvBlock * width, kKvBlock * width, scores + b * kKvBlock, kKvSplit);
  float max[kAttnBatch], sum[kAttnBatch];
  for (int i = 0; i < count; ++i)
    if (range[i].begin < range[i].end)
      SoftmaxSplit<Elem::kScaled>(scores + i * kKvSplit, range[i], task.scale, scratch.k_scale, scratch.v_scale, max + i, sum + i);
  // Each row sums over exactly its own positions: those that all rows see together, the rest row by row.
  if (common_begin >= common_end) common_begin = common_end = kKvSplit;
  for (int i = 0; i < count; ++i) {
    const int end = range[i].end < common_begin ? range[i].end : common_begin;
    AddValues(1, range[i].begin, end, scores + i * kKvSplit, scratch.v, padded, values + i * padded);
  }
  AddValues(count, common_begin, common_end, scores, scratch.v, padded, values);
  for (int i = 0; i < count; ++i) {
    AddValues(1, common_end, range[i].end, scores + i * kKvSplit, scratch.v, padded, values + i * padded);
    if (range[i].begin < range[i].end) MergeInto(scratch, first + i, max[i], sum[i], values + i * padded);
  }
}

// ---- a task ----

template <class Elem>
void RunSplit(const KvBlocks& blocks, const AttnTask& task, const Scratch& scratch, int64_t base) {
  Range seen = {kKvSplit, 0};
  for (int r = 0; r < task.rows; ++r) {
    const Range range = Visible(task.window, task.pos[r], base);
    if (range.begin == range.end) continue;
    seen.begin = range.begin < seen.begin ? range.begin : seen.begin;
    seen.end = range.end > seen.end ? range.end : seen.end;
  }
  if (seen.end == 0) return;
  const int64_t width = blocks.kv.width, scales = int64_t{kKvBlock} * ((width + 1) / 2 * 2);
  const std::byte *k[kSplitBlocks], *v[kSplitBlocks];
  bool direct = task.rows == 1;
  for (int pass = direct ? 0 : 1; pass < 2; ++pass) {  // 0: find the blocks; 1, unless they can be read as they lie: into scratch
    if (pass == 1 && direct) break;
    for (int b = seen.begin / kKvBlock; b * kKvBlock < seen.end; ++b) {
      const int first = b * kKvBlock;
      const int begin = seen.begin > first ? seen.begin - first : 0, end = seen.end - first < kKvBlock ? seen.end - first : kKvBlock;
      const int64_t block = blocks.Whole(base + first, begin, end);
      if (pass == 0) {
        if (block < 0) direct = false;
        if (!direct) break;
      }
      if (block < 0) blocks.Gather(base + first, begin, end, scratch.k_chunk, scratch.v_chunk);
      k[b] = block < 0 ? scratch.k_chunk : blocks.K(block);
      v[b] = block < 0 ? scratch.v_chunk : blocks.V(block);
      if constexpr (Elem::kScaled) {
        Store(Load(reinterpret_cast<const float*>(k[b] + scales)), scratch.k_scale + first);
        Store(Load(reinterpret_cast<const float*>(v[b] + scales)), scratch.v_scale + first);
      }
      if (pass == 0) continue;
      LoadKeys<Elem>(k[b], width, scratch.k + first * width);
      LoadValues<Elem>(v[b], width, begin, end, scratch.v + first * 16);
    }
  }
  const int row_heads = task.rows * task.heads_per_group;
  if (direct) {
    DirectHeads<Elem, kDirectHeads>(scratch, 0, row_heads, width, seen, k, v, task.scale, blocks.chunk_bytes);
    return;
  }
  const int batches = (row_heads + kTileRows - 1) / kTileRows;
  for (int b = 0; b < batches; ++b) {
    const int first = row_heads * b / batches;
    TileBatch<Elem>(task, scratch, width, first, row_heads * (b + 1) / batches - first, base);
  }
}

void Clear(const Scratch& scratch, int row_heads) {
  for (int i = 0; i < row_heads; ++i) {
    float* state = scratch.state(i);
    state[0] = kNothing;
    state[1] = 0.0f;
    for (int64_t c = 0; c < scratch.padded; c += 16) Store(Zero(), state + 2 + c);
  }
}

void CopyOut(const float* acc, float sum, bool normalise, int width, float* dst) {
  for (int c = 0; c < width; c += 16) {
    const F32x16 values = Load(acc + c);
    StoreN(normalise ? Normalise(values, sum) : values, dst + c, width - c < 16 ? width - c : 16);
  }
}

}  // namespace

void Attention(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch_base) {
  const KvBlocks blocks(kv, task);
  const Scratch scratch(AttnScratch(task.heads_per_group, kv.width), scratch_base, blocks.chunk_bytes);
  const int heads = task.heads_per_group, row_heads = task.rows * heads;
  const int64_t column = int64_t{task.group} * heads * kv.width;
  for (int i = 0; i < row_heads; ++i) {
    const float* src = q.row(task.row[i / heads]) + column + i % heads * kv.width;
    for (int c = 0; c < kv.width; ++c) scratch.q[int64_t{i} * kv.width + c] = src[c];
  }
  Clear(scratch, row_heads);
  for (int split = task.split_begin; split < task.split_end; ++split) {
    WithElem(kv.type, [&](auto elem) { RunSplit<decltype(elem)>(blocks, task, scratch, int64_t{split} * kKvSplit); });
    if (out != nullptr) continue;
    for (int i = 0; i < row_heads; ++i) {
      const float* state = scratch.state(i);
      float* part = partials + PartialAt(task, kv.width, split, i);
      part[0] = state[0];
      part[1] = state[1];
      CopyOut(state + 2, state[1], false, kv.width, part + 2);
    }
    Clear(scratch, row_heads);
  }
  if (out == nullptr) return;
  for (int i = 0; i < row_heads; ++i) {
    const float* state = scratch.state(i);
    CopyOut(state + 2, state[1], true, kv.width, out->row(task.row[i / heads]) + column + i % heads * kv.width);
  }
}

void AttentionMerge(const float* partials, int parts, int64_t part_stride, int width, float* out) {
  constexpr int kVectors = 4;  // columns that share a pass over the parts
  for (int c = 0; c < width; c += 16 * kVectors) {
    int lanes[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      const int left = width - c - 16 * i;
      lanes[i] = left < 0 ? 0 : left < 16 ? left : 16;
    }
    Running total;
    F32x16 acc[kVectors];
    for (F32x16& a : acc) a = Zero();
    for (int p = 0; p < parts; ++p) {
      const float* part = partials + p * part_stride;
      if (part[1] == 0.0f) continue;
      float ours, theirs;
      total.Merge(part[0], part[1], ours, theirs);
      for (int i = 0; i < kVectors && lanes[i] > 0; ++i) acc[i] = MergeValues(acc[i], LoadN(part + 2 + c + 16 * i, lanes[i]), ours, theirs);
    }
    for (int i = 0; i < kVectors && lanes[i] > 0; ++i) StoreN(Normalise(acc[i], total.sum), out + c + 16 * i, lanes[i]);
  }
}

}  // namespace sgl::KERNEL_ISA
