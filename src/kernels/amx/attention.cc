// Attention on the tile registers, for the paired types: bf16 as it lies in the cache, the one-byte types through a bf16 copy of each
// block, which is exact.
//
// Row-heads are the rows of the A operand, so all heads of a group and all rows of a task share each load of a block. A query times
// `scale` is two bf16 numbers, so scores see 16 bits of it; weights exp(score - max of the split) <= 1 are rounded to bf16; sums are f32.
// Per row-head the order is fixed: scores over c in steps of 32, first part before second; the sum of exponentials per lane over blocks,
// then a fixed tree; values block by block, 16 positions in one product; splits ascending by attention_merge.h. A row of a product depends
// on that row of A alone, whatever the other rows hold; so batches may be cut anywhere. Blocks that a row does not see add exact zeros: its
// weights there are 0, and values that no row of the task sees are zeroed in a copy of their block. If a value that some rows see and
// others do not is not finite, rows go one by one. Source: arXiv:2309.06180 (pages), arXiv:2205.14135 (rescaling).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/any/attention_merge.h"
#include "kernels/any/attention_scratch.h"
#include "kernels/any/kv_blocks.h"
#include "kernels/any/kv_elem.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr int kSplitBlocks = kKvSplit / kKvBlock;
constexpr int kRows = TileAttnScratch::kRows, kScoreStride = TileAttnScratch::kScoreStride;
constexpr int64_t kScoreBytes = kScoreStride * 4;
constexpr float kLog2E = 1.44269504f;

// Tiles 0-3: results. 4, 5: A and B of scores. 6: 16 weights a row, A of values; 7: 8 rows of pairs, B of values. Tasks of fewer than 16
// row-heads have that many rows only: a product takes its time by the row.
TileConfig AttentionTiles(int row_heads) {
  TileConfig config;
  const int rows = row_heads < 16 ? row_heads : 16;
  for (int tile = 0; tile < 5; ++tile) config.Shape(tile, rows, 64);
  config.Shape(5, 16, 64);
  config.Shape(6, rows, 32);
  config.Shape(7, 8, 64);
  return config;
}

// 2^x to a relative error of 9e-5 for normal results; exact at 0, NaN stays NaN. Minimax polynomial of degree 3 for 2^r, 0 <= r < 1.
SIMD_FN F32x16 Exp2(F32x16 x) {
  const F32x16 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);  // x - floor(x)
  F32x16 p = Fma(Set(7.70670399e-2f), r, Set(2.27644995e-1f));
  p = Fma(p, r, Set(6.95116758e-1f));
  p = Fma(p, r, Set(1.0f));
  return _mm512_scalef_ps(p, x);  // p * 2^floor(x)
}

SIMD_FN __m512i PackBF16(F32x16 low, F32x16 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }

struct Scratch {
  TileAttnScratch at;
  std::byte* base;
  Scratch(int heads, int width, float* scratch)
      : at(heads, width), base(reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(scratch) + 63) / 64 * 64)) {}
  std::byte* query(int64_t row_head) const { return base + at.q + row_head * at.query_stride * 2; }
  float* scores(int row) const { return reinterpret_cast<float*>(base + at.scores) + row * kScoreStride; }
  float* values(int row) const { return reinterpret_cast<float*>(base + at.values) + row * at.padded; }
  float* running(int64_t row_head) const { return reinterpret_cast<float*>(base + at.running) + row_head * at.run_stride; }
  std::byte* k_block(int b) const { return base + at.k + b * at.steps * 1024; }
  std::byte* v_block(int b) const { return base + at.v + b * at.padded * 32; }
  float* k_scale() const { return reinterpret_cast<float*>(base + at.k_scale); }
  float* v_scale() const { return reinterpret_cast<float*>(base + at.v_scale); }
};

// ---- queries ----

