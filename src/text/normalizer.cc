// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer.h"

#include "text/unicode_tables.h"
#include "text/vocab.h"

namespace sgl {
namespace {

std::string_view Strip(std::string_view text, bool left, bool right) {
  const CharTable& table = CharTable::Get();
  size_t length = 0, start = 0;
  while (left && !text.empty() && (table.Bits(CodePointAt(text, 0, &length)) & kSpaceBit) != 0) text.remove_prefix(length);
  while (right && !text.empty() && (table.Bits(CodePointBefore(text, text.size(), &start)) & kSpaceBit) != 0) text = text.substr(0, start);
  return text;
}

// Each character becomes what `map(cp, bytes)` appends.
template <class F>
std::string MapChars(std::string_view text, F&& map) {
  std::string out;
  out.reserve(text.size());
  size_t length = 0;
  for (size_t at = 0; at < text.size(); at += length) {
    const uint32_t cp = CodePointAt(text, at, &length);
    map(cp, text.substr(at, length), out);
  }
  return out;
}

bool IsChinese(uint32_t cp) {
  if (cp < 0x3400) return false;
  // The last range but one begins at U+2B920 in the reference too.
  return (cp <= 0x4DBF) || (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x20000 && cp <= 0x2A6DF) ||
         (cp >= 0x2A700 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

std::string Nmt(std::string_view text) {
  return MapChars(text, [](uint32_t cp, std::string_view c, std::string& out) {
    const bool gone = (cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F || cp == 0x8F || cp == 0x9F;
    const bool space = cp == 9 || cp == 0xA || cp == 0xC || cp == 0xD || cp == 0x1680 || (cp >= 0x200B && cp <= 0x200F) || cp == 0x2028 ||
                       cp == 0x2029 || cp == 0x2581 || cp == 0xFEFF || cp == 0xFFFD;
    if (!gone) out.append(space ? " " : c);
  });
}

std::string Bert(const BertStep& step, std::string text) {
  const CharTable& table = CharTable::Get();
  if (step.clean_text) {
    text = MapChars(text, [&](uint32_t cp, std::string_view c, std::string& out) {
      if (InRanges(BertControls(), cp)) return;
      out.append((table.Bits(cp) & kSpaceBit) != 0 ? " " : c);
    });
  }
  if (step.chinese_chars) {
    text = MapChars(text, [](uint32_t cp, std::string_view c, std::string& out) {
      const bool chinese = IsChinese(cp);
      if (chinese) out.push_back(' ');
      out.append(c);
      if (chinese) out.push_back(' ');
    });
  }
  if (step.strip_accents) {
    text = MapChars(Normalize(text, NormalForm::kNfd), [&](uint32_t cp, std::string_view c, std::string& out) {
      const bool mark = cp >= 0x300 && ((table.Bits(cp) & Bit(Category::kMn)) != 0 || cp == 0x1734);
      if (!mark || IsNewer(cp) || InRanges(BertKeptMarks(), cp)) out.append(c);
    });
  }
  return step.lowercase ? Lowercase(text) : text;
}

std::string Spaces(const SpacesStep& step, std::string_view text) {
  std::string out;
  out.reserve(text.size() + 1);
  if (step.remove_extra) {
    for (const char c : text)
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
    // At the end U+2581 counts as a space too, as for the library.
    constexpr std::string_view kMark = "\xE2\x96\x81";
    while (out.ends_with(' ') || out.ends_with(kMark)) out.resize(out.size() - (out.ends_with(' ') ? 1 : kMark.size()));
  } else {
    out = text;
  }
  if (step.prefix && !out.empty()) out.insert(out.begin(), ' ');
  return out;
}

struct Apply {
  const std::string& text;
  std::string operator()(NormalForm form) const { return Normalize(text, form); }
  std::string operator()(const LowercaseStep&) const { return Lowercase(text); }
  std::string operator()(const PrependStep& step) const { return text.empty() ? text : step.text + text; }
  std::string operator()(const ReplaceStep& step) const { return ReplaceAll(text, step.pattern, step.content); }
  std::string operator()(const StripAccentsStep&) const {
    return MapChars(text, [](uint32_t cp, std::string_view c, std::string& out) {
      const bool mark = cp >= 0x300 && ((CharTable::Get().Bits(cp) & kMark) != 0 || cp == 0x1CF2 || cp == 0x1CF3);
      if (!mark || IsNewer(cp) || InRanges(KeptMarks(), cp)) out.append(c);
    });
  }
  std::string operator()(const NmtStep&) const { return Nmt(text); }
  std::string operator()(const ByteCharsStep&) const {
    std::string out;
    for (const char c : text) out += ByteChars::Get().text[static_cast<unsigned char>(c)];
    return out;
  }
  std::string operator()(const BertStep& step) const { return Bert(step, text); }
  std::string operator()(const CharsmapStep& step) const {
    return step.longest ? step.map->ApplyLongest(text) : step.map->ApplyGraphemes(text);
  }
  std::string operator()(const SpacesStep& step) const { return Spaces(step, text); }
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

std::string Normalizer::Apply(std::string_view text, bool continues) const {
  std::string out(text);
  for (const NormalizerStep& step : steps_)
    if (!(continues && std::holds_alternative<PrependStep>(step))) out = std::visit(sgl::Apply{out}, step);
  return out;
}

bool Normalizer::LocalAtCuts() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const NormalizerStep& step) {
    if (const auto* replace = std::get_if<ReplaceStep>(&step))
      return replace->pattern.regex == nullptr && replace->pattern.literal.size() == 1;
    return std::holds_alternative<NormalForm>(step) || std::holds_alternative<LowercaseStep>(step) ||
           std::holds_alternative<PrependStep>(step) || std::holds_alternative<StripAccentsStep>(step) ||
           std::holds_alternative<NmtStep>(step) || std::holds_alternative<BertStep>(step);
  });
}

}  // namespace sgl
