// Sixteen lanes on any instruction set: the vocabulary that kernels/any/ is written in. One panel of a packed matrix, one block of the
// KV cache and one of these vectors are equally wide. The three implementations agree on every operation's meaning; float operations are
// single IEEE operations except Fma, which the portable one rounds twice. Objects are built with contraction off, so what is written
// here is what runs, in main loops and in tails alike.
//   F32x16, I32x16   sixteen floats or ints            B64   64 bytes: four codes of each of 16 columns
// This is the one place with #if on instruction sets.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__)
#include "kernels/simd_avx512.h"
#elif defined(__AVX2__)
#include "kernels/simd_avx2.h"
#else
#include "kernels/simd_portable.h"
#endif

namespace sgl::KERNEL_ISA {

inline constexpr int kLanes = 16;

SIMD_FN I32x16 BF16Bits(F32x16 x) {  // in the lower half of each lane
  const I32x16 u = Bits(x), odd = And(Shr<16>(u), SetI(1));
  const I32x16 rounded = Shr<16>(Add(u, Add(odd, SetI(0x7FFF)))), nan = Or(Shr<16>(u), SetI(0x40));
  return Bits(SelectNan(x, FromBits(nan), FromBits(rounded)));
}
SIMD_FN void StoreBF16(F32x16 x, uint16_t* p) { StoreU16(BF16Bits(x), p); }

// exp(x) to 1.5 ulp for -87.3 <= x <= 88.3; 0 below, exp(88.3) above; NaN stays NaN. x = n ln 2 + r, |r| <= ln 2 / 2.
// Quotient(a, b): a / b to 1.5 ulp for 2^-126 <= b <= 2^125; NaN stays NaN.
#if defined(__AVX512F__)
// exp(r) = 1 + r q(r), q minimax of degree 5 (relative error 2e-9).
SIMD_FN F32x16 Exp(F32x16 x) {
  const __mmask16 keep = _mm512_cmp_ps_mask(x, Set(-87.3f), _CMP_NLT_UQ);
  const F32x16 clamped = Min(Set(88.3f), x), n = _mm512_roundscale_ps(Mul(clamped, Set(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
  const F32x16 r = Fma(n, Set(2.12194440e-4f), Fma(n, Set(-0.693359375f), clamped));
  F32x16 p = Set(1.38436444e-3f);
  p = Fma(p, r, Set(8.37416295e-3f));
  p = Fma(p, r, Set(4.16680016e-2f));
  p = Fma(p, r, Set(1.66664317e-1f));
  p = Fma(p, r, Set(4.99999940e-1f));
  p = Fma(p, r, Set(1.0f));
  return _mm512_maskz_scalef_ps(keep, Fma(p, r, Set(1.0f)), n);
}
SIMD_FN F32x16 Quotient(F32x16 a, F32x16 b) {
  const F32x16 about = _mm512_rcp14_ps(b);
  return Mul(a, Fma(about, _mm512_fnmadd_ps(b, about, Set(1.0f)), about));
}
#else
// The polynomial is the degree-5 Chebyshev interpolant of (exp(r) - 1 - r) / r^2 (relative error 2e-10).
SIMD_FN F32x16 Exp(F32x16 x) {
  const F32x16 clamped = Min(Set(88.3f), Max(Set(-87.3f), x)), magic = Set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F32x16 shifted = Add(Mul(clamped, Set(1.44269504f)), magic), n = Sub(shifted, magic);
  const F32x16 r = Fma(n, Set(2.12194440e-4f), Fma(n, Set(-0.693359375f), clamped));
  F32x16 p = Set(1.9891030e-4f);
  p = Fma(p, r, Set(1.39336858e-3f));
  p = Fma(p, r, Set(8.33331048e-3f));
  p = Fma(p, r, Set(4.16664630e-2f));
  p = Fma(p, r, Set(1.66666672e-1f));
  p = Fma(p, r, Set(0.5f));
  const F32x16 value = Add(Fma(Mul(r, r), p, r), Set(1.0f));
  const F32x16 scaled = FromBits(Add(Bits(value), Shl<23>(Bits(shifted))));  // the low bits of `shifted` are n
  return SelectLess(x, Set(-87.3f), Zero(), SelectNan(x, x, scaled));
}
SIMD_FN F32x16 Quotient(F32x16 a, F32x16 b) { return Div(a, b); }
#endif

// x / (1 + exp(-x)) to 4 ulp; of magnitude below 1e-35 for x < -86.
SIMD_FN F32x16 Silu(F32x16 x) { return Quotient(x, Add(Set(1.0f), Exp(Min(Set(86.0f), Sub(Zero(), x))))); }

}  // namespace sgl::KERNEL_ISA