// q * scale as two bf16 numbers, the second what the first leaves; zero beyond C.
void SplitQuery(const float* src, int width, float scale, int64_t steps, std::byte* dst) {
  for (int64_t c = 0; c < steps * 32; c += 16) {
    const int lanes = c + 16 <= width ? 16 : c < width ? static_cast<int>(width - c) : 0;
    const F32x16 x = lanes > 0 ? Mul(LoadN(src + c, lanes), Set(scale)) : Zero();
    const __m256i high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    const F32x16 rest = Sub(x, FromBits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(dst + c * 2), high);
    _mm256_store_si256(reinterpret_cast<__m256i*>(dst + (steps * 32 + c) * 2), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(rest)));
  }
}

// ---- blocks of a split ----

struct SplitBlocks {
  const std::byte* k[kSplitBlocks];  // [steps * 16][16][2] bf16
  const std::byte* v[kSplitBlocks];  // [8][v_width][2] bf16
  int64_t v_stride;                  // bytes of a row of pairs
  int64_t value_bytes;               // of a block
  bool scaled;
  bool one_by_one;  // a value that not all rows see is not finite
};

void Prefetch(const std::byte* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i);
}

// Tasks of few rows wait for memory. What the thread reads after this split is fetched meanwhile, in equal pieces, in runs as long as
// memory has them: with `fetch_next` this group's share of the blocks, all groups of them; else the group's own next split.
struct Ahead {
  static constexpr int kPieces = 2 * kSplitBlocks;  // one per block of scores and of values
  const std::byte* runs[2 * kSplitBlocks];
  int count = 0, run = 0;
  int64_t bytes = 0, at = 0, piece = 0;  // of a run

  Ahead() = default;
  Ahead(const KvBlocks& blocks, int split) {
    const AttnTask& task = blocks.task;
    if (task.rows * task.heads_per_group > 16 || (split + 1 == task.split_end && !task.fetch_next)) return;
    const int64_t groups = blocks.kv.groups, base = int64_t{split + 1} * kKvSplit;
    const int64_t begin = task.fetch_next ? kSplitBlocks * task.group / groups : 0;
    const int64_t end = task.fetch_next ? kSplitBlocks * (task.group + 1) / groups : kSplitBlocks;
    const int64_t back = task.fetch_next ? task.group * blocks.chunk_bytes : 0;
    bytes = task.fetch_next ? groups * blocks.chunk_bytes : blocks.chunk_bytes;
    for (int64_t b = begin; b < end && base + b * kKvBlock <= task.pos[0]; ++b) {
      const int64_t block = blocks.Slot(base + b * kKvBlock) / kKvBlock;
      runs[count++] = blocks.K(block) - back;
      runs[count++] = blocks.V(block) - back;
    }
    piece = (count * bytes / kPieces + 63) / 64 * 64;
  }
  void Fetch() {
    for (int64_t left = piece; left > 0 && run < count;) {
      const int64_t rest = bytes - at, some = left < rest ? left : rest;
      Prefetch(runs[run] + at, some);
      left -= some;
      at += some;
      if (at < bytes) continue;
      at = 0;
      ++run;
    }
  }
};

void CopyPadded(const std::byte* src, int64_t bytes, int64_t padded, std::byte* dst) {
  __builtin_memcpy(dst, src, static_cast<size_t>(bytes));
  __builtin_memset(dst + bytes, 0, static_cast<size_t>(padded - bytes));
}

// Magnitudes of a one-byte type as bf16, lower and upper bytes apart.
struct ByteTable {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};
void FillTable(KvType type, ByteTable& table) {
  for (int i = 0; i < 128; i += 16) {
    int32_t codes[16];
    for (int j = 0; j < 16; ++j) codes[j] = i + j;
    const I32x16 code = LoadB(codes);
    const I32x16 value = BF16Bits(type == KvType::kF8E5M2   ? F8E5M2Kv::Decode(code)
                                  : type == KvType::kF8E4M3 ? F8E4M3Kv::Decode(code)
                                                            : I8Kv::Decode(code));
    _mm_store_si128(reinterpret_cast<__m128i*>(table.low + i), _mm512_cvtepi32_epi8(value));
    _mm_store_si128(reinterpret_cast<__m128i*>(table.high + i), _mm512_cvtepi32_epi8(Shr<8>(value)));
  }
}

