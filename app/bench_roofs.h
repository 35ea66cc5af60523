// Measures what the machine can do at most, so that `sglang bench` can say how near to it the engine comes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kernels/roof.h"

namespace sgl {

struct Roofs {
  struct Read {
    int threads;
    double gb_per_s;
  };
  struct Unit {
    RoofUnit unit;
    double one_thread, all_threads;  // operations per second
  };
  int64_t read_bytes = 0;
  std::vector<Read> reads;  // 1, 2, 4 ... threads, ending with all of them
  std::vector<Unit> units;  // those this processor has

  double read_bytes_per_s() const { return reads.empty() ? 0 : reads.back().gb_per_s * 1e9; }
  double operations_per_s(RoofUnit unit) const;  // of all threads; 0: not there
};

// threads, bind: as PlanCpus takes them. read_bytes: size of the memory to read again and again; the weights' own size gives the roof of
// decoding, caches included. Medians of short slices. Takes about a second. Errors: no memory.
Result<Roofs> MeasureRoofs(int threads, const std::vector<int>& bind, int64_t read_bytes);

std::string RoofsTable(const Roofs& roofs);
Json RoofsJson(const Roofs& roofs);

}  // namespace sgl
