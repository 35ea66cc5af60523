// SPDX-License-Identifier: Apache-2.0
#include "text/json_steps.h"

#include <fmt/format.h>

#include <optional>

#include "text/base64.h"

namespace sgl::tokenizer_json {

Error Bad(const std::string& path, std::string_view what) { return InvalidArgument(fmt::format("tokenizer.json: {}: {}", path, what)); }

Error Unsupported(const std::string& path, std::string_view kind) {
  return Unimplemented(fmt::format("tokenizer.json: {}: '{}' is not supported", path, kind));
}

std::string At(const std::string& path, size_t index) { return fmt::format("{}[{}]", path, index); }

// The member `key` of a Sequence-like object as an array.
Result<const Json::Array*> ArrayOf(const Json& json, std::string_view key, const std::string& path) {
  const Json& member = json[key];
  if (!member.is_array()) return Bad(fmt::format("{}.{}", path, key), "expected an array");
  return &member.as_array();
}

Result<std::string> StringOf(const Json& json, std::string_view key, const std::string& path) {
  const Json& member = json[key];
  if (!member.is_string()) return Bad(fmt::format("{}.{}", path, key), "expected a string");
  return member.as_string();
}

namespace {

Result<TextPattern> ParsePattern(const Json& json, const std::string& path) {
  if (json["String"].is_string()) return TextPattern{json["String"].as_string(), nullptr};
  if (!json["Regex"].is_string()) return Bad(path, "expected {\"String\": ...} or {\"Regex\": ...}");
  Result<Regex> regex = Regex::Compile(json["Regex"].as_string(), RegexSyntax::kOniguruma);
  if (!regex.ok()) return Bad(path + ".Regex", regex.error().message);
  return TextPattern{"", std::make_shared<const Regex>(*std::move(regex))};
}

}  // namespace

// ---- normalizer ----

Status ParseNormalizer(const Json& json, const std::string& path, Normalizer* out) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "normalizers", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParseNormalizer((*items)[i], At(path + ".normalizers", i), out));
    return {};
  }
  if (type == "NFC") return out->Add(NormalForm::kNfc), Status();
  if (type == "NFD") return out->Add(NormalForm::kNfd), Status();
  if (type == "NFKC") return out->Add(NormalForm::kNfkc), Status();
  if (type == "NFKD") return out->Add(NormalForm::kNfkd), Status();
  if (type == "Lowercase") return out->Add(LowercaseStep{}), Status();
  if (type == "Strip") return out->Add(StripStep{json.get_bool("strip_left", true), json.get_bool("strip_right", true)}), Status();
  if (type == "Prepend") {
    TRY(std::string text, StringOf(json, "prepend", path));
    return out->Add(PrependStep{std::move(text)}), Status();
  }
  if (type == "Replace") {
    TRY(TextPattern pattern, ParsePattern(json["pattern"], path + ".pattern"));
    TRY(std::string content, StringOf(json, "content", path));
    return out->Add(ReplaceStep{std::move(pattern), std::move(content)}), Status();
  }
  if (type == "StripAccents") return out->Add(StripAccentsStep{}), Status();
  if (type == "Nmt") return out->Add(NmtStep{}), Status();
  if (type == "ByteLevel") return out->Add(ByteCharsStep{}), Status();
  if (type == "BertNormalizer") {
    const bool lowercase = json.get_bool("lowercase", true);
    return out->Add(BertStep{json.get_bool("clean_text", true), json.get_bool("handle_chinese_chars", true),
                             json.get_bool("strip_accents", lowercase), lowercase}),
           Status();
  }
  if (type == "Precompiled") {
    TRY(const std::string text, StringOf(json, "precompiled_charsmap", path));
    const std::optional<std::string> blob = Base64Decode(text);
    if (!blob) return Bad(path + ".precompiled_charsmap", "expected base64");
    Result<Charsmap> map = Charsmap::Parse(*blob);
    if (!map.ok()) return Bad(path + ".precompiled_charsmap", map.error().message);
    return out->Add(CharsmapStep{std::make_shared<const Charsmap>(*std::move(map)), false}), Status();
  }
  return Unsupported(path, type);
}

