// kernels/simd.h for any CPU: four GNU vectors of four lanes. Fma rounds the product where the CPU's baseline has no fused form.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#if !defined(__AVX2__)
#include <cstdint>

#include "kernels/simd_base.h"
#include "tensor/half.h"

namespace sgl::KERNEL_ISA {

inline constexpr char kIsaName[] = "portable";
inline constexpr int kTileRows = 3, kTilePanels = 1, kFewRows = 1, kFewPanels = 2;
inline constexpr int kBlockPanels = 1, kBlockRowStep = 1;  // block formats

inline constexpr int kParts = 4;
using F32x4 [[gnu::vector_size(16), gnu::aligned(4), gnu::may_alias]] = float;
using I32x4 [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = int32_t;
using U32x4 [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = uint32_t;
using I16x8 [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = int16_t;
using U16x8 [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = uint16_t;
struct F32x16 {
  F32x4 v[kParts];
};
struct I32x16 {
  I32x4 v[kParts];
};
using B64 = I32x16;

template <class F>
SIMD_FN F32x16 EachF(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
template <class F>
SIMD_FN I32x16 EachI(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}
SIMD_FN I32x4 AsInts(F32x4 x) { return reinterpret_cast<I32x4>(x); }
SIMD_FN F32x4 AsFloats(I32x4 x) { return reinterpret_cast<F32x4>(x); }
SIMD_FN F32x4 Select(I32x4 mask, F32x4 yes, F32x4 no) { return AsFloats((AsInts(yes) & mask) | (AsInts(no) & ~mask)); }

SIMD_FN F32x16 Set(float x) {
  const F32x4 v = {x, x, x, x};
  return {{v, v, v, v}};
}
SIMD_FN F32x16 Zero() { return Set(0.0f); }
SIMD_FN F32x16 Load(const float* p) {
  return EachF([&](int i) { return *reinterpret_cast<const F32x4*>(p + 4 * i); });
}
SIMD_FN void Store(F32x16 x, float* p) {
  for (int i = 0; i < kParts; ++i) *reinterpret_cast<F32x4*>(p + 4 * i) = x.v[i];
}
SIMD_FN F32x16 LoadN(const float* p, int n) {
  float lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}
SIMD_FN void StoreN(F32x16 x, float* p, int n) {
  float lanes[16];
  Store(x, lanes);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
SIMD_FN F32x16 Add(F32x16 a, F32x16 b) {
  return EachF([&](int i) { return a.v[i] + b.v[i]; });
}
SIMD_FN F32x16 Sub(F32x16 a, F32x16 b) {
  return EachF([&](int i) { return a.v[i] - b.v[i]; });
}
SIMD_FN F32x16 Mul(F32x16 a, F32x16 b) {
  return EachF([&](int i) { return a.v[i] * b.v[i]; });
}
SIMD_FN F32x16 Div(F32x16 a, F32x16 b) {
  return EachF([&](int i) { return a.v[i] / b.v[i]; });
}
SIMD_FN F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return EachF([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
SIMD_FN F32x16 Max(F32x16 a, F32x16 b) {  // b where either is NaN
  return EachF([&](int i) { return Select(a.v[i] > b.v[i], a.v[i], b.v[i]); });
}
SIMD_FN F32x16 Min(F32x16 a, F32x16 b) {  // b where either is NaN
  return EachF([&](int i) { return Select(a.v[i] < b.v[i], a.v[i], b.v[i]); });
}
SIMD_FN F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return EachF([&](int i) { return Select(a.v[i] < b.v[i], yes.v[i], no.v[i]); });
}
SIMD_FN F32x16 SelectNan(F32x16 a, F32x16 yes, F32x16 no) {
  return EachF([&](int i) { return Select(a.v[i] == a.v[i], no.v[i], yes.v[i]); });
}
SIMD_FN F32x16 SelectLanes(int begin, int end, F32x16 yes, F32x16 no) {  // 0 <= begin <= end <= 16
  return EachF([&](int i) {
    const I32x4 lane = {4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3};
    return Select((lane >= begin) & (lane < end), yes.v[i], no.v[i]);
  });
}
SIMD_FN uint32_t EqualLanes(F32x16 a, F32x16 b) {
  uint32_t lanes = 0;
  for (int i = 0; i < 16; ++i) lanes |= static_cast<uint32_t>(a.v[i / 4][i % 4] == b.v[i / 4][i % 4]) << i;
  return lanes;
}
SIMD_FN float Sum(F32x16 x) {  // ((i + i+8) + (i+4 + i+12)) + ...: a fixed tree
  const F32x4 q = (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
  return (q[0] + q[2]) + (q[1] + q[3]);
}

SIMD_FN I32x16 SetI(int32_t x) {
  const I32x4 v = {x, x, x, x};
  return {{v, v, v, v}};
}
SIMD_FN I32x16 Add(I32x16 a, I32x16 b) {  // wraps
  return EachI([&](int i) { return reinterpret_cast<I32x4>(reinterpret_cast<U32x4>(a.v[i]) + reinterpret_cast<U32x4>(b.v[i])); });
}
SIMD_FN I32x16 And(I32x16 a, I32x16 b) {
  return EachI([&](int i) { return a.v[i] & b.v[i]; });
}
SIMD_FN I32x16 Or(I32x16 a, I32x16 b) {
  return EachI([&](int i) { return a.v[i] | b.v[i]; });
}
SIMD_FN I32x16 MaxI(I32x16 a, I32x16 b) {
  return EachI([&](int i) { return (a.v[i] & (a.v[i] > b.v[i])) | (b.v[i] & ~(a.v[i] > b.v[i])); });
}
SIMD_FN I32x16 MinI(I32x16 a, I32x16 b) {
  return EachI([&](int i) { return (a.v[i] & (a.v[i] < b.v[i])) | (b.v[i] & ~(a.v[i] < b.v[i])); });
}
template <int kBits>
SIMD_FN I32x16 Shr(I32x16 a) {  // unsigned
  return EachI([&](int i) { return reinterpret_cast<I32x4>(reinterpret_cast<U32x4>(a.v[i]) >> kBits); });
}
template <int kBits>
SIMD_FN I32x16 Shl(I32x16 a) {
  return EachI([&](int i) { return reinterpret_cast<I32x4>(reinterpret_cast<U32x4>(a.v[i]) << kBits); });
}
SIMD_FN I32x16 Bits(F32x16 a) {
  return EachI([&](int i) { return AsInts(a.v[i]); });
}
SIMD_FN F32x16 FromBits(I32x16 a) {
  return EachF([&](int i) { return AsFloats(a.v[i]); });
}
SIMD_FN F32x16 ToF32(I32x16 a) {
  return EachF([&](int i) { return __builtin_convertvector(a.v[i], F32x4); });
}
SIMD_FN I32x16 Round(F32x16 a) {  // to nearest even; |a| <= 2^22, else some other number
  const F32x16 magic = Set(12582912.0f);
  return Add(Bits(Add(a, magic)), SetI(-0x4B400000));
}
SIMD_FN void StoreU16(I32x16 a, uint16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(a.v[i / 4][i % 4]);
}
SIMD_FN void StoreI8(I32x16 a, int8_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(a.v[i / 4][i % 4]);
}
SIMD_FN int32_t SumI(I32x16 a) {
  const I32x4 q = (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]);
  return q[0] + q[1] + q[2] + q[3];
}
SIMD_FN int32_t SumBytes16(const int8_t* p) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += p[i];
  return sum;
}
SIMD_FN int32_t MaxLane(I32x16 a) {
  int32_t most = a.v[0][0];
  for (int i = 1; i < 16; ++i) most = a.v[i / 4][i % 4] > most ? a.v[i / 4][i % 4] : most;
  return most;
}

template <class T>
SIMD_FN I32x16 Widen(const T* p) {
  return EachI([&](int i) { return I32x4{p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]}; });
}
SIMD_FN F32x16 LoadBF16(const uint16_t* p) { return FromBits(Shl<16>(Widen(p))); }
// Exponent and mantissa moved into place are 2^112 too small, subnormals included; infinities and NaN get their exponent back.
SIMD_FN F32x16 LoadF16(const uint16_t* p) {
  const I32x16 wide = Widen(p), magnitude = Shl<13>(And(wide, SetI(0x7FFF))), sign = Shl<16>(And(wide, SetI(0x8000)));
  const F32x16 finite = Mul(FromBits(magnitude), Set(0x1p112f)), special = FromBits(Or(magnitude, SetI(0x7F800000)));
  return FromBits(Or(sign, Bits(SelectLess(FromBits(magnitude), Set(0x1p-96f), finite, special))));
}
SIMD_FN F32x16 LoadU8(const uint8_t* p) { return ToF32(Widen(p)); }
SIMD_FN F32x16 LoadI8(const int8_t* p) { return ToF32(Widen(p)); }
SIMD_FN void StoreF16(F32x16 x, uint16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = F32ToF16(x.v[i / 4][i % 4]);
}

SIMD_FN I32x16 LoadU16(const uint16_t* p) { return Widen(p); }
SIMD_FN void StoreB(B64 x, void* p) {
  for (int i = 0; i < kParts; ++i) *(static_cast<I32x4*>(p) + i) = x.v[i];
}
SIMD_FN B64 LoadB(const void* p) {
  return EachI([&](int i) { return *(static_cast<const I32x4*>(p) + i); });
}
SIMD_FN B64 AndB(B64 a, int8_t mask) { return And(a, SetI(static_cast<int32_t>(static_cast<uint8_t>(mask) * 0x01010101u))); }
SIMD_FN B64 OrB(B64 a, B64 b) { return Or(a, b); }
template <int kBits>  // left if positive, right if negative; bits cross into the byte's neighbour: mask afterwards
SIMD_FN B64 ShiftB(B64 a) {
  if constexpr (kBits >= 0)
    return Shl<kBits>(a);
  else
    return Shr<-kBits>(a);
}
SIMD_FN B64 SetQuad(const int8_t* p) {  // the same four bytes for every column
  int32_t quad;
  __builtin_memcpy(&quad, p, 4);
  return SetI(quad);
}

// Dot adds kDotStep quads of unsigned codes times signed bytes (-127..127) per column. Codes of up to 255 (Q8_0) go through PrepareBytes,
// and kByteZero is what is then still to be subtracted times the sum of the bytes.
// Even and odd bytes apart, as 16-bit products (255 * 127 fits), then widened by halves.
inline constexpr int kByteZero = 128;
SIMD_FN B64 PrepareBytes(B64 codes) { return codes; }
template <int kMaxCode>
inline constexpr int kDotStep = 1;
template <int kMaxCode>
SIMD_FN I32x16 Dot(I32x16 acc, const B64* w, const B64* a) {
  return EachI([&](int part) {
    const U16x8 codes = reinterpret_cast<U16x8>(w[0].v[part]);
    const I16x8 quad = reinterpret_cast<I16x8>(a[0].v[part]);
    const I16x8 even = reinterpret_cast<I16x8>(codes & 0xFF) * ((quad << 8) >> 8);
    const I16x8 odd = reinterpret_cast<I16x8>(codes >> 8) * (quad >> 8);
    const I32x4 e = reinterpret_cast<I32x4>(even), o = reinterpret_cast<I32x4>(odd);
    return acc.v[part] + ((e << 16) >> 16) + (e >> 16) + ((o << 16) >> 16) + (o >> 16);
  });
}

}  // namespace sgl::KERNEL_ISA
#endif