// Bytes to bf16, 64 at a time; reads up to 63 bytes and writes up to 126 bytes beyond.
void Widen(const ByteTable& table, const std::byte* src, int64_t count, std::byte* dst) {
  const __m512i l0 = _mm512_load_si512(table.low), l1 = _mm512_load_si512(table.low + 64);
  const __m512i h0 = _mm512_load_si512(table.high), h1 = _mm512_load_si512(table.high + 64);
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);  // so that unpacking the halves of 128-bit lanes gives the order back
  for (int64_t i = 0; i < count; i += 64) {
    const __m512i codes = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(src + i));
    const __m512i low = _mm512_permutex2var_epi8(l0, codes, l1), magnitude = _mm512_permutex2var_epi8(h0, codes, h1);
    const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), 0xF8);  // magnitude | codes & 0x80
    _mm512_storeu_si512(dst + i * 2, _mm512_unpacklo_epi8(low, high));
    _mm512_storeu_si512(dst + i * 2 + 64, _mm512_unpackhi_epi8(low, high));
  }
}

// Zeroes positions outside [begin, end) of a block of values in scratch, rows `stride` bytes apart; true if what stays is finite.
bool MaskValues(std::byte* v, int64_t stride, int begin, int end) {
  const __m512i exponent = _mm512_set1_epi16(0x7F80);
  __mmask32 broken = 0;
  for (int s = 0; s < kKvBlock; s += 2) {
    const bool even = s >= begin && s < end, odd = s + 1 >= begin && s + 1 < end;
    const __m512i keep = _mm512_set1_epi32(static_cast<int32_t>((even ? 0x0000FFFFu : 0u) | (odd ? 0xFFFF0000u : 0u)));
    for (int64_t at = 0; at < stride; at += 64) {
      std::byte* p = v + s / 2 * stride + at;
      const int64_t left = (stride - at) / 4;
      const auto lanes = LanesBelow(left < 16 ? static_cast<int>(left) : 16);
      const __m512i x = _mm512_and_si512(_mm512_maskz_loadu_epi32(lanes, p), keep);
      _mm512_mask_storeu_epi32(p, lanes, x);
      broken |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
    }
  }
  return broken == 0;
}

// Makes the blocks of `seen` ready for tiles: as they lie where that will do.
// all: what every row sees. Blocks that reach beyond it get a copy of their values without what no row sees.
void PrepareSplit(const KvBlocks& blocks, const Scratch& scratch, const ByteTable& table, int64_t base, Range seen, Range all,
                  SplitBlocks& split) {
  const int64_t width = blocks.kv.width, even_width = (width + 1) / 2 * 2, steps = scratch.at.steps;
  const bool bytes = blocks.kv.type != KvType::kBF16;
  const int64_t k_elems = kKvBlock * even_width, v_elems = kKvBlock * width;
  std::byte *const raw_k = scratch.base + scratch.at.chunks, *const raw_v = raw_k + (blocks.chunk_bytes + 63) / 64 * 64;
  split.v_stride = width * 4;
  split.scaled = blocks.kv.type == KvType::kI8;
  split.value_bytes = v_elems * 2;
  split.one_by_one = false;
  for (int b = seen.begin / kKvBlock; b * kKvBlock < seen.end; ++b) {
    const int first = b * kKvBlock;
    const int begin = seen.begin > first ? seen.begin - first : 0, end = seen.end - first < kKvBlock ? seen.end - first : kKvBlock;
    const int64_t block = blocks.Whole(base + first, begin, end);
    if (bytes && first + 2 * kKvBlock < seen.end) {  // the copies below wait for memory, too
      const int64_t ahead = blocks.Slot(base + first + 2 * kKvBlock) / kKvBlock;
      Prefetch(blocks.K(ahead), blocks.chunk_bytes);
      Prefetch(blocks.V(ahead), blocks.chunk_bytes);
    }
    const std::byte *k = raw_k, *v = raw_v;
    if (block >= 0) {
      k = blocks.K(block);
      v = blocks.V(block);
    } else {
      blocks.Gather(base + first, begin, end, raw_k, raw_v);
    }
    if (split.scaled) {
      Store(Load(reinterpret_cast<const float*>(k + k_elems)), scratch.k_scale() + first);
      Store(Load(reinterpret_cast<const float*>(v + k_elems)), scratch.v_scale() + first);
    }
    std::byte *const own_k = scratch.k_block(b), *const own_v = scratch.v_block(b);
    if (bytes) {
      Widen(table, k, k_elems, own_k);
      if (even_width % 32 != 0) __builtin_memset(own_k + k_elems * 2, 0, static_cast<size_t>(steps * 1024 - k_elems * 2));
      k = own_k;
      Widen(table, v, v_elems, own_v);
      v = own_v;
    } else if (even_width % 32 != 0 || block < 0) {
      CopyPadded(k, k_elems * 2, steps * 1024, own_k);
      k = own_k;
    }
    if (begin > 0 || end < kKvBlock || first < all.begin || first + kKvBlock > all.end || block < 0) {
      if (v != own_v) __builtin_memcpy(own_v, v, static_cast<size_t>(v_elems * 2));
      v = own_v;
      const bool finite = MaskValues(own_v, split.v_stride, begin, end);
      if (!finite && (all.begin > seen.begin || all.end < seen.end)) split.one_by_one = true;
    }
    split.k[b] = k;
    split.v[b] = v;
  }
}

