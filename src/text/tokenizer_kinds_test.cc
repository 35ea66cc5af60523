// Every kind of model, step and file, against what the reference libraries recorded (tools/make_tokenizer_goldens.py).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>

#include "text/base64.h"
#include "text/char_set.h"
#include "text/charsmap.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sgl {
namespace {

std::string ReadGolden(const std::string& name) {
  std::ifstream in(std::string(SGLANG_SOURCE_DIR) + "/tests/goldens/tokenizer/" + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  std::stringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::unique_ptr<Tokenizer> Must(Result<std::unique_ptr<Tokenizer>> loaded) {
  EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
  return loaded.ok() ? *std::move(loaded) : nullptr;
}

std::string FromHex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

std::vector<TokenId> Ids(const Json& json) {
  std::vector<TokenId> out;
  for (const Json& id : json.as_array()) out.push_back(static_cast<TokenId>(id.as_int()));
  return out;
}

// ---- tokenizer.json ----

class Kinds : public testing::TestWithParam<const char*> {};

TEST_P(Kinds, EncodesAndDecodesAsTheReference) {
  const auto tokenizer = Must(LoadTokenizer(ReadGolden(GetParam() + std::string(".json")), Json()));
  const auto golden = ParseJson(ReadGolden(GetParam() + std::string(".golden.json")));
  ASSERT_TRUE(golden.ok());
  ASSERT_EQ((*golden)["encode"].as_array().size(), 120u);
  for (const Json& item : (*golden)["encode"].as_array()) {
    const std::string text = item["t"].is_string() ? item["t"].as_string() : FromHex(item["x"].as_string());
    EXPECT_EQ(tokenizer->Encode(text, false), Ids(item["e"])) << DumpJson(item);
    const std::vector<TokenId> ids = tokenizer->Encode(text, true);
    EXPECT_EQ(ids, Ids(item["s"])) << DumpJson(item);
    EXPECT_EQ(tokenizer->Decode(ids, false), item["d"].as_string()) << DumpJson(item);
    EXPECT_EQ(tokenizer->Decode(ids, true), item["k"].as_string()) << DumpJson(item);
  }
  for (const Json& item : (*golden)["decode"].as_array()) {
    EXPECT_EQ(tokenizer->Decode(Ids(item["ids"]), false), item["d"].as_string()) << DumpJson(item);
    EXPECT_EQ(tokenizer->Decode(Ids(item["ids"]), true), item["k"].as_string()) << DumpJson(item);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, Kinds, testing::Values("bert", "t5", "clip", "wordlevel"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Truncation, IsAskedForAndKeepsTheSpecialTokens) {
  const auto tokenizer = Must(LoadTokenizer(ReadGolden("bert.json"), Json()));
  EXPECT_EQ(tokenizer->truncation_length, 12);
  const std::vector<TokenId> all = tokenizer->Encode("one two three four five six", true);
  ASSERT_GT(all.size(), 12u);  // Encode itself does not cut
  std::vector<TokenId> ids = all;
  EXPECT_EQ(Truncate(*tokenizer, 6, &ids), all.size() - 6);
  EXPECT_EQ(ids, (std::vector<TokenId>{all[0], all[1], all[2], all[3], all[4], all.back()}));
  EXPECT_EQ(Truncate(*tokenizer, 6, &ids), 0u);
  ids = all;
  tokenizer->truncates_left = true;
  Truncate(*tokenizer, 4, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{all[0], all[all.size() - 3], all[all.size() - 2], all.back()}));
  Truncate(*tokenizer, 0, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{all[0], all.back()}));
}

// Twice the text, twice the work, whatever it is made of: the ratio of four times the text is far from sixteen.
class LongRuns : public testing::TestWithParam<const char*> {};

TEST_P(LongRuns, CostInProportion) {
  const std::string name = GetParam();
  const auto tokenizer = Must(name.starts_with("spm") ? LoadTokenizerModel(ReadGolden(name + ".model"), "tokenizer.model", Json())
                                                      : LoadTokenizer(ReadGolden(name + ".json"), Json()));
  const auto cost = [&](const std::string& text) {  // processor time, the best of three
    std::clock_t best = 0;
    for (int i = 0; i < 3; ++i) {
      const std::clock_t start = std::clock();
      const std::vector<TokenId> ids = tokenizer->Encode(text, false);
      const std::clock_t spent = std::clock() - start;
      best = i == 0 ? spent : std::min(best, spent);
    }
    return best;
  };
  for (const std::string bit :
       {"a", " ", "\n", "1", "!", "ab", "\xE4\xBD\xA0", "\xCC\x81", "\xE2\x96\x81", "\xff", "<", "'", " \n", "A", "\xC2\xB2"}) {
    std::string text;
    while (text.size() < (1 << 14)) text += bit;
    bool in_proportion = false;
    for (int attempt = 0; attempt < 4 && !in_proportion; ++attempt)  // a clock can be wrong, but hardly four times
      in_proportion = cost(text + text + text + text) <= 10 * cost(text) + CLOCKS_PER_SEC / 200;
    EXPECT_TRUE(in_proportion) << bit;
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, LongRuns,
                         testing::Values("smollm", "llama3", "qwen", "o200k", "llama2", "metaspace", "bert", "t5", "clip", "wordlevel",
                                         "spm_bpe", "spm_unigram"),
                         [](const auto& info) { return std::string(info.param); });

// ---- SentencePiece ----

class SentencePiece : public testing::TestWithParam<const char*> {};

TEST_P(SentencePiece, EncodesAsTheLibrary) {
  const auto tokenizer = Must(LoadTokenizerModel(ReadGolden(GetParam() + std::string(".model")), "tokenizer.model", Json()));
  const auto golden = ParseJson(ReadGolden(GetParam() + std::string(".golden.json")));
  ASSERT_TRUE(golden.ok());
  ASSERT_GT((*golden)["encode"].as_array().size(), 100u);
  for (const Json& item : (*golden)["encode"].as_array())
    EXPECT_EQ(tokenizer->Encode(item["t"].as_string(), false), Ids(item["e"])) << DumpJson(item);
  EXPECT_EQ(tokenizer->bos_text, "<s>");
  EXPECT_EQ(tokenizer->eos_text, "</s>");
  EXPECT_EQ(tokenizer->Encode("", true), std::vector<TokenId>{*tokenizer->bos});
  // Control symbols are tokens, as chat templates need.
  const TokenId inst = *tokenizer->TokenToId("[INST]");
  EXPECT_EQ(tokenizer->Encode("[INST]", false), std::vector<TokenId>{inst});
  EXPECT_TRUE(tokenizer->IsSpecial(inst));
}

INSTANTIATE_TEST_SUITE_P(Toys, SentencePiece, testing::Values("spm_bpe", "spm_unigram"),
                         [](const auto& info) { return std::string(info.param); });

TEST(SentencePieceFiles, DamageIsAnError) {
  const std::string model = ReadGolden("spm_bpe.model");
  EXPECT_EQ(LoadSentencePiece("", Json()).error().message, "tokenizer.model: is not a SentencePiece model");
  EXPECT_EQ(LoadSentencePiece("not a model", Json()).error().message, "tokenizer.model: is not a SentencePiece model");
  for (size_t size = 1; size < model.size(); size += 97) {
    const auto loaded = LoadSentencePiece(std::string_view(model).substr(0, size), Json());
    if (loaded.ok()) {  // cut between two pieces
      EXPECT_NE((*loaded)->vocab_size(), 0);
    }
  }
}

// With "legacy": false a special token is not followed by a space that is not there.
TEST(SentencePieceFiles, LegacyDecidesAboutTheSpaceInFront) {
  const std::string model = ReadGolden("spm_bpe.model");
  const auto legacy = Must(LoadSentencePiece(model, Json())), newer = Must(LoadSentencePiece(model, *ParseJson(R"({"legacy": false})")));
  EXPECT_EQ(legacy->Encode("the", false), newer->Encode("the", false));
  EXPECT_EQ(legacy->Encode("[INST] the", false), newer->Encode("[INST]  the", false));
  EXPECT_NE(legacy->Encode("[INST]the", false), newer->Encode("[INST]the", false));
}

// ---- tiktoken, tekken ----

std::string Base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) bits = bits << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += i <= bytes.size() - at ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

// The 256 bytes, then these.
std::vector<std::string> Ranked(std::initializer_list<const char*> more) {
  std::vector<std::string> out;
  for (int b = 0; b < 256; ++b) out.emplace_back(1, static_cast<char>(b));
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(Base64, DecodesAndRefuses) {
  for (const std::string text : {"", "a", "ab", "abc", "\xFF\x00\x80 x"}) EXPECT_EQ(Base64Decode(Base64(text)), text);
  EXPECT_EQ(Base64Decode("YQ"), "a");
  for (const char* bad : {"Y", "Y===", "Y Q=", "Y-_="}) EXPECT_EQ(Base64Decode(bad), std::nullopt) << bad;
}

TEST(Tiktoken, JoinsByTheRankOfTheResult) {
  std::string file;
  const std::vector<std::string> tokens = Ranked({"ab", "bc", "abc", " ab", "bcd", "xyzw"});
  for (size_t i = 0; i < tokens.size(); ++i) file += Base64(tokens[i]) + " " + std::to_string(i) + "\n";
  const auto tokenizer = Must(LoadTokenizerModel(file, "qwen.tiktoken", Json()));
  EXPECT_EQ(tokenizer->Encode("abcd", false), (std::vector<TokenId>{258, 'd'}));
  EXPECT_EQ(tokenizer->Encode("bcd", false), std::vector<TokenId>{260});
  EXPECT_EQ(tokenizer->Encode("xyzw", false), std::vector<TokenId>{261});  // a whole word, though no merges lead there
  EXPECT_EQ(tokenizer->Encode(" ab", false), std::vector<TokenId>{259});
  EXPECT_EQ(tokenizer->Encode("a<|im_end|>", false), (std::vector<TokenId>{'a', 151645}));
  EXPECT_EQ(tokenizer->Encode("e\xCC\x81", false), (std::vector<TokenId>{0xC3, 0xA9}));  // this family composes
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{258, 0xC3, 0xA9, 151645}, true), "abc\xC3\xA9");

  const auto unknown = LoadTokenizerModel(file, "tokenizer.model", Json());
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("its pattern is not known"), std::string::npos);
  const auto pattern = Must(LoadTokenizerModel(file, "tokenizer.model", *ParseJson(R"({"pat_str": "[a-z]|[^a-z]+"})")));
  EXPECT_EQ(pattern->Encode("ab ", false), (std::vector<TokenId>{'a', 'b', ' '}));
  EXPECT_FALSE(LoadTokenizerModel(file, "x", *ParseJson(R"({"pat_str": "(?<=a)b"})")).ok());
  const auto named =
      Must(LoadTokenizerModel(file, "tokenizer.model", *ParseJson(R"({"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder":
    {"262": {"content": "<|im_user|>", "special": true}}, "eos_token": "<|im_user|>"})")));
  EXPECT_EQ(named->eos, TokenId{262});
  EXPECT_EQ(LoadTiktoken("YQ== 0\nYg== x\n", "qwen.tiktoken", Json()).error().message, "tiktoken file: line 2: expected base64 and a rank");
  EXPECT_EQ(LoadTiktoken("YQ== 99999999\n", "qwen.tiktoken", Json()).error().message,
            "tiktoken file: line 1: the rank is far beyond the number of tokens");
}

TEST(Tekken, RanksComeAfterTheSpecialTokens) {
  std::string vocab;
  const std::vector<std::string> tokens = Ranked({"ab", "cut off"});
  for (size_t i = 0; i < tokens.size(); ++i)
    vocab += (i == 0 ? "" : ",") + std::string("{\"rank\":") + std::to_string(i) + ",\"token_bytes\":\"" + Base64(tokens[i]) + "\"}";
  const std::string head = R"({"config":{"pattern":"[a-z]+|[^a-z]+","default_vocab_size":277,"default_num_special_tokens":20},"vocab":[)";
  const auto tokenizer =
      Must(LoadTokenizerModel(head + vocab + R"(],"special_tokens":[{"rank":17,"token_str":"[THINK]"}]})", "tekken.json", Json()));
  EXPECT_EQ(tokenizer->vocab_size(), 277);
  EXPECT_EQ(tokenizer->Encode("ab[INST]b", true), (std::vector<TokenId>{1, 276, 3, 20 + 'b'}));
  EXPECT_EQ(tokenizer->TokenToId("[THINK]"), TokenId{17});
  EXPECT_EQ(tokenizer->IdToToken(18), "<SPECIAL_18>");
  EXPECT_EQ(tokenizer->eos, TokenId{2});
  EXPECT_FALSE(LoadTekken("{}", Json()).ok());
  EXPECT_FALSE(LoadTekken(head + R"({"rank":1,"token_bytes":"YQ=="}]})", Json()).ok());
}

// ---- GGUF ----

// Metaspace's "first": what the normaliser takes away from the start takes the start with it, as in the reference.
TEST(Metaspace, StartsWhereTheInputDoes) {
  const auto ids = [](const char* normalizer, const char* text) {
    const std::string json =
        std::string(R"({"model":{"type":"BPE","unk_token":"x","vocab":{"\u2581":0,"a":1,"b":2,"x":3},"merges":[]},)") +
        R"("pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first","split":false},"normalizer":)" + normalizer +
        "}";
    return Must(LoadTokenizer(json, Json()))->Encode(text, false);
  };
  const char* left = R"({"type":"Strip","strip_left":true,"strip_right":false})";
  const char* right = R"({"type":"Strip","strip_left":false,"strip_right":true})";
  EXPECT_EQ(ids("null", "ab"), (std::vector<TokenId>{0, 1, 2}));
  EXPECT_EQ(ids(left, "ab"), (std::vector<TokenId>{0, 1, 2}));
  EXPECT_EQ(ids(left, " ab"), (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(ids(right, " ab"), (std::vector<TokenId>{0, 1, 2}));
  EXPECT_EQ(ids(R"({"type":"StripAccents"})",
                "\xCC\x81"
                "ab"),
            (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(ids(R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "})", "  ab"), (std::vector<TokenId>{0, 1, 2}));
}

TEST(GgufKinds, BertEqualsTokenizerJson) {
  const auto json = ParseJson(ReadGolden("bert.json"));
  ASSERT_TRUE(json.ok());
  GgufVocab vocab;
  vocab.model = "bert";
  vocab.tokens.resize((*json)["model"]["vocab"].as_object().size());
  vocab.token_types.assign(vocab.tokens.size(), 1);
  for (const auto& [token, id] : (*json)["model"]["vocab"].as_object()) {
    const size_t at = static_cast<size_t>(id.as_int());
    const bool special = token.starts_with('[') && token.size() > 2;
    vocab.tokens[at] = special ? token : token.starts_with("##") ? token.substr(2) : "\xE2\x96\x81" + token;
    if (special) vocab.token_types[at] = 3;
  }
  vocab.unk = 1, vocab.cls = 2, vocab.sep = 3;
  const auto gguf = Must(LoadTokenizer(vocab)), plain = Must(LoadTokenizer(ReadGolden("bert.json"), Json()));
  for (const char* text : {"Hello, World! caf\xC3\xA9", "\xE4\xBD\xA0\xE5\xA5\xBD don't 12345", "", "x [MASK] y"}) {
    EXPECT_EQ(gguf->Encode(text, true), plain->Encode(text, true)) << text;
  }
  vocab.unk.reset();
  EXPECT_EQ(LoadTokenizer(vocab).error().message, "tokenizer.ggml.unknown_token_id: is missing");
}

TEST(GgufKinds, T5EqualsTokenizerJson) {
  const auto json = ParseJson(ReadGolden("t5.json"));
  ASSERT_TRUE(json.ok());
  GgufVocab vocab;
  vocab.model = "t5";
  for (const Json& item : (*json)["model"]["vocab"].as_array()) {
    const std::string& token = item.as_array()[0].as_string();
    vocab.tokens.push_back(token);
    vocab.scores.push_back(static_cast<float>(item.as_array()[1].as_double()));
    vocab.token_types.push_back(token == "<unk>" ? 2 : token == "</s>" || token == "<pad>" ? 3 : token.starts_with("<0x") ? 6 : 1);
  }
  vocab.eos = 1;
  vocab.remove_extra_whitespaces = true;
  vocab.precompiled_charsmap = *Base64Decode((*json)["normalizer"]["precompiled_charsmap"].as_string());
  const auto gguf = Must(LoadTokenizer(vocab)), plain = Must(LoadTokenizer(ReadGolden("t5.json"), Json()));
  for (const char* text :
       {"the  quick brown fox\xEF\xAC\x81", "\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80 x", "", "caf\x65\xCC\x81\n\nnew"}) {
    EXPECT_EQ(gguf->Encode(text, true), plain->Encode(text, true)) << text;
  }
  vocab.precompiled_charsmap = "xx";
  EXPECT_EQ(LoadTokenizer(vocab).error().message, "tokenizer.ggml.precompiled_charsmap: the precompiled charsmap is too short");
}

TEST(GgufKinds, FamiliesAddBosUnlessTheFileSaysOtherwise) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "llama-bpe";
  vocab.tokens = {"a", "b", "<s>"};
  vocab.token_types = {1, 1, 3};
  vocab.bos = 2;
  EXPECT_EQ(Must(LoadTokenizer(vocab))->Encode("a", true), (std::vector<TokenId>{2, 0}));
  vocab.add_bos = false;
  EXPECT_EQ(Must(LoadTokenizer(vocab))->Encode("a", true), std::vector<TokenId>{0});
  vocab.add_bos.reset();
  vocab.pre = "qwen2";
  EXPECT_EQ(Must(LoadTokenizer(vocab))->Encode("a", true), std::vector<TokenId>{0});
}

// ---- parts ----

TEST(Charsmaps, DamagedOnesAreErrorsOrHarmless) {
  EXPECT_FALSE(Charsmap::Parse("").ok());
  EXPECT_FALSE(Charsmap::Parse(std::string("\xFF\xFF\x00\x00", 4)).ok());
  const auto json = ParseJson(ReadGolden("t5.json"));
  const std::string blob = *Base64Decode((*json)["normalizer"]["precompiled_charsmap"].as_string());
  for (size_t i = 4; i < blob.size(); i += 5) {
    std::string bad = blob;
    bad[i] = static_cast<char>(bad[i] ^ 0x5A);
    const auto map = Charsmap::Parse(bad);
    if (!map.ok()) continue;
    EXPECT_TRUE(IsValidUtf8(map->ApplyLongest("caf\xC3\xA9 \xEF\xBC\xA1 \t x\xE3\x81\x82\xE3\x81\x82")));
    EXPECT_TRUE(IsValidUtf8(map->ApplyGraphemes("cafe\xCC\x81 \xEF\xBC\xA1 \t x\xE3\x81\x82\xE3\x81\x82")));
  }
}

// What is too long for one rule is replaced character by character, and new marks make it long.
TEST(Charsmaps, ClustersHaveTheMarksOfUnicode16) {
  const auto json = ParseJson(ReadGolden("t5.json"));
  const auto map = Charsmap::Parse(*Base64Decode((*json)["normalizer"]["precompiled_charsmap"].as_string()));
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->ApplyGraphemes("e\u0301"), "e");
  EXPECT_EQ(map->ApplyGraphemes("e\u0301x"), "ex");
  EXPECT_EQ(map->ApplyGraphemes("e\u0301\U000113B8"), "e\u0301\U000113B8");
  EXPECT_EQ(map->ApplyGraphemes("\U000113D1e\u0301"), "\U000113D1e\u0301");
  EXPECT_EQ(map->ApplyGraphemes("e\u0301\U000113B7"), "e\U000113B7");
}

TEST(CharSets, Algebra) {
  CharSet set{{10, 20}, {30, 40}};
  set.Add(21, 29);
  EXPECT_EQ(set, (CharSet{{10, 40}}));
  EXPECT_EQ(set.Complement().Complement(), set);
  EXPECT_EQ(set.Intersect(CharSet{{0, 12}, {35, 99}}), (CharSet{{10, 12}, {35, 40}}));
  EXPECT_TRUE(set.Contains(10) && set.Contains(40) && !set.Contains(9) && !set.Contains(41));
  EXPECT_TRUE(CharSet().Complement().Contains(kMaxCodePoint));
  EXPECT_EQ((CharSet{{'s', 's'}}.IgnoreCase()), (CharSet{{'S', 'S'}, {'s', 's'}, {0x17F, 0x17F}}));
  EXPECT_EQ((CharSet{{0xE9, 0xE9}}.IgnoreCase()), std::nullopt);
  EXPECT_TRUE(CharSet::Property("Han")->Contains(0x4E00));
  EXPECT_TRUE(CharSet::Property("Han")->Contains(0x2B739));  // newer than PCRE2's tables
  EXPECT_FALSE(CharSet::Property("Han")->Contains(0x3001));
  EXPECT_EQ(CharSet::Property("Nope"), std::nullopt);
}

// The reference's tables stop at Unicode 10: later marks neither move nor join.
TEST(NormalForms, AreThoseOfTheReference) {
  EXPECT_EQ(Normalize("\xF0\x91\xA4\xB8", NormalForm::kNfd), "\xF0\x91\xA4\xB8");                                  // U+11938
  EXPECT_EQ(Normalize("\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0", NormalForm::kNfc), "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0");  // its parts
  EXPECT_EQ(Normalize("\xE3\x8B\xBF", NormalForm::kNfkc), "\xE3\x8B\xBF");                                         // U+32FF
  EXPECT_EQ(Normalize("a\xE0\xA3\x93\xCC\x81", NormalForm::kNfc), "a\xE0\xA3\x93\xCC\x81");                        // U+08D3 stands between
  EXPECT_EQ(Normalize("a\xCC\xA3\xCC\x81", NormalForm::kNfc), "\xE1\xBA\xA1\xCC\x81");
  EXPECT_EQ(Lowercase("\xF0\x90\xB5\x90\xEA\x9F\x8B"), "\xF0\x90\xB5\xB0\xC9\xA4");
}

}  // namespace
}  // namespace sgl
