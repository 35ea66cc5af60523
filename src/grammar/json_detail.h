// What json_machine.cc and json_text.cc share. Inside of the room.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "grammar/json_plan.h"

namespace sgl::json_detail {

inline uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Strings are hashed byte by byte; JsonMachine::AppendHash.
uint64_t AppendTextHash(uint64_t hash, uint8_t byte);
inline uint64_t StringHash(uint64_t text) { return Mix(text + 13); }  // as a value
constexpr uint64_t kHashStart = 0;                                    // of JsonMachine::AppendHash

// Verdict rows that are used again and again; one per purpose, none is held across a call that uses the same.
inline std::vector<Tri>& Scratch(int i) {
  thread_local std::vector<Tri> scratch[4];
  return scratch[i];
}

}  // namespace sgl::json_detail
