// SPDX-License-Identifier: Apache-2.0
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "base/check.h"
#include "text/unicode.h"

namespace sgl {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;   // backtracking steps of one search: well under a second
constexpr uint32_t kHeapLimitKib = 64 * 1024;  // memory of one search without JIT

struct ContextFree {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// Limits are the same for everyone and the context is read-only while matching, so one serves all threads.
pcre2_match_context* Limits() {
  static const std::unique_ptr<pcre2_match_context, ContextFree> context = [] {
    std::unique_ptr<pcre2_match_context, ContextFree> made(pcre2_match_context_create(nullptr));
    CHECK(made != nullptr);
    pcre2_set_match_limit(made.get(), kMatchLimit);
    pcre2_set_heap_limit(made.get(), kHeapLimitKib);
    return made;
  }();
  return context.get();
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void Regex::Searcher::Free::operator()(pcre2_real_match_data_8* data) const { pcre2_match_data_free(data); }

Result<Regex> Regex::Compile(std::string_view pattern, RegexSyntax syntax) {
  TRY(std::string translated, TranslateRegex(pattern, syntax));
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  if (syntax == RegexSyntax::kOniguruma) options |= PCRE2_MULTILINE;
  int error = 0;
  PCRE2_SIZE where = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options, &error, &where, nullptr);
  if (code == nullptr) {
    unsigned char message[256] = {};
    pcre2_get_error_message(error, message, sizeof message);
    const char* what = reinterpret_cast<const char*>(message);
    if (translated == pattern) return InvalidArgument(fmt::format("at byte {}: {}", where, what));
    return InvalidArgument(fmt::format("near byte {}: {}", std::min<size_t>(where, pattern.size()), what));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT on this machine pcre2_match interprets
  return Regex(code);
}

Regex::Searcher::Searcher(const Regex& regex) : regex_(&regex), data_(pcre2_match_data_create(1, nullptr)) { CHECK(data_ != nullptr); }

RegexOutcome Regex::Searcher::Find(std::string_view subject, size_t offset, RegexMatch* match) {
  if (offset > subject.size()) return RegexOutcome::kNone;
  const auto run = [&](uint32_t options) {
    return pcre2_match(regex_->code_.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), offset,
                       PCRE2_NO_UTF_CHECK | options, data_.get(), Limits());
  };
  int rc = run(0);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = run(PCRE2_NO_JIT);  // the interpreter keeps its state on the heap
  if (rc == PCRE2_ERROR_NOMATCH) return RegexOutcome::kNone;
  if (rc < 0) return RegexOutcome::kLimit;
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data_.get());
  if (span[0] > span[1]) return RegexOutcome::kLimit;  // \K in a look-ahead can do this; no use to anyone
  *match = {span[0], span[1]};
  return RegexOutcome::kMatch;
}

RegexOutcome Regex::Find(std::string_view subject, size_t offset, RegexMatch* match) const {
  Searcher searcher(*this);
  if (IsValidUtf8(subject)) return searcher.Find(subject, offset, match);
  return searcher.Find(RepairUtf8(subject), offset, match);
}

}  // namespace sgl
