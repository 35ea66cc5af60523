// StreamDecoder and StopMatcher.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sgl {

// Moves what is certain from pending_ to the result.
std::string StreamDecoder::TakeReady(bool at_end) {
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Unit unit = FirstUtf8Unit(rest.substr(0, 4));
    if (unit.kind == Utf8Kind::kCut && !at_end) break;
    if (unit.kind == Utf8Kind::kChar) {
      out.append(rest.substr(0, unit.length));
    } else {
      for (size_t i = 0; i < (tokenizer_->byte_fallback ? unit.length : 1); ++i) out += "\xEF\xBF\xBD";
    }
    rest.remove_prefix(unit.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string StreamDecoder::Push(TokenId id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return "";
  pending_ += tokenizer_->TokenBytes(id);
  return TakeReady(false);
}

std::string StreamDecoder::Flush() { return TakeReady(true); }

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    std::vector<uint32_t> border(text.size(), 0);
    for (uint32_t i = 1, k = 0; i < text.size(); ++i) {
      while (k > 0 && text[i] != text[k]) k = border[k - 1];
      if (text[i] == text[k]) ++k;
      border[i] = k;
    }
    stops_.push_back({std::move(text), std::move(border), 0});
  }
}

StopMatcher::Step StopMatcher::Push(std::string_view text, bool keep_stop) {
  Step step;
  if (over_) return step;
  for (size_t at = 0; at < text.size(); ++at) {
    const Stop* hit = nullptr;
    for (Stop& stop : stops_) {
      uint32_t& k = stop.matched;
      while (k > 0 && text[at] != stop.text[k]) k = stop.border[k - 1];
      if (text[at] == stop.text[k]) ++k;
      if (k == stop.text.size() && (hit == nullptr || k > hit->text.size())) hit = &stop;
      if (k == stop.text.size()) k = stop.border[k - 1];
    }
    if (hit == nullptr) continue;
    held_.append(text.substr(0, at + 1));
    if (!keep_stop) held_.resize(held_.size() - hit->text.size());
    step.emit = std::move(held_);
    step.matched = hit->text;
    held_.clear();
    over_ = true;
    return step;
  }
  uint32_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.matched);
  held_.append(text);
  step.emit = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return step;
}

std::string StopMatcher::Flush() {
  for (Stop& stop : stops_) stop.matched = 0;
  return std::exchange(held_, {});
}

}  // namespace sgl
