// Attention over the paged cache. A split of 256 positions is brought into scratch as floats, then serves all rows and heads of the
// task: scores and weighted values are two runs of the float micro-kernel. Per row and head, every operation and its order depend on the
// row's position alone: scores run over c ascending; the sum of exponentials per lane over blocks, then a fixed tree; values over the
// row's own visible positions ascending; splits ascending.
// Source: arXiv:2309.06180 (pages), arXiv:2205.14135 (rescaling).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/attention_scratch.h"
#include "kernels/any/elem.h"
#include "kernels/any/float_tile.h"
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr float kNothing = -__builtin_inff();
static_assert(kTileRows <= kAttnBatch);

struct Range {
  int begin, end;
};
// Positions of split `base` that at least one of the rows at positions [oldest, newest] sees, relative to the split; empty: {0, 0}.
Range Union(const AttnSeq& seq, int64_t oldest, int64_t newest, int64_t base) {
  const int64_t first = seq.window > 0 && oldest - seq.window + 1 > 0 ? oldest - seq.window + 1 : 0;
  const int64_t begin = first > base ? first - base : 0, end = newest + 1 - base < kKvSplit ? newest + 1 - base : kKvSplit;
  if (begin >= end) return {0, 0};
  return {static_cast<int>(begin), static_cast<int>(end)};
}
Range Visible(const AttnSeq& seq, int64_t pos, int64_t base) { return Union(seq, pos, pos, base); }

// Running result of a (row, head); merging is the same code for splits of one task and for partials of several.
struct Running {
  float max = kNothing, sum = 0.0f;
  // Takes in a part that is not empty; its values then enter as fma(part, theirs, mine * ours).
  void Merge(float part_max, float part_sum, float& ours, float& theirs) {
    const float top = part_max > max ? part_max : max;
    float lanes[kLanes] = {}, factors[kLanes];
    lanes[0] = max - top;
    lanes[1] = part_max - top;
    Store(Exp(Load(lanes)), factors);
    ours = max == kNothing ? 0.0f : factors[0];
    theirs = factors[1];
    sum = sum * ours + part_sum * theirs;
    max = top;
  }
};
SIMD_FN F32x16 MergeValues(F32x16 mine, F32x16 part, float ours, float theirs) {
  return Fma(Add(part, Zero()), Set(theirs), Mul(mine, Set(ours)));  // + 0: a stored part and a fresh one agree on the sign of zero
}
SIMD_FN F32x16 Normalise(F32x16 acc, float sum) { return sum == 0.0f ? Zero() : Div(acc, Set(sum)); }

// One key/value head of the cache, read as floats.
template <class Elem>
struct Head {
  using T = typename Elem::Type;
  const T* k;
  const T* v;
  const AttnSeq& seq;
  int64_t groups, width, padded;
  int g;

  int64_t BlockStart(int64_t block) const { return (block * groups + g) * kKvBlock * width; }
  int64_t Slot(int64_t pos) const { return int64_t{seq.pages[pos / seq.page_size]} * seq.page_size + pos % seq.page_size; }

  // The block that holds positions [pos, pos + 16) lane by lane, as far as [begin, end) needs them; -1 if they are scattered.
  int64_t WholeBlock(int64_t pos, int begin, int end) const {
    const int64_t first = Slot(pos + begin) - begin;
    if (seq.page_size == 1) {
      if (first < 0 || first % kKvBlock != 0) return -1;
      for (int i = begin + 1; i < end; ++i)
        if (Slot(pos + i) != first + i) return -1;
    }
    return first / kKvBlock;
  }