// ---- products ----

// Scores of one or two 16-row tiles of queries against blocks [begin, end).
template <int kTilesOfRows>
void Scores(const Scratch& scratch, int first, const SplitBlocks& split, Ahead& ahead, int begin, int end) {
  TileFence();
  const std::byte* q = scratch.query(first);
  const int64_t stride = scratch.at.query_stride * 2, steps = scratch.at.steps;
  for (int b = begin; b < end; b += 2) {
    const bool pair = b + 1 < end;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if constexpr (kTilesOfRows == 1) {
      Prefetch(split.v[b], split.value_bytes);
      ahead.Fetch();
      if (pair) {
        Prefetch(split.v[b + 1], split.value_bytes);
        ahead.Fetch();
      }
    }
    for (int64_t i = 0; i < 2 * steps; ++i) {  // both parts of 32 elements, then the next
      const int64_t c = i / 2;
      const std::byte* a = q + (c + i % 2 * steps) * 64;
      _tile_loadd(5, split.k[b] + c * 1024, 64);
      _tile_loadd(4, a, stride);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (kTilesOfRows == 2) {
        _tile_loadd(4, a + 16 * stride, stride);
        _tile_dpbf16ps(2, 4, 5);
      }
      if (!pair) continue;
      _tile_loadd(5, split.k[b + 1] + c * 1024, 64);
      if constexpr (kTilesOfRows == 2) {
        _tile_dpbf16ps(3, 4, 5);
        _tile_loadd(4, a, stride);
      }
      _tile_dpbf16ps(1, 4, 5);
    }
    _tile_stored(0, scratch.scores(0) + b * kKvBlock, kScoreBytes);
    if (pair) _tile_stored(1, scratch.scores(0) + (b + 1) * kKvBlock, kScoreBytes);
    if constexpr (kTilesOfRows == 2) {
      _tile_stored(2, scratch.scores(16) + b * kKvBlock, kScoreBytes);
      if (pair) _tile_stored(3, scratch.scores(16) + (b + 1) * kKvBlock, kScoreBytes);
    }
  }
}

