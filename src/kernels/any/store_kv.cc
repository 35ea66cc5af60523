// New keys and values into the cache: rounded to its type, keys spread over the lanes of their block, values side by side in pairs of
// tokens. Two tokens that share their pairs are written together, sixteen pairs at a time.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {
namespace {

// Floats to codes, each in the lower bits of its lane.
struct BF16Code {
  static constexpr int kBytes = 2;
  SIMD_FN I32x16 Encode(F32x16 x, float) { return BF16Bits(x); }
};
SIMD_FN F32x16 Magnitude(F32x16 x) { return FromBits(And(Bits(x), SetI(0x7FFFFFFF))); }
SIMD_FN I32x16 SignBit(F32x16 x) { return And(Shr<24>(Bits(x)), SetI(0x80)); }

template <int kMantissa, int kBias>
struct SmallFloatCode {
  static constexpr int kBytes = 1;
  SIMD_FN I32x16 Encode(F32x16 x, float) {
    constexpr int kDropped = 23 - kMantissa;
    constexpr float kLargest = kMantissa == 2 ? 57344.0f : 448.0f, kNormal = 1.0f / static_cast<float>(1u << (kBias - 1));
    constexpr float kMagic = kNormal * static_cast<float>(1 << kDropped);  // adding it rounds to multiples of the smallest number
    const F32x16 a = Min(Magnitude(x), Set(kLargest));
    const I32x16 odd = And(Shr<kDropped>(Bits(a)), SetI(1));
    const I32x16 rounded = Shr<kDropped>(Add(Bits(a), Add(odd, SetI((1 << (kDropped - 1)) - 1))));
    const I32x16 normal = Add(rounded, SetI(-((127 - kBias) << kMantissa)));
    const I32x16 small = And(Bits(Add(a, Set(kMagic))), SetI((1 << (kMantissa + 1)) - 1));
    const F32x16 code = SelectLess(a, Set(kNormal), FromBits(small), FromBits(normal));
    return Or(Bits(SelectNan(Sub(x, x), FromBits(SetI(0x7F)), code)), SignBit(x));
  }
};
struct I8Code {
  static constexpr int kBytes = 1;
  SIMD_FN I32x16 Encode(F32x16 x, float scale) {  // scale > 0
    return Or(MinI(MaxI(Round(Div(Magnitude(x), Set(scale))), SetI(0)), SetI(127)), SignBit(x));
  }
  // max|x| / 127; not a number if an x is none. `codes` is the same, but 1 where there is nothing to divide by.
  static float Scale(const float* x, int width, float& codes) {
    F32x16 most = Zero(), broken = Zero();
    for (int c = 0; c < width; c += 16) {
      const F32x16 v = LoadN(x + c, width - c < 16 ? width - c : 16);
      most = Max(Magnitude(v), most);
      broken = Add(broken, Sub(v, v));
    }
    float lanes[16], top = 0.0f;
    Store(most, lanes);
    for (const float lane : lanes) top = lane > top ? lane : top;
    const float scale = top / 127.0f + Sum(broken);
    codes = scale > 0.0f ? scale : 1.0f;
    return scale;
  }
};

// Where token `slot` of head g begins in its chunks.
struct Place {
  std::byte *k, *v;
  int token;
};
Place PlaceOf(const KvLayer& kv, int64_t chunk_bytes, int64_t slot, int64_t g) {
  const int64_t at = (slot / kKvBlock * kv.groups + g) * chunk_bytes;
  return {static_cast<std::byte*>(kv.k) + at, static_cast<std::byte*>(kv.v) + at, static_cast<int>(slot % kKvBlock)};
}

void PutScale(std::byte* chunk, int width, int token, float scale) {
  __builtin_memcpy(chunk + int64_t{kKvBlock} * ((width + 1) / 2 * 2) + token * 4, &scale, 4);
}

// Sixteen lanes of codes as kBytes each, in order.
template <int kBytes>
void PutCodes(I32x16 codes, int lanes, std::byte* dst, int64_t stride) {
  uint16_t buffer[16];
  StoreU16(codes, buffer);
  for (int i = 0; i < lanes; ++i) __builtin_memcpy(dst + i * stride, buffer + i, kBytes);
}

template <class Code>
void PutKey(const float* x, int width, const Place& to, float scale) {
  std::byte* dst = to.k + to.token * 2 * Code::kBytes;
  uint16_t buffer[16];
  for (int c = 0; c < width; c += 16) {
    const int lanes = width - c < 16 ? width - c : 16;
    StoreU16(Code::Encode(LoadN(x + c, lanes), scale), buffer);
    for (int i = 0; i < lanes; i += 2) {
      const uint32_t pair = buffer[i] | static_cast<uint32_t>(buffer[i + 1]) << 8 * Code::kBytes;
      __builtin_memcpy(dst + int64_t{(c + i) / 2} * kKvBlock * 2 * Code::kBytes, &pair, 2 * Code::kBytes);
    }
  }
}

template <class Code>
void PutValue(const float* x, int width, const Place& to, float scale) {
  std::byte* dst = to.v + (int64_t{to.token / 2} * width * 2 + to.token % 2) * Code::kBytes;
  for (int c = 0; c < width; c += 16) {
    const int lanes = width - c < 16 ? width - c : 16;
    PutCodes<Code::kBytes>(Code::Encode(LoadN(x + c, lanes), scale), lanes, dst + int64_t{c} * 2 * Code::kBytes, 2 * Code::kBytes);
  }
}

// Values of an even token and of the next.
template <class Code>
void PutValuePair(const float* x0, const float* x1, int width, const Place& to, float scale0, float scale1) {
  std::byte* dst = to.v + int64_t{to.token / 2} * width * 2 * Code::kBytes;
  for (int c = 0; c < width; c += 16) {
    const int lanes = width - c < 16 ? width - c : 16;
    const I32x16 even = Code::Encode(LoadN(x0 + c, lanes), scale0), odd = Code::Encode(LoadN(x1 + c, lanes), scale1);
    const I32x16 pairs = Or(even, Shl<8 * Code::kBytes>(odd));
    std::byte tail[64];
    std::byte* to16 = lanes == 16 ? dst + int64_t{c} * 2 * Code::kBytes : tail;
    if constexpr (Code::kBytes == 2)
      StoreB(pairs, to16);
    else
      StoreU16(pairs, reinterpret_cast<uint16_t*>(to16));
    if (lanes < 16) __builtin_memcpy(dst + int64_t{c} * 2 * Code::kBytes, tail, static_cast<size_t>(lanes * 2 * Code::kBytes));
  }
}

template <class Code>
void StorePaired(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv) {
  constexpr bool kScaled = __is_same(Code, I8Code);
  const int64_t chunk_bytes = KvChunkBytes(kv.type, kv.width);
  for (int64_t t = 0; t < k.rows;) {
    const int64_t tokens = t + 1 < k.rows && slots[t] % 2 == 0 && slots[t + 1] == slots[t] + 1 ? 2 : 1;
    for (int64_t g = 0; g < kv.groups; ++g) {
      const Place to = PlaceOf(kv, chunk_bytes, slots[t], g);
      const float* values[2] = {};
      float v_scale[2] = {1.0f, 1.0f};
      for (int i = 0; i < tokens; ++i) {
        const float* key = k.row(t + i) + g * kv.width;
        values[i] = v.row(t + i) + g * kv.width;
        float k_scale = 1.0f;
        if constexpr (kScaled) {
          PutScale(to.k, kv.width, to.token + i, Code::Scale(key, kv.width, k_scale));
          PutScale(to.v, kv.width, to.token + i, Code::Scale(values[i], kv.width, v_scale[i]));
        }
        PutKey<Code>(key, kv.width, {to.k, to.v, to.token + i}, k_scale);
      }
      if (tokens == 2)
        PutValuePair<Code>(values[0], values[1], kv.width, to, v_scale[0], v_scale[1]);
      else
        PutValue<Code>(values[0], kv.width, to, v_scale[0]);
    }
    t += tokens;
  }
}

template <class T, class Convert>
SIMD_FN void StorePlanar(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv, Convert convert) {
  const int64_t chunk_bytes = KvChunkBytes(kv.type, kv.width);
  T buffer[16];
  for (int64_t t = 0; t < k.rows; ++t)
    for (int64_t g = 0; g < kv.groups; ++g) {
      const Place to = PlaceOf(kv, chunk_bytes, slots[t], g);
      T* keys = reinterpret_cast<T*>(to.k) + to.token;
      T* values = reinterpret_cast<T*>(to.v) + int64_t{to.token} * kv.width;
      for (int c = 0; c < kv.width; c += 16) {
        const int lanes = kv.width - c < 16 ? kv.width - c : 16;
        convert(LoadN(k.row(t) + g * kv.width + c, lanes), buffer);
        for (int i = 0; i < lanes; ++i) keys[(c + i) * kKvBlock] = buffer[i];
        convert(LoadN(v.row(t) + g * kv.width + c, lanes), buffer);
        __builtin_memcpy(values + c, buffer, static_cast<size_t>(lanes) * sizeof(T));
      }
    }
}

}  // namespace

void StoreKv(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv) {
  switch (kv.type) {
    case KvType::kF32: return StorePlanar<float>(k, v, slots, kv, [](F32x16 x, float* p) { Store(x, p); });
    case KvType::kF16: return StorePlanar<uint16_t>(k, v, slots, kv, [](F32x16 x, uint16_t* p) { StoreF16(x, p); });
    case KvType::kBF16: return StorePaired<BF16Code>(k, v, slots, kv);
    case KvType::kF8E5M2: return StorePaired<SmallFloatCode<2, 15>>(k, v, slots, kv);
    case KvType::kF8E4M3: return StorePaired<SmallFloatCode<3, 7>>(k, v, slots, kv);
    case KvType::kI8: return StorePaired<I8Code>(k, v, slots, kv);
  }
}

}  // namespace sgl::KERNEL_ISA
