// Declarative options. A config is a struct with defaults and one Visit; flags, --help, JSON and docs all come from it:
//
//   struct SchedOptions {
//     int max_running = 64;
//     template <class F> void Visit(F&& field) {
//       field("max-running-requests", max_running, "requests decoding at once", Range{1, 4096});
//     }
//   };
//   Options options("sglang serve");
//   config.Visit(options);
//   TRY_STATUS(options.Parse(arguments));   // writes into `config`
//
// The syntax is argparse's, because that is what launch scripts are written for: "--flag value", "--flag=value", unique prefixes
// ("--mem-fraction 0.8"), the last one wins, lists take every value up to the next flag.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sgl {

// "8k" -> 8000, "1.5M" -> 1500000, "4Ki" -> 4096: k M G T count in thousands and take decimals, Ki Mi Gi Ti in 1024s and do not.
Result<int64_t> ParseHumanInt(std::string_view text);

// ---- What may follow the help text in a Visit ----
struct Range {  // inclusive, unless open
  double min, max;
  bool open = false;
};
struct Choices {
  std::vector<std::string> values;
};
struct Aliases {
  std::vector<std::string> names;
};
struct Deprecated {  // old names: they work, with a warning
  std::vector<std::string> names;
};
struct Dest {  // name in the JSON dump, where it is not the flag's name in snake_case
  std::string name;
};
enum class OptionTrait {
  kHumanInt,     // integers with suffixes
  kSecret,       // masked in the JSON dump
  kZeroIsUnset,  // 0, 0.0 and "" mean "not given": null in the dump
  kHidden,       // not in the help
};

// A flag that other builds of SGLang have and this one does not.
struct ForeignFlag {
  enum class Kind {
    kNoEffect,  // accepted and ignored, with one warning line
    kNotBuilt,  // would change what the server does: an error, unless the value is a harmless one
  };
  enum class Arity { kNone, kOne, kMany };
  std::string_view name;  // further names after '|': "tensor-parallel-size|tp-size|tp"
  Kind kind;
  Arity arity;
  std::string_view harmless;   // kNotBuilt: accepted values, separated by '|'; "" as a value is always harmless
  std::string_view note;       // why: completes "ignored: ..." or "not available: ..."
  std::string_view dest = "";  // JSON name and value for the dump; "" : not in the dump
  std::string_view dump = "";
};

class Options {
 public:
  using Target = std::variant<bool*, int*, int64_t*, uint16_t*, double*, std::string*, std::optional<int64_t>*, std::optional<double>*,
                              std::optional<std::string>*, std::vector<std::string>*, std::vector<int64_t>*, std::chrono::milliseconds*,
                              Json*>;  // milliseconds are given in seconds, Json as an object

  explicit Options(std::string program, std::string summary = "") : program_(std::move(program)), summary_(std::move(summary)) {}

  // The flags that follow are listed under this title.
  void Group(std::string title) { group_ = std::move(title); }

  // One flag. `target` keeps its present value as the default and must outlive this object.
  template <class T, class... Traits>
  void operator()(std::string_view name, T& target, std::string_view help, const Traits&... traits) {
    Option& option = Add(name, Target(&target), help);
    (Apply(option, traits), ...);
    option.fallback = Value(option);
  }
  // Takes the arguments that are not flags.
  void Positional(std::string_view name, std::vector<std::string>& target, std::string_view help);
  void Foreign(std::span<const ForeignFlag> flags);

  // Fills the targets. Stops early, without error, at -h or --help. Errors are one line without the program's name:
  //   "unrecognized arguments: --modle-path (did you mean --model-path?)", "argument --port: expected one argument",
  //   "ambiguous option: --max could match --max-running-requests, --max-total-tokens", "argument --port: 70000 is not in 0..65535"...
  Status Parse(const std::vector<std::string>& arguments);
  bool help_requested() const { return help_requested_; }
  bool was_given(std::string_view name) const;  // by Parse, under any of its names

  // One line each: what was ignored, what is deprecated. In the order of the arguments, no line twice.
  const std::vector<std::string>& warnings() const { return warnings_; }

  Json Dump() const;             // {"model_path": ..., } of all flags; secrets masked
  std::string Usage() const;     // one line
  std::string Help() const;      // for a terminal
  std::string Markdown() const;  // for docs/: one table per group

  // How many values a flag takes; nothing if it is unknown. Names without dashes, exact. For config files.
  enum class Takes { kNothing, kOne, kMany };
  std::optional<Takes> TakesOf(std::string_view name) const;
  std::string NearestFlag(std::string_view name) const;  // "" if none is near

 private:
  struct Option {
    std::string name, group, help, dest;
    std::vector<std::string> aliases, deprecated;
    Target target;
    std::optional<Range> range;
    std::vector<std::string> choices;
    bool human_int = false, secret = false, zero_is_unset = false, hidden = false;
    Json fallback;  // the default
    bool given = false;
  };
  struct Found {  // what a name on the command line stands for: exactly one of the two
    Option* option = nullptr;
    const ForeignFlag* foreign = nullptr;
    std::string name;  // as listed
  };

  Option& Add(std::string_view name, Target target, std::string_view help);
  static void Apply(Option& o, const Range& range) { o.range = range; }
  static void Apply(Option& o, const Choices& choices) { o.choices = choices.values; }
  static void Apply(Option& o, const Aliases& aliases) { o.aliases = aliases.names; }
  static void Apply(Option& o, const Deprecated& deprecated) { o.deprecated = deprecated.names; }
  static void Apply(Option& o, const Dest& dest) { o.dest = dest.name; }
  static void Apply(Option& o, OptionTrait trait);

  std::vector<Found> AllNames();
  Result<Found> Resolve(std::string_view name);
  static Takes TakesOf(const Option& option);
  static Takes TakesOf(const ForeignFlag& flag);
  Status Take(const Found& found, const std::vector<std::string>& values);
  static Status TakeForeign(const Found& found, const std::vector<std::string>& values, std::string& warning);
  static Status Set(Option& option, const std::vector<std::string>& values);
  static Json Value(const Option& option);
  void Warn(std::string line);

  std::string program_, summary_, group_ = "Options";
  std::deque<Option> options_;  // a deque: references stay valid
  std::vector<ForeignFlag> foreign_;
  std::vector<std::string>* positional_ = nullptr;
  std::string positional_name_, positional_help_;
  std::vector<std::string> warnings_;
  bool help_requested_ = false;
};

}  // namespace sgl
