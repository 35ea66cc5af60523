// For what must be said even when memory is short for a moment.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/thread_role.h"

namespace sgl {

// Calls f until it does not throw, a second long at most; then the process ends. f must be able to run again after it has thrown.
// Thread: any; sleeps between the tries. f may REQUIRE what the caller holds: it runs in the call.
template <class F>
void Retry(F&& f) NO_THREAD_SAFETY_ANALYSIS {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    try {
      return f();
    } catch (const std::exception&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  CHECK(false && "no memory to end the requests with");
}

}  // namespace sgl
