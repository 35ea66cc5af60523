// Memory for the immutable stack frames of one matcher: handed out in order, given back in order.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sgl {

// Thread: one. Copies of a matcher share the blocks that were full when they parted, so a fork costs no frame.
class Arena {
 public:
  struct Mark {
    size_t block = 0, used = 0;
  };
  void* Allocate(size_t size) {
    size = (size + 15) & ~size_t{15};
    if (blocks_.empty() || used_ + size > blocks_[at_].size) Grow(size);
    void* out = blocks_[at_].data.get() + used_;
    used_ += size;
    return out;
  }
  Mark mark() const { return {at_, used_}; }
  void Reset(Mark m) { at_ = m.block, used_ = m.used; }
  // The copy sees everything allocated so far and writes to blocks of its own; so does this one from now on.
  Arena Share() {
    Arena copy;
    copy.blocks_.assign(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(blocks_.empty() ? 0 : at_ + 1));
    for (Arena* a : {this, &copy}) {
      a->blocks_.resize(copy.blocks_.size());
      if (!a->blocks_.empty()) a->at_ = a->blocks_.size() - 1, a->used_ = a->blocks_.back().size;  // full
    }
    return copy;
  }
  size_t bytes() const {
    size_t sum = 0;
    for (const Block& b : blocks_) sum += b.size;
    return sum;
  }

 private:
  struct Block {
    std::shared_ptr<std::byte[]> data;
    size_t size = 0;
  };
  void Grow(size_t size) {
    while (at_ + 1 < blocks_.size()) {
      ++at_;
      used_ = 0;
      if (size <= blocks_[at_].size) return;
    }
    const size_t block = size > 4096 ? size : blocks_.size() < 4 ? 4096 : 32768;
    blocks_.push_back({std::shared_ptr<std::byte[]>(new std::byte[block]), block});
    at_ = blocks_.size() - 1;
    used_ = 0;
  }
  std::vector<Block> blocks_;
  size_t at_ = 0, used_ = 0;
};

}  // namespace sgl
