// Inbox<T>: bounded queue from many senders to one receiver.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace sgl {

// Thread: Push from any thread; Drain and Wait from the one owner.
template <class T>
class Inbox {
 public:
  explicit Inbox(size_t capacity) : capacity_(capacity) {}

  // False when the inbox is full; the value is then untouched. `force` ignores the bound (for aborts, which must get through).
  [[nodiscard]] bool Push(T&& value, bool force = false) {
    {
      std::lock_guard lock(mutex_);
      if (!force && items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    ready_.notify_one();
    return true;
  }

  // Swaps everything that has arrived into `out` (cleared first). Keeps both vectors' capacity: no steady-state allocation.
  void Drain(std::vector<T>& out) {
    out.clear();
    std::lock_guard lock(mutex_);
    items_.swap(out);
  }

  // Sleeps until something is there or `timeout` has passed.
  void Wait(std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, timeout, [&] { return !items_.empty(); });
  }

 private:
  const size_t capacity_;
  std::mutex mutex_;  // a message queue needs one; held for a push or a swap only
  std::condition_variable ready_;
  std::vector<T> items_;
};

}  // namespace sgl
