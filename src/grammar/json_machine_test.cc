// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "grammar/json_mask.h"
#include "grammar/test_kit.h"

namespace sgl {
namespace {

struct SchemaCase {
  const char* name;
  const char* schema;
  std::vector<const char*> good, bad;
};

const std::vector<SchemaCase>& Cases() {
  static const std::vector<SchemaCase> cases = {
      {"any",
       "true",
       {"1", "\"x\"", "{\"a\":[1,2,{\"b\":null}]}", " [ ]", "-0.5e+3"},
       {"01", "{a:1}", "[1,]", "\"\n\"", "nul", "\"\\ud800\"", "1 1"}},
      {"doubles", "true", {"1.7e308", "[-1.79e+308]", "1e-320", "0e329"}, {"2e308", "[18e307]", "-1e309"}},
      {"types",
       R"({"type":["integer","null"]})",
       {"1", "-7", "1.0", "null", "1e2", "1.5e+16", "-2.25E7"},
       {"1.5", "1.00", "1.5e0", "true", "\"1\"", "1e-1"}},
      {"draft4", R"({"$schema":"http://json-schema.org/draft-04/schema#","type":"integer"})", {"1"}, {"1.0", "1e2"}},
      {"range",
       R"({"type":"integer","minimum":-5,"exclusiveMaximum":120})",
       {"-5", "0", "119", "12", "12.0"},
       {"-6", "120", "1000", "1.5", "1.5e1", "12.00"}},
      {"decimals",
       R"({"type":"number","exclusiveMinimum":0.1,"maximum":2.5})",
       {"0.11", "2.5", "1", "2.50", "2e0"},
       {"0.1", "2.51", "-1", "0.10"}},
      {"multiple", R"({"type":"number","multipleOf":0.01})", {"1.25", "3", "0.10", "-7.01"}, {"1.255", "0.001"}},
      {"long",
       R"({"type":"integer","maximum":18446744073709551615})",
       {"18446744073709551615", "5.0", "-123456789012345678901234567890123456789012345678901234567890"},
       {"18446744073709551616", "5.001", "123456789012345678901234567890123456789012345678901234567890"}},
      {"scientific",
       R"({"type":"number","minimum":-0.5,"maximum":0.5})",
       {"1e-7", "2.225e-308", "-2.5e-01", "5.0e-1", "0.25"},
       {"1", "9e-1", "6e-1", "10e-1", "1e5", "-9.5e-01", "1e-1000"}},
      {"large", R"({"type":"number","minimum":1000})", {"1.5e+16", "1e3", "2e300", "1000.0"}, {"1.5", "9e2", "999"}},
      {"exact",
       R"({"enum":[0.1234567890123456789, 12345678901234567890]})",
       {"0.1234567890123456789", "12345678901234567890"},
       {"0.1234567890123456788"}},
      {"ahead",
       R"x({"type":"string","pattern":"^(?!ab)(?=.{2,4}$)[a-c]+(?!c)b?$"})x",
       {"\"ac\"", "\"ba\"", "\"acb\"", "\"caaa\""},
       {"\"ab\"", "\"a\"", "\"abc\"", "\"bbbbb\""}},
      {"not at the begin", R"x({"type":"string","pattern":"(?!^a)[ab]$"})x", {"\"b\"", "\"ba\"", "\"aa\""}, {"\"a\"", "\"\""}},
      {"categories", R"({"type":"string","pattern":"^\\p{Lu}\\P{Letter}*$"})", {"\"A1\"", "\"\xC3\x89\""}, {"\"a\"", "\"AB\""}},
      {"strings together",
       R"({"anyOf":[{"type":"string","maxLength":2},{"type":"string","pattern":"^x+$","minLength":4},{"enum":["yes",5]}]})",
       {"\"ab\"", "\"xxxx\"", "\"yes\"", "5"},
       {"\"abc\"", "\"xxx\"", "\"yess\""}},
      {"mod", R"({"type":"integer","multipleOf":7,"minimum":50})", {"56", "700", "77"}, {"50", "57", "49"}},
      {"enum",
       R"({"enum":["a","ab",1,null,{"k":[1]}]})",
       {"\"a\"", "\"ab\"", "1", "1.0", "null", "{\"k\":[1]}"},
       {"\"b\"", "2", "{}", "\"abc\"", "\"\\u0061\""}},
      {"escaped words",
       R"({"enum":["a<b","\u00e9/\n","\u0001"]})",
       {"\"a\\u003cb\"", "\"\\u00e9\\/\\n\"", "\"\xC3\xA9/\\u000a\"", "\"\\u0001\""},
       {"\"\\u0061<b\"", "\"a<\\u0062\"", "\"a\\u003c\\u0062\""}},
      {"escaped names",
       R"({"properties":{"ab":{"type":"null"},"\u00e9":{"type":"null"}}})",
       {"{\"\\u00e9\":null}", "{\"\\u0062\":1}", "{\"b\\u0061\":1}"},
       {"{\"\\u0061b\":null}", "{\"a\\u0062\":null}", "{\"\\u00e9\":1}"}},
      {"escapes of one of two words",
       R"({"type":"object","anyOf":[{"properties":{"k":{"const":"ab"},"v":{"type":"null"}},"required":["k"]},{"properties":{"k":{"const":"c"}}}]})",
       {"{\"k\":\"ab\",\"v\":null}", "{\"k\":\"c\",\"v\":1}"},
       {"{\"k\":\"\\u0061b\",\"v\":null}", "{\"k\":\"a\\u0062\"}"}},
      {"const", R"({"const":[1,"x"]})", {"[1,\"x\"]"}, {"[1]", "[1,\"y\"]", "[1,\"x\",2]"}},
      {"lengths",
       R"({"type":"string","minLength":2,"maxLength":3})",
       {"\"ab\"", "\"\xC3\xA9\xE2\x82\xAC\"", "\"\\n\\u00e9\"", "\"\\ud83d\\ude00x\""},
       {"\"a\"", "\"abcd\"", "\"\\n\""}},
      {"pattern", R"({"type":"string","pattern":"^a+b?$"})", {"\"a\"", "\"aaab\"", "\"\\u0061\""}, {"\"b\"", "\"aba\"", "\"\""}},
      {"search", R"({"type":"string","pattern":"b{2}"})", {"\"abba\"", "\"bb\""}, {"\"ab\"", "\"bab\""}},
      {"counted", R"({"type":"string","pattern":"^[a-c]{2,4000}$","maxLength":3})", {"\"ab\"", "\"abc\""}, {"\"a\"", "\"abca\"", "\"xx\""}},
      {"format", R"({"type":"string","format":"date"})", {"\"2024-02-29\""}, {"\"2023-02-29\"", "\"2024-13-01\"", "\"x\""}},
      {"object",
       R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false})",
       {"{\"a\":1}", "{\"b\":\"x\",\"a\":1}", "{ \"a\" : 1 , \"b\" : \"\" }"},
       {"{\"\\u0061\":1}", "{}", "{\"b\":\"x\"}", "{\"a\":1,\"c\":2}", "{\"a\":1,\"a\":2}", "{\"a\":\"1\"}"}},
      {"extra",
       R"({"properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"}})",
       {"{\"a\":1,\"x\":true}", "{\"ab\":false}", "{}", "3"},
       {"{\"x\":1}", "{\"a\":true}", "{\"x\":true,\"x\":true}"}},
      {"patterns",
       R"({"type":"object","patternProperties":{"^x-":{"type":"integer"},"y$":{"minimum":3}},"additionalProperties":false})",
       {"{\"x-a\":1}", "{\"x-y\":3}", "{\"y\":\"s\"}"},
       {"{\"a\":1}", "{\"x-y\":2}", "{\"x-a\":\"1\"}"}},
      {"counts",
       R"({"type":"object","minProperties":1,"maxProperties":2,"required":["r"]})",
       {"{\"r\":1}", "{\"q\":1,\"r\":1}"},
       {"{}", "{\"a\":1,\"b\":2}", "{\"r\":1,\"a\":1,\"b\":1}"}},
      {"names",
       R"({"type":"object","propertyNames":{"pattern":"^[a-c]+$","maxLength":2}})",
       {"{\"ab\":1}", "{}"},
       {"{\"abc\":1}", "{\"d\":1}"}},
      {"dependent",
       R"({"dependentRequired":{"a":["b"]},"dependentSchemas":{"c":{"properties":{"d":{"type":"null"}},"required":["d"]}}})",
       {"{\"a\":1,\"b\":1}", "{\"b\":1}", "{\"c\":1,\"d\":null}"},
       {"{\"a\":1}", "{\"c\":1}", "{\"c\":1,\"d\":1}"}},
      {"array",
       R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1,2,3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {"prefix",
       R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[1,\"a\",2]", "[\"a\"]"}},
      {"contains",
       R"({"type":"array","contains":{"type":"integer"},"minContains":2,"maxContains":3})",
       {"[1,\"a\",2]", "[1,2,3]"},
       {"[1]", "[1,2,3,4]", "[\"a\"]"}},
      {"unique",
       R"({"type":"array","uniqueItems":true})",
       {"[1,2,\"1\"]", "[{\"a\":1},{\"a\":2}]"},
       {"[1,1.0]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", "[\"a\",\"\\u0061\"]"}},
      {"few items",
       R"({"type":"array","uniqueItems":true,"items":{"enum":["a","ab",null,true]}})",
       {"[\"a\",\"ab\",true,null]"},
       {"[true,true]", "[\"a\",\"a\"]"}},
      {"few keys",
       R"({"type":"object","propertyNames":{"enum":["a","ab"]},"patternProperties":{"^[ab]$":{"type":"null"}}})",
       {"{\"a\":null,\"ab\":1}", "{}"},
       {"{\"a\":1}", "{\"b\":null}", "{\"ab\":1,\"ab\":1}"}},
      {"allOf", R"({"allOf":[{"type":"string","minLength":2},{"pattern":"^a"}]})", {"\"ab\""}, {"\"a\"", "\"bb\"", "1"}},
      {"anyOf",
       R"({"anyOf":[{"type":"integer","minimum":10},{"type":"string","maxLength":1},{"type":"object","required":["a"]}]})",
       {"10", "\"x\"", "{\"a\":1}"},
       {"9", "\"xy\"", "{}", "null"}},
      {"oneOf",
       R"({"oneOf":[{"type":"integer","multipleOf":3},{"type":"integer","multipleOf":5}]})",
       {"3", "5", "9", "3.0", "5e0"},
       {"15", "7", "0", "30.0", "3e1"}},
      {"no integer", R"({"oneOf":[{"type":"number"},{"type":"integer","minimum":-2}]})", {"0.5", "1.25", "-3"}, {"1", "1.0", "-2"}},
      {"tagged",
       R"({"oneOf":[{"properties":{"k":{"const":"a"},"v":{"type":"integer"}},"required":["k","v"]},{"properties":{"k":{"const":"b"},"v":{"type":"string"}},"required":["k","v"]}]})",
       {"{\"k\":\"a\",\"v\":1}", "{\"v\":\"x\",\"k\":\"b\"}"},
       {"{\"k\":\"a\",\"v\":\"x\"}", "{\"v\":1,\"k\":\"b\"}", "{\"k\":\"c\",\"v\":1}"}},
      {"not", R"({"type":"object","not":{"required":["a"]}})", {"{}", "{\"b\":1}"}, {"{\"a\":1}"}},
      {"not value", R"({"type":"string","not":{"enum":["a","ab"]}})", {"\"b\"", "\"abc\"", "\"\""}, {"\"a\"", "\"ab\""}},
      {"if",
       R"({"type":"object","if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["x"]},"else":{"required":["y"]}})",
       {"{\"k\":1,\"x\":0}", "{\"y\":0}", "{\"k\":2,\"y\":0}"},
       {"{\"k\":1}", "{\"k\":1,\"y\":0}", "{\"x\":0}"}},
      {"ref",
       R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"next":{"$ref":"#/$defs/node"}},"additionalProperties":false}}})",
       {"{}", "{\"next\":{\"next\":{}}}"},
       {"{\"next\":1}", "{\"nex\":{}}"}},
      {"unevaluated",
       R"({"allOf":[{"properties":{"a":true}}],"properties":{"b":true},"unevaluatedProperties":false})",
       {"{\"a\":1,\"b\":2}"},
       {"{\"c\":1}"}},
      {"unevaluated beside anyOf",
       R"({"type":"object","properties":{"k":true},"anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":true},"required":["b"]}],"unevaluatedProperties":false})",
       {"{\"a\":1}", "{\"b\":2,\"k\":0}", "{\"b\":2,\"a\":1}"},
       {"{\"a\":2,\"b\":1}", "{\"b\":1,\"c\":1}", "{\"k\":1}"}},
      {"unevaluated beside oneOf",
       R"({"type":"object","oneOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":true},"required":["b"]}],"unevaluatedProperties":{"type":"null"}})",
       {"{\"a\":1}", "{\"b\":2,\"a\":null}", "{\"a\":1,\"c\":null}"},
       {"{\"a\":1,\"b\":1}", "{\"a\":1,\"c\":1}"}},
      {"unevaluated beside if",
       R"({"type":"object","if":{"properties":{"a":{"const":1}},"required":["a"]},"then":{"properties":{"b":true}},"else":{"properties":{"c":true}},"unevaluatedProperties":false})",
       {"{\"a\":1,\"b\":2}", "{\"c\":2}", "{\"a\":1}"},
       {"{\"a\":1,\"c\":2}", "{\"b\":2}", "{\"a\":2}"}},
      {"unevaluated beside dependentSchemas",
       R"({"type":"object","properties":{"a":true},"dependentSchemas":{"a":{"properties":{"b":true}}},"unevaluatedProperties":false})",
       {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "{}"},
       {"{\"b\":2}", "{\"a\":1,\"c\":2}"}},
      {"unevaluated items",
       R"({"type":"array","prefixItems":[{"type":"integer"}],"contains":{"type":"string"},"anyOf":[{"prefixItems":[true,{"const":null}]},{}],"unevaluatedItems":false})",
       {"[1,\"a\"]", "[1,null,\"a\"]", "[1,\"a\",\"b\"]"},
       {"[1,null,2,\"a\"]", "[1,true,\"a\"]", "[1]"}},
      {"anchor", R"({"$defs":{"x":{"$anchor":"here","type":"null"}},"$ref":"#here"})", {"null"}, {"1"}},
  };
  return cases;
}

