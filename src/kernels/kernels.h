// Every compute kernel of the engine: its signature and its contract. Callers go through `kernels()`.
//
// Kernels are single-threaded; the callers (room layers) slice work into tasks for the ThreadPool.
// THE DETERMINISM RULE, for every kernel here: an output element is computed with one fixed sequence of floating-point operations that
// depends only on its own row's inputs and the weights - never on the number of rows, the slicing into tasks, the worker, or what the
// other rows hold. (Different instruction sets may round differently from one another.)
//
// Letters: T rows (tokens), K inputs, N outputs, H query heads, G key/value heads, C head width, P tokens per page.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/mat.h"

namespace sgl {

// ---- matrix products -------------------------------------------------------------------------------------------------------------

// A weight [N, K], packed in panels of kPanel consecutive output columns (zero-padded at the end), each panel contiguous:
//   kF32/kF16:     [K][16] elements.
//   kBF16:         [K/2][16][2]: pairs of inputs, K padded with zeros to a multiple of 32 (matrix units load 32 inputs as one tile).
//   kI8:           a signed byte in -127..127 per element and an f32 scale per output (kernels/any/packed.h). K <= kMaxInt8Inputs.
//   block formats: stay quantised; codes and scales regrouped for 16 columns at a time (kernels/any/packed.h says how).
// Panel p starts at data + p * panel_bytes. A view: the owner keeps the Buffer (64-byte aligned, readable up to 64 bytes past the end).
inline constexpr int kPanel = 16;
inline constexpr int64_t kMaxInt8Inputs = 65536;  // so that sums of products fit 32 bits
struct PackedMat {
  DType format = DType::kF32;
  int64_t n = 0, k = 0;
  int64_t panel_bytes = 0;
  std::byte* data = nullptr;
  int64_t panels() const { return (n + kPanel - 1) / kPanel; }
};

// Bytes of one panel of `k` inputs. Precondition: k % Info(format).block_elems == 0.
int64_t PanelBytes(DType format, int64_t k);

// Writes row `dst_row` of the packed matrix from one row in the file's layout (k elements of `src_dtype`).
// src_dtype == format keeps the bits; plain types convert into each other (round to nearest even); a block format dequantises exactly
// into kF32 (and rounds into kF16/kBF16). kI8 takes any of these: scale = max|w| / 127 of the row, round to nearest even; a NaN makes the
// row's scale NaN. Other pairs: CHECK. Rows of one panel may be written by different threads at the same time
// only if dst rows are different (each touches its own bytes).
void PackRow(DType src_dtype, const std::byte* src, int64_t dst_row, const PackedMat& dst);

// out[0..k) = row `row` of the packed matrix as f32 (block formats: d * (q - zero) or d * q + m, exactly as tensor/blocks.h does).
// This is how tied embeddings are looked up.
void UnpackRow(const PackedMat& w, int64_t row, float* out);

// What a product reads its inputs as; `Kernels::form` says which one a weight format wants. One row of K inputs is
//   kFloat   K floats
//   kInt15   integers of 15 bits, two bytes of eight products each: 2K bytes (per group of 32 inputs 32 high bytes, then 32 low bytes),
//            then K/32 f32 scales, then K/32 i32 sums. q = round(x / scale), scale = max|x| / 16319 over the group (0 if it is all zero),
//            q = 128 * high + low, sum = the sum of the group's q. 15 bits keep the divergence from f32 activations at 1e-6 nats.
//   kBFloat  bf16, rounded to nearest even, padded with zeros to a multiple of 32
//   kInt8    a signed byte each, zeros up to a multiple of 64, then an f32 scale and the i32 sum of the bytes. q = round(x / scale),
//            scale = max|x| / 127 over the row (0 if it is all zero; NaN if the row has one)
enum class Form : uint8_t { kFloat, kInt15, kBFloat, kInt8 };
inline constexpr Form kForms[] = {Form::kFloat, Form::kInt15, Form::kBFloat, Form::kInt8};
struct Activations {
  Form form = Form::kFloat;
  int64_t k = 0;
  Mat<const std::byte> bytes;  // [T, bytes of a row]
  Activations Rows(int64_t begin, int64_t count) const { return {form, k, bytes.Rows(begin, count)}; }
  int64_t rows() const { return bytes.rows; }
  Mat<const float> floats() const {  // kFloat alone
    return {reinterpret_cast<const float*>(bytes.data), bytes.rows, k, bytes.stride / static_cast<int64_t>(sizeof(float))};
  }
};
// Floats as they lie; nothing to prepare.
inline Activations FloatActivations(Mat<const float> x) {
  constexpr int64_t kSize = sizeof(float);
  return {Form::kFloat, x.cols, {reinterpret_cast<const std::byte*>(x.data), x.rows, x.cols * kSize, x.stride * kSize}};
}
// Bytes of one row as `prepare` writes it, a multiple of 64 that puts neighbouring rows into different cache sets.
int64_t ActivationBytes(Form form, int64_t k);

// ---- attention over the paged KV cache -------------------------------------------------------------------------------------------

// How keys and values are held. The one-byte types hold a sign (bit 7) and a magnitude code (bits 0-6) that grows with the magnitude:
//   kF8E5M2, kF8E4M3: rounded to nearest even; beyond the largest finite value (57344, 448) that value; NaN and infinities are NaN (0x7F)
//   kI8: round(|x| / scale) with one scale per token and head, max|x| / 127; NaN or infinite where an x is
enum class KvType : uint8_t { kF32, kF16, kBF16, kF8E5M2, kF8E4M3, kI8 };
inline constexpr KvType kKvTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kF8E5M2, KvType::kF8E4M3, KvType::kI8};
constexpr int KvElemBytes(KvType type) { return type == KvType::kF32 ? 4 : type == KvType::kF16 || type == KvType::kBF16 ? 2 : 1; }
constexpr bool KvIsPaired(KvType type) { return type != KvType::kF32 && type != KvType::kF16; }