// Weights (bf16, where their scores were) times values of blocks [begin, end): four tiles of columns of one tile of rows at a time, or
// two of two.
void ValuesOfFewRows(const Scratch& scratch, const SplitBlocks& split, Ahead& ahead, int begin, int end) {
  TileFence();
  const int64_t out_stride = scratch.at.padded * 4, padded = scratch.at.padded;
  const std::byte* p = reinterpret_cast<const std::byte*>(scratch.scores(0));
  for (int64_t c = 0; c < padded; c += 64) {
    const int tiles = padded - c >= 64 ? 4 : static_cast<int>(padded - c) / 16;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int b = begin; b < end; ++b) {
      if (c == 0) ahead.Fetch();
      const std::byte* v = split.v[b] + c * 4;
      _tile_loadd(6, p + b * 32, kScoreBytes);
      _tile_loadd(7, v, split.v_stride);
      _tile_dpbf16ps(0, 6, 7);
      if (tiles < 2) continue;
      _tile_loadd(7, v + 64, split.v_stride);
      _tile_dpbf16ps(1, 6, 7);
      if (tiles < 3) continue;
      _tile_loadd(7, v + 128, split.v_stride);
      _tile_dpbf16ps(2, 6, 7);
      if (tiles < 4) continue;
      _tile_loadd(7, v + 192, split.v_stride);
      _tile_dpbf16ps(3, 6, 7);
    }
    float* out = scratch.values(0) + c;
    _tile_stored(0, out, out_stride);
    if (tiles > 1) _tile_stored(1, out + 16, out_stride);
    if (tiles > 2) _tile_stored(2, out + 32, out_stride);
    if (tiles > 3) _tile_stored(3, out + 48, out_stride);
  }
}

void ValuesOfManyRows(const Scratch& scratch, const SplitBlocks& split, int begin, int end) {
  TileFence();
  const int64_t out_stride = scratch.at.padded * 4;
  const std::byte* p = reinterpret_cast<const std::byte*>(scratch.scores(0));
  for (int64_t c = 0; c < scratch.at.padded; c += 32) {
    const bool pair = c + 16 < scratch.at.padded;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int b = begin; b < end; ++b) {
      _tile_loadd(7, split.v[b] + c * 4, split.v_stride);
      _tile_loadd(6, p + b * 32, kScoreBytes);
      _tile_dpbf16ps(0, 6, 7);
      _tile_loadd(6, p + 16 * kScoreBytes + b * 32, kScoreBytes);
      _tile_dpbf16ps(2, 6, 7);
      if (!pair) continue;
      _tile_loadd(7, split.v[b] + c * 4 + 64, split.v_stride);
      _tile_dpbf16ps(3, 6, 7);
      _tile_loadd(6, p + b * 32, kScoreBytes);
      _tile_dpbf16ps(1, 6, 7);
    }
    _tile_stored(0, scratch.values(0) + c, out_stride);
    if (pair) _tile_stored(1, scratch.values(0) + c + 16, out_stride);
    _tile_stored(2, scratch.values(16) + c, out_stride);
    if (pair) _tile_stored(3, scratch.values(16) + c + 16, out_stride);
  }
}

// ---- softmax ----

