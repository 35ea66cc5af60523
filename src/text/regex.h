// Regular expressions over UTF-8 (PCRE2 with JIT, Unicode properties and a work limit), in the dialect of whoever wrote them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace sgl {

enum class RegexSyntax {
  kPython,     // `re` on str: \Z is the very end, \uXXXX
  kOniguruma,  // tokenizer.json: ^ and $ at line ends, \s is White_Space, Unicode 16 categories
  kRust,       // tiktoken: as kOniguruma, but $ is only the end of the text and {n,m}+ is possessive
};

enum class RegexOutcome { kMatch, kNone, kLimit };  // kLimit: gave up after the work limit; nothing is known

struct RegexMatch {
  size_t begin = 0, end = 0;  // bytes
};

// Thread: immutable after Compile; any number of threads may search at once.
class Regex {
 public:
  // Errors: "at byte 5: missing closing parenthesis"; constructs whose meaning would differ silently are refused.
  static Result<Regex> Compile(std::string_view pattern, RegexSyntax syntax);
  Regex(Regex&&) noexcept = default;
  Regex& operator=(Regex&&) noexcept = default;

  // The leftmost match that begins at or after `offset` (a character boundary, <= size); text before `offset` is visible to look-behind
  // and \b, as in Python's pattern.search(text, pos). Bad UTF-8 in `subject` is read as U+FFFD, at O(n) extra cost; positions then refer to
  // the repaired text.
  RegexOutcome Find(std::string_view subject, size_t offset, RegexMatch* match) const;

  // Many searches in one valid text without setting up each time. Thread: one. The Regex must outlive it.
  class Searcher {
   public:
    explicit Searcher(const Regex& regex);
    // Precondition: `subject` is valid UTF-8.
    RegexOutcome Find(std::string_view subject, size_t offset, RegexMatch* match);

   private:
    struct Free {
      void operator()(pcre2_real_match_data_8* data) const;
    };
    const Regex* regex_;
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  };

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

// The pattern in PCRE2's dialect (regex_syntax.cc). Errors name the byte.
Result<std::string> TranslateRegex(std::string_view pattern, RegexSyntax syntax);

}  // namespace sgl
