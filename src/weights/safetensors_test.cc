// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "weights/mapped_file.h"
#include "weights/test_kit.h"

namespace sgl {
namespace {

using test::Bytes;
using test::GoldenDir;
using test::Raw;
using test::Safetensors;
using test::SafetensorsOf;
using test::TempDir;

// The message of the error, or "" and a failure.
std::string ErrorOf(std::string_view file) {
  const auto result = ParseSafetensors(Bytes(file), "f");
  EXPECT_FALSE(result.ok()) << "accepted";
  return result.ok() ? "" : result.error().message;
}
std::string HeaderError(std::string_view header, size_t data_bytes) { return ErrorOf(Safetensors(header, data_bytes)); }

void ExpectHas(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nexpected: " << part;
}

TEST(Safetensors, ReadsWhatTheReferenceWrote) {
  const auto file = OpenSafetensors(GoldenDir() / "single.safetensors");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(test::Describe(**file), test::DescribeGolden({"single.safetensors"}));
  const TensorRef* scalar = (*file)->find("scalar");
  ASSERT_NE(scalar, nullptr);
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(scalar->bytes, 4);
  EXPECT_TRUE(scalar->mapped);
  EXPECT_EQ(scalar->file, (GoldenDir() / "single.safetensors").string());
  EXPECT_EQ((*file)->find("empty")->bytes, 0);
  EXPECT_EQ((*file)->find("missing"), nullptr);
  EXPECT_EQ((*file)->find("scala"), nullptr);
}

TEST(Safetensors, AcceptsNoTensorsAndPadding) {
  const auto none = OpenSafetensors(GoldenDir() / "no_tensors.safetensors");
  ASSERT_TRUE(none.ok()) << none.error().message;
  EXPECT_TRUE((*none)->tensors().empty());
  EXPECT_TRUE(ParseSafetensors(Bytes(Safetensors(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}     )", 2)), "f").ok());
  EXPECT_TRUE(ParseSafetensors(Bytes(Safetensors(R"({"__metadata__":null})", 0)), "f").ok());
}

TEST(Safetensors, KeepsTheOrderOfTheHeader) {
  const auto bytes = Bytes(SafetensorsOf({"z", "a", "m"}));
  const auto file = ParseSafetensors(bytes, "f");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ((*file)->tensors().size(), 3u);
  EXPECT_EQ((*file)->tensors()[0].name, "z");
  EXPECT_EQ((*file)->tensors()[1].name, "a");
  EXPECT_EQ((*file)->find("m")->data, bytes.data() + bytes.size() - 1);
  EXPECT_FALSE((*file)->find("m")->mapped);
}

TEST(Safetensors, RefusesBrokenFraming) {
  ExpectHas(ErrorOf(""), "f: truncated: expected at least 8 bytes, found 0");
  ExpectHas(ErrorOf("1234567"), "found 7");
  ExpectHas(ErrorOf(Raw(uint64_t{1} << 60) + "{}"), "expected a header of at most 100000000 bytes, found length 1152921504606846976");
  ExpectHas(ErrorOf(Raw(~uint64_t{0}) + "{}"), "expected a header of at most");
  ExpectHas(ErrorOf(Raw(uint64_t{3}) + "{}"), "truncated: expected a header of 3 bytes, found 2");
  ExpectHas(ErrorOf(Raw(uint64_t{0})), "starts with '{'");
  ExpectHas(HeaderError(" {}", 0), "starts with '{'");
  ExpectHas(HeaderError("[1]", 0), "starts with '{'");
  ExpectHas(HeaderError("{\"a\":", 0), "header: line 1");
  ExpectHas(HeaderError("{}{}", 0), "header: ");
}

TEST(Safetensors, RefusesBrokenEntries) {
  const auto entry = [](std::string_view text, size_t data_bytes) { return HeaderError("{\"w\":" + std::string(text) + "}", data_bytes); };
  ExpectHas(entry("[]", 0), "f: tensor \"w\": expected an object, found []");
  ExpectHas(entry(R"({"shape":[1],"data_offsets":[0,1]})", 1), "dtype: expected a string, found null");
  ExpectHas(entry(R"({"dtype":"U8","data_offsets":[0,1]})", 1), "shape: expected a list of sizes, found null");
  ExpectHas(entry(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})", 1), "shape: expected a list of sizes, found [-1]");
  ExpectHas(entry(R"({"dtype":"U8","shape":[1.0],"data_offsets":[0,1]})", 1), "shape: ");
  ExpectHas(entry(R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]})", 1), "shape: ");
  ExpectHas(entry(R"({"dtype":"U8","shape":[1]})", 1), "data_offsets: expected [begin, end]");
  ExpectHas(entry(R"({"dtype":"U8","shape":[1],"data_offsets":[0]})", 1), "data_offsets: ");
  ExpectHas(entry(R"({"dtype":"U8","shape":[1],"data_offsets":[1,0]})", 1), "begin <= end, found [1,0]");
  ExpectHas(entry(R"({"dtype":"U8","shape":[1],"data_offsets":[-1,0]})", 1), "data_offsets: ");
  ExpectHas(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4), "expected 8 bytes for F32 [2], found data_offsets [0, 4]");
  ExpectHas(entry(R"({"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0]})", 0), "overflows");
  ExpectHas(entry(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})", 0), "overflows");
  ExpectHas(HeaderError(R"({"__metadata__":[]})", 0), "__metadata__: expected an object, found array");
  ExpectHas(HeaderError(R"({"__metadata__":{"a":1}})", 0), "__metadata__: \"a\": expected a string, found 1");
}

TEST(Safetensors, NamesTheTypeItLacks) {
  const auto file = OpenSafetensors(GoldenDir() / "unsupported_dtype.safetensors");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, Code::kUnimplemented);
  ExpectHas(file.error().message, "tensor \"w\": unsupported dtype \"F8_E4M3\"");
  for (const char* name : {"float32", "Q8_0", "f32", ""}) {
    ExpectHas(HeaderError(std::string(R"({"w":{"dtype":")") + name + R"(","shape":[0],"data_offsets":[0,0]}})", 0), "unsupported dtype");
  }
}

TEST(Safetensors, RefusesRangesThatDoNotTile) {
  const auto two = [](std::string_view a, std::string_view b, size_t data_bytes) {
    return HeaderError(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + std::string(a) +
                           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + std::string(b) + "}}",
                       data_bytes);
  };
  ExpectHas(two("[0,2]", "[1,3]", 3), "tensor \"b\": expected its data at offset 2, found 1 (overlaps");
  ExpectHas(two("[0,2]", "[0,2]", 2), "overlaps");
  ExpectHas(two("[0,2]", "[3,5]", 5), "tensor \"b\": expected its data at offset 2, found 3 (leaves a hole)");
  ExpectHas(two("[3,5]", "[1,3]", 5), "tensor \"b\": expected its data at offset 0, found 1 (leaves a hole)");
  ExpectHas(two("[0,2]", "[2,4]", 3), "tensor \"b\": expected data up to offset 4, found 3 bytes of data: the file is truncated");
  ExpectHas(two("[0,2]", "[2,4]", 5), "expected 4 bytes of data by the header, found 5");
  ExpectHas(HeaderError(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})", 2),
            "overlaps");
  ExpectHas(HeaderError("{}", 1), "expected 0 bytes of data");
}

