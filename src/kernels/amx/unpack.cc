// Packed panels -> tiles of bf16 pairs, the one form in which the matrix unit takes all formats; and for a row or two the unit's steps in
// vector registers, to the same bits: what such products cost is unpacking, and tiles would add a store, a load and a step to it.
// A code's byte is put into the fraction of a float by one shuffle, x = 1 + code * 2^(place - 23), place 8 or 16, so that value = d * (code
// - zero) + m is one fma: with d' = d * 2^(23 - place), value = fma(d', x, m - zero * d - d'). Without m all of that is exact.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/any/packed.h"

namespace sgl::KERNEL_ISA {
namespace {

constexpr int64_t kAhead = 2048;  // bytes of codes fetched ahead
constexpr int kTileBytes = kTileMaxRows * kTileMaxBytes;
constexpr int kOne = 0x3F800000;
// A float becomes bf16 by leaving its lower half out, one operation instead of three. What that takes away is half a unit of bf16 on
// average, 2^-8 / x of a number 1 <= x < 2; scales are larger by the mean of it instead, and where they are cut to 11 bits by the mean of
// that.
template <DType kFormat>
inline constexpr bool kCutScales = !HasMin(kFormat) && !IsKQuant(kFormat);
template <DType kFormat>
inline constexpr float kOutweigh = 1.0f + (kCutScales<kFormat> ? 12.0f : 11.0f) / 4096;

// (a & mask) | b
SIMD_FN __m512i AndOr(__m512i a, int mask, __m512i b) { return _mm512_ternarylogic_epi32(a, _mm512_set1_epi32(mask), b, 0xEA); }
template <int kBits>  // left if positive
SIMD_FN __m512i Shift(__m512i a) {
  if constexpr (kBits > 0) return _mm512_slli_epi32(a, kBits);
  if constexpr (kBits < 0) return _mm512_srli_epi32(a, -kBits);
  return a;
}

// Any NaN as one that survives the loss of its lower half.
SIMD_FN __m512 PlainNan(__m512 x) { return SelectNan(x, _mm512_castsi512_ps(_mm512_set1_epi32(0x7FC00000)), x); }

// What a group of 32 inputs is unpacked with: d' and the constant.
struct Scales {
  __m512 d, c;
};
// Where a code is in the fraction: a whole byte, so that one shuffle puts it there.
template <DType kFormat>
inline constexpr int kPlace = CodeBits(kFormat) == 8 ? 1 : 2;

template <DType kFormat>
SIMD_FN Scales Spread(__m512 d, __m512 m) {
  const float unit = static_cast<float>(1 << (23 - 8 * kPlace<kFormat>));
  return {_mm512_mul_ps(d, _mm512_set1_ps(unit)),
          PlainNan(_mm512_fnmadd_ps(d, _mm512_set1_ps(unit + static_cast<float>(CodeZero(kFormat))), m))};
}

// The scales of group g; halves[1] is set apart for Q6_K alone.
template <DType kFormat>
SIMD_FN void LoadScales(const uint8_t* scales, int64_t group, Scales* halves) {
  const __m512 outweigh = _mm512_set1_ps(kOutweigh<kFormat>);
  __m512 d, m = _mm512_setzero_ps();
  if constexpr (!IsKQuant(kFormat)) {
    const auto* at = reinterpret_cast<const uint16_t*>(scales + group * (HasMin(kFormat) ? 64 : 32));
    d = _mm512_mul_ps(LoadF16(at), outweigh);
    if constexpr (kCutScales<kFormat>)  // as many bits as in the file: then a number is exact before it is cut, and zero is zero
      d = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(d), _mm512_set1_epi32(-8192)));
    if constexpr (HasMin(kFormat)) m = _mm512_mul_ps(LoadF16(at + 16), outweigh);
  } else {
    const uint8_t* super = scales + group / 8 * kSuperScaleBytes;
    const uint8_t* sub = super + 64 + group % 8 * 32;
    const __m512 unit = _mm512_mul_ps(LoadF16(reinterpret_cast<const uint16_t*>(super)), outweigh);
    if constexpr (HasMin(kFormat)) {
      d = _mm512_mul_ps(unit, LoadU8(sub));
      m = _mm512_mul_ps(_mm512_mul_ps(LoadF16(reinterpret_cast<const uint16_t*>(super + 32)), outweigh), LoadU8(sub + 16));
      m = _mm512_sub_ps(_mm512_setzero_ps(), m);
    } else {
      d = _mm512_mul_ps(unit, LoadI8(reinterpret_cast<const int8_t*>(sub)));
      halves[1] = Spread<kFormat>(PlainNan(_mm512_mul_ps(unit, LoadI8(reinterpret_cast<const int8_t*>(sub + 16)))), m);
    }
  }
  halves[0] = Spread<kFormat>(PlainNan(d), m);
}

