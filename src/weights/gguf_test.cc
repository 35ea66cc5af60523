// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "weights/test_kit.h"

namespace sgl {
namespace {

using test::Bytes;
using test::GgufBuilder;
using test::GoldenDir;
using test::Raw;
using test::TempDir;

std::string ErrorOf(const std::string& file) {
  const auto result = ParseGguf(Bytes(file), "f");
  EXPECT_FALSE(result.ok()) << "accepted";
  return result.ok() ? "" : result.error().message;
}

void ExpectHas(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nexpected: " << part;
}

TEST(Gguf, ReadsTensorsThatTheReferenceWrote) {
  const auto file = OpenGguf(GoldenDir() / "kinds.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(test::Describe(**file), test::DescribeGolden({"kinds.gguf"}));
  EXPECT_EQ((*file)->find("four")->shape, (std::vector<int64_t>{2, 1, 2, 3}));
  EXPECT_TRUE((*file)->find("four")->mapped);
  EXPECT_EQ((*file)->tensors()[0].name, "kind.F32");  // the file's order
}

TEST(Gguf, ReadsEveryMetadataType) {
  const auto file = OpenGguf(GoldenDir() / "kinds.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const GgufMetadata& m = (*file)->metadata();
  const auto value = [&](std::string_view key) {
    const Json* found = m.find(key);
    EXPECT_NE(found, nullptr) << key;
    return found != nullptr ? *found : Json();
  };
  EXPECT_EQ(value("general.alignment"), Json(64));
  EXPECT_EQ(value("t.u8"), Json(250));
  EXPECT_EQ(value("t.i8"), Json(-7));
  EXPECT_EQ(value("t.u16"), Json(65000));
  EXPECT_EQ(value("t.i16"), Json(-30000));
  EXPECT_EQ(value("t.u32"), Json(int64_t{4000000000}));
  EXPECT_EQ(value("t.i32"), Json(-2000000000));
  EXPECT_EQ(value("t.f32"), Json(double{0.1f}));
  EXPECT_EQ(value("t.f64"), Json(0.1));
  EXPECT_TRUE(value("t.bool").is_bool());
  EXPECT_EQ(value("t.bool"), Json(true));
  EXPECT_EQ(value("t.u64"), Json(INT64_MAX));
  EXPECT_TRUE(value("t.u64_large").is_double());
  EXPECT_EQ(value("t.u64_large"), Json(9223372036854775808.0));
  EXPECT_EQ(value("t.i64"), Json(-(int64_t{1} << 62)));
  EXPECT_EQ(value("t.string"), Json(std::string_view("a\0b \xc3\xa9", 6)));
  EXPECT_EQ(value("t.bytes"), Json("\xff\xfe"));
  EXPECT_EQ(value("t.strings"), Json(Json::Array{"x", "", "\xc3\xbc"}));
  EXPECT_EQ(value("t.floats"), Json(Json::Array{0.5, -2.0}));
  EXPECT_EQ(value("t.bools"), Json(Json::Array{true, false}));
  EXPECT_EQ(value("t.nested"), Json(Json::Array{Json::Array{1, 2}, Json::Array{3}}));
  EXPECT_EQ(m.find("t.none"), nullptr);
}

TEST(Gguf, ReadsVersionTwoAndNothingElse) {
  GgufBuilder b;
  b.Tensor("w", {2}, 0, 0);
  b.version = 2;
  EXPECT_TRUE(ParseGguf(Bytes(b.Build(8)), "f").ok());
  b.version = 1;
  ExpectHas(ErrorOf(b.Build(8)), "f: expected GGUF version 2 or 3, found 1");
  b.version = 4;
  ExpectHas(ErrorOf(b.Build(8)), "found 4");
  b.version = 0x03000000;
  ExpectHas(ErrorOf(b.Build(8)), "big-endian");
  b.magic = "GGML";
  ExpectHas(ErrorOf(b.Build(8)), "not a GGUF file: expected \"GGUF\", found \"GGML\"");
}

TEST(Gguf, HugeCountsFailAtOnce) {
  for (const uint64_t huge : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1000}}) {
    GgufBuilder tensors, values;
    tensors.tensor_count = huge;
    ExpectHas(ErrorOf(tensors.Build(64)), fmt::format("truncated: a list of {} tensors", huge));
    values.value_count = huge;
    ExpectHas(ErrorOf(values.Build(64)), fmt::format("truncated: a list of {} metadata values", huge));
    const std::string count = Raw(huge);
    ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kString, count).Build(64)), "metadata \"k\": truncated: a string");
    ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kArray, Raw(uint32_t{test::kU8}) + count).Build(64)),
              fmt::format("metadata \"k\": truncated: an array of {} u8", huge));
    ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kArray, Raw(uint32_t{test::kArray}) + count).Build(64)), "truncated: an array of");
  }
  // As many elements as the bytes allow, but more than any vocabulary has.
  const std::string many(9 << 20, '\0');
  ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kArray, Raw(uint32_t{test::kU8}) + Raw(uint64_t{many.size()}) + many).Build(0)),
            "expected at most 8388608 array elements");
}

