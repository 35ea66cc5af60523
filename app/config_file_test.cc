// SPDX-License-Identifier: Apache-2.0
#include "app/config_file.h"

#include <gtest/gtest.h>

#include "app/app_test_util.h"

namespace sgl {
namespace {

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    options_("model-path", path_, "model", Aliases{{"model"}});
    options_("port", port_, "port");
    options_("names", names_, "names");
    options_("log-requests", log_, "log");
  }
  // The expanded arguments joined by spaces, or the error with the file's path replaced by FILE.
  std::string Expand(const std::string& yaml, const std::vector<std::string>& more = {}, const std::string& file = "c.yaml") {
    const std::string path = dir_.Write(file, yaml);
    std::vector<std::string> arguments = {"--config", path};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto expanded = ExpandConfigFile(arguments, options_);
    std::string text;
    if (expanded.ok())
      for (const std::string& argument : *expanded) text += (text.empty() ? "" : " ") + argument;
    else
      text = expanded.error().message;
    for (size_t at; (at = text.find(path)) != std::string::npos;) text.replace(at, path.size(), "FILE");
    return text;
  }

  TempDir dir_;
  std::string path_;
  uint16_t port_ = 0;
  std::vector<std::string> names_;
  bool log_ = false;
  Options options_{"prog"};
};

TEST_F(ConfigFile, ComesBeforeTheCommandLine) {
  EXPECT_EQ(Expand("model-path: m\nport: 31000\n", {"--port", "5"}), "--model-path=m --port=31000 --port 5");
}

TEST_F(ConfigFile, KeysWithDashesOrUnderscoresListsAndSwitches) {
  EXPECT_EQ(Expand("model_path: m\nlog_requests: true\nnames: [a, 'b', 3]\n"), "--model-path=m --log-requests --names a b 3");
  EXPECT_EQ(Expand("log-requests: false\nport: ~\nnames: []\n"), "");
  EXPECT_EQ(Expand("names: one\n", {}, "c.yml"), "--names=one");
  EXPECT_EQ(Expand("model-path: -x\n"), "--model-path=-x");
  EXPECT_EQ(Expand(""), "");
}

TEST_F(ConfigFile, ErrorsNameFileAndKey) {
  EXPECT_EQ(Expand("modle_path: m\n"), "FILE: Unsupported config option 'modle_path' (did you mean model-path?)");
  EXPECT_EQ(Expand("help: true\n"), "FILE: Unsupported config option 'help'");
  EXPECT_EQ(Expand("config: other.yaml\n"), "FILE: Unsupported config option 'config'");
  EXPECT_EQ(Expand("port: [1, 2]\n"), "FILE: option 'port': takes one value, not a list");
  EXPECT_EQ(Expand("port: {a: 1}\n"), "FILE: option 'port': expected a single value");
  EXPECT_EQ(Expand("log-requests: 7\n"), "FILE: option 'log-requests': expected true or false");
  EXPECT_EQ(Expand("- a\n"), "FILE: a config file must be a mapping of options to values");
  EXPECT_EQ(Expand("[a]: 1\n"), "FILE: a key is not a name");
  EXPECT_EQ(Expand("a: [1\n").substr(0, 12), "FILE: line 2");
  EXPECT_EQ(Expand("port: 1\n", {}, "c.json"), "FILE: a config file must end in .yaml or .yml");
}

TEST_F(ConfigFile, ErrorsOnTheCommandLine) {
  const auto error = [&](const std::vector<std::string>& arguments) {
    const auto expanded = ExpandConfigFile(arguments, options_);
    return expanded.ok() ? "" : expanded.error().message;
  };
  const std::string file = dir_.Write("a.yaml", "port: 1\n");
  EXPECT_EQ(error({"--config", file, "--config", file}), "Multiple config files specified! Only one allowed.");
  EXPECT_EQ(error({"--config"}), "argument --config: expected one argument");
  EXPECT_EQ(error({"--config", "--port"}), "argument --config: expected one argument");
  EXPECT_EQ(error({"--config=" + file}), "argument --config: write it as '--config FILE'");
  EXPECT_EQ(error({"--config", "/nonexistent.yaml"}), "cannot read /nonexistent.yaml");
  EXPECT_EQ(error({"--port", "1"}), "");
}

}  // namespace
}  // namespace sgl
