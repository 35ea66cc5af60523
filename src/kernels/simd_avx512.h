// kernels/simd.h for AVX-512 F, BW, VL, DQ; with VNNI when the flags allow it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__AVX512F__)
#include <immintrin.h>

#include "kernels/simd_base.h"

namespace sgl::KERNEL_ISA {

inline constexpr char kIsaName[] = "avx512";
// Register tiles of the float micro-kernel: rows x panels; and rows x panels that few-row products keep in flight.
inline constexpr int kTileRows = 12, kTilePanels = 2, kFewRows = 4, kFewPanels = 4;
inline constexpr int kBlockPanels = 2, kBlockRowStep = 2;  // block formats

using F32x16 = __m512;
using I32x16 = __m512i;
using B64 = __m512i;

SIMD_FN __mmask16 LanesBelow(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

SIMD_FN F32x16 Zero() { return _mm512_setzero_ps(); }
SIMD_FN F32x16 Set(float x) { return _mm512_set1_ps(x); }
SIMD_FN F32x16 Load(const float* p) { return _mm512_loadu_ps(p); }
SIMD_FN F32x16 LoadN(const float* p, int n) { return _mm512_maskz_loadu_ps(LanesBelow(n), p); }
SIMD_FN void Store(F32x16 x, float* p) { _mm512_storeu_ps(p, x); }
SIMD_FN void StoreN(F32x16 x, float* p, int n) { _mm512_mask_storeu_ps(p, LanesBelow(n), x); }
SIMD_FN F32x16 Add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
SIMD_FN F32x16 Sub(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
SIMD_FN F32x16 Mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
SIMD_FN F32x16 Div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
SIMD_FN F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_FN F32x16 Max(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }  // b where either is NaN
SIMD_FN F32x16 Min(F32x16 a, F32x16 b) { return _mm512_min_ps(a, b); }  // b where either is NaN
SIMD_FN F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
SIMD_FN F32x16 SelectNan(F32x16 a, F32x16 yes, F32x16 no) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), no, yes); }
SIMD_FN F32x16 SelectLanes(int begin, int end, F32x16 yes, F32x16 no) {  // 0 <= begin <= end <= 16
  return _mm512_mask_blend_ps(static_cast<__mmask16>(LanesBelow(end) & ~LanesBelow(begin)), no, yes);
}
SIMD_FN uint32_t EqualLanes(F32x16 a, F32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
SIMD_FN float Sum(F32x16 x) {  // ((i + i+8) + (i+4 + i+12)) + ...: a fixed tree
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}

SIMD_FN I32x16 SetI(int32_t x) { return _mm512_set1_epi32(x); }
SIMD_FN I32x16 Add(I32x16 a, I32x16 b) { return _mm512_add_epi32(a, b); }
SIMD_FN I32x16 And(I32x16 a, I32x16 b) { return _mm512_and_si512(a, b); }
SIMD_FN I32x16 Or(I32x16 a, I32x16 b) { return _mm512_or_si512(a, b); }
SIMD_FN I32x16 MaxI(I32x16 a, I32x16 b) { return _mm512_max_epi32(a, b); }
SIMD_FN I32x16 MinI(I32x16 a, I32x16 b) { return _mm512_min_epi32(a, b); }
template <int kBits>
SIMD_FN I32x16 Shr(I32x16 a) {  // unsigned
  return _mm512_srli_epi32(a, kBits);
}
template <int kBits>
SIMD_FN I32x16 Shl(I32x16 a) {
  return _mm512_slli_epi32(a, kBits);
}
SIMD_FN I32x16 Bits(F32x16 a) { return _mm512_castps_si512(a); }
SIMD_FN F32x16 FromBits(I32x16 a) { return _mm512_castsi512_ps(a); }
SIMD_FN F32x16 ToF32(I32x16 a) { return _mm512_cvtepi32_ps(a); }
SIMD_FN I32x16 Round(F32x16 a) { return _mm512_cvtps_epi32(a); }  // to nearest even; out of range or NaN: INT_MIN
SIMD_FN void StoreU16(I32x16 a, uint16_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a)); }
SIMD_FN void StoreI8(I32x16 a, int8_t* p) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a)); }
SIMD_FN int32_t SumI(I32x16 a) { return _mm512_reduce_add_epi32(a); }
SIMD_FN int32_t SumBytes16(const int8_t* p) {
  const __m128i biased = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8(-128));
  const __m128i halves = _mm_sad_epu8(biased, _mm_setzero_si128());
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
SIMD_FN int32_t MaxLane(I32x16 a) { return _mm512_reduce_max_epi32(a); }

