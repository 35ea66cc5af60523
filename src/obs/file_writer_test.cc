// SPDX-License-Identifier: Apache-2.0
#include "obs/file_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "obs/log.h"

namespace sgl {
namespace {

std::string Read(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("file_writer_test_" + std::to_string(getpid()));
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(FileWriter, AppendsInOrderAndMakesFolders) {
  Folder folder;
  FileWriter writer;
  for (int i = 0; i < 100; ++i) writer.Append(folder.path / "a/b.log", std::to_string(i) + "\n");
  writer.Flush();
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(Read(folder.path / "a/b.log"), expected);
  EXPECT_EQ(writer.dropped(), 0);
}

TEST(FileWriter, DestructionWritesTheRest) {
  Folder folder;
  {
    FileWriter writer;
    writer.Append(folder.path / "x", "last words\n");
  }
  EXPECT_EQ(Read(folder.path / "x"), "last words\n");
}

// /dev/full takes every open and no byte: a disk without space.
TEST(FileWriter, AFullDiskCostsLinesOnly) {
  SetLogLevel(LogLevel::kError);
  FileWriter writer;
  for (int i = 0; i < 10; ++i) writer.Append("/dev/full", std::string(100000, 'x'));
  writer.Flush();
  EXPECT_EQ(writer.dropped(), 10);
}

// A pipe without a reader lets nobody open it: a disk that does not answer.
TEST(FileWriter, ADiskThatDoesNotAnswerCostsNoTime) {
  SetLogLevel("critical");
  Folder folder;
  std::filesystem::create_directories(folder.path);
  const std::filesystem::path pipe = folder.path / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  {
    FileWriter writer(1000, std::chrono::milliseconds(20));
    for (int i = 0; i < 10; ++i) writer.Append(pipe, std::string(150, 'x'));
    EXPECT_GE(writer.dropped(), 3);
  }
  EXPECT_TRUE(std::filesystem::exists(pipe));  // and here we are
}

TEST(FileWriter, WhatWaitsIsBounded) {
  FileWriter writer(1000);
  writer.Append("/dev/null", std::string(1001, 'x'));
  EXPECT_EQ(writer.dropped(), 1);
}

}  // namespace
}  // namespace sgl