TEST(Gguf, RefusesBrokenMetadata) {
  ExpectHas(ErrorOf(GgufBuilder().Value("k", 13, "xxxxxxxx").Build(0)), "metadata \"k\": unknown value type 13");
  ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kBool, "\x02").Build(0)), "expected a bool (0 or 1), found 2");
  ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kArray, Raw(uint32_t{13}) + Raw(uint64_t{0})).Build(0)),
            "unknown array element type 13");
  ExpectHas(ErrorOf(GgufBuilder().Number("k", 1).Number("k", 2).Build(0)), "metadata \"k\" appears twice");
  std::string nested;
  for (int i = 0; i < 9; ++i) nested += Raw(uint32_t{test::kArray}) + Raw(uint64_t{1});
  ExpectHas(ErrorOf(GgufBuilder().Value("k", test::kArray, nested + Raw(uint32_t{test::kU8}) + Raw(uint64_t{0})).Build(0)),
            "nested more than 8 deep");
  for (const uint32_t bad : {0u, 3u, 48u, 0x80000000u})
    ExpectHas(ErrorOf(GgufBuilder().Number("general.alignment", bad).Build(0)), "general.alignment: expected a power of two");
  ExpectHas(ErrorOf(GgufBuilder().String("general.alignment", "32").Build(0)), "general.alignment: expected a power of two");
}

TEST(Gguf, RefusesBrokenTensors) {
  const auto error = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, size_t data_bytes) {
    return ErrorOf(GgufBuilder().Tensor("w", dims, type, offset).Build(data_bytes));
  };
  ExpectHas(error({1, 1, 1, 1, 1}, 0, 0, 4), "f: tensor \"w\": expected at most 4 dimensions, found 5");
  ExpectHas(error({uint64_t{1} << 63}, 0, 0, 4), "dimension 0 is 9223372036854775808: too large");
  ExpectHas(error({uint64_t{1} << 62, 4}, 24, 0, 4), "shape [4, 4611686018427387904] overflows");
  ExpectHas(error({uint64_t{1} << 62}, 0, 0, 4), "overflows");
  ExpectHas(error({33}, 8, 0, 64), "expected rows of a multiple of 32 elements for Q8_0, found shape [33]");
  ExpectHas(error({16, 2}, 8, 0, 64), "expected rows of a multiple of 32");
  ExpectHas(error({}, 8, 0, 64), "expected rows of a multiple of 32");
  ExpectHas(error({32}, 12, 0, 256), "multiple of 256 elements for Q4_K");
  ExpectHas(error({2}, 10, 0, 64), "tensor \"w\": unsupported type Q2_K");
  ExpectHas(error({2}, 39, 0, 64), "unsupported type MXFP4");
  ExpectHas(error({2}, 4, 0, 64), "unknown tensor type 4");
  ExpectHas(error({2}, 0, 8, 64), "expected an offset that is a multiple of 32, found 8");
  ExpectHas(error({2}, 0, 0, 7), "expected 8 bytes at offset 0, found 7 bytes of data: the file is truncated");
  ExpectHas(error({2}, 0, 64, 40), "expected 8 bytes at offset 64, found 40");
  ExpectHas(error({2}, 0, ~uint64_t{31}, 64), "the file is truncated");
  ExpectHas(ErrorOf(GgufBuilder().Tensor("a", {16}, 0, 0).Tensor("b", {1}, 0, 32).Build(64)), "tensors \"a\" and \"b\" overlap");
  ExpectHas(ErrorOf(GgufBuilder().Tensor("a", {1}, 0, 0).Tensor("a", {1}, 0, 32).Build(64)), "f: tensor \"a\" appears twice");
}

