// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer.h"

namespace sgl {
namespace {

std::string_view Strip(std::string_view text, bool left, bool right) {
  const CharTable& table = CharTable::Get();
  size_t length = 0, start = 0;
  while (left && !text.empty() && (table.Bits(CodePointAt(text, 0, &length)) & kSpaceBit) != 0) text.remove_prefix(length);
  while (right && !text.empty() && (table.Bits(CodePointBefore(text, text.size(), &start)) & kSpaceBit) != 0) text = text.substr(0, start);
  return text;
}

struct Apply {
  const std::string& text;
  std::string operator()(NormalForm form) const { return Normalize(text, form); }
  std::string operator()(const LowercaseStep&) const { return Lowercase(text); }
  std::string operator()(const PrependStep& step) const { return text.empty() ? text : step.text + text; }
  std::string operator()(const ReplaceStep& step) const { return ReplaceAll(text, step.pattern, step.content); }
  std::string operator()(const StripStep& step) const { return std::string(Strip(text, step.left, step.right)); }
};

}  // namespace

std::string ReplaceAll(std::string_view text, const TextPattern& pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  pattern.ForEach(text, [&](size_t begin, size_t end) {
    out.append(text.substr(done, begin - done));
    out.append(content);
    done = end;
  });
  out.append(text.substr(done));
  return out;
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string out(text);
  for (const NormalizerStep& step : steps_) out = std::visit(sgl::Apply{out}, step);
  return out;
}

}  // namespace sgl
