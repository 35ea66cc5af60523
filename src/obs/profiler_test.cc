// SPDX-License-Identifier: Apache-2.0
#include "obs/profiler.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>

#include "obs/log.h"

namespace sgl {
namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("profiler_test_" + std::to_string(getpid()));
  Folder() { SetLogLevel(LogLevel::kError); }
  ~Folder() { std::filesystem::remove_all(path); }
  Json only() const {  // the one file, as JSON
    std::ifstream in(std::filesystem::directory_iterator(path)->path());
    Result<Json> json = ParseJson(std::string((std::istreambuf_iterator<char>(in)), {}));
    return json.ok() ? *std::move(json) : Json();
  }
};

TimePoint At(int64_t microseconds) { return SteadyClock().Now() + std::chrono::microseconds(microseconds); }

TEST(Profiler, WritesAChromeTrace) {
  Folder folder;
  Profiler profiler;
  profiler.Event("before", "engine", At(0), At(1));
  ASSERT_TRUE(profiler.Start({folder.path.string(), "mine", 0, 0}).ok());
  EXPECT_FALSE(profiler.Start({folder.path.string(), "", 0, 0}).ok());
  profiler.Event("decode", "engine", At(10), At(30), Json().Set("tokens", 3));
  profiler.Overlapping("waiting", "queue", At(0), At(5));
  const Result<std::string> path = profiler.Stop();
  ASSERT_TRUE(path.ok());
  EXPECT_NE(path->find("/mine-"), std::string::npos);
  EXPECT_FALSE(profiler.Stop().ok());
  const Json::Array events = folder.only()["traceEvents"].as_array();
  ASSERT_EQ(events.size(), 5U);  // two tracks, an event, the two ends of another
  EXPECT_EQ(events[0]["args"]["name"], Json("engine"));
  EXPECT_EQ(events[1]["name"], Json("decode"));
  EXPECT_EQ(events[1]["ph"], Json("X"));
  EXPECT_EQ(events[1]["args"]["tokens"], Json(3));
  EXPECT_NEAR(events[1]["dur"].as_double(), 20, 15);
  EXPECT_EQ(events[1]["tid"], events[0]["tid"]);
  EXPECT_NE(events[3]["tid"], events[1]["tid"]);
  EXPECT_EQ(events[3]["id"], events[4]["id"]);
}

TEST(Profiler, OfSomeStepsEndsByItself) {
  Folder folder;
  Profiler profiler;
  ASSERT_TRUE(profiler.Start({folder.path.string(), "", 2, 3}).ok());
  for (int step = 0; step < 10; ++step) {
    profiler.Event("step " + std::to_string(step), "engine", At(0), At(1));
    profiler.StepDone();
  }
  EXPECT_FALSE(profiler.active());
  EXPECT_FALSE(profiler.Stop().ok());
  ASSERT_TRUE(profiler.Start({(folder.path / "again").string(), "", 0, 0}).ok());
  ASSERT_TRUE(profiler.Stop().ok());  // the writer keeps the order: the first file is there, too
  std::filesystem::remove_all(folder.path / "again");
  const Json::Array events = folder.only()["traceEvents"].as_array();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[1]["name"], Json("step 3"));
  EXPECT_EQ(events[2]["name"], Json("step 4"));
}

TEST(Profiler, AFolderThatCannotBeIsAnError) {
  Profiler profiler;
  EXPECT_FALSE(profiler.Start({"/proc/no/such", "", 0, 0}).ok());
  EXPECT_FALSE(profiler.active());
}

}  // namespace
}  // namespace sgl
