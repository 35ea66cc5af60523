// SPDX-License-Identifier: Apache-2.0
#include "obs/crash_report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace sgl {
namespace {

[[noreturn]] void Crash(const std::string& folder) {
  if (!InstallCrashReport(folder).ok()) _exit(3);
  for (int i = 0; i < 150; ++i) NoteRequest("old-" + std::to_string(i), i, 5);  // only the last hundred count
  NoteEnd(NoteRequest("done", 1700000000000, 12), 7, "length");
  NoteRequest("alive\n\x01" + std::string(100, 'x'), 1700000000001, 13);
  std::abort();
}

TEST(CrashReport, HasTheStackAndTheLastRequests) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("crash_test_" + std::to_string(getpid()));
  EXPECT_EXIT(Crash(folder.string()), testing::KilledBySignal(SIGABRT), "crash report: signal 6");
  ASSERT_FALSE(std::filesystem::is_empty(folder));
  std::ifstream in(std::filesystem::directory_iterator(folder)->path());
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  std::filesystem::remove_all(folder);
  EXPECT_NE(text.find("\n  alive??xxx"), std::string::npos) << text;
  EXPECT_NE(text.find(" 1700000000001 13 0 (living)\n  done 1700000000000 12 7 length\n  old-149 "), std::string::npos) << text;
  EXPECT_NE(text.find("old-52 "), std::string::npos);
  EXPECT_EQ(text.find("old-51 "), std::string::npos);
  EXPECT_GT(text.find("last requests"), text.find("stack"));
}

TEST(CrashReport, LateNotesAboutForgottenRequestsAreDropped) {
  const CrashNote old = NoteRequest("old", 1, 1);
  for (int i = 0; i < 100; ++i) NoteRequest("new", 1, 1);
  NoteEnd(old, 9, "stop");
  NoteEnd({}, 9, "stop");
}

TEST(CrashReport, AFolderThatCannotBeIsAnError) { EXPECT_FALSE(InstallCrashReport("/proc/no/such").ok()); }

}  // namespace
}  // namespace sgl
