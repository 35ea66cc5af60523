// SPDX-License-Identifier: Apache-2.0
#include "text/tools/input.h"

#include <algorithm>

namespace sgl::tools {

void Input::Add(std::string_view text) {
  if (at_ > 4096 || at_ == text_.size()) {
    text_.erase(0, at_);
    at_ = 0;
  }
  text_ += text;
}

std::string_view Input::Take(size_t bytes) {
  const std::string_view taken = rest().substr(0, bytes);
  at_ += taken.size();
  return taken;
}

Match Input::StartsWith(std::string_view literal) const {
  const std::string_view here = rest();
  if (here.substr(0, literal.size()) == literal) return Match::kYes;
  return !ended_ && literal.substr(0, here.size()) == here ? Match::kMore : Match::kNo;
}

std::string_view Input::TakeUntil(std::span<const std::string_view> markers, int& found) {
  found = -1;
  const std::string_view here = rest();
  std::string firsts;
  for (const std::string_view marker : markers)
    if (firsts.find(marker[0]) == firsts.npos) firsts += marker[0];
  for (size_t i = here.find_first_of(firsts); i != here.npos; i = here.find_first_of(firsts, i + 1)) {
    const std::string_view tail = here.substr(i);
    size_t longest = 0;
    bool more = false;
    for (size_t m = 0; m < markers.size(); ++m) {
      if (tail.substr(0, markers[m].size()) == markers[m]) {
        if (markers[m].size() > longest) longest = markers[m].size(), found = static_cast<int>(m);
      } else if (!ended_ && markers[m].substr(0, tail.size()) == tail) {
        more = true;
      }
    }
    if (more) found = -1;
    if (more || longest > 0) return Take(i);
  }
  return Take(here.size());
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace sgl::tools