// The codes of a quad of inputs (byte 4*c + j: input j, column c), as bytes for Value. codes: the group's vectors (see packed.h).
template <DType kFormat, int kQuad>
SIMD_FN __m512i QuadBytes(const __m512i* codes) {
  constexpr int kBits = CodeBits(kFormat);
  if constexpr (kBits == 8) return codes[kQuad];
  __m512i x = AndOr(Shift<kQuad / 4 * -4>(codes[kQuad % 4]), 0x0F0F0F0F, _mm512_set1_epi32(static_cast<int>(0x80808080)));
  if constexpr (kBits == 5) x = AndOr(Shift<4 - kQuad>(codes[4]), 0x10101010, x);
  if constexpr (kBits == 6) x = AndOr(Shift<4 - 2 * (kQuad % 4)>(codes[4 + kQuad / 4]), 0x30303030, x);
  return x;
}

// Every lane's bytes from byte kByte of the same lane of `bytes` where the mask (four bits a lane) is set, else those of x.
template <int kByte>
SIMD_FN __m512i Place(__m512i x, __mmask64 mask, __m512i bytes) {
  const __m512i from = _mm512_set4_epi32(0x01010101 * (12 + kByte), 0x01010101 * (8 + kByte), 0x01010101 * (4 + kByte), 0x01010101 * kByte);
  return _mm512_mask_shuffle_epi8(x, mask, bytes, from);
}

// Input kByte of a quad as floats of all columns.
template <DType kFormat, int kByte>
SIMD_FN __m512 Value(__m512i bytes, Scales s) {
  constexpr __mmask64 kMask = 0x1111111111111111u << kPlace<kFormat>;
  const __m512i one = _mm512_set1_epi32(kOne);
  const __m512i x = kByte == kPlace<kFormat> ? _mm512_mask_blend_epi8(kMask, one, bytes) : Place<kByte>(one, kMask, bytes);
  return _mm512_fmadd_ps(_mm512_castsi512_ps(x), s.d, s.c);
}

// Two rows of floats -> one row of pairs.
SIMD_FN void StorePairs(__m512 even, __m512 odd, uint8_t* dst) {
  const __m512i high = _mm512_set4_epi32(0x0F0E0F0E, 0x0B0A0B0A, 0x07060706, 0x03020302);
  _mm512_store_si512(dst, _mm512_mask_shuffle_epi8(_mm512_castps_si512(odd), 0x3333333333333333u, _mm512_castps_si512(even), high));
}
template <DType kFormat, int kQuad>
SIMD_FN void StoreQuad(const __m512i* codes, const Scales* halves, uint8_t* dst) {
  const __m512i bytes = QuadBytes<kFormat, kQuad>(codes);
  const Scales s = halves[kFormat == DType::kQ6_K ? kQuad / 4 : 0];
  StorePairs(Value<kFormat, 0>(bytes, s), Value<kFormat, 1>(bytes, s), dst + 2 * kQuad * 64);
  StorePairs(Value<kFormat, 2>(bytes, s), Value<kFormat, 3>(bytes, s), dst + (2 * kQuad + 1) * 64);
}

template <DType kFormat>
struct PanelLayout {
  int64_t scale_bytes, code_bytes, scale_step;  // scale_step: bytes of scales to fetch with each group, about
  explicit PanelLayout(int64_t k)
      : scale_bytes(PaddedScaleBytes(kFormat, k)), code_bytes(k / kGroup * CodeBytes(kFormat)), scale_step(scale_bytes / (k / kGroup)) {}
};

// The codes of one group; fetches the stream ahead.
template <DType kFormat>
SIMD_FN void LoadCodes(const PanelStream& panel, const PanelLayout<kFormat>& layout, int64_t group, __m512i* codes) {
  constexpr int kVectors = CodeBytes(kFormat) / 64;
  const uint8_t* at = panel.data + layout.scale_bytes + group * CodeBytes(kFormat);
  const int64_t ahead = group * CodeBytes(kFormat) + kAhead;
  const uint8_t* fetch =
      ahead < layout.code_bytes ? panel.data + layout.scale_bytes + ahead : panel.next + layout.scale_bytes + (ahead - layout.code_bytes);
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) {
    __builtin_prefetch(fetch + i * 64);
    codes[i] = _mm512_loadu_si512(at + i * 64);
  }
  __builtin_prefetch(panel.next + group * layout.scale_step);
}