TEST(JsonMachine, DecidesDocuments) {
  for (const SchemaCase& c : Cases()) {
    const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
    ASSERT_NE(grammar, nullptr);
    for (const char* text : c.good) EXPECT_TRUE(Accepts(*grammar, text)) << c.name << ": " << text;
    for (const char* text : c.bad) EXPECT_FALSE(Accepts(*grammar, text)) << c.name << ": " << text;
  }
}

TEST(JsonMachine, MasksSayWhatTokensMayFollow) {
  std::mt19937_64 random(7);
  for (const SchemaCase& c : Cases()) {
    const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
    ASSERT_NE(grammar, nullptr);
    for (const char* text : c.good) {  // along documents, by single bytes
      const std::unique_ptr<Matcher> m = grammar->NewMatcher();
      for (const char* p = text; *p != 0; ++p) {
        ExpectExactMask(*m, std::string(c.name) + " before '" + p + "'");
        if (HasFatalFailure()) return;
        ASSERT_TRUE(m->Accept(static_cast<uint8_t>(*p)));
      }
      ExpectExactMask(*m, std::string(c.name) + " at the end");
    }
    bool ended = false;  // and along random texts
    for (int i = 0; i < 5; ++i) DrawText(*grammar, random, 40, true, &ended);
    if (HasFatalFailure()) return;
  }
}

