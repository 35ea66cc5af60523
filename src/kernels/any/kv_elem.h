// The types of the KV cache, read as floats two vectors at a time: what lies side by side in pairs comes apart in even and odd.
// Layouts: KvLayer in kernels/kernels.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

// Planar types: `even` and `odd` are two rows of sixteen that follow one another.
struct F32Kv {
  using T = float;
  static constexpr bool kPaired = false, kScaled = false;
  SIMD_FN F32x16 LoadRow(const T* p) { return Load(p); }
};
struct F16Kv {
  using T = uint16_t;
  static constexpr bool kPaired = false, kScaled = false;
  SIMD_FN F32x16 LoadRow(const T* p) { return LoadF16(p); }
};

// Paired types: sixteen pairs.
struct BF16Kv {
  using T = uint16_t;
  static constexpr bool kPaired = true, kScaled = false;
  SIMD_FN void LoadPairs(const T* p, F32x16& even, F32x16& odd) {
    const I32x16 pairs = LoadB(p);
    even = FromBits(Shl<16>(pairs));
    odd = FromBits(And(pairs, SetI(static_cast<int32_t>(0xFFFF0000u))));
  }
};

// Magnitude codes (0-127, in f32 lanes too) to magnitudes. The two float types: below 2^kMantissa the code counts steps of the smallest
// number, above it the code is the upper bits of a float but for the exponent's bias; 127 is NaN.
template <int kMantissa, int kBias>
struct SmallFloat {
  SIMD_FN F32x16 Magnitude(I32x16 code, F32x16 count) {
    constexpr float kStep = 1.0f / static_cast<float>(1u << (kBias - 1 + kMantissa));
    const F32x16 normal = FromBits(Add(Shl<23 - kMantissa>(code), SetI((127 - kBias) << 23)));
    const F32x16 value = SelectLess(count, Set(static_cast<float>(1 << kMantissa)), Mul(count, Set(kStep)), normal);
    return SelectLess(Set(126.5f), count, Set(__builtin_nanf("")), value);
  }
};
struct Integer {
  SIMD_FN F32x16 Magnitude(I32x16, F32x16 count) { return count; }
};
template <class Code, bool kHasScale>
struct ByteKv {
  using T = uint8_t;
  static constexpr bool kPaired = true, kScaled = kHasScale;
  SIMD_FN F32x16 Decode(I32x16 byte) {
    const I32x16 code = And(byte, SetI(0x7F));
    return FromBits(Or(Bits(Code::Magnitude(code, ToF32(code))), Shl<24>(And(byte, SetI(0x80)))));
  }
  SIMD_FN void LoadPairs(const T* p, F32x16& even, F32x16& odd) {
    const I32x16 pairs = LoadU16(reinterpret_cast<const uint16_t*>(p));
    even = Decode(And(pairs, SetI(0xFF)));
    odd = Decode(Shr<8>(pairs));
  }
};
using F8E5M2Kv = ByteKv<SmallFloat<2, 15>, false>;
using F8E4M3Kv = ByteKv<SmallFloat<3, 7>, false>;
using I8Kv = ByteKv<Integer, true>;

// Calls body(Elem{}) with the type's Elem.
template <class Body>
SIMD_FN void WithElem(KvType type, const Body& body) {
  switch (type) {
    case KvType::kF32: return body(F32Kv{});
    case KvType::kF16: return body(F16Kv{});
    case KvType::kBF16: return body(BF16Kv{});
    case KvType::kF8E5M2: return body(F8E5M2Kv{});
    case KvType::kF8E4M3: return body(F8E4M3Kv{});
    case KvType::kI8: return body(I8Kv{});
  }
}

}  // namespace sgl::KERNEL_ISA
