// What this processor can do at most, measured: the roofs that benchmarks hold products and passes over memory against.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sgl {

enum class RoofUnit {
  kFma,      // f32 fused multiply-add, the widest vectors, registers only
  kDot8,     // 8-bit dot products (VNNI), registers only
  kAmxBf16,  // tiles, 2 x 2 with their loads streaming through the given bytes
  kAmxInt8,
};
inline constexpr RoofUnit kRoofUnits[] = {RoofUnit::kFma, RoofUnit::kDot8, RoofUnit::kAmxBf16, RoofUnit::kAmxInt8};

std::string_view Name(RoofUnit unit);
// False where the processor or the system does not offer it. The first call for a tile unit asks the system for the tile state.
bool HasUnit(RoofUnit unit);

// Works for `rounds` rounds on the calling thread and returns the operations done (a multiplication and an addition are two).
// tiles: `bytes` of zeros to stream through, at least 8 KiB; about 512 KiB make the second-level cache the source. HasUnit(unit).
double RunUnit(RoofUnit unit, const std::byte* tiles, int64_t bytes, int64_t rounds);

// Reads every byte once, in four streams with prefetch. The result depends on all of them.
uint64_t ReadStream(const std::byte* data, int64_t bytes);

}  // namespace sgl
