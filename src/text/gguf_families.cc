// SPDX-License-Identifier: Apache-2.0
#include "text/gguf_families.h"

#include <fmt/format.h>

#include <algorithm>

namespace sgl {

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TITLE_WORDS                                                                                               \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)" \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
#define SYMBOLS_AND_SPACES R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define PATH_SYMBOLS_AND_SPACES R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"

namespace {

// The steps that are not patterns.
constexpr std::string_view kEachNumber = "@number";         // every number character apart
constexpr std::string_view kNumberRuns = "@numbers";        // runs of them
constexpr std::string_view kPunctuationRuns = "@punct";     // runs of punctuation
constexpr std::string_view kEachPunctuation = "@puncts";    // every punctuation character apart
constexpr std::string_view kStandIns = "@bytes";            // bytes become their stand-ins, for the steps that follow
constexpr std::string_view kGroups = "@groups";             // numbers in groups of three from their end
constexpr std::string_view kDigitGroups = "@digit_groups";  // the same, by look-ahead
constexpr std::string_view kWordGroups = "@word_groups";    // the same, unless a word goes on after them

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" SYMBOLS_AND_SPACES;
constexpr std::string_view kQwen2 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" SYMBOLS_AND_SPACES;
constexpr std::string_view kQwen35 =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kUfakzeka = R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" SYMBOLS_AND_SPACES;
constexpr std::string_view kMiniCpm5 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)" SYMBOLS_AND_SPACES;
constexpr std::string_view kSeedCoder =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoe =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kJais2 = CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|)"
    R"(\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})" PATH_SYMBOLS_AND_SPACES;
constexpr std::string_view kO200kDigits = TITLE_WORDS R"(\p{N})" PATH_SYMBOLS_AND_SPACES;
constexpr std::string_view kO200k = TITLE_WORDS R"(\p{N}{1,3})" PATH_SYMBOLS_AND_SPACES;
constexpr std::string_view kKimi =
    R"([\p{Han}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3})" SYMBOLS_AND_SPACES;

constexpr std::string_view kLines = R"([\r\n])";
constexpr std::string_view kLineRuns = R"([^\n]+|[\n]+)";
constexpr std::string_view kUpToThree = R"(\p{N}{1,3})";
constexpr std::string_view kOneNumber = R"(\p{N})";
constexpr std::string_view kThreeDigits = "[0-9][0-9][0-9]";
// CJK and Hangul as DeepSeek's first models have them, and CJK and kana as the later ones do.
constexpr std::string_view kDeepSeekWide = R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr std::string_view kDeepSeekCjk = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr std::string_view kDeepSeekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSpark =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";
// The letters of scripts with two cases, as a list.
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377})"
    R"(\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})"
    R"(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})"
    R"(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})"
    R"(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr std::string_view kDeepSeekSymbols = R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr std::string_view kFinalSpace = R"(\s+$)";
// Bloom's class has a class in it.
constexpr std::string_view kBloom = R"( ?[^(\s|[.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C}])]+)";
constexpr std::string_view kYoutuCjk =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|)"
    R"([\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr std::string_view kAfmoeCjk =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{0E40}-\x{0E7F})"
    R"(\x{0E80}-\x{0EFF}\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)";

#undef CONTRACTIONS
#undef TITLE_WORDS
#undef SYMBOLS_AND_SPACES
#undef PATH_SYMBOLS_AND_SPACES

