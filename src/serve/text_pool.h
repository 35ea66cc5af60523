// The text threads: request parsing, template rendering, tokenizing. Whatever may take longer than the http thread can wait.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sgl {

// Thread: Post from any thread.
class TextPool {
 public:
  using Task = std::function<void()>;
  TextPool(int threads, size_t capacity);
  ~TextPool();  // Stop
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  // False when `capacity` tasks are waiting, or after Stop; the task is then untouched.
  [[nodiscard]] bool Post(Task&& task);
  // Finishes what runs, drops what waits, joins. Idempotent; not from a task.
  void Stop();

 private:
  void Work();
  const size_t capacity_;
  std::mutex mutex_;  // many senders, many receivers: a queue needs one; held for a push or a pop
  std::condition_variable ready_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sgl