// A mask that was kept for one text has to be right for every other one that finds it.
TEST(JsonMachine, MasksOfOneTextAreRightForOthers) {
  const struct {
    const char *schema, *first, *second;
  } cases[] = {
      {R"({"type":"array","maxItems":3})", "[1,1,1]", "[[],1]"},
      {R"({"type":"array","minItems":2,"items":{"type":"integer"}})", "[12,12]", "[12]"},
      {R"({"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":{"type":"null"}})", "[\"a\",1,null]", "[\"a\",1]"},
      {R"({"type":"array","uniqueItems":true,"items":{"enum":["a","ab",true]}})", "[\"a\",\"ab\"]", "[\"ab\",\"a\"]"},
      {R"({"type":"array","uniqueItems":true,"items":{"type":"object"}})", "[{\"a\":1},{\"a\":2}]", "[{\"a\":2},{\"b\":2}]"},
      {R"({"type":"array","contains":{"type":"null"},"maxContains":2})", "[null,null,1]", "[null,1,null]"},
      {R"({"type":"object"})", "{\"a\":1,\"b\":1}", "{\"b\":1,\"a\":1}"},
      {R"({"type":"object","maxProperties":2,"properties":{"a":true}})", "{\"a\":1,\"b\":1}", "{\"b\":1,\"bc\":1}"},
      {R"({"type":"object","minProperties":2})", "{\"a\":1,\"b\":1}", "{\"a\":1"},
      {R"({"properties":{"a":{"type":"integer"},"ab":{"type":"string"}},"required":["a"]})", "{\"a\":1,\"ab\":\"\"}",
       "{\"ab\":\"\",\"a\":1}"},
      {R"({"dependentRequired":{"a":["b"]}})", "{\"a\":1,\"b\":1}", "{\"c\":1,\"b\":1}"},
      {R"({"type":"array","items":{"type":"string","maxLength":4}})", "[\"abcd\",\"a\\n\"]", "[\"ab\",\"\xC3\xA9xyz\"]"},
      {R"({"type":"array","items":{"type":"string","minLength":2,"maxLength":200}})", "[\"a\",\"ab\"]", "[\"abc\",\"\"]"},
      {R"({"type":"array","items":{"type":"integer","multipleOf":7}})", "[14,1]", "[12,7]"},
      {R"({"type":"array","items":{"type":"integer","minimum":5,"maximum":120}})", "[12,99,5]", "[13,1,119]"},
      {R"({"type":"array","items":{"type":"number","minimum":1.5}})", "[12.5,1.5e3]", "[1.4,1.6e3]"},
      {R"({"type":"array","items":{"type":"number"}})", "[17e307,1.5e308]", "[9e307,1e308]"},
      {R"({"$defs":{"t":{"type":"array","items":{"$ref":"#/$defs/t"}}},"$ref":"#/$defs/t"})", "[[[[]]],[]]", "[[],[[]]]"},
      {R"({"anyOf":[{"properties":{"k":{"const":"a"},"v":{"type":"null"}},"required":["k"]},{"properties":{"k":{"const":"b"}}}]})",
       "{\"k\":\"a\",\"v\":null}", "{\"k\":\"b\",\"v\":1}"},
      {R"({"items":{"anyOf":[{"type":"array","items":{"type":"null"}},{"type":"array","items":{"type":"array"},"minItems":2}]}})",
       "[[null],[[],[]]]", "[[[]],[null,null]]"},
  };
  for (const auto& c : cases)
    for (const bool swapped : {false, true}) {
      const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
      ASSERT_NE(grammar, nullptr);
      for (const char* text : {swapped ? c.second : c.first, swapped ? c.first : c.second, c.first, c.second}) {
        const std::unique_ptr<Matcher> m = grammar->NewMatcher();
        for (const char* p = text; *p != 0; ++p) {
          ExpectExactMask(*m, std::string(c.schema) + " before '" + p + "' of " + text);
          if (HasFatalFailure()) return;
          if (!m->Accept(static_cast<uint8_t>(*p))) break;  // some are wrong on purpose
        }
      }
    }
}

TEST(MaskMemo, KeepsWhatIsAskedFor) {
  constexpr size_t kLimit = 100'000;
  MaskMemo memo(kLimit);
  std::vector<uint32_t> mask(64), many(64, 0x0F0F0F0F), out(64);
  const auto key = [](uint64_t i) {
    MaskMemo::Key k;
    k.Add(i);
    return k;
  };
  for (uint64_t i = 0; i < 5000; ++i) {
    mask[i % 64] = 1u << (i % 32);
    memo.Put(key(i), i % 3 == 0 ? many : mask);
    mask[i % 64] = 0;
    ASSERT_LE(memo.bytes(), kLimit);
    std::fill(out.begin(), out.end(), 0);
    ASSERT_TRUE(memo.Find(key(0), out)) << i;  // asked for all the time
    EXPECT_EQ(out, many);
  }
  std::fill(out.begin(), out.end(), 0);
  ASSERT_TRUE(memo.Find(key(4999), out));
  mask[4999 % 64] = 1u << (4999 % 32);
  EXPECT_EQ(out, mask);
  EXPECT_FALSE(memo.Find(key(1), out));  // long gone
}

TEST(JsonMachine, RollbackAndForkEqualAFreshReplay) {
  std::mt19937_64 random(11);
  const Vocabulary& v = *TestVocabulary();
  for (const SchemaCase& c : Cases()) {
    const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
    std::unique_ptr<Matcher> m = grammar->NewMatcher();
    std::vector<TokenId> taken;
    std::vector<uint32_t> mask(v.words()), fresh_mask(v.words());
    for (int step = 0; step < 60; ++step) {
      if (!taken.empty() && random() % 4 == 0) {
        const size_t back = random() % taken.size() + 1;
        m->Rollback(back);
        taken.resize(taken.size() - back);
      }
      if (random() % 5 == 0) m = m->Fork();
      m->Fill(mask);
      const std::unique_ptr<Matcher> fresh = grammar->NewMatcher();
      for (const TokenId t : taken) ASSERT_TRUE(fresh->Accept(t));
      fresh->Fill(fresh_mask);
      ASSERT_EQ(mask, fresh_mask) << c.name;
      std::vector<TokenId> allowed;
      for (size_t id = 0; id + 1 < v.size(); ++id)
        if ((mask[id / 32] >> (id % 32) & 1) != 0) allowed.push_back(static_cast<TokenId>(id));
      if (allowed.empty()) continue;
      taken.push_back(allowed[random() % allowed.size()]);
      ASSERT_TRUE(m->Accept(taken.back()));
    }
  }
}

TEST(JsonMachine, NothingIsBegunThatCannotEnd) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type":"array","uniqueItems":true,"items":{"enum":["red","rose",null]}})", "[\"red\",\"r"},
      {R"({"type":"array","uniqueItems":true,"items":{"type":"boolean"},"minItems":2})", "[true,"},
      {R"({"type":"object","propertyNames":{"enum":["red","rose"]}})", "{\"red\":1,\"r"},
      {R"({"type":"object","patternProperties":{"^(red|rose)$":true},"additionalProperties":false})", "{\"rose\":1,\"r"},
      // No power of ten makes it a multiple within the bound.
      {R"({"type":"number","maximum":154,"multipleOf":7})", "3."},
      // Nothing but a null has room.
      {R"({"type":"array","maxItems":2,"contains":{"type":"null"}})", "[1,"},
      {R"({"type":"array","contains":{"type":"null"},"maxContains":1})", "[null,"},
  };
  const char bad[] = {'e', 't', 'e', 'o', '2', '1', 'n'}, good[] = {'o', 'f', 'o', 'e', '5', 'n', '1'};
  for (size_t i = 0; i < std::size(cases); ++i) {
    const auto grammar = MustCompile(GrammarKind::kJsonSchema, cases[i].first);
    const std::unique_ptr<Matcher> m = grammar->NewMatcher();
    for (const char* p = cases[i].second; *p != 0; ++p) ASSERT_TRUE(m->Accept(static_cast<uint8_t>(*p))) << i << p;
    EXPECT_FALSE(m->Accept(bad[i])) << i;
    EXPECT_TRUE(m->Accept(good[i])) << i;
  }
  // And no comma where nothing is left to come.
  const auto grammar = MustCompile(GrammarKind::kJsonSchema, R"({"type":"array","uniqueItems":true,"items":{"enum":["a",true]}})");
  const std::unique_ptr<Matcher> m = grammar->NewMatcher();
  for (const char c : std::string("[true,\"a\"")) ASSERT_TRUE(m->Accept(static_cast<uint8_t>(c)));
  EXPECT_FALSE(m->Accept(','));
  EXPECT_TRUE(m->Accept(']'));
}

