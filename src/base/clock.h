// Time comes from a Clock, so that schedulers can be tested on a virtual one.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>

namespace sgl {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

class ManualClock final : public Clock {  // tests
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration d) { now_ += d; }

 private:
  TimePoint now_{};
};

inline double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace sgl
