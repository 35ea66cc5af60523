// kernels/simd.h for AVX2 with FMA and F16C: two registers of eight lanes each.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__AVX2__) && !defined(__AVX512F__)
#include <immintrin.h>

#include "kernels/simd_base.h"

namespace sgl::KERNEL_ISA {

inline constexpr char kIsaName[] = "avx2";
inline constexpr int kTileRows = 6, kTilePanels = 1, kFewRows = 2, kFewPanels = 2;
inline constexpr int kBlockPanels = 1, kBlockRowStep = 1;  // block formats

struct F32x16 {
  __m256 lo, hi;
};
struct I32x16 {
  __m256i lo, hi;
};
using B64 = I32x16;

SIMD_FN __m256i LaneNumbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
SIMD_FN __m256i Below8(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), LaneNumbers()); }
SIMD_FN I32x16 LanesBelow(int n) { return {Below8(n), Below8(n - 8)}; }

SIMD_FN F32x16 Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
SIMD_FN F32x16 Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
SIMD_FN F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SIMD_FN F32x16 LoadN(const float* p, int n) {
  return {_mm256_maskload_ps(p, Below8(n)), n > 8 ? _mm256_maskload_ps(p + 8, Below8(n - 8)) : _mm256_setzero_ps()};
}
SIMD_FN void Store(F32x16 x, float* p) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
SIMD_FN void StoreN(F32x16 x, float* p, int n) {
  _mm256_maskstore_ps(p, Below8(n), x.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, Below8(n - 8), x.hi);
}
SIMD_FN F32x16 Add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
SIMD_FN F32x16 Sub(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
SIMD_FN F32x16 Mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
SIMD_FN F32x16 Div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
SIMD_FN F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
SIMD_FN F32x16 Max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }  // b where either is NaN
SIMD_FN F32x16 Min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }  // b where either is NaN
SIMD_FN F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
SIMD_FN F32x16 SelectNan(F32x16 a, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q))};
}
SIMD_FN F32x16 SelectLanes(int begin, int end, F32x16 yes, F32x16 no) {  // 0 <= begin <= end <= 16
  const I32x16 below = LanesBelow(end), before = LanesBelow(begin);
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_castsi256_ps(_mm256_andnot_si256(before.lo, below.lo))),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_castsi256_ps(_mm256_andnot_si256(before.hi, below.hi)))};
}
SIMD_FN uint32_t EqualLanes(F32x16 a, F32x16 b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ)) |
                               _mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)) << 8);
}
SIMD_FN float Sum(F32x16 x) {  // ((i + i+8) + (i+4 + i+12)) + ...: a fixed tree
  const __m256 h = _mm256_add_ps(x.lo, x.hi);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}

SIMD_FN I32x16 SetI(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
SIMD_FN I32x16 Add(I32x16 a, I32x16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
SIMD_FN I32x16 And(I32x16 a, I32x16 b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
SIMD_FN I32x16 Or(I32x16 a, I32x16 b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
SIMD_FN I32x16 MaxI(I32x16 a, I32x16 b) { return {_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)}; }
SIMD_FN I32x16 MinI(I32x16 a, I32x16 b) { return {_mm256_min_epi32(a.lo, b.lo), _mm256_min_epi32(a.hi, b.hi)}; }
template <int kBits>
SIMD_FN I32x16 Shr(I32x16 a) {  // unsigned
  return {_mm256_srli_epi32(a.lo, kBits), _mm256_srli_epi32(a.hi, kBits)};
}
template <int kBits>
SIMD_FN I32x16 Shl(I32x16 a) {
  return {_mm256_slli_epi32(a.lo, kBits), _mm256_slli_epi32(a.hi, kBits)};
}
SIMD_FN I32x16 Bits(F32x16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
SIMD_FN F32x16 FromBits(I32x16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
SIMD_FN F32x16 ToF32(I32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
SIMD_FN I32x16 Round(F32x16 a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }  // out of range or NaN: INT_MIN
// The low 16 bits of 16 lanes, in order.
SIMD_FN __m256i Narrow(I32x16 a) {
  const __m256i low = _mm256_set1_epi32(0xFFFF);
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(_mm256_and_si256(a.lo, low), _mm256_and_si256(a.hi, low)), 0xD8);
}
SIMD_FN void StoreU16(I32x16 a, uint16_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Narrow(a)); }
SIMD_FN void StoreI8(I32x16 a, int8_t* p) {  // lanes in [-128, 127]
  const __m256i words = Narrow(a);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
SIMD_FN int32_t SumI(I32x16 a) {
  const __m256i h = _mm256_add_epi32(a.lo, a.hi);
  __m128i q = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xB1)));
}
SIMD_FN int32_t SumBytes16(const int8_t* p) {
  const __m128i biased = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8(-128));
  const __m128i halves = _mm_sad_epu8(biased, _mm_setzero_si128());
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
SIMD_FN int32_t MaxLane(I32x16 a) {
  const __m256i h = _mm256_max_epi32(a.lo, a.hi);
  __m128i q = _mm_max_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xB1)));
}

