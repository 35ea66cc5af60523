// SPDX-License-Identifier: Apache-2.0
#include "layers/packed_image.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <fstream>

#include "layers/loader.h"
#include "obs/log.h"

namespace sgl {
namespace {

class PackedCacheTest : public ::testing::Test {
 protected:
  PackedCacheTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sglang_packed_XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    WriteModel(1);
    SetLogLevel(LogLevel::kError);
  }
  ~PackedCacheTest() override { std::filesystem::remove_all(dir_); }

  // A safetensors file with two matrices of f32 that depend on `seed`, and a vector.
  void WriteModel(int seed) const {
    const std::string header = R"({"a.weight":{"dtype":"F32","shape":[40,64],"data_offsets":[0,10240]},)"
                               R"("b.weight":{"dtype":"F32","shape":[8,64],"data_offsets":[10240,12288]},)"
                               R"("n.weight":{"dtype":"F32","shape":[64],"data_offsets":[12288,12544]}})";
    std::ofstream file(dir_ / "model.safetensors", std::ios::binary);
    const uint64_t size = header.size();
    file.write(reinterpret_cast<const char*>(&size), 8);
    file << header;
    for (int i = 0; i < 12544 / 4; ++i) {
      const float value = static_cast<float>((i * 37 + seed * 1001) % 256) / 16;
      file.write(reinterpret_cast<const char*>(&value), 4);
    }
  }

  struct Loaded {
    Buffer memory;
    int64_t bytes = 0;
    std::vector<PackedMat> a, b;
    bool operator==(const Loaded& other) const {
      return bytes == other.bytes && std::memcmp(memory.data(), other.memory.data(), static_cast<size_t>(bytes)) == 0;
    }
  };
  // b_first: another order, as another version of the model's code might have.
  Loaded Load(bool cache, bool b_first = false, WeightPrecision precision = WeightPrecision::kF16) {
    ModelFiles files;
    files.path = dir_ / "model.safetensors";
    files.weights = std::move(*OpenSafetensors(files.path));
    auto made = WeightLoader::Create(
        files, pool_, {.precision = precision, .progress = {}, .packed_cache_dir = cache ? (dir_ / "cache").string() : std::string()});
    EXPECT_TRUE(made.ok());
    WeightLoader& loader = *made;
    Loaded loaded;
    if (b_first) loaded.b = *loader.Matrix({{.name = "b.weight", .n = 8}}, 64);
    loaded.a = *loader.Matrix({{.name = "a.weight", .n = 40}}, 64);
    if (!b_first) loaded.b = *loader.Matrix({{.name = "b.weight", .n = 8}}, 64);
    EXPECT_EQ(loader.Vector("n.weight", 64)->size(), 64u);
    EXPECT_TRUE(loader.CheckAllUsed().ok());
    loaded.bytes = loader.packed_bytes();
    loaded.memory = loader.TakeMemory();
    return loaded;
  }
  std::vector<std::filesystem::path> Images() const {
    std::vector<std::filesystem::path> out;
    if (std::filesystem::exists(dir_ / "cache"))
      for (const auto& entry : std::filesystem::directory_iterator(dir_ / "cache")) out.push_back(entry.path());
    return out;
  }
  // Overwrites one byte of the image, counted from its end.
  void Damage(int64_t from_end) const {
    std::fstream file(Images().front(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-from_end, std::ios::end);
    const char byte = static_cast<char>(file.peek() ^ 0x40);
    file.seekp(-from_end, std::ios::end);
    file.put(byte);
  }
  // The image is there before and after, and has changed, so a stale one was replaced.
  bool ReplacedBy(const std::function<void()>& load) const {
    const auto before = Contents(Images().front());
    load();
    EXPECT_EQ(Images().size(), 1u);
    return Contents(Images().front()) != before;
  }
  static std::string Contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path dir_;
  ThreadPool pool_{2};
};

TEST_F(PackedCacheTest, SecondLoadGivesTheSameBytesWithoutPacking) {
  const Loaded plain = Load(false);
  EXPECT_TRUE(Images().empty());
  EXPECT_TRUE(Load(true) == plain);
  ASSERT_EQ(Images().size(), 1u);
  EXPECT_FALSE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); }));
  // That it is really read: an image whose bytes and hashes were changed together shows up in memory.
  ModelFiles files;
  files.path = dir_ / "model.safetensors";
  files.weights = std::move(*OpenSafetensors(files.path));
  const auto id = IdentifyPackedImage(dir_ / "cache", files, "precision 2");
  ASSERT_TRUE(id.has_value());
  ASSERT_EQ(id->path, Images().front());
  Buffer memory = std::move(*Buffer::Allocate(1 << 20));
  auto image = ReadPackedImage(*id, memory, 1 << 20, pool_);
  ASSERT_TRUE(image.has_value());
  memory.data()[0] ^= std::byte{1};
  WritePackedImage(*id, *image, memory, pool_);
  EXPECT_FALSE(Load(true) == plain);
}

TEST_F(PackedCacheTest, ChangedFilesAreStale) {
  (void)Load(true);
  WriteModel(2);
  std::filesystem::last_write_time(dir_ / "model.safetensors", std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  const Loaded plain = Load(false);
  EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); }));
  // The time alone too: a file that was touched may have changed anywhere.
  std::filesystem::last_write_time(dir_ / "model.safetensors", std::filesystem::file_time_type::clock::now() + std::chrono::seconds(9));
  EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); }));
}

TEST_F(PackedCacheTest, DamageIsNoticedWhereverItIs) {
  const Loaded plain = Load(true);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(Images().front()));
  for (const int64_t at : {int64_t{1}, plain.bytes / 2, plain.bytes, size - 1, size - 9, size - 20, size - 30, size - 50}) {
    Damage(at);
    EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); })) << at;
  }
  std::filesystem::resize_file(Images().front(), static_cast<uintmax_t>(size / 2));
  EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); }));
  std::filesystem::resize_file(Images().front(), 0);
  EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true) == plain); }));
}

TEST_F(PackedCacheTest, AnotherOrderOfPackingUsesNothingWrong) {
  (void)Load(true);
  const Loaded plain = Load(false, true);
  EXPECT_TRUE(ReplacedBy([&] { EXPECT_TRUE(Load(true, true) == plain); }));
}

TEST_F(PackedCacheTest, OptionsHaveImagesOfTheirOwn) {
  (void)Load(true);
  (void)Load(true, false, WeightPrecision::kF32);
  EXPECT_EQ(Images().size(), 2u);
}

TEST_F(PackedCacheTest, ADirectoryThatCannotBeWrittenIsNoError) {
  std::ofstream(dir_ / "cache") << "a file";
  EXPECT_TRUE(Load(true) == Load(false));
}

}  // namespace
}  // namespace sgl
