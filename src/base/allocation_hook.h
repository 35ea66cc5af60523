// For tests that let memory run out: the test binary's operator new is the one of counting_new.h and asks here first.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>

namespace sgl {

// Called before every allocation of every thread if not null; may throw.
extern std::atomic<void (*)()> before_allocation;

}  // namespace sgl
