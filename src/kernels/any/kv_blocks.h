// Finds the blocks of a page table in the cache, and brings scattered slots together in a block's own layout.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

struct Range {
  int begin, end;
};

// Positions of the split at `base` that the row at `pos` sees, relative to the split; none: {0, 0}.
SIMD_FN Range Visible(int32_t window, int64_t pos, int64_t base) {
  const int64_t first = window > 0 && pos - window + 1 > 0 ? pos - window + 1 : 0;
  const int64_t begin = first > base ? first - base : 0, end = pos + 1 - base < kKvSplit ? pos + 1 - base : kKvSplit;
  if (begin >= end) return {0, 0};
  return {static_cast<int>(begin), static_cast<int>(end)};
}

// Where the partial of one split and row-head goes.
SIMD_FN int64_t PartialAt(const AttnTask& task, int64_t width, int split, int row_head) {
  const int heads = task.heads_per_group;
  return task.part[row_head / heads] + (int64_t{split - task.split_begin} * heads + row_head % heads) * (2 + width);
}

struct KvBlocks {
  const KvLayer& kv;
  const AttnTask& task;
  int64_t chunk_bytes;

  KvBlocks(const KvLayer& layer, const AttnTask& t) : kv(layer), task(t), chunk_bytes(KvChunkBytes(layer.type, layer.width)) {}

  const std::byte* K(int64_t block) const { return static_cast<const std::byte*>(kv.k) + (block * kv.groups + task.group) * chunk_bytes; }
  const std::byte* V(int64_t block) const { return static_cast<const std::byte*>(kv.v) + (block * kv.groups + task.group) * chunk_bytes; }
  int64_t Slot(int64_t pos) const { return int64_t{task.pages[pos / task.page_size]} * task.page_size + pos % task.page_size; }

  // The block that holds positions [pos, pos + 16) lane by lane, as far as [begin, end) needs them; -1 if they are scattered.
  int64_t Whole(int64_t pos, int begin, int end) const {
    const int64_t first = Slot(pos + begin) - begin;
    if (task.page_size == 1) {
      if (first < 0 || first % kKvBlock != 0) return -1;
      for (int i = begin + 1; i < end; ++i)
        if (Slot(pos + i) != first + i) return -1;
    }
    return first / kKvBlock;
  }

  // Copies lanes [begin, end) of positions [pos, pos + 16) into chunks of their own; other lanes keep what they hold.
  void Gather(int64_t pos, int begin, int end, std::byte* k, std::byte* v) const {
    for (int i = begin; i < end; ++i) {
      const int64_t slot = Slot(pos + i), block = slot / kKvBlock;
      CopyToken(K(block), V(block), static_cast<int>(slot % kKvBlock), i, k, v);
    }
  }

 private:
  void CopyToken(const std::byte* from_k, const std::byte* from_v, int from, int to, std::byte* k, std::byte* v) const {
    const int64_t width = kv.width, pairs = (width + 1) / 2;
    switch (kv.type) {
      case KvType::kF32:
        Lanes<uint32_t>(from_k, from, k, to, width, kKvBlock, 1);
        Lanes<uint32_t>(from_v, from, v, to, width, 1, width);
        return;
      case KvType::kF16:
        Lanes<uint16_t>(from_k, from, k, to, width, kKvBlock, 1);
        Lanes<uint16_t>(from_v, from, v, to, width, 1, width);
        return;
      case KvType::kBF16:
        Lanes<uint32_t>(from_k, from, k, to, pairs, kKvBlock, 1);
        PairedValues<uint16_t>(from_v, from, v, to);
        return;
      default: Lanes<uint16_t>(from_k, from, k, to, pairs, kKvBlock, 1); PairedValues<uint8_t>(from_v, from, v, to);
    }
    if (kv.type != KvType::kI8) return;
    const int64_t scales = kKvBlock * 2 * pairs;
    Lanes<uint32_t>(from_k + scales, from, k + scales, to, 1, 1, 1);
    Lanes<uint32_t>(from_v + scales, from, v + scales, to, 1, 1, 1);
  }

  // `count` units, `stride` units apart; lane i starts at unit i * lane.
  template <class Unit>
  static void Lanes(const std::byte* from, int64_t i, std::byte* to, int64_t j, int64_t count, int64_t stride, int64_t lane) {
    for (int64_t c = 0; c < count; ++c)
      __builtin_memcpy(to + (c * stride + j * lane) * static_cast<int64_t>(sizeof(Unit)),
                       from + (c * stride + i * lane) * static_cast<int64_t>(sizeof(Unit)), sizeof(Unit));
  }
  template <class T>
  void PairedValues(const std::byte* from, int i, std::byte* to, int j) const {
    const int64_t size = sizeof(T);
    Lanes<T>(from + (i / 2 * kv.width * 2 + i % 2) * size, 0, to + (j / 2 * kv.width * 2 + j % 2) * size, 0, kv.width, 2, 1);
  }
};

}  // namespace sgl::KERNEL_ISA
