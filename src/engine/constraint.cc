// SPDX-License-Identifier: Apache-2.0
#include "engine/constraint.h"

#include <algorithm>

namespace sgl {

OutputConstraint::OutputConstraint(std::unique_ptr<Matcher> matcher, std::vector<TokenId> think_end, std::optional<int64_t> budget,
                                   std::vector<TokenId> excluded, std::vector<TokenId> stop_ids, int64_t vocab_size)
    : matcher_(std::move(matcher)),
      think_end_(std::move(think_end)),
      left_(budget),
      excluded_(std::move(excluded)),
      stop_ids_(std::move(stop_ids)),
      mask_((static_cast<size_t>(vocab_size) + 31) / 32) {
  border_.assign(think_end_.size() + 1, 0);
  for (size_t i = 1, k = 0; i < think_end_.size(); ++i) {
    while (k > 0 && think_end_[i] != think_end_[k]) k = border_[k];
    if (think_end_[i] == think_end_[k]) ++k;
    border_[i + 1] = k;
  }
}

std::span<const uint32_t> OutputConstraint::Fill() {
  nothing_ = false;
  const auto bit = [&](TokenId id) -> uint32_t& { return mask_[static_cast<size_t>(id) / 32]; };
  if (thinking()) {
    if (left_ && *left_ <= 0) {
      std::fill(mask_.begin(), mask_.end(), 0);
      const TokenId next = think_end_[matched_];
      bit(next) |= 1u << (next % 32);
      return mask_;
    }
    if (!matcher_ && excluded_.empty()) return {};
    // The answer is still owed: the text may not end here.
    std::fill(mask_.begin(), mask_.end(), ~uint32_t{0});
    for (const std::vector<TokenId>* ids : {&stop_ids_, &excluded_})
      for (const TokenId id : *ids)
        if (id >= 0 && static_cast<size_t>(id) / 32 < mask_.size() && id != think_end_[matched_]) bit(id) &= ~(1u << (id % 32));
    return mask_;
  }
  if (!matcher_) return {};
  matcher_->Fill(mask_);
  nothing_ = std::all_of(mask_.begin(), mask_.end(), [](uint32_t w) { return w == 0; });
  return mask_;
}

bool OutputConstraint::only_stop() const { return !thinking() && matcher_ && matcher_->must_end(); }

OutputConstraint::Verdict OutputConstraint::Accept(TokenId token) {
  if (thinking()) {
    while (matched_ > 0 && think_end_[matched_] != token) matched_ = border_[matched_];
    if (think_end_[matched_] == token) ++matched_;
    if (left_) --*left_;
    if (matched_ == think_end_.size()) think_end_.clear();
    return Verdict::kGoesOn;
  }
  if (!matcher_) return Verdict::kGoesOn;
  if (!matcher_->Accept(token)) return Verdict::kRejected;
  return matcher_->terminated() ? Verdict::kEnded : Verdict::kGoesOn;
}

}  // namespace sgl
