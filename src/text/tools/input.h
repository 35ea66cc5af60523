// The text that a parser has been given and not yet used up. Every question has an answer that more text cannot change, or the answer
// "more": so a parser that asks nothing else treats a text the same way however it is cut.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace sgl::tools {

enum class Match { kYes, kNo, kMore };

class Input {
 public:
  void Add(std::string_view text);
  void End() { ended_ = true; }

  bool ended() const { return ended_; }
  bool empty() const { return at_ == text_.size(); }
  std::string_view rest() const { return std::string_view(text_).substr(at_); }
  char front() const { return text_[at_]; }

  std::string_view Take(size_t bytes);  // valid until the next Add

  Match StartsWith(std::string_view literal) const;
  // The text up to the first of `markers` (at one place the longest wins), taken; `found`: which marker stands there now, -1 if none
  // does yet. Then everything was taken but what could become a marker. Precondition: no marker is empty.
  std::string_view TakeUntil(std::span<const std::string_view> markers, int& found);

 private:
  std::string text_;
  size_t at_ = 0;
  bool ended_ = false;
};

bool IsSpace(char c);  // JSON's white space
std::string_view Trim(std::string_view text);

}  // namespace sgl::tools
