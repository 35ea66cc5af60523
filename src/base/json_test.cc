// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace sgl {
namespace {

TEST(Json, KeepsKeyOrderAndLastDuplicate) {
  auto parsed = ParseJson(R"({"z":1,"a":[true,null,"x"],"z":2})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(DumpJson(*parsed), R"({"z":2,"a":[true,null,"x"]})");
}

TEST(Json, ManyDuplicateKeysStayLinearAndOrdered) {
  std::string text = "{";
  for (int i = 0; i < 40; ++i) text += (i != 0 ? ",\"" : "\"") + std::to_string(i % 20) + "\":" + std::to_string(i);
  auto parsed = ParseJson(text + "}");
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->as_object().size(), 20u);
  EXPECT_EQ(parsed->as_object()[3].first, "3");
  EXPECT_EQ((*parsed)["3"].as_int(), 23);
}

TEST(Json, ErrorsSayWhere) {
  auto bad = ParseJson("{\n  \"a\": 1,\n  \"b\": }\n}");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message.substr(0, 17), "line 3, column 8:") << bad.error().message;
  EXPECT_EQ(bad.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(ParseJson("").ok());
  EXPECT_FALSE(ParseJson("{\"a\":1} x").ok());
  EXPECT_FALSE(ParseJson(std::string(5000, '[')).ok());
}

TEST(Json, NumbersKeepTheirKind) {
  auto parsed = ParseJson("[1, 1.0, 1e3, -9223372036854775808, 18446744073709551615]");
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed->as_array()[0].is_int());
  EXPECT_TRUE(parsed->as_array()[1].is_double());
  EXPECT_EQ(DumpJson(*parsed), "[1,1.0,1000.0,-9223372036854775808,18446744073709551616.0]");
  EXPECT_EQ(DumpJson(Json(std::numeric_limits<double>::infinity())), "null");
  EXPECT_EQ(DumpJson(Json(std::nan(""))), "null");
}

TEST(Json, IntegersBeyond64BitsAreDoubles) {
  auto parsed = ParseJson(
      R"({"a": 1000000000000000019884624838656, "b": -18446744073709551616, "c": "x\"19884624838656000000000", "d": [12, 1e-10]})");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ((*parsed)["a"].as_double(), 1e30);
  EXPECT_EQ((*parsed)["b"].as_double(), -18446744073709551616.0);
  EXPECT_EQ((*parsed)["c"].as_string(), "x\"19884624838656000000000");
  EXPECT_TRUE((*parsed)["d"].as_array()[0].is_int());
  EXPECT_FALSE(ParseJson("[1000000000000000019884624838656, 01]").ok());
}

TEST(Json, StringsAreEscapedAndValidUtf8) {
  EXPECT_EQ(DumpJson(Json("a\"\\\n\x01/é😀")), "\"a\\\"\\\\\\n\\u0001/é😀\"");
  EXPECT_EQ(DumpJson(Json("\xff\xc3(\xed\xa0\x80")), "\"\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(Json, SetReplacesInPlace) {
  Json j;
  j.Set("a", 1).Set("b", 2).Set("a", 3);
  EXPECT_EQ(DumpJson(j), R"({"a":3,"b":2})");
  EXPECT_EQ(j.get_int("missing", 7), 7);
  EXPECT_TRUE(j["missing"]["deeper"].is_null());
}

}  // namespace
}  // namespace sgl