// Tokens live in slots: slot = page * page_size + position % page_size. Slots are grouped in blocks of kKvBlock, and a block is one chunk
// per head in each of the two pools: [blocks][G] chunks of KvChunkBytes. In a chunk, token s and width C, the element c of
//   kF32, kF16   k is at c*16 + s                      [C][16], the tokens are the vector lanes of a score
//                v is at s*C + c                       [16][C]
//   the others   k is at (c/2*16 + s)*2 + c%2          [C'/2][16][2], C' = C rounded up to even; an element c == C is zero
//                v is at (s/2*C + c)*2 + s%2           [8][C][2]
// that is, in pairs along the dimension that a product sums over: what tile and pair products load as it lies. kI8's 16 scales (float)
// follow at element 16*C'.
inline constexpr int kKvBlock = 16;
inline constexpr int kKvSlack = 64;  // a pool is readable this many bytes past its end
struct KvLayer {
  void* k = nullptr;
  void* v = nullptr;
  KvType type = KvType::kBF16;
  int32_t groups = 0;  // G
  int32_t width = 0;   // C, any value >= 1
};
constexpr int64_t KvChunkBytes(KvType type, int32_t width) {
  return int64_t{kKvBlock} * ((width + 1) / 2 * 2) * KvElemBytes(type) + (type == KvType::kI8 ? kKvBlock * 4 : 0);
}

// Scores are taken in splits of kKvSplit consecutive positions that start at multiples of kKvSplit, whatever the rows: within a split a
// plain softmax with the split's own maximum; splits are merged in ascending order with the usual rescaling. That fixed shape is what
// makes a row's result independent of chunking and of how splits are spread over threads.
inline constexpr int kKvSplit = 256;
// Partial result of one (row, head) over one split: maximum, sum of exponentials, weighted values.
struct AttnPartial {
  float max, sum;  // sum == 0: the row sees nothing there
  // followed by C floats: acc
};

// Rows that read the cache through one page table: of one sequence, or of several whose tables begin with the same pages, over splits
// that lie in those pages. The row at position p sees positions max(0, p - window + 1) .. p (window 0: no limit), all in the cache.
inline constexpr int kAttnRows = 32;
struct AttnTask {
  const int32_t* pages = nullptr;  // page table: pages[i] holds positions [i*page_size, (i+1)*page_size)
  int32_t page_size = kKvBlock;    // 1, or a multiple of kKvBlock
  int32_t window = 0;
  int32_t rows = 0;                        // 1 .. kAttnRows
  const int32_t* row = nullptr;            // [rows] which rows of q and out
  const int32_t* pos = nullptr;            // [rows] their positions, in any order
  const int64_t* part = nullptr;           // [rows] where their partials begin; only read if partials are written
  int32_t group = 0, heads_per_group = 1;  // one key/value head and its H/G query heads
  int32_t split_begin = 0, split_end = 0;
  float scale = 1.0f;       // multiplies the scores
  bool fetch_next = false;  // only about time: the thread will do the next split of this table next, all groups of it
};

struct Kernels {
  const char* isa;  // "portable", "avx2", "avx512", "amx"; "avx512-basic" is the one without VNNI on a CPU that has it.

  // y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * w, per row.  x, y: [T, n]; y may be x. w: [n].  Source: arXiv:1910.07467.
  // Relative error <= 5e-7.
  void (*rms_norm)(Mat<const float> x, const float* w, float eps, Mat<float> y);