  // Keys of positions [pos + begin, pos + end) within one block of 16 into k_out: [C][16]. Lanes outside hold anything.
  void LoadKeys(int64_t pos, int begin, int end, float* k_out) const {
    const int64_t block = WholeBlock(pos, begin, end);
    if (block >= 0) {
      const T* src = k + BlockStart(block);
      for (int64_t c = 0; c < width; ++c) Store(Elem::LoadLanes(src + c * 16), k_out + c * 16);
      return;
    }
    const T* lane[kKvBlock];
    for (int i = begin; i < end; ++i) {
      const int64_t slot = Slot(pos + i);
      lane[i] = k + BlockStart(slot / kKvBlock) + slot % kKvBlock;
    }
    T gathered[kKvBlock] = {};
    for (int64_t c = 0; c < width; ++c) {
      for (int i = begin; i < end; ++i) gathered[i] = lane[i][c * 16];
      Store(Elem::LoadLanes(gathered), k_out + c * 16);
    }
  }

  // Values of position pos into v_out: panels kKvSplit * 16 floats apart, zero beyond C.
  void LoadValues(int64_t pos, float* v_out) const {
    const int64_t slot = Slot(pos);
    const T* src = v + BlockStart(slot / kKvBlock) + slot % kKvBlock * width;
    int64_t c = 0;
    for (; c + 16 <= width; c += 16) Store(Elem::LoadLanes(src + c), v_out + c * kKvSplit);
    if (c == width) return;
    T tail[16] = {};
    for (int i = 0; c + i < width; ++i) tail[i] = src[c + i];
    Store(Elem::LoadLanes(tail), v_out + c * kKvSplit);
  }

  void LoadSplit(int64_t base, Range range, float* k_out, float* v_out) const {
    for (int block = range.begin / kKvBlock; block * kKvBlock < range.end; ++block) {
      const int first = block * kKvBlock;
      const int begin = range.begin > first ? range.begin - first : 0, end = range.end - first < kKvBlock ? range.end - first : kKvBlock;
      LoadKeys(base + first, begin, end, k_out + first * width);
    }
    for (int i = range.begin; i < range.end; ++i) LoadValues(base + i, v_out + i * 16);
  }
};