TEST(JsonMachine, ForcedTextIsFound) {
  const auto grammar =
      MustCompile(GrammarKind::kJsonSchema,
                  R"({"type":"object","properties":{"name":{"enum":["alpha"]}},"required":["name"],"additionalProperties":false})",
                  {.disable_any_whitespace = true, .whitespace_pattern = {}});
  const std::unique_ptr<Matcher> m = grammar->NewMatcher();
  ASSERT_TRUE(m->Accept('{'));
  EXPECT_EQ(m->JumpForward(), "\"name\": \"alpha\"}");
}

TEST(JsonMachine, SpacingFollowsTheOptions) {
  const std::string schema = R"({"type":"array","items":{"type":"object"}})";
  const auto compact = MustCompile(GrammarKind::kJsonSchema, schema, {.disable_any_whitespace = true, .whitespace_pattern = {}});
  EXPECT_TRUE(Accepts(*compact, R"([{"a": 1, "b": 2}, {}])"));
  EXPECT_FALSE(Accepts(*compact, R"([{"a":1}])"));
  EXPECT_FALSE(Accepts(*compact, R"([ {}])"));
  const auto tabs = MustCompile(GrammarKind::kJsonSchema, schema, {.disable_any_whitespace = false, .whitespace_pattern = "\\t?"});
  EXPECT_TRUE(Accepts(*tabs, "[\t{}]"));
  EXPECT_FALSE(Accepts(*tabs, "[\t\t{}]"));
}

