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
//   block formats: stay quantised; codes and scales regrouped for 16 columns at a time (kernels/any/packed.h says how).
// Panel p starts at data + p * panel_bytes. A view: the owner keeps the Buffer (64-byte aligned, readable up to 64 bytes past the end).
inline constexpr int kPanel = 16;
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
// into kF32 (and rounds into kF16/kBF16). Other pairs: CHECK. Rows of one panel may be written by different threads at the same time
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
enum class Form : uint8_t { kFloat, kInt15, kBFloat };
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

// Tokens live in slots: slot = page * page_size + position % page_size. Physically, slots are grouped in blocks of kKvBlock:
//   k: [blocks][G][C][kKvBlock]   (transposed: the 16 tokens of a block are the vector lanes of a score)
//   v: [blocks][G][kKvBlock][C]
// so element (slot s, head g, c) of k is at ((s/16)*G + g)*16*C + c*16 + s%16, and of v at ((s/16)*G + g)*16*C + (s%16)*C + c.
inline constexpr int kKvBlock = 16;
struct KvLayer {
  void* k = nullptr;
  void* v = nullptr;
  DType dtype = DType::kBF16;  // kF32, kF16 or kBF16
  int32_t groups = 0;          // G
  int32_t width = 0;           // C, any value >= 1
};

// The new rows of one sequence. Its row r (0 <= r < rows) is token position first_pos + r and sees positions
// max(0, pos - window + 1) .. pos (window 0: no limit). All those positions are already in the cache.
struct AttnSeq {
  const int32_t* pages = nullptr;  // page table: pages[i] holds positions [i*page_size, (i+1)*page_size)
  int32_t page_size = kKvBlock;    // 1, or a multiple of kKvBlock
  int32_t first_pos = 0;
  int32_t rows = 0;
  int32_t window = 0;
};

// Scores are taken in splits of kKvSplit consecutive positions that start at multiples of kKvSplit, whatever the rows: within a split a
// plain softmax with the split's own maximum; splits are merged in ascending order with the usual rescaling. That fixed shape is what
// makes a row's result independent of chunking and of how splits are spread over threads.
inline constexpr int kKvSplit = 256;
// Partial result of one (row, head) over one or more splits: maximum, sum of exponentials, weighted values.
struct AttnPartial {
  float max, sum;
  // followed by C floats: acc
};

struct Kernels {
  const char* isa;  // "portable", "avx2", "avx512"; "avx512-basic" is the one without VNNI on a CPU that has it; "amx"

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
  // <= (K/32 + 8) 2^-24 S; kBFloat <= (K + 2) 2^-24 S against weights rounded to bf16, which moves each by at most 2^-7.9 of its size
  // (bf16 weights: not at all).
  void (*matmul)(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                 Mat<float> out);

  // Gated product: w is [2F, K], F % 16 == 0, gate rows, then up rows. out[:, 16*panel_begin ... ) = silu(gate) * up for panels of the
  // gate in [panel_begin, panel_end), as prepared activations of K = F in form kBFloat (padding included). The same bits as matmul,
  // silu_mul and prepare. Null in tables whose products do not read kBFloat.
  void (*matmul_gated)(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias,
                       Mat<std::byte> out);

  // Writes T tokens' keys and values, k, v: [T, G*C] f32, into slots[t] (rounding to the cache's dtype).
  void (*store_kv)(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv);

  // Rows [row_begin, row_end) of one sequence, one key/value head g with its H/G query heads, over splits [split_begin, split_end).
  // q: [rows of the step, H*C] already rotated; row r of the sequence is q.row(r). scale multiplies the scores.
  // out != null: writes the normalised result into out (same shape and rows as q); the range must cover all splits the rows see.
  // out == null: writes partials instead, at partials + ((r - row_begin) * (H/G) + j) * (2 + C) floats for head g*(H/G)+j. A split in
  // which a row sees nothing gives max = -inf, sum = 0, acc = 0.
  // scratch: at least AttentionScratch floats, private to the caller. Error <= 4e-5 max|v|, the cache's values taken as exact.
  // row_end - row_begin <= kAttnRows. Slots that no row of the task sees may hold anything, NaN included.
  void (*attention)(Mat<const float> q, const KvLayer& kv, const AttnSeq& seq, int g, int heads_per_group, int row_begin, int row_end,
                    int split_begin, int split_end, float scale, Mat<float>* out, float* partials, float* scratch);

  // Merges `parts` partials (each 2 + C floats, `part_stride` floats apart) in ascending order and writes the normalised result:
  // bit-identical to what `attention` writes when it runs over all those splits itself, if every partial but the first covers one split
  // (floating-point merging is not associative).
  void (*attention_merge)(const float* partials, int parts, int64_t part_stride, int width, float* out);

  // Index of the largest element, the lowest index on ties. n >= 1. NaN never wins; all NaN: 0.
  int64_t (*argmax)(const float* x, int64_t n);

  // max(x) and sum(exp((x - max) * inv_temperature)), the pieces of a log-softmax, in a fixed order. n >= 1. max ignores NaN;
  // relative error of sum <= 4e-6.
  void (*softmax_stats)(const float* x, int64_t n, float inv_temperature, float* max, double* sum);
};

// Floats of scratch that `attention` needs for one task of at most kAttnRows rows, heads_per_group heads of width C.
inline constexpr int kAttnRows = 32;  // callers slice sequences into tasks of at most this many rows
int64_t AttentionScratch(int heads_per_group, int width);

const Kernels& kernels();               // the best table this CPU can run, or the one SGLANG_CPU_ISA names
std::span<const Kernels> AllKernels();  // all tables this CPU can run, portable first (tests, benches)
// For start-up: false and the names that exist here when SGLANG_CPU_ISA names a table that this CPU cannot run or that does not exist.
bool ForcedIsaIsValid(std::string_view name);

}  // namespace sgl