TEST(Gguf, AcceptsScalarsEmptyTensorsAndGaps) {
  const auto bytes = Bytes(GgufBuilder().Tensor("s", {}, 0, 64).Tensor("e", {0, 3}, 0, 0).Build(68));
  const auto file = ParseGguf(bytes, "f");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ((*file)->find("s")->bytes, 4);
  EXPECT_EQ((*file)->find("s")->data, bytes.data() + bytes.size() - 4);
  EXPECT_EQ((*file)->find("e")->shape, (std::vector<int64_t>{3, 0}));
  EXPECT_TRUE(ParseGguf(Bytes(GgufBuilder().Build(0, 1)), "f").ok());  // ends with the header
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string whole = test::ReadAll(GoldenDir() / "llama.gguf");
  const auto file = ParseGguf(Bytes(whole), "f");
  ASSERT_TRUE(file.ok());
  // The last tensor may end before the padding after it does.
  const TensorRef& last = (*file)->tensors().back();
  const size_t end = static_cast<size_t>(last.data - (*file)->tensors()[0].data) + static_cast<size_t>(last.bytes);
  const size_t start = whole.size() - (end + 31) / 32 * 32;
  for (size_t n = 0; n < start + end; ++n) EXPECT_FALSE(ParseGguf(Bytes(whole.substr(0, n)), "f").ok()) << n;
  EXPECT_TRUE(ParseGguf(Bytes(whole.substr(0, start + end)), "f").ok());
}

TEST(GgufSplit, OpensAllPartsGivenTheFirst) {
  const auto file = OpenGguf(GoldenDir() / "split-00001-of-00003.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(test::Describe(**file), test::DescribeGolden({"split"}));
  EXPECT_EQ((*file)->tensors()[4].file, (GoldenDir() / "split-00003-of-00003.gguf").string());
  EXPECT_EQ(*(*file)->metadata().find("general.architecture"), Json("llama"));
}

std::string Part(uint16_t number, uint16_t count, const std::string& tensor, int32_t total = 2) {
  return GgufBuilder()
      .Value("split.no", test::kU16, Raw(number))
      .Value("split.count", test::kU16, Raw(count))
      .Value("split.tensors.count", test::kI32, Raw(total))
      .Tensor(tensor, {1}, 0, 0)
      .Build(4);
}

TEST(GgufSplit, Errors) {
  const auto message = [](const std::string& first_name, const std::string& first, const std::string& second) {
    const TempDir dir;
    const auto path = dir.Write(first_name, first);
    if (!second.empty()) dir.Write("m-00002-of-00002.gguf", second);
    const auto result = OpenGguf(path);
    return result.ok() ? std::string() : result.error().message;
  };
  const std::string name = "m-00001-of-00002.gguf";
  EXPECT_EQ(message(name, Part(0, 2, "a"), Part(1, 2, "b")), "");
  ExpectHas(message(name, Part(0, 2, "a"), ""), "parts are missing: ");
  ExpectHas(message(name, Part(0, 60000, "a"), ""), "the first of 60000 parts: expected a name that ends with -00001-of-60000.gguf");
  ExpectHas(message("other.gguf", Part(0, 2, "a"), Part(1, 2, "b")), "expected a name that ends with -00001-of-00002.gguf");
  ExpectHas(message("m-00003-of-00004.gguf", Part(2, 4, "a"), ""), "this is part 3 of 4; open the first part (...-00001-of-00004.gguf)");
  ExpectHas(message(name, Part(0, 2, "a"), Part(0, 2, "b")), "expected split.no 1 and split.count 2, found 0 and 2");
  ExpectHas(message(name, Part(0, 2, "a"), Part(1, 3, "b")), "found 1 and 3");
  ExpectHas(message(name, Part(0, 2, "a"), Part(1, 2, "a")), "tensor \"a\" is both in ");
  ExpectHas(message(name, Part(0, 2, "a", 3), Part(1, 2, "b")), "expected 3 tensors in all parts (split.tensors.count), found 2");
  ExpectHas(message(name, Part(0, 2, "a"), "GGUF"), "00002-of-00002.gguf: truncated: the version");
  ExpectHas(message("m.gguf", GgufBuilder().Number("split.count", 70000).Build(0), ""), "split.count: expected 1..65535, found 70000");
}

}  // namespace
}  // namespace sgl
