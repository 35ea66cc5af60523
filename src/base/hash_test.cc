// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sgl {
namespace {

TEST(Hash, EveryByteAndTheLengthCount) {
  std::set<uint64_t> seen;
  size_t made = 0;
  for (const size_t size : {0, 1, 7, 8, 9, 63, 64, 65, 200}) {
    std::string text(size, 'x');
    seen.insert(HashText(text)), ++made;
    seen.insert(HashText(text, 1)), ++made;
    for (size_t i = 0; i < size; ++i) {
      text[i] = 'y';
      seen.insert(HashText(text)), ++made;
      text[i] = 'x';
    }
  }
  EXPECT_EQ(seen.size(), made);
}

TEST(Hash, StaysWhatItIs) {  // images on disk carry it
  std::string text;
  for (int i = 0; i < 150; ++i) text += static_cast<char>(i);
  EXPECT_EQ(HashText(text), 0x52FEAFF6FADEAB63u);
  EXPECT_EQ(HashText("abc", 5), 0x84F6A23F4BC644C8u);
}

}  // namespace
}  // namespace sgl
