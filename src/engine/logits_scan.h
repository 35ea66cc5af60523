// One pass over a row of logits, and what sampling can ask afterwards without another.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "base/ids.h"

namespace sgl {

struct Candidate {
  float logit;
  TokenId token;
};
// A total order, so that results do not depend on the algorithm: likelier first, then the lower id.
inline bool Before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; }

// Keeps maximum and sum of exponentials of every block of kBlock logits: later questions look into few blocks only. The vectors are kept
// from row to row, so that a steady state allocates nothing. Thread: one at a time.
class LogitsScan {
 public:
  static constexpr size_t kBlock = 1024;

  // The pass. logits must stay as they are until the next one. Weights are exp((logit - max) * inv_temperature).
  // allowed: unless empty, bit t % 32 of word t / 32 is 0 only if logit t is -inf, as it is beyond the last word; what holds no 1 is not
  // read, so that a grammar that leaves little makes the pass short.
  void Scan(std::span<const float> logits, float inv_temperature, std::span<const uint32_t> allowed = {});

  bool usable() const { return usable_; }  // no NaN, no infinity but -inf, and not all of them -inf
  float max() const { return max_; }
  double sum() const { return sum_; }  // of all weights
  double Weight(float logit) const;    // in double precision, as draws use it

  // The token at share u of the total weight, in the order of ids; u in [0, 1).
  TokenId DrawAll(double u) const;

  // What top-k, top-p and min-p leave: the likeliest `top_k` tokens, of those the ones before which at most top_p of the total weight
  // lies, of those the ones whose weight is at least min_p; never less than one token. `u` draws among them.
  struct Filter {
    size_t top_k;
    double top_p, min_p;
  };
  TokenId DrawFiltered(const Filter& filter, double u);

  // The `count` likeliest tokens in order, or all if there are fewer. Valid until the next call.
  std::span<const Candidate> Likeliest(size_t count);

 private:
  struct Block {
    float max;
    double sum;  // relative to the row's maximum
  };
  void Collect(float from);         // candidates_ = all tokens with logit >= from, by id
  bool OrderUpTo(size_t count);     // makes the first `count` candidates the likeliest, in order; false: there are fewer
  float Threshold(int step) const;  // lower and lower with each step; -inf at last

  std::span<const float> logits_;
  float inv_temperature_ = 1;
  std::vector<Block> blocks_;
  float max_ = 0;
  double sum_ = 0;
  bool usable_ = false;
  std::vector<Candidate> candidates_;
  size_t ordered_ = 0;
};

}  // namespace sgl
