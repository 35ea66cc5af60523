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
