// Answers of /v1/responses that clients may ask for again or go on from. Bounded: the oldest go first.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/json.h"

namespace sgl {

struct StoredResponse {
  Json response;  // the object as it was last sent
  Json messages;  // the conversation up to and with the answer, in the form of chat messages, without instructions
  bool background = false, running = false;
  size_t bytes = 0;  // filled in by Put
};

// Thread: any.
class ResponseStore {
 public:
  explicit ResponseStore(size_t max_count = 2000, size_t max_bytes = size_t{256} << 20) : max_count_(max_count), max_bytes_(max_bytes) {}

  void Put(const std::string& id, StoredResponse stored) {
    stored.bytes = DumpJson(stored.response).size() + DumpJson(stored.messages).size();
    std::lock_guard lock(mutex_);
    const auto [it, is_new] = stored_.try_emplace(id);
    if (is_new) order_.push_back(id);
    bytes_ += stored.bytes - it->second.bytes;
    it->second = std::move(stored);
    while (order_.size() > 1 && (order_.size() > max_count_ || bytes_ > max_bytes_)) EraseLocked(order_.front());
  }
  std::optional<StoredResponse> Get(const std::string& id) const {
    std::lock_guard lock(mutex_);
    const auto found = stored_.find(id);
    return found != stored_.end() ? std::optional(found->second) : std::nullopt;
  }
  bool Erase(const std::string& id) {
    std::lock_guard lock(mutex_);
    return EraseLocked(id);
  }

 private:
  bool EraseLocked(const std::string id) {  // by value: it may be an element of order_
    const auto found = stored_.find(id);
    if (found == stored_.end()) return false;
    bytes_ -= found->second.bytes;
    stored_.erase(found);
    std::erase(order_, id);
    return true;
  }

  const size_t max_count_, max_bytes_;
  mutable std::mutex mutex_;  // text threads look up what the http thread stores
  std::map<std::string, StoredResponse> stored_;
  std::deque<std::string> order_;  // by first Put
  size_t bytes_ = 0;
};

}  // namespace sgl
