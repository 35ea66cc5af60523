// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"

#include <gtest/gtest.h>

#include <limits>

namespace sgl {
namespace {

struct Everything {
  bool flag = false;
  int count = 3;
  int64_t tokens = 0;
  uint16_t port = 30000;
  double ratio = 0.5;
  std::string path;
  std::optional<int64_t> seed;
  std::optional<double> fraction;
  std::optional<std::string> note;
  std::vector<std::string> names;
  std::vector<int64_t> sizes = {1, 2};
  std::chrono::milliseconds timeout{1500};
  Json extra;
  std::string key;
  std::string mode = "auto";
  std::vector<std::string> rest;

  void Visit(Options& field) {
    field.Group("First");
    field("model-path", path, "which model", Aliases{{"model"}});
    field("flag", flag, "a switch");
    field("count", count, "how many", Range{1, 10});
    field("max-total-tokens", tokens, "tokens", OptionTrait::kHumanInt, OptionTrait::kZeroIsUnset);
    field("port", port, "TCP port");
    field.Group("Second");
    field("ratio", ratio, "a share", Range{0, 1, true});
    field("scale", scale, "a factor", Range{0, std::numeric_limits<double>::infinity()});
    field("random-seed", seed, "seed");
    field("fraction", fraction, "part");
    field("note", note, "text");
    field("names", names, "several");
    field("sizes", sizes, "several numbers");
    field("timeout", timeout, "seconds");
    field("extra-args", extra, "JSON object");
    field("api-key", key, "secret", OptionTrait::kSecret, OptionTrait::kZeroIsUnset);
    field("mode", mode, "one of some", Choices{{"auto", "slow"}}, Deprecated{{"old-mode"}}, Dest{"the_mode"});
    field("internal-thing", hidden, "not for users", OptionTrait::kHidden);
    static constexpr ForeignFlag kForeign[] = {
        {"cuda-graph-bs", ForeignFlag::Kind::kNoEffect, ForeignFlag::Arity::kMany, "", "GPU only"},
        {"disable-cuda-graph", ForeignFlag::Kind::kNoEffect, ForeignFlag::Arity::kNone, "", "GPU only"},
        {"tensor-parallel-size|tp-size|tp", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kOne, "1", "one rank", "tp_size", "1"},
        {"enable-lora", ForeignFlag::Kind::kNotBuilt, ForeignFlag::Arity::kNone, "", "no adapters"},
    };
    field.Foreign(kForeign);
  }
  double scale = 1;
  bool hidden = false;
};

struct Parsed {
  Everything config;
  Options options{"prog", "Does things."};
  std::string error;
  explicit Parsed(const std::vector<std::string>& args, bool positional = false) {
    config.Visit(options);
    if (positional) options.Positional("text", config.rest, "what to say");
    if (Status status = options.Parse(args); !status.ok()) error = status.error().message;
  }
};

std::string ErrorOf(const std::vector<std::string>& args) { return Parsed(args).error; }

TEST(HumanInt, SuffixesAreCaseSensitive) {
  const auto value = [](std::string_view text) { return *ParseHumanInt(text); };
  EXPECT_EQ(value("123"), 123);
  EXPECT_EQ(value("-1"), -1);
  EXPECT_EQ(value("8k"), 8000);
  EXPECT_EQ(value("1.5M"), 1500000);
  EXPECT_EQ(value("0.1k"), 100);
  EXPECT_EQ(value("2G"), 2000000000);
  EXPECT_EQ(value("1T"), 1000000000000);
  EXPECT_EQ(value("4Ki"), 4096);
  EXPECT_EQ(value("1Mi"), 1048576);
  EXPECT_EQ(value("1Gi"), 1073741824);
  EXPECT_EQ(value("1Ti"), 1099511627776);
  for (const char* bad : {"", "k", "8K", "8m", "1.5Ki", "1.5", "1e3k", "infk", "8 k", "0x8k", "1.2.3k"})
    EXPECT_EQ(ParseHumanInt(bad).error().message, "invalid integer '" + std::string(bad) + "' (digits, with k M G T or Ki Mi Gi Ti)")
        << bad;
  EXPECT_EQ(ParseHumanInt("99999999T").error().message, "integer '99999999T' is too large");
}

TEST(Options, EveryTypeIsSet) {
  Parsed p({"--flag",
            "--count",
            "7",
            "--max-total-tokens=8k",
            "--port",
            "0",
            "--ratio",
            "0.25",
            "--model-path",
            "m",
            "--random-seed",
            "-5",
            "--fraction",
            ".5",
            "--note=",
            "--names",
            "a",
            "b",
            "--sizes",
            "16",
            "32",
            "--timeout",
            "0.25",
            "--extra-args",
            "{\"a\":1}"});
  ASSERT_EQ(p.error, "");
  const Everything& c = p.config;
  EXPECT_TRUE(c.flag);
  EXPECT_EQ(c.count, 7);
  EXPECT_EQ(c.tokens, 8000);
  EXPECT_EQ(c.port, 0);
  EXPECT_EQ(c.ratio, 0.25);
  EXPECT_EQ(c.path, "m");
  EXPECT_EQ(c.seed, -5);
  EXPECT_EQ(c.fraction, 0.5);
  EXPECT_EQ(c.note, "");
  EXPECT_EQ(c.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(c.sizes, (std::vector<int64_t>{16, 32}));
  EXPECT_EQ(c.timeout.count(), 250);
  EXPECT_EQ(DumpJson(c.extra), "{\"a\":1}");
  EXPECT_TRUE(p.options.was_given("count"));
  EXPECT_FALSE(p.options.was_given("mode"));
}

TEST(Options, LastOneWins) {
  Parsed p({"--count", "2", "--names", "a", "b", "--count=4", "--names", "c"});
  EXPECT_EQ(p.config.count, 4);
  EXPECT_EQ(p.config.names, std::vector<std::string>{"c"});
}

TEST(Options, AliasesAndPrefixes) {
  EXPECT_EQ(Parsed({"--model", "x"}).config.path, "x");
  EXPECT_EQ(Parsed({"--mod", "auto"}).error, "ambiguous option: --mod could match --model-path, --mode");
  EXPECT_EQ(Parsed({"--model-p=y"}).config.path, "y");
  EXPECT_EQ(Parsed({"--max-total-token", "9"}).config.tokens, 9);
  EXPECT_EQ(Parsed({"--mode", "slow"}).config.mode, "slow");
  EXPECT_EQ(ErrorOf({"--n", "x"}), "ambiguous option: --n could match --note, --names");
  EXPECT_EQ(ErrorOf({"--t", "1"}), "ambiguous option: --t could match --timeout, --tensor-parallel-size");
  EXPECT_EQ(ErrorOf({"--inter"}), "unrecognized arguments: --inter");  // hidden flags have no prefixes
  EXPECT_TRUE(Parsed({"--internal-thing"}).config.hidden);
}

TEST(Options, UnknownFlagsNameTheNearest) {
  EXPECT_EQ(ErrorOf({"--modle-path", "x"}), "unrecognized arguments: --modle-path (did you mean --model-path?)");
  EXPECT_EQ(ErrorOf({"--qqqqqqqqqq=1"}), "unrecognized arguments: --qqqqqqqqqq");
  EXPECT_EQ(ErrorOf({"stray"}), "unrecognized arguments: stray");
  EXPECT_EQ(ErrorOf({"-x"}), "unrecognized arguments: -x");
  EXPECT_EQ(ErrorOf({"--=5"}), "unrecognized arguments: --");
}

TEST(Options, MissingAndSuperfluousValues) {
  EXPECT_EQ(ErrorOf({"--port"}), "argument --port: expected one argument");
  EXPECT_EQ(ErrorOf({"--port", "--flag"}), "argument --port: expected one argument");
  EXPECT_EQ(ErrorOf({"--names", "--flag"}), "argument --names: expected at least one argument");
  EXPECT_EQ(ErrorOf({"--flag=true"}), "argument --flag: ignored explicit argument 'true'");
  EXPECT_EQ(ErrorOf({"--port", "1", "2"}), "unrecognized arguments: 2");
}

TEST(Options, BadValuesSayWhatIsExpected) {
  EXPECT_EQ(ErrorOf({"--port", "abc"}), "argument --port: invalid int value: 'abc'");
  EXPECT_EQ(ErrorOf({"--port", "70000"}), "argument --port: 70000 is not in 0..65535");
  EXPECT_EQ(ErrorOf({"--count", "11"}), "argument --count: 11 is not in 1..10");
  EXPECT_EQ(ErrorOf({"--ratio", "1"}), "argument --ratio: 1 is not between 0 and 1");
  EXPECT_EQ(ErrorOf({"--ratio", "nan"}), "argument --ratio: invalid float value: 'nan'");
  EXPECT_EQ(ErrorOf({"--scale", "-0.5"}), "argument --scale: -0.5 is not >= 0");
  EXPECT_EQ(ErrorOf({"--mode", "fast"}), "argument --mode: invalid choice: 'fast' (choose from auto, slow)");
  EXPECT_EQ(ErrorOf({"--max-total-tokens", "8K"}),
            "argument --max-total-tokens: invalid integer '8K' (digits, with k M G T or Ki Mi Gi Ti)");
  EXPECT_EQ(ErrorOf({"--extra-args", "[1]"}), "argument --extra-args: expected a JSON object, got array");
  EXPECT_EQ(ErrorOf({"--extra-args", "{"}).substr(0, 30), "argument --extra-args: line 1,");
  EXPECT_EQ(ErrorOf({"--sizes", "1", "b"}), "argument --sizes: invalid int value: 'b'");
  EXPECT_EQ(ErrorOf({"--timeout", "1e15"}), "argument --timeout: 1e15 seconds is too long");
  EXPECT_EQ(ErrorOf({"--random-seed", "99999999999999999999"}), "argument --random-seed: invalid int value: '99999999999999999999'");
}

TEST(Options, DashesInValues) {
  EXPECT_EQ(Parsed({"--note", "-"}).config.note, "-");
  EXPECT_EQ(Parsed({"--note", "-1.5"}).config.note, "-1.5");
  EXPECT_EQ(Parsed({"--note", "- a dash and more"}).config.note, "- a dash and more");
  EXPECT_EQ(Parsed({"--note=--flag"}).config.note, "--flag");
  EXPECT_EQ(ErrorOf({"--note", "--a=b c"}), "argument --note: expected one argument");
}

TEST(Options, DeprecatedAndForeignFlagsWarnOnce) {
  Parsed p({"--old-mode", "slow", "--disable-cuda-graph", "--cuda-graph-bs", "1", "2", "--disable-cuda-graph"});
  ASSERT_EQ(p.error, "");
  EXPECT_EQ(p.config.mode, "slow");
  EXPECT_EQ(p.options.warnings(),
            (std::vector<std::string>{"--old-mode is deprecated, use --mode", "--disable-cuda-graph is ignored: GPU only",
                                      "--cuda-graph-bs is ignored: GPU only"}));
}

TEST(Options, WhatIsNotBuiltFailsUnlessHarmless) {
  for (const char* name : {"--tensor-parallel-size", "--tp-size", "--tp", "--tensor"}) EXPECT_EQ(ErrorOf({name, "1"}), "") << name;
  EXPECT_EQ(ErrorOf({"--tp", "2"}), "argument --tp: '2' is not available in this build: one rank");
  EXPECT_EQ(ErrorOf({"--enable-lora"}), "argument --enable-lora: not available in this build: no adapters");
}

TEST(Options, PositionalsAndDoubleDash) {
  Parsed p({"one", "--flag", "two", "--", "--three"}, true);
  EXPECT_EQ(p.error, "");
  EXPECT_TRUE(p.config.flag);
  EXPECT_EQ(p.config.rest, (std::vector<std::string>{"one", "two", "--three"}));
}

TEST(Options, HelpStopsParsing) {
  for (const char* flag : {"-h", "--help"}) {
    Parsed p({"--flag", flag, "--nonsense"});
    EXPECT_EQ(p.error, "");
    EXPECT_TRUE(p.options.help_requested());
  }
}

TEST(Options, DumpHasEveryNameAndMasksSecrets) {
  Parsed p({"--api-key", "hunter2"});
  const Json dump = p.options.Dump();
  EXPECT_EQ(dump["api_key"].as_string(), "******");
  EXPECT_TRUE(Parsed({}).options.Dump().find("api_key")->is_null());
  EXPECT_TRUE(dump.find("max_total_tokens")->is_null());
  EXPECT_TRUE(dump.find("random_seed")->is_null());
  EXPECT_EQ(dump["timeout"].as_double(), 1.5);
  EXPECT_EQ(dump["the_mode"].as_string(), "auto");
  EXPECT_EQ(dump["tp_size"].as_int(), 1);
  EXPECT_EQ(dump.find("internal_thing"), nullptr);
  EXPECT_EQ(dump.find("enable_lora"), nullptr);
}

TEST(Options, HelpShowsDefaultsGroupsAndNoSecrets) {
  Parsed p({"--count", "9", "--api-key", "hunter2"});
  const std::string help = p.options.Help();
  EXPECT_EQ(help.rfind("usage: prog [flags]\n\nDoes things.\n\nFirst:\n", 0), 0u) << help;
  EXPECT_NE(help.find("  --model-path, --model X"), std::string::npos);
  EXPECT_NE(help.find("how many (default: 3)"), std::string::npos) << "the default, not the present value";
  EXPECT_NE(help.find("--mode {auto,slow}"), std::string::npos);
  EXPECT_EQ(help.find("hunter2"), std::string::npos);
  EXPECT_EQ(help.find("internal-thing"), std::string::npos);
}

TEST(Options, MarkdownHasRangesAndForeignTables) {
  const std::string text = Parsed({}).options.Markdown();
  EXPECT_NE(text.find("| `--count` | `3` | how many; 1 to 10 |\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| `--ratio` | `0.5` | a share; between 0 and 1, exclusive |\n"), std::string::npos);
  EXPECT_NE(text.find("| `--scale` | `1.0` | a factor; at least 0 |\n"), std::string::npos);
  EXPECT_NE(text.find("| `--tensor-parallel-size`, `--tp-size`, `--tp` | one rank; accepted: 1 |\n"), std::string::npos);
  EXPECT_NE(text.find("| `--disable-cuda-graph` | GPU only |\n"), std::string::npos);
}

TEST(Options, TakesOfTellsConfigFiles) {
  Parsed p({});
  EXPECT_EQ(p.options.TakesOf("flag"), Options::Takes::kNothing);
  EXPECT_EQ(p.options.TakesOf("model"), Options::Takes::kOne);
  EXPECT_EQ(p.options.TakesOf("names"), Options::Takes::kMany);
  EXPECT_EQ(p.options.TakesOf("cuda-graph-bs"), Options::Takes::kMany);
  EXPECT_EQ(p.options.TakesOf("nam"), std::nullopt);
  EXPECT_EQ(p.options.NearestFlag("prt"), "port");
}

}  // namespace
}  // namespace sgl
