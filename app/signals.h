// SIGTERM, SIGINT and SIGHUP as calls on a thread of their own.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <mutex>
#include <thread>

namespace sgl {

// Construct before any other thread: the signals are blocked in this thread and, by inheritance, in all that it starts.
// Before OnShutdown is set, after the first signal, or with `force`, a signal ends the process at once with exit code 128 + its number.
// Thread: construct, OnShutdown and destroy from one thread; the callback runs on the signal thread.
class ShutdownSignals {
 public:
  explicit ShutdownSignals(bool force);
  ~ShutdownSignals();
  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

  // Nothing (an empty function) forgets the callback; once that returns, it is not running any more.
  void OnShutdown(std::function<void()> callback);

 private:
  void Watch();

  const bool force_;
  std::mutex mutex_;  // held while the callback runs, so that OnShutdown can wait for it
  std::function<void()> callback_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sgl