TEST(JsonMachine, ErrorsNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"[", "not JSON"},
      {"5", "a schema is an object or a boolean"},
      {R"({"type":"invalid"})", "#/type: \"invalid\" is not a type"},
      {R"({"properties":{"a":{"pattern":"("}}})", "#/properties/a/pattern: at character 0: unmatched '('"},
      {R"x({"items":{"pattern":"(?<=x)"}})x", "#/items/pattern: at character 0: look-behind"},
      {R"x({"items":{"pattern":"(?:(?=x)y)*"}})x", "#/items/pattern: look-ahead inside a repetition"},
      {R"({"$ref":"#/nowhere"})", "#/$ref: '#/nowhere' is not in this schema"},
      {R"({"$ref":"http://example.com/x"})", "outside this schema"},
      {R"({"$defs":{"a":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"})", "refers to itself"},
      {R"({"minLength":-1})", "#/minLength: has to be a non-negative integer"},
      {R"({"required":"a"})", "#/required: has to be a list of strings"},
      {R"({"$dynamicRef":"#x"})", "#/$dynamicRef: this keyword is not supported"},
      {"false", "no value satisfies"},
      {R"({"type":"integer","minimum":2,"maximum":1})", "no value satisfies"},
      {R"({"type":"string","minLength":2,"maxLength":1})", "no value satisfies"},
      {R"({"type":"object","properties":{"a":false},"required":["a"]})", "no value satisfies"},
      {R"({"allOf":[{"type":"string"},{"type":"number"}]})", "no value satisfies"},
      {R"({"required":["a"],"properties":{"a":{"allOf":[{"type":"boolean"},{"type":"null"}]}},"type":"object"})", "no value satisfies"},
      {R"({"type":"array","contains":{"type":"null"},"items":{"type":"array","minItems":1,"items":false}})", "no value satisfies"},
  };
  for (const auto& [schema, part] : cases) {
    const std::string error = CompileError(GrammarKind::kJsonSchema, schema);
    EXPECT_NE(error.find(part), std::string::npos) << schema << ": " << error;
  }
}

TEST(JsonMachine, HostileSchemasAreRefusedOrCheap) {
  std::string deep = "{}";
  for (int i = 0; i < 300; ++i) deep = R"({"items":)" + deep + "}";
  EXPECT_NE(CompileError(GrammarKind::kJsonSchema, deep).find("nested"), std::string::npos);
  EXPECT_NE(CompileError(GrammarKind::kJsonSchema, std::string((1 << 20) + 1, ' ')).find("longer"), std::string::npos);
  EXPECT_NE(CompileError(GrammarKind::kJsonSchema, R"({"pattern":"((a{0,1000}){0,1000}b{0,1000}){0,1000}"})"), "");
  // As many states as subsets of the last 24 letters.
  EXPECT_NE(CompileError(GrammarKind::kJsonSchema, R"x({"type":"string","pattern":"^(a|b)*a(a|b){24}$"})x"), "");
  EXPECT_NE(CompileError(GrammarKind::kRegex, "(a|b)*a(a|b){24}"), "");
  const std::string mutual =
      R"({"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"})";
  EXPECT_NE(CompileError(GrammarKind::kJsonSchema, mutual).find("refers to itself"), std::string::npos);
  std::string choices;
  for (int i = 0; i < 20; ++i) choices += std::string(i > 0 ? "," : "") + R"({"properties":{"p)" + std::to_string(i) + R"(":true}})";
  EXPECT_NE(
      CompileError(GrammarKind::kJsonSchema, R"({"unevaluatedProperties":false,"anyOf":[)" + choices + "]}").find("too many alternatives"),
      std::string::npos);

  std::string words, defs;
  for (int i = 0; i < 20000; ++i) words += std::string(i > 0 ? "," : "") + "\"word " + std::to_string(i * 7919 % 20000) + "\"";
  for (int i = 0; i < 40; ++i)  // every definition asks for the next one twice, in the same value and in members
    defs += std::string(i > 0 ? "," : "") + "\"n" + std::to_string(i) + R"(":{"allOf":[{"$ref":"#/$defs/n)" + std::to_string(i + 1) +
            R"("},{"$ref":"#/$defs/n)" + std::to_string(i + 1) + R"("}],"properties":{"x":{"$ref":"#/$defs/n)" + std::to_string(i + 1) +
            R"("}}})";
  const struct {
    std::string schema;
    const char *good, *bad;  // good: whole, or a beginning
    bool whole = true;
  } cheap[] = {
      {R"({"type":"array","items":{"type":"string","maxLength":10000},"minItems":10000,"maxItems":100000})", "[\"a\"", "[]", false},
      {R"({"type":"array","minItems":4000000000})", "[1,2", "[1]", false},
      {R"x({"type":"string","pattern":"^(a?){40}a{40}$"})x", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "\"aaa\""},
      {R"({"enum":[)" + words + "]}", "\"word 19999\"", "\"word 20000\""},
      {R"({"$defs":{)" + defs + R"(,"n40":{"type":"object"}},"$ref":"#/$defs/n0"})", "{\"x\":{\"x\":{}}}", "{\"x\":1"},
      {R"({"$defs":{"t":{"type":"object","properties":{"l":{"$ref":"#/$defs/t"},"r":{"anyOf":[{"$ref":"#/$defs/t"},{"type":"null"}]}}}},"$ref":"#/$defs/t"})",
       "{\"r\":{\"l\":{\"r\":null}}}", "{\"l\":null"},
      {R"x({"type":"string","pattern":"^([a-z]{1,90}[0-9]){1,90}$"})x", "\"a1b2\"", "\"12\""},
  };
  for (const auto& c : cheap) {
    const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
    ASSERT_NE(grammar, nullptr);
    const auto walk = [&](std::string_view text, bool whole) {
      const std::unique_ptr<Matcher> m = grammar->NewMatcher();
      std::vector<uint32_t> mask(TestVocabulary()->words());
      for (const char byte : text) {
        m->Fill(mask);
        if (!m->Accept(static_cast<uint8_t>(byte))) return false;
      }
      return !whole || m->can_end();
    };
    EXPECT_TRUE(walk(c.good, c.whole)) << c.schema.substr(0, 100);
    EXPECT_FALSE(walk(c.bad, true)) << c.schema.substr(0, 100);
    EXPECT_LT(grammar->bytes(), size_t{20'000'000}) << c.schema.substr(0, 100);
  }
}

}  // namespace
}  // namespace sgl
