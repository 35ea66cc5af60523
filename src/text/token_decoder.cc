// SPDX-License-Identifier: Apache-2.0
#include "text/token_decoder.h"

#include <algorithm>
#include <optional>

#include "text/vocab.h"

namespace sgl {
namespace {

// A token's bytes under ByteLevel: its characters' bytes, or its own bytes when one of them stands for none.
std::string LevelBytes(std::string_view token) { return ByteChars::Get().Decode(token).value_or(std::string(token)); }

// <0xNN> -> the byte. As Rust's from_str_radix on two characters: "+5" is a number too.
std::optional<char> FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

std::string Strip(std::string_view token, const StripDecode& step) {
  const std::string_view c = step.character;
  for (size_t i = 0; i < step.start && token.starts_with(c); ++i) token.remove_prefix(c.size());
  for (size_t i = 0; i < step.stop && token.ends_with(c); ++i) token.remove_suffix(c.size());
  return std::string(token);
}

std::string ReplaceText(std::string_view text, std::string_view from, std::string_view to) {
  return ReplaceAll(text, TextPattern{std::string(from), nullptr}, to);
}

// English as it is written: "do n't ." -> "don't."
std::string CleanUp(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                                                      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                                                      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) text = ReplaceText(text, from, to);
  return text;
}

std::string WordPieceText(std::string_view token, const WordPieceDecode& step, bool first) {
  std::string text(token);
  if (!first) text = token.starts_with(step.prefix) ? std::string(token.substr(step.prefix.size())) : " " + text;
  return step.cleanup ? CleanUp(std::move(text)) : text;
}

struct Sequence {
  std::vector<std::string>& tokens;

  void Join() const {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens.assign(1, std::move(all));
  }

  void operator()(const ByteLevelDecode&) const {
    for (std::string& token : tokens) token = LevelBytes(token);
    Join();
    tokens[0] = RepairUtf8(tokens[0]);
  }
  void operator()(const ReplaceDecode& step) const {
    for (std::string& token : tokens) token = ReplaceAll(token, step.pattern, step.content);
  }
  // A run of byte tokens is text if it is UTF-8 as a whole, else one U+FFFD per byte.
  void operator()(const ByteFallbackDecode&) const {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (IsValidUtf8(run)) {
        out.push_back(run);
      } else {
        for (size_t i = 0; i < run.size(); ++i) out.push_back("\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const std::optional<char> byte = FallbackByte(token)) {
        run.push_back(*byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
  void operator()(const FuseDecode&) const { Join(); }
  void operator()(const StripDecode& step) const {
    for (std::string& token : tokens) token = Strip(token, step);
  }
  void operator()(const WordPieceDecode& step) const {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = WordPieceText(tokens[i], step, i == 0);
  }
  void operator()(const BpeDecode& step) const {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = ReplaceText(tokens[i], step.suffix, i + 1 == tokens.size() ? "" : " ");
  }
  void operator()(const CtcDecode& step) const {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      token = ReplaceText(token, step.pad, "");
      if (step.cleanup) token = ReplaceText(CleanUp(std::move(token)), step.delimiter, " ");
    }
    std::erase(tokens, "");
  }
  void operator()(const MetaspaceDecode& step) const {
    const TextPattern pattern{step.replacement, nullptr};
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = ReplaceAll(tokens[i], pattern, i == 0 && step.drop_in_first ? "" : " ");
  }
};

}  // namespace

std::string TokenDecoder::Decode(std::vector<std::string> tokens) const {
  for (const DecoderStep& step : steps_) std::visit(Sequence{tokens}, step);
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && steps_.empty()) out += ' ';
    out += tokens[i];
  }
  return out;
}

std::string TokenDecoder::RunningBytes(std::string_view token) const {
  std::string text(token);
  if (steps_.empty()) return " " + text;
  bool is_byte = false;  // raw bytes from here on: only Fuse may follow meaningfully
  for (const DecoderStep& step : steps_) {
    if (std::holds_alternative<FuseDecode>(step)) break;  // what follows works on the ends of the whole text
    if (is_byte) continue;
    if (std::holds_alternative<ByteLevelDecode>(step)) {
      text = LevelBytes(text);
      break;  // joins the tokens too
    }
    if (std::holds_alternative<ByteFallbackDecode>(step)) {
      const std::optional<char> byte = FallbackByte(text);
      if (byte) text.assign(1, *byte), is_byte = true;
    } else if (const auto* replace = std::get_if<ReplaceDecode>(&step)) {
      text = ReplaceAll(text, replace->pattern, replace->content);
    } else if (const auto* strip = std::get_if<StripDecode>(&step)) {
      text = Strip(text, *strip);
    } else if (const auto* piece = std::get_if<WordPieceDecode>(&step)) {
      text = WordPieceText(text, *piece, false);
    } else if (const auto* bpe = std::get_if<BpeDecode>(&step)) {
      text = ReplaceText(text, bpe->suffix, " ");
    } else if (const auto* ctc = std::get_if<CtcDecode>(&step)) {
      text = ReplaceText(ReplaceText(text, ctc->pad, ""), ctc->delimiter, ctc->cleanup ? " " : ctc->delimiter);
    } else if (const auto* metaspace = std::get_if<MetaspaceDecode>(&step)) {
      text = ReplaceAll(text, TextPattern{metaspace->replacement, nullptr}, " ");
    }
  }
  return text;
}

bool TokenDecoder::byte_fallback() const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [](const DecoderStep& step) { return std::holds_alternative<ByteFallbackDecode>(step); });
}

}  // namespace sgl
