// SPDX-License-Identifier: Apache-2.0
#include "grammar/multi_dfa.h"

#include <deque>
#include <map>

namespace sgl {

std::optional<MultiDfa> MultiDfa::Build(std::span<const DfaPtr> tracks, size_t max_cells) {
  const size_t k = tracks.size() + 1;  // the last one: any text
  std::vector<const Dfa*> all;
  for (const DfaPtr& t : tracks) all.push_back(t.get());
  all.push_back(AnyTextDfa().get());

  MultiDfa out;
  std::vector<uint8_t> sample;
  std::map<std::vector<uint8_t>, uint8_t> classes;
  for (size_t b = 0; b < 256; ++b) {
    std::vector<uint8_t> key;
    for (const Dfa* d : all) key.push_back(d->empty() ? 0 : d->class_of(static_cast<uint8_t>(b)));
    const auto [it, fresh] = classes.try_emplace(std::move(key), static_cast<uint8_t>(sample.size()));
    if (fresh) sample.push_back(static_cast<uint8_t>(b));
    out.class_of_[b] = it->second;
  }
  out.classes_ = sample.size();

  std::map<BitRow, uint32_t> set_ids;
  const auto set_id = [&](const BitRow& row) {
    const auto [it, fresh] = set_ids.try_emplace(row, static_cast<uint32_t>(out.sets_.size()));
    if (fresh) out.sets_.push_back(row);
    return it->second;
  };
  std::map<std::vector<uint32_t>, uint32_t> ids;
  std::deque<const std::vector<uint32_t>*> order;
  const auto intern = [&](std::vector<uint32_t> tuple) {
    const auto [it, fresh] = ids.try_emplace(std::move(tuple), static_cast<uint32_t>(order.size()));
    if (!fresh) return it->second;
    order.push_back(&it->first);
    BitRow alive((k + 63) / 64, 0), accept((k + 63) / 64, 0);
    for (size_t i = 0; i + 1 < k; ++i) {
      const uint32_t s = it->first[i];
      if (s == kDeadState) continue;
      SetBit(alive, i);
      if (all[i]->accepts(s)) SetBit(accept, i);
    }
    out.alive_of_.push_back(set_id(alive));
    out.accept_of_.push_back(set_id(accept));
    out.boundary_.push_back(all[k - 1]->accepts(it->first[k - 1]) ? 1 : 0);
    return it->second;
  };
  std::vector<uint32_t> tuple(k);
  for (size_t i = 0; i < k; ++i) tuple[i] = all[i]->empty() ? kDeadState : 0;
  intern(tuple);
  for (size_t at = 0; at < order.size(); ++at) {
    if ((at + 1) * out.classes_ > max_cells) return std::nullopt;
    out.next_.resize((at + 1) * out.classes_, kDeadState);
    for (size_t c = 0; c < out.classes_; ++c) {
      const std::vector<uint32_t>& from = *order[at];
      for (size_t i = 0; i < k; ++i) tuple[i] = from[i] == kDeadState ? kDeadState : all[i]->Step(from[i], sample[c]);
      if (tuple[k - 1] == kDeadState) continue;
      out.next_[at * out.classes_ + c] = intern(tuple);
    }
  }
  return out;
}

}  // namespace sgl