// Names as llama.cpp's converter writes them. "default" stands for files from before the key existed.
constexpr GgufFamily kFamilies[] = {
    {"default gpt-2 gpt2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de phi-2 jais trillion granite-docling gigachat a.x-4.0 mellum "
     "exaone4 roberta-bpe jina-v2-code",
     {kGpt2}},
    {"mpt olmo modern-bert", {kGpt2}, true},
    {"smollm starcoder refact codeshell exaone minerva-7b mellum2", {kEachNumber, kGpt2}},
    {"command-r", {kEachNumber, kGpt2}, true},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", {kLlama3}, false, true, true},
    {"dbrx smaug-bpe chatglm-bpe", {kLlama3}},
    {"glm4 glm5", {kLlama3}, false, true},
    {"jais-2", {kJais2}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan stablelm2", {kQwen2}, true},
    {"solar-open grok-2", {kQwen2}},
    {"qwen35", {kQwen35}, true},
    {"ufakzeka", {kUfakzeka}},
    {"laguna", {kLineRuns, kQwen2}},
    {"seed-coder", {kSeedCoder}},
    {"bailingmoe bailingmoe2 llada-moe", {kBailing}},
    {"exaone-moe", {kExaoneMoe}},
    {"minicpm5", {kUpToThree, kMiniCpm5}, false, true},
    {"gpt-4o o200k llama4 kanana2 talkie minimax minimax-m2", {kO200k}},
    {"granite-embed-multi-97m", {kO200k}, false, true},
    {"tiny_aya cohere2moe", {kWordGroups, kO200k}},
    {"tekken", {kTekken}, false, true, true},
    {"kimi-k2", {kKimi}},
    {"youtu", {kYoutuCjk, kO200kDigits}, false, true},
    {"deepseek-llm", {kLines, kDeepSeekLetters, kDeepSeekSymbols, kFinalSpace, kDeepSeekWide, kEachNumber}},
    {"deepseek-coder", {kLines, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekWide, kEachNumber}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", {kUpToThree, kDeepSeekCjk, kDeepSeekV3}},
    {"spark2_5", {kUpToThree, kDeepSeekCjk, kSpark, kOneNumber}},
    {"afmoe", {kGroups, kAfmoeCjk, kDeepSeekV3}},
    {"superbpe", {R"(\p{N}+)", kDigitGroups}},
    {"falcon", {kPunctuationRuns, kGpt2, kStandIns, kNumberRuns, kThreeDigits}},
    {"bloom gpt3-finnish poro-chat", {kBloom}},
    {"viking", {kBloom, kEachNumber}},
    {"chameleon",
     {R"(<sentinel:[0-9]+>)", R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)", R"(([\t\n]|    |  ))", kEachNumber, kEachPunctuation, kGpt2},
     false,
     false,
     true},
};

bool HasName(std::string_view names, std::string_view name) {
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find(' ', at), names.size());
    if (names.substr(at, end - at) == name) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

const std::string_view kO200kPattern = kO200k;
const std::string_view kKimiPattern = kKimi;

Result<const GgufFamily*> FindGgufFamily(std::string_view name) {
  for (const GgufFamily& family : kFamilies)
    if (HasName(family.names, name)) return &family;
  std::string known;
  for (const GgufFamily& family : kFamilies) {
    for (const char c : known.empty() ? std::string(family.names) : fmt::format(" {}", family.names))
      known += c == ' ' ? std::string(", ") : std::string(1, c);
  }
  return Unimplemented(fmt::format("tokenizer.ggml.pre: '{}' is not known; known are: {}", name, known));
}

Status AddFamilySteps(const GgufFamily& family, Normalizer* normalizer, PreTokenizer* pre_tokenizer) {
  if (family.nfc) normalizer->Add(NormalForm::kNfc);
  const auto chars = [&](CharStage::Kind kind, SplitBehavior behavior) { pre_tokenizer->Add(CharStage{kind, behavior}); };
  for (const std::string_view step : family.steps) {
    if (step.empty()) break;
    if (step == kEachNumber) {
      chars(CharStage::Kind::kNumber, SplitBehavior::kIsolated);
    } else if (step == kNumberRuns) {
      chars(CharStage::Kind::kNumber, SplitBehavior::kContiguous);
    } else if (step == kPunctuationRuns) {
      chars(CharStage::Kind::kPunctuation, SplitBehavior::kContiguous);
    } else if (step == kEachPunctuation) {
      chars(CharStage::Kind::kPunctuation, SplitBehavior::kIsolated);
    } else if (step == kStandIns) {
      pre_tokenizer->Add(ByteCharsStage{});
    } else if (step == kGroups) {
      pre_tokenizer->Add(DigitGroupStage{DigitGroupStage::Kind::kNumbers});
    } else if (step == kDigitGroups) {
      pre_tokenizer->Add(DigitGroupStage{DigitGroupStage::Kind::kDigits});
    } else if (step == kWordGroups) {
      pre_tokenizer->Add(DigitGroupStage{DigitGroupStage::Kind::kDigitsAtWordEnd});
    } else {
      TRY_STATUS(AddPattern(step, RegexSyntax::kOniguruma, SplitBehavior::kIsolated, false, pre_tokenizer));
    }
  }
  return {};
}

}  // namespace sgl