SIMD_FN __m128i Load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
SIMD_FN __m128i Load64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
SIMD_FN F32x16 LoadBF16(const uint16_t* p) {
  const I32x16 wide = {_mm256_cvtepu16_epi32(Load128(p)), _mm256_cvtepu16_epi32(Load128(p + 8))};
  return FromBits(Shl<16>(wide));
}
SIMD_FN F32x16 LoadF16(const uint16_t* p) { return {_mm256_cvtph_ps(Load128(p)), _mm256_cvtph_ps(Load128(p + 8))}; }
SIMD_FN F32x16 LoadU8(const uint8_t* p) { return ToF32(I32x16{_mm256_cvtepu8_epi32(Load64(p)), _mm256_cvtepu8_epi32(Load64(p + 8))}); }
SIMD_FN F32x16 LoadI8(const int8_t* p) { return ToF32(I32x16{_mm256_cvtepi8_epi32(Load64(p)), _mm256_cvtepi8_epi32(Load64(p + 8))}); }
SIMD_FN void StoreF16(F32x16 x, uint16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
}

SIMD_FN I32x16 LoadU16(const uint16_t* p) { return {_mm256_cvtepu16_epi32(Load128(p)), _mm256_cvtepu16_epi32(Load128(p + 8))}; }
SIMD_FN void StoreB(B64 x, void* p) {
  auto* q = static_cast<__m256i*>(p);
  _mm256_storeu_si256(q, x.lo);
  _mm256_storeu_si256(q + 1, x.hi);
}
SIMD_FN B64 LoadB(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
SIMD_FN B64 AndB(B64 a, int8_t mask) {
  return {_mm256_and_si256(a.lo, _mm256_set1_epi8(mask)), _mm256_and_si256(a.hi, _mm256_set1_epi8(mask))};
}
SIMD_FN B64 OrB(B64 a, B64 b) { return Or(a, b); }
template <int kBits>  // left if positive, right if negative; bits cross into the byte's neighbour: mask afterwards
SIMD_FN B64 ShiftB(B64 a) {
  if constexpr (kBits >= 0)
    return {_mm256_slli_epi16(a.lo, kBits), _mm256_slli_epi16(a.hi, kBits)};
  else
    return {_mm256_srli_epi16(a.lo, -kBits), _mm256_srli_epi16(a.hi, -kBits)};
}
SIMD_FN B64 SetQuad(const int8_t* p) {  // the same four bytes for every column
  int32_t quad;
  __builtin_memcpy(&quad, p, 4);
  return SetI(quad);
}

// Dot adds kDotStep quads of unsigned codes times signed bytes (-127..127) per column. Codes of up to 255 (Q8_0) go through PrepareBytes,
// and kByteZero is what is then still to be subtracted times the sum of the bytes.
// Products of two 8-bit values are added pairwise in 16 bits. 2 * code * 127 stays below 2^15 up to code 128, so as many pair sums as
// fit are added before widening; full signed bytes go through |w| and a * sign(w).
inline constexpr int kByteZero = 0;
SIMD_FN B64 PrepareBytes(B64 codes) {
  const __m256i flip = _mm256_set1_epi8(-128);
  return {_mm256_xor_si256(codes.lo, flip), _mm256_xor_si256(codes.hi, flip)};
}
template <int kMaxCode>
inline constexpr int kDotStep = kMaxCode > 128 ? 1 : 32767 / (2 * kMaxCode * 127);
template <int kMaxCode>
SIMD_FN __m256i Pairs(__m256i w, __m256i a) {
  if constexpr (kMaxCode > 128)
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  else
    return _mm256_maddubs_epi16(w, a);
}
template <int kMaxCode>
SIMD_FN I32x16 Dot(I32x16 acc, const B64* w, const B64* a) {
  __m256i lo = Pairs<kMaxCode>(w[0].lo, a[0].lo), hi = Pairs<kMaxCode>(w[0].hi, a[0].lo);  // both halves of `a` hold the same quad
#pragma GCC unroll 8
  for (int i = 1; i < kDotStep<kMaxCode>; ++i) {
    lo = _mm256_add_epi16(lo, Pairs<kMaxCode>(w[i].lo, a[i].lo));
    hi = _mm256_add_epi16(hi, Pairs<kMaxCode>(w[i].hi, a[i].lo));
  }
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_add_epi32(acc.lo, _mm256_madd_epi16(lo, ones)), _mm256_add_epi32(acc.hi, _mm256_madd_epi16(hi, ones))};
}

}  // namespace sgl::KERNEL_ISA
#endif
