// Measuring for the kernel benches: one slice of work, and the middle of many. A shared machine pauses, so time is the thread's own.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sgl {

// Processor time of this thread that f() takes.
template <class F>
double Seconds(F f) {
  timespec begin{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  f();
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-9;
}

// Reorders `values`, which must not be empty. Of an even number the upper of the two in the middle.
inline double Median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

}  // namespace sgl
