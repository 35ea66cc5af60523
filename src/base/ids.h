// Ids that must not be mixed up.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>

namespace sgl {

// A vocabulary index, 0 <= id < V. A plain integer: files, JSON and logits rows all index with it.
using TokenId = int32_t;

enum class RequestId : uint64_t {};  // one accepted request (one sample of one prompt), never reused
enum class PageId : int32_t {};      // one page of the KV pool

constexpr uint64_t Index(RequestId id) { return static_cast<uint64_t>(id); }
constexpr int32_t Index(PageId id) { return static_cast<int32_t>(id); }

}  // namespace sgl
