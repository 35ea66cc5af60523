// What the files of the JSON machine share. Inside of the room.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "grammar/json_machine.h"

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

// What lies behind a frame.
inline size_t TriBytes(const JsonFrame& f) { return (f.plan->locals.size() + 7) / 8 * 8; }
inline size_t Words(const JsonFrame& f) { return f.object != nullptr ? f.object->words : 0; }
inline uint64_t* SeenOf(JsonFrame& f) { return reinterpret_cast<uint64_t*>(LocalsOf(f) + TriBytes(f)); }
inline const uint64_t* SeenOf(const JsonFrame& f) { return SeenOf(const_cast<JsonFrame&>(f)); }
inline uint32_t* ContainsOf(JsonFrame& f) { return reinterpret_cast<uint32_t*>(LocalsOf(f) + TriBytes(f)); }
inline const uint32_t* ContainsOf(const JsonFrame& f) { return ContainsOf(const_cast<JsonFrame&>(f)); }
inline size_t FrameBytes(const JsonFrame& f) {
  return sizeof(JsonFrame) + TriBytes(f) + Words(f) * 8 + (f.array != nullptr && f.array->counts_contains ? f.plan->locals.size() * 4 : 0);
}

inline bool Seen(const JsonFrame& f, size_t name) { return (SeenOf(f)[name / 64] >> (name % 64) & 1) != 0; }

inline JsonFrame* Copy(const JsonFrame& f, FrameArena& arena) {
  const size_t size = FrameBytes(f);
  void* to = arena.Allocate(size);
  std::memcpy(to, static_cast<const void*>(&f), size);
  return static_cast<JsonFrame*>(to);
}

inline uint32_t Missing(const JsonFrame& f, const BitRow& names) {
  uint32_t n = 0;
  for (size_t w = 0; w < names.size(); ++w) n += static_cast<uint32_t>(__builtin_popcountll(names[w] & ~SeenOf(f)[w]));
  return n;
}

// How many names are still to come: the required ones and those that the names so far (and `more`, which counts as seen) ask for.
inline uint32_t Owed(const JsonFrame& f, const ObjectLocal& local, int more = -1) {
  const auto seen = [&](size_t w) {
    return SeenOf(f)[w] | (more >= 0 && static_cast<size_t>(more) / 64 == w ? uint64_t{1} << (more % 64) : 0);
  };
  uint32_t n = 0;
  for (size_t w = 0; w < local.required.size(); ++w) {
    uint64_t names = local.required[w];
    for (const auto& [name, needed] : local.dependent)
      if ((seen(name / 64) >> (name % 64) & 1) != 0) names |= needed[w];
    n += static_cast<uint32_t>(__builtin_popcountll(names & ~seen(w)));
  }
  return n;
}

}  // namespace sgl::json_detail