TEST(Safetensors, RefusesDuplicateNames) {
  const std::string entry = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  ExpectHas(HeaderError("{\"a\":" + entry + ",\"a\":" + entry + "}", 0), "expected 2 different names, found 1: \"a\" appears twice");
  ExpectHas(HeaderError("{\"a\":" + entry + ",\"\\u0061\":" + entry + "}", 0), "expected 2 different names, found 1");
  // Names with the characters that the scan for keys looks at.
  const auto file = ParseSafetensors(Bytes(Safetensors(R"({"a\"":)" + entry + R"(,"a\\":)" + entry + R"(,":{":)" + entry + "}", 0)), "f");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_NE((*file)->find("a\\"), nullptr);
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string whole = test::ReadAll(GoldenDir() / "single.safetensors");
  ASSERT_TRUE(ParseSafetensors(Bytes(whole), "f").ok());
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(ParseSafetensors(Bytes(whole.substr(0, n)), "f").ok()) << n;
}

TEST(MappedFiles, ErrorsSayWhatIsThere) {
  const TempDir dir;
  const auto missing = OpenSafetensors(dir.path() / "none");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  ExpectHas(OpenSafetensors(dir.Write("empty", "")).error().message, "the file is empty");
  ExpectHas(OpenSafetensors(dir.path()).error().message, "not a regular file");
  ASSERT_EQ(mkfifo((dir.path() / "fifo").c_str(), 0600), 0);
  ExpectHas(OpenSafetensors(dir.path() / "fifo").error().message, "not a regular file");  // and does not wait for a writer
  const auto large = ReadText(dir.Write("text", "12345"), 4);
  ASSERT_FALSE(large.ok());
  ExpectHas(large.error().message, "expected at most 4 bytes, found 5");
  EXPECT_EQ(*ReadText(dir.path() / "text", 5), "12345");
}

TEST(MappedFiles, HintsKeepTheData) {
  const TempDir dir;
  std::string header =
      R"({"a":{"dtype":"U8","shape":[100000],"data_offsets":[0,100000]},"e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
  const std::string text = Safetensors(header, 100000);
  const auto file = OpenSafetensors(dir.Write("f", text));
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto in_memory = Bytes(text);
  const auto parsed = ParseSafetensors(in_memory, "f");
  for (const WeightFile* weights : {file->get(), parsed->get()}) {
    const std::string before = test::Describe(*weights);
    for (const TensorRef& t : weights->tensors()) {
      Prefetch(t);
      DropPages(t);  // on memory that is not a mapping it would zero the pages
    }
    EXPECT_EQ(test::Describe(*weights), before);
  }
}

TEST(SafetensorsDir, TakesWhatTheIndexLists) {
  const auto dir = OpenSafetensorsDir(GoldenDir() / "sharded");
  ASSERT_TRUE(dir.ok()) << dir.error().message;
  EXPECT_EQ(test::Describe(**dir),
            test::DescribeGolden({"sharded/model-00001-of-00002.safetensors", "sharded/model-00002-of-00002.safetensors"}));
  EXPECT_EQ((*dir)->find("output.weight"), nullptr);  // only in consolidated.safetensors, which the index does not list
}

TEST(SafetensorsDir, IndexErrors) {
  const auto message = [](std::string_view index) {
    const TempDir dir;
    dir.Write("a.safetensors", SafetensorsOf({"x"}));
    dir.Write("model.safetensors.index.json", index);
    const auto result = OpenSafetensorsDir(dir.path());
    return result.ok() ? std::string() : result.error().message;
  };
  EXPECT_EQ(message(R"({"weight_map":{"x":"a.safetensors"}})"), "");
  ExpectHas(message("{"), "index.json: line 1");
  ExpectHas(message("[]"), "weight_map: expected an object, found null");
  ExpectHas(message(R"({"weight_map":{}})"), "weight_map is empty");
  ExpectHas(message(R"({"weight_map":{"x":1}})"), "\"x\": expected a file name, found integer");
  for (const char* name : {"../a.safetensors", "/etc/passwd", "..", ".", "", "a\\u0000b"})
    ExpectHas(message(std::string(R"({"weight_map":{"x":")") + name + "\"}}"), "expected a plain file name");
  ExpectHas(message(R"({"weight_map":{"p":"1","q":"2","r":"3","s":"4","t":"5"}})"), "lists files that are missing: 1, 2, 3 and 2 more");
  ExpectHas(message(R"({"weight_map":{"x":"a.safetensors","y":"a.safetensors"}})"),
            "tensors that their files lack: \"y\" (in a.safetensors)");
}

TEST(SafetensorsDir, TheIndexChoosesBetweenFiles) {
  const TempDir dir;
  dir.Write("a.safetensors", SafetensorsOf({"x", "y"}));
  dir.Write("b.safetensors", SafetensorsOf({"z", "x"}));
  dir.Write("model.safetensors.index.json", R"({"weight_map":{"x":"b.safetensors","y":"a.safetensors","z":"b.safetensors"}})");
  const auto result = OpenSafetensorsDir(dir.path());
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ((*result)->find("x")->file, (dir.path() / "b.safetensors").string());
  EXPECT_EQ((*result)->tensors().size(), 3u);
  // Without an index nobody chooses.
  std::filesystem::remove(dir.path() / "model.safetensors.index.json");
  const auto twice = OpenSafetensorsDir(dir.path());
  ASSERT_FALSE(twice.ok());
  ExpectHas(twice.error().message, "tensor \"x\" is both in ");
}

TEST(SafetensorsDir, WithoutIndex) {
  const TempDir dir;
  EXPECT_EQ(OpenSafetensorsDir(dir.path()).error().code, Code::kNotFound);
  ExpectHas(OpenSafetensorsDir(dir.path()).error().message, "cannot find any model weights");
  ExpectHas(OpenSafetensorsDir(dir.path() / "none").error().message, "cannot list");
  dir.Write("training_args.bin", "x");
  dir.Write("optimizer.pt", "x");
  EXPECT_EQ(OpenSafetensorsDir(dir.path()).error().code, Code::kNotFound);
  dir.Write("pytorch_model.bin", "x");
  EXPECT_EQ(OpenSafetensorsDir(dir.path()).error().code, Code::kUnimplemented);
  ExpectHas(OpenSafetensorsDir(dir.path()).error().message, "pytorch_model.bin");
  ExpectHas(OpenSafetensorsDir(dir.path()).error().message, "convert them to safetensors");
  dir.Write("model.safetensors", SafetensorsOf({"x"}));
  dir.Write("consolidated.safetensors", SafetensorsOf({"x", "w"}));
  const auto model_only = OpenSafetensorsDir(dir.path());
  ASSERT_TRUE(model_only.ok()) << model_only.error().message;
  EXPECT_EQ((*model_only)->tensors().size(), 1u);
  std::filesystem::remove(dir.path() / "consolidated.safetensors");
  dir.Write("extra.safetensors", SafetensorsOf({"e"}));
  const auto all = OpenSafetensorsDir(dir.path());
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_EQ((*all)->tensors().size(), 2u);
  EXPECT_EQ((*all)->tensors()[0].name, "e");  // files by name
}

}  // namespace
}  // namespace sgl