SIMD_FN __m256i Load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
SIMD_FN F32x16 LoadBF16(const uint16_t* p) { return FromBits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load256(p)), 16)); }
SIMD_FN F32x16 LoadF16(const uint16_t* p) { return _mm512_cvtph_ps(Load256(p)); }
SIMD_FN F32x16 LoadU8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
SIMD_FN F32x16 LoadI8(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
SIMD_FN void StoreF16(F32x16 x, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

SIMD_FN I32x16 LoadU16(const uint16_t* p) { return _mm512_cvtepu16_epi32(Load256(p)); }
SIMD_FN B64 LoadB(const void* p) { return _mm512_loadu_si512(p); }
SIMD_FN void StoreB(B64 x, void* p) { _mm512_storeu_si512(p, x); }
SIMD_FN B64 AndB(B64 a, int8_t mask) { return _mm512_and_si512(a, _mm512_set1_epi8(mask)); }
SIMD_FN B64 OrB(B64 a, B64 b) { return _mm512_or_si512(a, b); }
template <int kBits>  // left if positive, right if negative; bits cross into the byte's neighbour: mask afterwards
SIMD_FN B64 ShiftB(B64 a) {
  if constexpr (kBits >= 0)
    return _mm512_slli_epi16(a, kBits);
  else
    return _mm512_srli_epi16(a, -kBits);
}
SIMD_FN B64 SetQuad(const int8_t* p) {  // the same four bytes for every column
  int32_t quad;
  __builtin_memcpy(&quad, p, 4);
  return _mm512_set1_epi32(quad);
}

// Dot adds kDotStep quads of unsigned codes times signed bytes (-127..127) per column. Codes of up to 255 (Q8_0) go through PrepareBytes,
// and kByteZero is what is then still to be subtracted times the sum of the bytes.
#if defined(__AVX512VNNI__)
inline constexpr int kByteZero = 128;
SIMD_FN B64 PrepareBytes(B64 codes) { return codes; }
template <int kMaxCode>
inline constexpr int kDotStep = 1;
template <int kMaxCode>
SIMD_FN I32x16 Dot(I32x16 acc, const B64* w, const B64* a) {
  return _mm512_dpbusd_epi32(acc, w[0], a[0]);
}
#else
inline constexpr int kByteZero = 0;
SIMD_FN B64 PrepareBytes(B64 codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }
// Products of two 8-bit values are added pairwise in 16 bits. 2 * code * 127 stays below 2^15 up to code 128, so as many pair sums as
// fit are added before widening; full signed bytes go through |w| and a * sign(w).
template <int kMaxCode>
inline constexpr int kDotStep = kMaxCode > 128 ? 1 : 32767 / (2 * kMaxCode * 127);
template <int kMaxCode>
SIMD_FN I32x16 Dot(I32x16 acc, const B64* w, const B64* a) {
  B64 pairs;
  if constexpr (kMaxCode > 128) {
    const B64 flipped = _mm512_mask_sub_epi8(a[0], _mm512_movepi8_mask(w[0]), _mm512_setzero_si512(), a[0]);
    pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w[0]), flipped);
  } else {
    pairs = _mm512_maddubs_epi16(w[0], a[0]);
#pragma GCC unroll 8
    for (int i = 1; i < kDotStep<kMaxCode>; ++i) pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(w[i], a[i]));
  }
  return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#endif

}  // namespace sgl::KERNEL_ISA
#endif