template <DType kFormat>
void UnpackBlocks(int64_t k, PanelStream panel, int64_t first, int64_t count, uint8_t* dst) {
  const PanelLayout<kFormat> layout(k);
  for (int64_t group = first; group < first + count; ++group, dst += kTileBytes) {
    __m512i codes[CodeBytes(kFormat) / 64];
    LoadCodes<kFormat>(panel, layout, group, codes);
    Scales halves[2];
    LoadScales<kFormat>(panel.data, group, halves);
    StoreQuad<kFormat, 0>(codes, halves, dst);
    StoreQuad<kFormat, 4>(codes, halves, dst);
    StoreQuad<kFormat, 1>(codes, halves, dst);
    StoreQuad<kFormat, 5>(codes, halves, dst);
    StoreQuad<kFormat, 2>(codes, halves, dst);
    StoreQuad<kFormat, 6>(codes, halves, dst);
    StoreQuad<kFormat, 3>(codes, halves, dst);
    StoreQuad<kFormat, 7>(codes, halves, dst);
  }
}

// What StorePairs would store, as a float.
SIMD_FN __m512 Cut(__m512 x) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
}
// One quad of a step: chain[0] takes even inputs, chain[1] odd ones.
template <DType kFormat, int kRows, int kQuad>
SIMD_FN void AddQuad(const __m512i* codes, const Scales* halves, const float* x, int64_t x_stride, __m512 (*chain)[kRows]) {
  const __m512i bytes = QuadBytes<kFormat, kQuad>(codes);
  const Scales s = halves[kFormat == DType::kQ6_K ? kQuad / 4 : 0];
  const __m512 w[4] = {Cut(Value<kFormat, 0>(bytes, s)), Cut(Value<kFormat, 1>(bytes, s)), Cut(Value<kFormat, 2>(bytes, s)),
                       Cut(Value<kFormat, 3>(bytes, s))};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j)
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r)
      chain[j % 2][r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * x_stride + 4 * kQuad + j]), w[j], chain[j % 2][r]);
}
template <DType kFormat, int kRows>
void VectorSteps(int64_t k, const PanelStream* panels, int count, const float* x, float* out) {
  const PanelLayout<kFormat> layout(k);
  for (int64_t group = 0; group < k / kGroup; ++group, x += kGroup)
    for (int p = 0; p < count; ++p) {
      __m512i codes[CodeBytes(kFormat) / 64];
      LoadCodes<kFormat>(panels[p], layout, group, codes);
      Scales halves[2];
      LoadScales<kFormat>(panels[p].data, group, halves);
      __m512 chain[2][kRows];
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) chain[0][r] = chain[1][r] = _mm512_setzero_ps();
      AddQuad<kFormat, kRows, 0>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 1>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 2>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 3>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 4>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 5>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 6>(codes, halves, x, k, chain);
      AddQuad<kFormat, kRows, 7>(codes, halves, x, k, chain);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        float* to = out + r * kVectorOut + p * kPanel;
        Store(Add(Load(to), Add(chain[0][r], chain[1][r])), to);
      }
    }
}
static_assert(kVectorRows == 2);
template <DType kFormat>
inline constexpr BlockKernels kBlockKernels = {UnpackBlocks<kFormat>, {VectorSteps<kFormat, 1>, VectorSteps<kFormat, 2>}};

}  // namespace

const BlockKernels* BlockKernelsFor(DType format) {
  switch (format) {
    case DType::kQ8_0: return &kBlockKernels<DType::kQ8_0>;
    case DType::kQ4_0: return &kBlockKernels<DType::kQ4_0>;
    case DType::kQ4_1: return &kBlockKernels<DType::kQ4_1>;
    case DType::kQ5_0: return &kBlockKernels<DType::kQ5_0>;
    case DType::kQ5_1: return &kBlockKernels<DType::kQ5_1>;
    case DType::kQ4_K: return &kBlockKernels<DType::kQ4_K>;
    case DType::kQ5_K: return &kBlockKernels<DType::kQ5_K>;
    case DType::kQ6_K: return &kBlockKernels<DType::kQ6_K>;
    default: return nullptr;
  }
}

}  // namespace sgl::KERNEL_ISA