// The scores of blocks [begin, end) of one row-head, of which it sees `range`, become weights; 0 elsewhere. Weight b*16 + i lies at
// bf16 b*16 + i from the row's start.
template <bool kScaled>
void Softmax(float* s, Range range, int begin, int end, const float* k_scale, const float* v_scale, float* max, float* sum) {
  const int first = range.begin / kKvBlock, last = (range.end - 1) / kKvBlock;
  auto* weights = reinterpret_cast<uint16_t*>(s);
  const auto lanes_of = [&](int b) {
    const int from = b == first ? range.begin % kKvBlock : 0, to = b == last ? (range.end - 1) % kKvBlock + 1 : kKvBlock;
    return static_cast<__mmask16>(LanesBelow(to) & ~LanesBelow(from));
  };
  const auto score = [&](int b) {
    F32x16 x = Load(s + b * kKvBlock);
    if constexpr (kScaled) x = Mul(x, Load(k_scale + b * kKvBlock));
    return x;
  };
  const F32x16 nothing = Set(kNothing);
  F32x16 top = _mm512_mask_blend_ps(lanes_of(first), nothing, score(first));
  for (int b = first + 1; b < last; ++b) top = Max(score(b), top);
  if (last > first) top = Max(_mm512_mask_blend_ps(lanes_of(last), nothing, score(last)), top);
  const float most = _mm512_reduce_max_ps(Max(top, nothing));
  const F32x16 shift = Set(most * kLog2E), log2e = Set(kLog2E);
  F32x16 total = Zero();
  const auto weigh = [&](int b, __mmask16 lanes) {
    const F32x16 e = _mm512_maskz_mov_ps(lanes, Exp2(_mm512_fmsub_ps(score(b), log2e, shift)));
    total = Add(total, e);
    if constexpr (kScaled) return _mm512_maskz_mul_ps(lanes, e, Load(v_scale + b * kKvBlock));
    return e;
  };
  const auto put = [&](int b, F32x16 e) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + b * kKvBlock), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(e)));
  };
  for (int b = begin; b < first; ++b) put(b, Zero());
  put(first, weigh(first, lanes_of(first)));
  int b = first + 1;
  for (; b + 1 < last; b += 2) {
    const F32x16 low = weigh(b, 0xFFFF), high = weigh(b + 1, 0xFFFF);
    _mm512_storeu_si512(weights + b * kKvBlock, PackBF16(low, high));
  }
  for (; b <= last; ++b) put(b, weigh(b, b == last ? lanes_of(b) : static_cast<__mmask16>(0xFFFF)));
  for (; b < end; ++b) put(b, Zero());
  *max = most;
  *sum = Sum(total);
}

void ClearWeights(float* s, int begin, int end) {
  auto* weights = reinterpret_cast<uint16_t*>(s);
  for (int b = begin; b < end; ++b) _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + b * kKvBlock), _mm256_setzero_si256());
}

// ---- a task ----

// Row-heads [first, first + count), count <= kRows, against a prepared split.
void Batch(const AttnTask& task, const Scratch& scratch, int first, int count, int64_t base, const SplitBlocks& split, Ahead& ahead) {
  Range range[kRows];
  int low = kKvSplit, high = 0;
  for (int i = 0; i < count; ++i) {
    range[i] = Visible(task.window, task.pos[(first + i) / task.heads_per_group], base);
    if (range[i].begin == range[i].end) continue;
    low = range[i].begin < low ? range[i].begin : low;
    high = range[i].end > high ? range[i].end : high;
  }
  if (high == 0) return;
  const int begin = low / kKvBlock, end = (high + kKvBlock - 1) / kKvBlock;
  if (count > 16)
    Scores<2>(scratch, first, split, ahead, begin, end);
  else
    Scores<1>(scratch, first, split, ahead, begin, end);
  float max[kRows], sum[kRows];
  for (int i = 0; i < count; ++i) {
    if (range[i].begin == range[i].end)
      ClearWeights(scratch.scores(i), begin, end);
    else if (split.scaled)
      Softmax<true>(scratch.scores(i), range[i], begin, end, scratch.k_scale(), scratch.v_scale(), max + i, sum + i);
    else
      Softmax<false>(scratch.scores(i), range[i], begin, end, nullptr, nullptr, max + i, sum + i);
  }
  if (count > 16)
    ValuesOfManyRows(scratch, split, begin, end);
  else
    ValuesOfFewRows(scratch, split, ahead, begin, end);
  for (int i = 0; i < count; ++i) {
    if (range[i].begin == range[i].end) continue;
    float* state = scratch.running(first + i);
    float* head = state + scratch.at.padded;
    const float* part = scratch.values(i);
    Running total{head[0], head[1]};
    float ours, theirs;
    total.Merge(max[i], sum[i], ours, theirs);
    head[0] = total.max;
    head[1] = total.sum;
    for (int64_t c = 0; c < scratch.at.padded; c += 16) Store(MergeValues(Load(state + c), Load(part + c), ours, theirs), state + c);
  }
}

