// SPDX-License-Identifier: Apache-2.0
#include "serve/http_util.h"

#include <gtest/gtest.h>

namespace sgl {
namespace {

TEST(HttpUtil, PercentDecodes) {
  EXPECT_EQ(PercentDecode("a%2Fb%2fc"), "a/b/c");
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
  EXPECT_EQ(PercentDecode("%00x"), std::string("\0x", 2));
  EXPECT_EQ(PercentDecode("%e2%82%ac"), "\xe2\x82\xac");
  for (const char* odd : {"", "%", "%2", "%zz", "a%", "%2g", "%%"}) EXPECT_EQ(PercentDecode(odd), odd);
  EXPECT_EQ(PercentDecode("%%41"), "%A");
}

TEST(HttpUtil, FindsQueryValues) {
  EXPECT_EQ(QueryValue("a=1&b=x+y%26&a=2", "a"), "1");
  EXPECT_EQ(QueryValue("a=1&b=x+y%26&a=2", "b"), "x y&");
  EXPECT_EQ(QueryValue("flag&&x=", "flag"), "");
  EXPECT_EQ(QueryValue("flag&&x=", "x"), "");
  EXPECT_EQ(QueryValue("a%20b=c=d", "a b"), "c=d");
  EXPECT_EQ(QueryValue("aa=1", "a"), std::nullopt);
  EXPECT_EQ(QueryValue("", ""), std::nullopt);
}

}  // namespace
}  // namespace sgl
