// SPDX-License-Identifier: Apache-2.0
#include "weights/file_fault.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "weights/mapped_file.h"

namespace sgl {
namespace {

// Sums every byte; the compiler must not know them.
unsigned Sum(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const volatile std::byte& b : bytes) sum += static_cast<unsigned>(b);
  return sum;
}

TEST(FileFault, AFileThatShrinksReadsAsZerosAndIsReported) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("sglang_file_fault_" + std::to_string(getpid()));
  std::ofstream(file, std::ios::binary) << std::string(65536, '\x01');
  {
    Result<MappedFile> mapped = MappedFile::Open(file);
    ASSERT_TRUE(mapped.ok());
    {
      FileFaultGuard guard;
      EXPECT_EQ(Sum(mapped->bytes()), 65536u);
      EXPECT_FALSE(guard.happened());
      std::filesystem::resize_file(file, 10);
      EXPECT_LE(Sum(mapped->bytes()), 4096u);
      EXPECT_TRUE(guard.happened());
    }
    FileFaultGuard again;
    EXPECT_FALSE(again.happened());
  }
  std::filesystem::remove(file);
}

TEST(FileFaultDeathTest, WithoutAGuardItStillEndsTheProcess) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("sglang_file_fault_death_" + std::to_string(getpid()));
  std::ofstream(file, std::ios::binary) << std::string(65536, '\x01');
  { const FileFaultGuard installs_the_handler; }
  Result<MappedFile> mapped = MappedFile::Open(file);
  ASSERT_TRUE(mapped.ok());
  std::filesystem::resize_file(file, 10);
  EXPECT_DEATH((void)Sum(mapped->bytes()), "");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace sgl
