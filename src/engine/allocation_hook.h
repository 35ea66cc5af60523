// For tests that let memory run out: the test binary's operator new is defined in allocation_test.cc and asks here first.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>

namespace sgl {

// Called before every allocation of every thread if not null; may throw.
extern std::atomic<void (*)()> before_allocation;

}  // namespace sgl