// Scores of `range` -> exponentials, in place; other lanes of its blocks become 0.
void SoftmaxSplit(float* s, Range range, float scale, float* max, float* sum) {
  const F32x16 factor = Set(scale), nothing = Set(kNothing);
  const int first = range.begin / kLanes, last = (range.end - 1) / kLanes;
  F32x16 top = nothing;
  for (int b = first; b <= last; ++b) {
    const int begin = b == first ? range.begin % kLanes : 0, end = b == last ? (range.end - 1) % kLanes + 1 : kLanes;
    const F32x16 scaled = SelectLanes(begin, end, Mul(Load(s + b * kLanes), factor), nothing);
    Store(scaled, s + b * kLanes);
    top = Max(scaled, top);
  }
  float lanes[kLanes], most = kNothing;
  Store(top, lanes);
  for (const float lane : lanes) most = lane > most ? lane : most;
  F32x16 total = Zero();
  for (int b = first; b <= last; ++b) {
    const F32x16 e = Exp(Sub(Load(s + b * kLanes), Set(most)));  // exp(-inf) is 0
    Store(e, s + b * kLanes);
    total = Add(total, e);
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

struct Task {
  const AttnSeq& seq;
  int heads_per_group, row_begin;
  int64_t width, padded;
  float scale;
  float *k, *v, *q, *scores, *values, *running;

  // Row-heads [first, first + count) against split `base`, merged into their running results.
  void Batch(int first, int count, int64_t base) const {
    Range range[kAttnBatch];
    int low = kKvSplit, high = 0, common_begin = 0, common_end = kKvSplit;
    for (int i = 0; i < count; ++i) {
      range[i] = Visible(seq, int64_t{seq.first_pos} + row_begin + (first + i) / heads_per_group, base);
      common_begin = range[i].begin > common_begin ? range[i].begin : common_begin;
      common_end = range[i].end < common_end ? range[i].end : common_end;
      if (range[i].begin == range[i].end) continue;
      low = range[i].begin < low ? range[i].begin : low;
      high = range[i].end > high ? range[i].end : high;
    }
    if (high == 0) return;
    const int block_begin = low / kKvBlock, block_end = (high + kKvBlock - 1) / kKvBlock;
    for (int i = 0; i < count; ++i) {
      for (int b = block_begin; b < block_end; ++b) Store(Zero(), scores + i * kKvSplit + b * kKvBlock);
      for (int64_t c = 0; c < padded; c += 16) Store(Zero(), values + i * padded + c);
    }
    for (int b = block_begin; b < block_end; b += kTilePanels)
      FloatTile(count, block_end - b < kTilePanels ? 1 : kTilePanels, q + first * width, width, width, k + b * kKvBlock * width,
                kKvBlock * width, scores + b * kKvBlock, kKvSplit);
    float max[kAttnBatch], sum[kAttnBatch];
    for (int i = 0; i < count; ++i)
      if (range[i].begin < range[i].end) SoftmaxSplit(scores + i * kKvSplit, range[i], scale, max + i, sum + i);
    // Each row sums over exactly its own positions: those that all rows see together, the rest row by row.
    if (common_begin >= common_end) common_begin = common_end = kKvSplit;
    for (int i = 0; i < count; ++i) {
      const int end = range[i].end < common_begin ? range[i].end : common_begin;
      AddValues(1, range[i].begin, end, scores + i * kKvSplit, v, padded, values + i * padded);
    }
    AddValues(count, common_begin, common_end, scores, v, padded, values);
    for (int i = 0; i < count; ++i) {
      AddValues(1, common_end, range[i].end, scores + i * kKvSplit, v, padded, values + i * padded);
      if (range[i].begin < range[i].end) MergeInto(first + i, max[i], sum[i], values + i * padded);
    }
  }

  void MergeInto(int row_head, float max, float sum, const float* part) const {
    float* state = running + row_head * (2 + padded);
    Running total{state[0], state[1]};
    float ours, theirs;
    total.Merge(max, sum, ours, theirs);
    state[0] = total.max;
    state[1] = total.sum;
    for (int64_t c = 0; c < padded; c += 16) Store(MergeValues(Load(state + 2 + c), Load(part + c), ours, theirs), state + 2 + c);
  }
};

template <class Elem>
void Run(Mat<const float> q, const KvLayer& kv, const AttnSeq& seq, int g, int heads_per_group, int row_begin, int row_end, int split_begin,
         int split_end, float scale, Mat<float>* out, float* partials, float* scratch) {
  using T = typename Elem::Type;
  const AttnScratch at(heads_per_group, kv.width);
  const Task task = {seq,
                     heads_per_group,
                     row_begin,
                     kv.width,
                     at.padded,
                     scale,
                     scratch + at.k,
                     scratch + at.v,
                     scratch + at.q,
                     scratch + at.scores,
                     scratch + at.values,
                     scratch + at.running};
  const Head<Elem> head = {static_cast<const T*>(kv.k), static_cast<const T*>(kv.v), seq, kv.groups, kv.width, at.padded, g};
  const int row_heads = (row_end - row_begin) * heads_per_group, batches = (row_heads + kTileRows - 1) / kTileRows;
  const int64_t column = int64_t{g} * heads_per_group * kv.width;
  for (int i = 0; i < row_heads; ++i) {
    const float* src = q.row(row_begin + i / heads_per_group) + column + i % heads_per_group * kv.width;
    for (int c = 0; c < kv.width; ++c) task.q[i * kv.width + c] = src[c];
    float* state = task.running + i * (2 + at.padded);
    state[0] = kNothing;
    state[1] = 0.0f;
    for (int64_t c = 0; c < at.padded; c += 16) Store(Zero(), state + 2 + c);
  }
  for (int split = split_begin; split < split_end; ++split) {
    const int64_t base = int64_t{split} * kKvSplit;
    const Range seen = Union(seq, int64_t{seq.first_pos} + row_begin, int64_t{seq.first_pos} + row_end - 1, base);
    if (seen.begin >= seen.end) continue;
    head.LoadSplit(base, seen, task.k, task.v);
    for (int b = 0; b < batches; ++b) {
      const int first = row_heads * b / batches;
      task.Batch(first, row_heads * (b + 1) / batches - first, base);
    }
  }
  for (int i = 0; i < row_heads; ++i) {
    const float* state = task.running + i * (2 + at.padded);
    float* dst;
    if (out != nullptr) {
      dst = out->row(row_begin + i / heads_per_group) + column + i % heads_per_group * kv.width;
    } else {
      dst = partials + i * (2 + int64_t{kv.width});
      *dst++ = state[0];
      *dst++ = state[1];
    }
    for (int c = 0; c < kv.width; c += 16) {
      const F32x16 acc = Load(state + 2 + c);
      StoreN(out != nullptr ? Normalise(acc, state[1]) : acc, dst + c, kv.width - c < 16 ? kv.width - c : 16);
    }
  }
}

}  // namespace

void Attention(Mat<const float> q, const KvLayer& kv, const AttnSeq& seq, int g, int heads_per_group, int row_begin, int row_end,
               int split_begin, int split_end, float scale, Mat<float>* out, float* partials, float* scratch) {
  const auto run = kv.dtype == DType::kF32 ? Run<F32Elem> : kv.dtype == DType::kF16 ? Run<F16Elem> : Run<BF16Elem>;
  run(q, kv, seq, g, heads_per_group, row_begin, row_end, split_begin, split_end, scale, out, partials, scratch);
}

void AttentionMerge(const float* partials, int parts, int64_t part_stride, int width, float* out) {
  for (int c = 0; c < width; c += 16) {
    const int lanes = width - c < 16 ? width - c : 16;
    Running total;
    F32x16 acc = Zero();
    for (int i = 0; i < parts; ++i) {
      const float* part = partials + i * part_stride;
      if (part[0] == kNothing) continue;
      float ours, theirs;
      total.Merge(part[0], part[1], ours, theirs);
      acc = MergeValues(acc, LoadN(part + 2 + c, lanes), ours, theirs);
    }
    StoreN(Normalise(acc, total.sum), out + c, lanes);
  }
}

// Keys are scattered over the lanes of their block, values copied.
template <class T, class Convert>
SIMD_FN void Scatter(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv, Convert convert) {
  T buffer[16];
  for (int64_t t = 0; t < k.rows; ++t)
    for (int64_t g = 0; g < kv.groups; ++g) {
      const int64_t slot = slots[t], start = (slot / kKvBlock * kv.groups + g) * kKvBlock * kv.width;
      T* keys = static_cast<T*>(kv.k) + start + slot % kKvBlock;
      T* values = static_cast<T*>(kv.v) + start + slot % kKvBlock * kv.width;
      for (int c = 0; c < kv.width; c += 16) {
        const int lanes = kv.width - c < 16 ? kv.width - c : 16;
        convert(LoadN(k.row(t) + g * kv.width + c, lanes), buffer);
        for (int i = 0; i < lanes; ++i) keys[(c + i) * kKvBlock] = buffer[i];
        convert(LoadN(v.row(t) + g * kv.width + c, lanes), buffer);
        for (int i = 0; i < lanes; ++i) values[c + i] = buffer[i];
      }
    }
}

void StoreKv(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv) {
  if (kv.dtype == DType::kF32)
    Scatter<float>(k, v, slots, kv, [](F32x16 x, float* p) { Store(x, p); });
  else if (kv.dtype == DType::kF16)
    Scatter<uint16_t>(k, v, slots, kv, [](F32x16 x, uint16_t* p) { StoreF16(x, p); });
  else
    Scatter<uint16_t>(k, v, slots, kv, [](F32x16 x, uint16_t* p) { StoreBF16(x, p); });
}

}  // namespace sgl::KERNEL_ISA
