// Where Hugging Face `tokenizers` follows Unicode tables of its own, older than the rest.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

namespace sgl {

struct CharRange {
  uint32_t first, last;
};
// Sorted and disjoint.
std::span<const CharRange> BertControls();   // BertNormalizer's clean_text removes these
std::span<const CharRange> BertKeptMarks();  // non-spacing marks that its strip_accents does not know
std::span<const CharRange> KeptMarks();      // combining marks that StripAccents does not know
std::span<const CharRange> Unnormalized();   // characters with a decomposition or combining class that its normal forms do not know

struct ScriptRange {
  uint32_t first, last;
  uint16_t script;  // a number without further meaning
};
std::span<const ScriptRange> Scripts();  // sorted; characters outside go with every script

template <class R>
const R* FindRange(std::span<const R> ranges, uint32_t cp) {
  const auto at = std::lower_bound(ranges.begin(), ranges.end(), cp, [](const R& r, uint32_t value) { return r.last < value; });
  return at != ranges.end() && at->first <= cp ? &*at : nullptr;
}
inline bool InRanges(std::span<const CharRange> ranges, uint32_t cp) { return FindRange(ranges, cp) != nullptr; }

}  // namespace sgl
