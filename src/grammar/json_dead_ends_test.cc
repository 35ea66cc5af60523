// Every state that can be reached has a way to the end: texts from which none is left are refused at the byte that leads there.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "grammar/test_kit.h"

namespace sgl {
namespace {

struct DeadEnd {
  const char* name;
  const char* schema;
  std::vector<const char*> open;  // heads that can be completed
  std::vector<const char*> dead;  // heads that cannot; without their last byte they can
};

const std::vector<DeadEnd>& Cases() {
  static const std::vector<DeadEnd> cases = {
      {"short keys run out",
       R"({"type":"object","propertyNames":{"pattern":"^[ab]$|^c{2}$"}})",
       {"{\"a\":1,\"b", "{\"a\":1,\"b\":1,\"c", "{\"a\":1,\"b\":1,\"cc\":1}"},
       {"{\"a\":1,\"a", "{\"a\":1,\"b\":1,\"cc\":1,", "{\"a\":1,\"b\":1,\"b"}},
      {"short keys beside names",
       R"({"type":"object","properties":{"b":{"type":"null"}},"propertyNames":{"maxLength":1}})",
       {"{\"x\":1,\"b", "{\"b\":null,\"x", "{\"x\":1,\"\":2,\"y"},
       {"{\"x\":1,\"x", "{\"b\":null,\"b"}},
      {"keys of a pattern",
       R"({"type":"object","patternProperties":{"^k[0-9]$":{"type":"null"}},"additionalProperties":false,"minProperties":2})",
       {"{\"k1\":null,\"k2"},
       {"{\"k1\":null,\"k1", "{\"k1\":null}"}},
      {"a name that makes the object something else",
       R"({"type":"object","properties":{"ab":{"type":"null"}},"additionalProperties":false,"dependentSchemas":{"a":{"type":"array"}}})",
       {"{\"ab\":null}"},
       {"{\"ab\":null,", "{\"a\""}},
      {"a name that must not be there",
       R"({"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false,"not":{"required":["a"]}})",
       {"{\"b\":1}"},
       {"{\"a"}},
      {"names that ask for names",
       R"({"type":"object","maxProperties":2,"dependentRequired":{"a":["b"],"b":["c"],"d":["e"]}})",
       {"{\"d\":1,\"e\":1}", "{\"x\":1,\"y\":1}", "{\"b\":1,\"c\":1}"},
       {"{\"a\"", "{\"x\":1,\"b\"", "{\"b\":1,\"x"}},
      {"names that ask for what cannot be",
       R"({"type":"object","properties":{"a":{},"ab":{}},"additionalProperties":false,"dependentRequired":{"a":["z"]}})",
       {"{\"ab"},
       {"{\"a\""}},
      {"only the first item can be counted",
       R"({"type":"array","prefixItems":[{"type":"array","items":{"type":"boolean"}}],"items":{"type":"integer"},"contains":{"type":"array","items":{"type":"string"}}})",
       {"[[", "[[],1]"},
       {"[]", "[[t"}},
      {"numbers of two assertions", R"({"type":"integer","multipleOf":7,"minimum":50,"maximum":60})", {"5", "56"}, {"4", "57", "50"}},
      {"numbers of all members",
       R"({"allOf":[{"type":"number","minimum":2},{"type":"number","multipleOf":0.5,"exclusiveMaximum":3}]})",
       {"2", "2.5"},
       {"3", "2.6", "2.51"}},
      {"numbers that may not come again",
       R"({"type":"array","items":{"type":"integer","minimum":1,"maximum":2},"uniqueItems":true})",
       {"[1,2]", "[2,1]"},
       {"[1,2,", "[1,1", "[2,2", "[3"}},
      {"one of two places",
       R"({"type":"array","prefixItems":[{"enum":[1,"a"]},{"enum":[2,"b"]}],"items":false,"contains":{"type":"string"}})",
       {"[1,\"", "[\"a\",2]", "[\"a\"]"},
       {"[1]", "[1,2"}},
  };
  return cases;
}

std::string Name(const ::testing::TestParamInfo<size_t>& info) {
  std::string name;
  for (const char c : std::string_view(Cases()[info.param].name)) name += c == ' ' ? '_' : c;
  return name;
}

class DeadEnds : public ::testing::TestWithParam<size_t> {};

TEST_P(DeadEnds, AreRefusedWhereTheyBegin) {
  const DeadEnd& c = Cases()[GetParam()];
  const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
  ASSERT_NE(grammar, nullptr);
  const auto reads = [&](std::string_view text) {
    const auto matcher = grammar->NewMatcher();
    for (const char b : text)
      if (!matcher->Accept(static_cast<uint8_t>(b))) return false;
    return true;
  };
  for (const std::string_view head : c.open) EXPECT_TRUE(reads(head)) << head;
  for (const std::string_view head : c.dead) {
    EXPECT_TRUE(reads(head.substr(0, head.size() - 1))) << head;
    EXPECT_FALSE(reads(head)) << head;
  }
}

TEST_P(DeadEnds, AreInNoMask) {
  const DeadEnd& c = Cases()[GetParam()];
  const auto grammar = MustCompile(GrammarKind::kJsonSchema, c.schema);
  ASSERT_NE(grammar, nullptr);
  std::mt19937_64 random(7);
  for (int i = 0; i < 20; ++i) {
    bool ended = false;
    DrawText(*grammar, random, 60, i < 3, &ended);  // fails where nothing is allowed
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Json, DeadEnds, ::testing::Range(size_t{0}, Cases().size()), Name);

TEST(Unsatisfiable, IsRefusedByName) {
  for (const char* schema : {
           R"({"type":"array","items":{"type":"null"},"contains":{"type":"integer"}})",
           R"({"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"null"},"contains":{"type":"string"},"minContains":2})",
           R"({"type":"array","items":{"type":"integer"},"maxItems":1,"contains":{"minimum":3},"minContains":2})",
       })
    EXPECT_NE(CompileError(GrammarKind::kJsonSchema, schema).find("no value satisfies"), std::string::npos) << schema;
}

}  // namespace
}  // namespace sgl