namespace {

// ---- pre_tokenizer ----

Result<SplitBehavior> ParseBehavior(const Json& json, const std::string& path) {
  if (json == Json("Isolated")) return SplitBehavior::kIsolated;
  if (json == Json("Removed")) return SplitBehavior::kRemoved;
  if (json == Json("MergedWithPrevious")) return SplitBehavior::kMergedWithPrevious;
  if (json == Json("MergedWithNext")) return SplitBehavior::kMergedWithNext;
  if (json == Json("Contiguous")) return SplitBehavior::kContiguous;
  return Bad(path, "expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

// The replacement character and when it is put in front; also for the decoder of that name.
Status ParseMetaspace(const Json& json, const std::string& path, MetaspaceStage* out) {
  out->replacement = json.get_string("replacement", "\xE2\x96\x81");
  if (out->replacement.empty()) return Bad(path + ".replacement", "expected a character");
  out->split = json.get_bool("split", true);
  const bool legacy = json.get_bool("add_prefix_space", true);
  const std::string scheme = json.get_string("prepend_scheme", legacy ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") return Bad(path + ".prepend_scheme", "expected always, first or never");
  out->prepend = scheme == "always"  ? MetaspaceStage::Prepend::kAlways
                 : scheme == "first" ? MetaspaceStage::Prepend::kFirst
                                     : MetaspaceStage::Prepend::kNever;
  return {};
}

}  // namespace

Status ParsePreTokenizer(const Json& json, const std::string& path, PreTokenizer* out, bool* byte_level) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "pretokenizers", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParsePreTokenizer((*items)[i], At(path + ".pretokenizers", i), out, byte_level));
    return {};
  }
  if (*byte_level) {  // something looks at the stand-ins
    out->Add(ByteCharsStage{});
    *byte_level = false;
  }
  if (type == "ByteLevel") {
    *byte_level = true;
    if (json.get_bool("add_prefix_space", true)) out->Add(PrefixSpaceStage{});
    if (json.get_bool("use_regex", true)) out->Add(KnownSplitStage(kGpt2Pattern));
    return {};
  }
  if (type == "Split") {
    TRY(const SplitBehavior behavior, ParseBehavior(json["behavior"], path + ".behavior"));
    const bool invert = json.get_bool("invert", false);
    const Json& pattern = json["pattern"];
    if (pattern["String"].is_string()) return out->Add(LiteralStage(pattern["String"].as_string(), behavior, invert)), Status();
    if (!pattern["Regex"].is_string()) return Bad(path + ".pattern", "expected {\"String\": ...} or {\"Regex\": ...}");
    const Status added = AddPattern(pattern["Regex"].as_string(), RegexSyntax::kOniguruma, behavior, invert, out);
    if (!added.ok()) return Bad(path + ".pattern.Regex", added.error().message);
    return {};
  }
  if (type == "Digits") {
    const bool each = json.get_bool("individual_digits", false);
    return out->Add(CharStage{CharStage::Kind::kNumber, each ? SplitBehavior::kIsolated : SplitBehavior::kContiguous}), Status();
  }
  if (type == "Punctuation") {
    CharStage stage{CharStage::Kind::kPunctuation, SplitBehavior::kIsolated};
    if (json.find("behavior") != nullptr) {
      TRY(stage.behavior, ParseBehavior(json["behavior"], path + ".behavior"));
    }
    return out->Add(stage), Status();
  }
  if (type == "WhitespaceSplit") return out->Add(CharStage{CharStage::Kind::kWhiteSpace, SplitBehavior::kRemoved}), Status();
  if (type == "Whitespace") return AddPattern(R"(\w+|[^\w\s]+)", RegexSyntax::kRust, SplitBehavior::kRemoved, true, out);
  if (type == "BertPreTokenizer") {
    out->Add(CharStage{CharStage::Kind::kWhiteSpace, SplitBehavior::kRemoved});
    return out->Add(CharStage{CharStage::Kind::kPunctuation, SplitBehavior::kIsolated}), Status();
  }
  if (type == "CharDelimiterSplit") {
    TRY(const std::string delimiter, StringOf(json, "delimiter", path));
    return out->Add(LiteralStage(delimiter, SplitBehavior::kRemoved, false)), Status();
  }
  if (type == "UnicodeScripts") return out->Add(ScriptStage{}), Status();
  if (type == "FixedLength") {
    const int64_t length = json.get_int("length", 5);
    if (length <= 0) return Bad(path + ".length", "expected a positive number");
    return out->Add(LengthStage{static_cast<size_t>(length)}), Status();
  }
  if (type == "Metaspace") {
    MetaspaceStage stage;
    TRY_STATUS(ParseMetaspace(json, path, &stage));
    return out->Add(std::move(stage)), Status();
  }
  return Unsupported(path, type);
}

// ---- decoder ----

Status ParseDecoder(const Json& json, const std::string& path, TokenDecoder* out) {
  if (json.is_null()) return {};
  const std::string type = json.get_string("type", "");
  if (type == "Sequence") {
    TRY(const Json::Array* items, ArrayOf(json, "decoders", path));
    for (size_t i = 0; i < items->size(); ++i) TRY_STATUS(ParseDecoder((*items)[i], At(path + ".decoders", i), out));
    return {};
  }
  if (type == "ByteLevel") return out->Add(ByteLevelDecode{}), Status();
  if (type == "ByteFallback") return out->Add(ByteFallbackDecode{}), Status();
  if (type == "Fuse") return out->Add(FuseDecode{}), Status();
  if (type == "Replace") {
    TRY(TextPattern pattern, ParsePattern(json["pattern"], path + ".pattern"));
    TRY(std::string content, StringOf(json, "content", path));
    return out->Add(ReplaceDecode{std::move(pattern), std::move(content)}), Status();
  }
  if (type == "Strip") {
    TRY(std::string character, StringOf(json, "content", path));
    if (character.empty()) return Bad(path + ".content", "expected a character");
    const int64_t start = json.get_int("start", 0), stop = json.get_int("stop", 0);
    if (start < 0 || stop < 0) return Bad(path, "start and stop must not be negative");
    return out->Add(StripDecode{std::move(character), static_cast<size_t>(start), static_cast<size_t>(stop)}), Status();
  }
  if (type == "Metaspace") {
    MetaspaceStage stage;
    TRY_STATUS(ParseMetaspace(json, path, &stage));
    return out->Add(MetaspaceDecode{stage.replacement, stage.prepend != MetaspaceStage::Prepend::kNever}), Status();
  }
  if (type == "WordPiece") return out->Add(WordPieceDecode{json.get_string("prefix", "##"), json.get_bool("cleanup", true)}), Status();
  if (type == "BPEDecoder") return out->Add(BpeDecode{json.get_string("suffix", "</w>")}), Status();
  if (type == "CTC") {
    return out->Add(CtcDecode{json.get_string("pad_token", "<pad>"), json.get_string("word_delimiter_token", "|"),
                              json.get_bool("cleanup", true)}),
           Status();
  }
  return Unsupported(path, type);
}

}  // namespace sgl::tokenizer_json