  // Rotates `heads` consecutive heads of width C in each row of x: [T, heads*C], in place, the first `rotary` elements of each head.
  // cos_sin: [T, rotary]: row t holds rotary/2 cosines, then rotary/2 sines. interleaved false: pairs (i, i + rotary/2); true: (2i, 2i+1).
  void (*rope)(Mat<float> x, int heads, int width, int rotary, bool interleaved, Mat<const float> cos_sin);

  // y[t, i] = silu(x[t, i]) * x[t, F + i].  x: [T, 2F] (gate | up), y: [T, F]; y may be x's first half. Relative error <= 5e-7.
  void (*silu_mul)(Mat<const float> x, Mat<float> y);

  // y += x.  Both [T, n].
  void (*add)(Mat<const float> x, Mat<float> y);

  // The form in which `matmul` wants activations for weights of this format.
  Form (*form)(DType format);

  // Writes rows of x: [T, K] in `form` (see Form) to dst: [T, ActivationBytes]. norm: [K] or null; with it, the rows are first normalised
  // as rms_norm does, to the same bits. kInt15: K % 32 == 0, 128 * high + low is within 0.502 of x / scale; a group with a NaN gets scale
  // NaN, so that it reaches the product.
  void (*prepare)(Mat<const float> x, const float* norm, float eps, Form form, Mat<std::byte> dst);

  // out[:, 16*panel_begin ... ) = x * w^T (+ bias), or += when `add`, for panels [panel_begin, panel_end); only columns < w.n are written.
  // x.form == form(w.format). out: [T, >= w.n], may not alias x. bias: [w.n] or null. T >= 1.
  // K is summed in an order that does not depend on T (docs/kernels.md).
  // Error, with S = sum |x w| (d q and m taken apart), against the activations as prepared: kFloat <= (K + 2) 2^-24 S; kInt15
  // <= (K/32 + 8) 2^-24 S; kBFloat <= (K + 2) 2^-24 S against weights that have become bf16, which moves each by at most 2^-7.4 of its
  // size, to neither side on average (bf16 weights: not at all); kInt8 <= 4 * 2^-24 times the result, as the sum is an exact integer.
  void (*matmul)(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                 Mat<float> out);

  // Gated product: w is [2F, K], F % 16 == 0, gate rows, then up rows. out[:, 16*panel_begin ... ) = silu(gate) * up for panels of the
  // gate in [panel_begin, panel_end), as prepared activations of K = F in form kBFloat (padding included). The same bits as matmul,
  // silu_mul and prepare. Null in tables whose products do not read kBFloat.
  void (*matmul_gated)(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias,
                       Mat<std::byte> out);

  // Writes T tokens' keys and values, k, v: [T, G*C] f32, into slots[t] (rounding to the cache's type). A token touches only its own
  // bytes, so different tokens may be written at the same time.
  void (*store_kv)(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv);

  // Rotated queries q: [T, H*C] of a task's rows against its splits.
  // out != null: writes the normalised result into out (same shape as q); the splits must cover all that the rows see.
  // out == null: writes partials instead, the one of split s, row r and head j of the group at
  // partials + part[r] + ((s - split_begin) * H/G + j) * (2 + C) floats. A split in which a row sees nothing gives sum = 0, acc = 0.
  // scratch: at least AttentionScratch floats, private to the caller. Slots that no row of the task sees may hold anything, NaN included.
  // Error, the cache's values taken as exact: <= 4e-5 max|v|; the amx table with paired types: <= 4.2e-3 max|v|, as weights
  // are rounded to bf16.
  void (*attention)(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch);

  // Merges the partials of consecutive splits (each 2 + C floats, `part_stride` floats apart) in ascending order and writes the
  // normalised result: bit-identical to what `attention` writes when it runs over all those splits itself.
  void (*attention_merge)(const float* partials, int parts, int64_t part_stride, int width, float* out);

  // Index of the largest element, the lowest index on ties. n >= 1. NaN never wins; all NaN: 0.
  int64_t (*argmax)(const float* x, int64_t n);

  // max(x) and sum(exp((x - max) * inv_temperature)), the pieces of a log-softmax, in a fixed order. n >= 1. max ignores NaN;
  // relative error of sum <= 4e-6.
  void (*softmax_stats)(const float* x, int64_t n, float inv_temperature, float* max, double* sum);
};

// Floats of scratch that `attention` needs for one task, heads_per_group heads of width C.
int64_t AttentionScratch(int heads_per_group, int width);

const Kernels& kernels();               // the best table this CPU can run, or the one SGLANG_CPU_ISA names
std::span<const Kernels> AllKernels();  // all tables this CPU can run, portable first (tests, benches)
// For start-up: false and the names that exist here when SGLANG_CPU_ISA names a table that this CPU cannot run or that does not exist.
bool ForcedIsaIsValid(std::string_view name);

}  // namespace sgl
