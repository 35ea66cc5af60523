// CHECK: for what cannot happen unless we have a bug. It prints where and ends the process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sgl {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}

#define CHECK(condition)                                  \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      ::sgl::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (false)
#ifdef NDEBUG
#define DCHECK(condition) \
  do {                    \
    if (false) {          \
      (void)(condition);  \
    }                     \
  } while (false)
#else
#define DCHECK(condition) CHECK(condition)
#endif