void RunSplit(const KvBlocks& blocks, const AttnTask& task, const Scratch& scratch, const ByteTable& table, int number) {
  const int64_t base = int64_t{number} * kKvSplit;
  Range seen = {kKvSplit, 0}, all = {0, kKvSplit};
  for (int r = 0; r < task.rows; ++r) {
    const Range range = Visible(task.window, task.pos[r], base);
    all.begin = range.begin > all.begin ? range.begin : all.begin;
    all.end = range.end < all.end ? range.end : all.end;
    if (range.begin == range.end) continue;
    seen.begin = range.begin < seen.begin ? range.begin : seen.begin;
    seen.end = range.end > seen.end ? range.end : seen.end;
  }
  if (seen.end == 0) return;
  SplitBlocks split;
  Ahead ahead(blocks, number);
  PrepareSplit(blocks, scratch, table, base, seen, all, split);
  const int heads = task.heads_per_group, row_heads = task.rows * heads;
  if (!split.one_by_one) {
    for (int first = 0; first < row_heads; first += kRows)
      Batch(task, scratch, first, row_heads - first < kRows ? row_heads - first : kRows, base, split, ahead);
    return;
  }
  for (int r = 0; r < task.rows; ++r) {
    const Range range = Visible(task.window, task.pos[r], base);
    if (range.begin == range.end) continue;
    PrepareSplit(blocks, scratch, table, base, range, range, split);
    for (int j = 0; j < heads; j += kRows) Batch(task, scratch, r * heads + j, heads - j < kRows ? heads - j : kRows, base, split, ahead);
  }
}

void Clear(const Scratch& scratch, int row_heads) {
  for (int i = 0; i < row_heads; ++i) {
    float* state = scratch.running(i);
    for (int64_t c = 0; c < scratch.at.padded; c += 16) Store(Zero(), state + c);
    state[scratch.at.padded] = kNothing;
    state[scratch.at.padded + 1] = 0.0f;
  }
}

void CopyOut(const float* acc, float sum, bool normalise, int width, float* dst) {
  for (int c = 0; c < width; c += 16) {
    const F32x16 values = Load(acc + c);
    StoreN(normalise ? Normalise(values, sum) : values, dst + c, width - c < 16 ? width - c : 16);
  }
}

}  // namespace

void TileAttention(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch_base) {
  if (!KvIsPaired(kv.type)) {
    Attention(q, kv, task, out, partials, scratch_base);
    return;
  }
  TileConfig shapes = AttentionTiles(task.rows * task.heads_per_group);
  Visible(shapes);
  const TileScope tiles(shapes);
  ByteTable table;
  if (kv.type != KvType::kBF16) FillTable(kv.type, table);
  const KvBlocks blocks(kv, task);
  const Scratch scratch(task.heads_per_group, kv.width, scratch_base);
  const int heads = task.heads_per_group, row_heads = task.rows * heads;
  const int64_t column = int64_t{task.group} * heads * kv.width;
  for (int i = 0; i < row_heads; ++i)
    SplitQuery(q.row(task.row[i / heads]) + column + i % heads * kv.width, kv.width, task.scale, scratch.at.steps, scratch.query(i));
  Clear(scratch, row_heads);
  for (int s = task.split_begin; s < task.split_end; ++s) {
    RunSplit(blocks, task, scratch, table, s);
    if (out != nullptr) continue;
    for (int i = 0; i < row_heads; ++i) {
      const float* state = scratch.running(i);
      float* part = partials + PartialAt(task, kv.width, s, i);
      part[0] = state[scratch.at.padded];
      part[1] = state[scratch.at.padded + 1];
      CopyOut(state, part[1], false, kv.width, part + 2);
    }
    Clear(scratch, row_heads);
  }
  if (out == nullptr) return;
  for (int i = 0; i < row_heads; ++i) {
    const float* state = scratch.running(i);
    CopyOut(state, state[scratch.at.padded + 1], true, kv.width, out->row(task.row[i / heads]) + column + i % heads * kv.width);
  }
}

}  // namespace sgl::KERNEL_ISA
