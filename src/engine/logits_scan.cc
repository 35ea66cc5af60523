// SPDX-License-Identifier: Apache-2.0
#include "engine/logits_scan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace sgl {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// How far below the maximum candidates are looked for, in units of the exponent: exp(-3) is a twentieth.
constexpr float kDepths[] = {3, 6, 12, 24};
constexpr size_t kFirstOrdered = 64;
constexpr size_t kReserved = 4096;  // candidates: more than nearly every filter leaves

bool HasNan(std::span<const float> values) {
  return std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); });
}

bool NoneIn(std::span<const uint32_t> bits, size_t first, size_t words) {
  if (first >= bits.size()) return true;
  bits = bits.subspan(first, std::min(words, bits.size() - first));
  return std::all_of(bits.begin(), bits.end(), [](uint32_t word) { return word == 0; });
}

}  // namespace

double LogitsScan::Weight(float logit) const { return std::exp((static_cast<double>(logit) - max_) * inv_temperature_); }

void LogitsScan::Scan(std::span<const float> logits, float inv_temperature, std::span<const uint32_t> allowed) {
  const Kernels& kernel = kernels();
  logits_ = logits;
  inv_temperature_ = inv_temperature;
  ordered_ = 0;
  candidates_.clear();
  blocks_.clear();
  max_ = kMinusInfinity;
  sum_ = 0;
  usable_ = true;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    Block block = {kMinusInfinity, 0};
    if (!allowed.empty() && NoneIn(allowed, begin / 32, kBlock / 32)) {
      blocks_.push_back(block);
      continue;
    }
    const std::span<const float> part = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    kernel.softmax_stats(part.data(), static_cast<int64_t>(part.size()), inv_temperature, &block.max, &block.sum);
    if (!std::isfinite(block.max)) {  // all of it -inf or NaN, or a +inf: only the first is a usable row's
      if (block.max > 0 || HasNan(part)) usable_ = false;
      block = {kMinusInfinity, 0};
    }
    if (std::isnan(block.sum)) usable_ = false;
    max_ = std::max(max_, block.max);
    blocks_.push_back(block);
  }
  if (!std::isfinite(max_)) usable_ = false;
  if (!usable_) return;
  for (Block& block : blocks_) {
    if (block.max != kMinusInfinity) block.sum *= Weight(block.max);
    sum_ += block.sum;
  }
  usable_ = std::isfinite(sum_);
}

TokenId LogitsScan::DrawAll(double u) const {
  double left = u * sum_;
  size_t last = 0;  // the last token with any weight, for what rounding leaves
  for (size_t b = 0; b < blocks_.size(); ++b) {
    if (blocks_[b].sum <= 0) continue;
    const bool inside = left < blocks_[b].sum;
    const size_t begin = b * kBlock, end = std::min(begin + kBlock, logits_.size());
    if (!inside) {
      left -= blocks_[b].sum;
      last = b;
      continue;
    }
    TokenId best = -1;
    for (size_t i = begin; i < end; ++i) {
      const double weight = Weight(logits_[i]);
      if (weight > 0) best = static_cast<TokenId>(i);
      if ((left -= weight) < 0) return static_cast<TokenId>(i);
    }
    if (best >= 0) return best;
  }
  const size_t begin = last * kBlock, end = std::min(begin + kBlock, logits_.size());
  for (size_t i = end; i-- > begin;)
    if (Weight(logits_[i]) > 0) return static_cast<TokenId>(i);
  return 0;
}

float LogitsScan::Threshold(int step) const {
  if (step >= static_cast<int>(std::size(kDepths))) return kMinusInfinity;
  return max_ - kDepths[step] / inv_temperature_;
}

void LogitsScan::Collect(float from) {
  candidates_.clear();
  if (candidates_.capacity() == 0) candidates_.reserve(std::min(logits_.size(), kReserved));
  ordered_ = 0;
  for (size_t b = 0; b < blocks_.size(); ++b) {
    if (blocks_[b].max < from) continue;
    const size_t begin = b * kBlock, end = std::min(begin + kBlock, logits_.size());
    for (size_t i = begin; i < end; ++i)
      if (logits_[i] >= from) candidates_.push_back({logits_[i], static_cast<TokenId>(i)});
  }
}

bool LogitsScan::OrderUpTo(size_t count) {
  const bool enough = count <= candidates_.size();
  count = std::min(count, candidates_.size());
  const auto at = [&](size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
  while (ordered_ < count) {
    const size_t next = std::min(candidates_.size(), std::max(count, std::max(kFirstOrdered, 2 * ordered_)));
    if (next < candidates_.size()) std::nth_element(at(ordered_), at(next - 1), candidates_.end(), Before);
    std::sort(at(ordered_), at(next), Before);
    ordered_ = next;
  }
  return enough;
}

std::span<const Candidate> LogitsScan::Likeliest(size_t count) {
  count = std::min(count, logits_.size());
  for (int step = 0;; ++step) {
    const float from = Threshold(step);
    Collect(from);
    if (candidates_.size() >= count || from == kMinusInfinity) break;
  }
  OrderUpTo(count);
  return {candidates_.data(), std::min(count, candidates_.size())};
}

TokenId LogitsScan::DrawFiltered(const Filter& filter, double u) {
  for (int step = 0;; ++step) {
    const float from = Threshold(step);
    Collect(from);
    double mass = 0;
    size_t keep = 0;
    bool complete = false;  // the cut lies among the candidates
    while (!complete && OrderUpTo(keep + 1)) {
      const double weight = Weight(candidates_[keep].logit);
      complete = keep >= filter.top_k || (keep > 0 && (mass > filter.top_p * sum_ || weight < filter.min_p));
      if (complete) break;
      mass += weight;
      ++keep;
    }
    if (!complete && from != kMinusInfinity && keep < filter.top_k) continue;
    double left = u * mass;
    for (size_t i = 0; i < keep; ++i)
      if ((left -= Weight(candidates_[i].logit)) < 0) return candidates_[i].token;
    return candidates_.front().token;
  }
}

}  // namespace sgl
