// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "base/nearest.h"

namespace sgl {
namespace {

using Arity = ForeignFlag::Arity;

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

template <class T>
std::optional<T> ParseNumber(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// argparse's rule: a dash starts a flag, except "-" itself, negative numbers, and text with a space in it.
bool LooksLikeFlag(std::string_view argument) {
  if (argument.size() < 2 || argument[0] != '-') return false;
  if (ParseNumber<double>(argument).has_value()) return false;
  return argument.find(' ') == std::string_view::npos || argument.find('=') < argument.find(' ');
}

std::string SnakeCase(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string Number(double v) {
  return v == std::floor(v) && std::abs(v) < 1e15 ? fmt::format("{}", static_cast<int64_t>(v)) : fmt::format("{}", v);
}

Status CheckRange(const std::optional<Range>& range, double v) {
  if (!range) return {};
  const bool inside = range->open ? v > range->min && v < range->max : v >= range->min && v <= range->max;
  if (inside) return {};
  if (std::isinf(range->max))
    return InvalidArgument(fmt::format("{} is not {} {}", Number(v), range->open ? ">" : ">=", Number(range->min)));
  return InvalidArgument(range->open ? fmt::format("{} is not between {} and {}", Number(v), Number(range->min), Number(range->max))
                                     : fmt::format("{} is not in {}..{}", Number(v), Number(range->min), Number(range->max)));
}

Result<int64_t> ParseInt(const std::string& text, bool human, const std::optional<Range>& range, int64_t min, int64_t max) {
  int64_t value = 0;
  if (human) {
    TRY(value, ParseHumanInt(text));
  } else if (const auto parsed = ParseNumber<int64_t>(text)) {
    value = *parsed;
  } else {
    return InvalidArgument(fmt::format("invalid int value: '{}'", text));
  }
  TRY_STATUS(CheckRange(range, static_cast<double>(value)));
  if (value < min || value > max) return InvalidArgument(fmt::format("{} is not in {}..{}", value, min, max));
  return value;
}

Result<double> ParseFloat(const std::string& text, const std::optional<Range>& range) {
  const auto parsed = ParseNumber<double>(text);
  if (!parsed || !std::isfinite(*parsed)) return InvalidArgument(fmt::format("invalid float value: '{}'", text));
  TRY_STATUS(CheckRange(range, *parsed));
  return *parsed;
}

template <class T>
constexpr int64_t kMin = std::numeric_limits<T>::min();
template <class T>
constexpr int64_t kMax = static_cast<int64_t>(std::numeric_limits<T>::max());

}  // namespace

Result<int64_t> ParseHumanInt(std::string_view text) {
  struct Suffix {
    std::string_view text;
    double factor;
    bool binary;
  };
  constexpr Suffix kSuffixes[] = {{"Ki", 1024.0, true}, {"Mi", 1048576.0, true}, {"Gi", 1073741824.0, true}, {"Ti", 1099511627776.0, true},
                                  {"k", 1e3, false},    {"M", 1e6, false},       {"G", 1e9, false},          {"T", 1e12, false}};
  const Error invalid = InvalidArgument(fmt::format("invalid integer '{}' (digits, with k M G T or Ki Mi Gi Ti)", text));
  if (const auto plain = ParseNumber<int64_t>(text)) return *plain;
  for (const Suffix& suffix : kSuffixes) {
    if (text.size() <= suffix.text.size() || text.substr(text.size() - suffix.text.size()) != suffix.text) continue;
    const std::string_view digits = text.substr(0, text.size() - suffix.text.size());
    if (digits.find_first_not_of("+-.0123456789") != std::string_view::npos) return invalid;
    const auto number = ParseNumber<double>(digits);
    if (!number || (suffix.binary && digits.find('.') != std::string_view::npos)) return invalid;
    const double value = std::round(*number * suffix.factor);  // 0.1k is 100 whatever 0.1 is in binary
    if (std::abs(value) > 9e18) return InvalidArgument(fmt::format("integer '{}' is too large", text));
    return static_cast<int64_t>(value);
  }
  return invalid;
}

Options::Option& Options::Add(std::string_view name, Target target, std::string_view help) {
  Option& option = options_.emplace_back();
  option.name = name;
  option.dest = SnakeCase(option.name);
  option.group = group_;
  option.help = help;
  option.target = target;
  return option;
}

void Options::Apply(Option& option, OptionTrait trait) {
  switch (trait) {
    case OptionTrait::kHumanInt: option.human_int = true; break;
    case OptionTrait::kSecret: option.secret = true; break;
    case OptionTrait::kZeroIsUnset: option.zero_is_unset = true; break;
    case OptionTrait::kHidden: option.hidden = true; break;
  }
}

void Options::Positional(std::string_view name, std::vector<std::string>& target, std::string_view help) {
  positional_ = &target;
  positional_name_ = name;
  positional_help_ = help;
}

void Options::Foreign(std::span<const ForeignFlag> flags) { foreign_.insert(foreign_.end(), flags.begin(), flags.end()); }

std::vector<Options::Found> Options::AllNames() {
  std::vector<Found> all;
  for (Option& option : options_) {
    all.push_back({&option, nullptr, option.name});
    for (const std::string& alias : option.aliases) all.push_back({&option, nullptr, alias});
    for (const std::string& old : option.deprecated) all.push_back({&option, nullptr, old});
  }
  for (const ForeignFlag& flag : foreign_)
    for (std::string& name : Split(flag.name, '|')) all.push_back({nullptr, &flag, std::move(name)});
  return all;
}

std::string Options::NearestFlag(std::string_view name) const {
  std::vector<std::string> names;
  for (const Option& option : options_) {
    if (!option.hidden) names.push_back(option.name);
    for (const std::string& alias : option.aliases) names.push_back(alias);
  }
  for (const ForeignFlag& flag : foreign_)
    for (std::string& other : Split(flag.name, '|')) names.push_back(std::move(other));
  return Nearest(name, names);
}

Result<Options::Found> Options::Resolve(std::string_view name) {
  std::vector<Found> matches;
  for (Found& candidate : AllNames()) {
    if (candidate.name == name) return std::move(candidate);
    const bool same = !matches.empty() && matches.back().option == candidate.option && matches.back().foreign == candidate.foreign;
    const bool hidden = candidate.option != nullptr && candidate.option->hidden;
    if (candidate.name.rfind(name, 0) == 0 && !same && !hidden && !name.empty()) matches.push_back(std::move(candidate));
  }
  if (matches.size() == 1) return std::move(matches.front());
  if (matches.empty()) {
    const std::string nearest = NearestFlag(name);
    return InvalidArgument(
        fmt::format("unrecognized arguments: --{}{}", name, nearest.empty() ? "" : fmt::format(" (did you mean --{}?)", nearest)));
  }
  std::string names;
  for (const Found& match : matches) names += fmt::format("{}--{}", names.empty() ? "" : ", ", match.name);
  return InvalidArgument(fmt::format("ambiguous option: --{} could match {}", name, names));
}

Options::Takes Options::TakesOf(const Option& option) {
  if (std::holds_alternative<bool*>(option.target)) return Takes::kNothing;
  const bool list =
      std::holds_alternative<std::vector<std::string>*>(option.target) || std::holds_alternative<std::vector<int64_t>*>(option.target);
  return list ? Takes::kMany : Takes::kOne;
}

Options::Takes Options::TakesOf(const ForeignFlag& flag) {
  return flag.arity == Arity::kNone ? Takes::kNothing : flag.arity == Arity::kOne ? Takes::kOne : Takes::kMany;
}

std::optional<Options::Takes> Options::TakesOf(std::string_view name) const {
  for (const Found& found : const_cast<Options*>(this)->AllNames()) {
    if (found.name == name) return found.option != nullptr ? TakesOf(*found.option) : TakesOf(*found.foreign);
  }
  return std::nullopt;
}

Status Options::Parse(const std::vector<std::string>& arguments) {
  bool flags_over = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!flags_over && argument == "--") {
      flags_over = true;
      continue;
    }
    if (flags_over || !LooksLikeFlag(argument)) {
      if (positional_ == nullptr) return InvalidArgument("unrecognized arguments: " + argument);
      positional_->push_back(argument);
      continue;
    }
    if (argument == "-h" || argument == "--help") {
      help_requested_ = true;
      return {};
    }
    if (argument[1] != '-') return InvalidArgument("unrecognized arguments: " + argument);
    const size_t equals = argument.find('=');
    TRY(const Found found, Resolve(std::string_view(argument).substr(2, equals == std::string::npos ? equals : equals - 2)));
    const Takes takes = found.option != nullptr ? TakesOf(*found.option) : TakesOf(*found.foreign);
    std::vector<std::string> values;
    if (equals != std::string::npos) {
      if (takes == Takes::kNothing)
        return InvalidArgument(fmt::format("argument --{}: ignored explicit argument '{}'", found.name, argument.substr(equals + 1)));
      values.push_back(argument.substr(equals + 1));
    } else if (takes != Takes::kNothing) {
      while (i + 1 < arguments.size() && !LooksLikeFlag(arguments[i + 1]) && (takes == Takes::kMany || values.empty()))
        values.push_back(arguments[++i]);
      if (values.empty())
        return InvalidArgument(
            fmt::format("argument --{}: expected {}", found.name, takes == Takes::kMany ? "at least one argument" : "one argument"));
    }
    if (Status status = Take(found, values); !status.ok()) return std::move(status).error().In("argument --" + found.name);
  }
  return {};
}

Status Options::Take(const Found& found, const std::vector<std::string>& values) {
  if (found.foreign != nullptr) {
    std::string warning;
    TRY_STATUS(TakeForeign(found, values, warning));
    if (!warning.empty()) Warn(std::move(warning));
    return {};
  }
  Option& option = *found.option;
  if (std::find(option.deprecated.begin(), option.deprecated.end(), found.name) != option.deprecated.end())
    Warn(fmt::format("--{} is deprecated, use --{}", found.name, option.name));
  option.given = true;
  return Set(option, values);
}

Status Options::TakeForeign(const Found& found, const std::vector<std::string>& values, std::string& warning) {
  const ForeignFlag& flag = *found.foreign;
  if (flag.kind == ForeignFlag::Kind::kNoEffect) {
    warning = fmt::format("--{} is ignored: {}", found.name, flag.note);
    return {};
  }
  const std::vector<std::string> harmless = Split(flag.harmless, '|');
  const bool fine = flag.arity != Arity::kNone && std::all_of(values.begin(), values.end(), [&](const std::string& value) {
                      return value.empty() || std::find(harmless.begin(), harmless.end(), value) != harmless.end();
                    });
  if (fine) return {};
  if (flag.arity == Arity::kNone) return Unimplemented(fmt::format("not available in this build: {}", flag.note));
  return Unimplemented(fmt::format("'{}' is not available in this build: {}", fmt::join(values, " "), flag.note));
}

Status Options::Set(Option& option, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (!option.choices.empty() && std::find(option.choices.begin(), option.choices.end(), value) == option.choices.end())
      return InvalidArgument(fmt::format("invalid choice: '{}' (choose from {})", value, fmt::join(option.choices, ", ")));
  }
  const auto integer = [&](int64_t min, int64_t max) { return ParseInt(values[0], option.human_int, option.range, min, max); };
  return std::visit(
      [&](auto* target) -> Status {
        using T = std::remove_pointer_t<decltype(target)>;
        if constexpr (std::is_same_v<T, bool>) {
          *target = true;
        } else if constexpr (std::is_integral_v<T>) {
          TRY(const int64_t value, integer(kMin<T>, kMax<T>));
          *target = static_cast<T>(value);
        } else if constexpr (std::is_same_v<T, std::optional<int64_t>>) {
          TRY(*target, integer(kMin<int64_t>, kMax<int64_t>));
        } else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>) {
          TRY(*target, ParseFloat(values[0], option.range));
        } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
          TRY(const double seconds, ParseFloat(values[0], option.range));
          if (std::abs(seconds) > 1e12) return InvalidArgument(fmt::format("{} seconds is too long", values[0]));
          *target = std::chrono::milliseconds(static_cast<int64_t>(std::llround(seconds * 1000)));
        } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::optional<std::string>>) {
          *target = values[0];
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          *target = values;
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          std::vector<int64_t> numbers;
          for (const std::string& value : values) {
            TRY(const int64_t number, ParseInt(value, option.human_int, option.range, kMin<int64_t>, kMax<int64_t>));
            numbers.push_back(number);
          }
          *target = std::move(numbers);
        } else {
          static_assert(std::is_same_v<T, Json>);
          TRY(Json parsed, ParseJson(values[0]));
          if (!parsed.is_object()) return InvalidArgument(fmt::format("expected a JSON object, got {}", parsed.type_name()));
          *target = std::move(parsed);
        }
        return {};
      },
      option.target);
}

Json Options::Value(const Option& option) {
  Json value = std::visit(
      [](const auto* target) -> Json {
        using T = std::remove_cv_t<std::remove_pointer_t<decltype(target)>>;
        if constexpr (std::is_same_v<T, uint16_t>) {
          return Json(int64_t{*target});
        } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
          return Json(static_cast<double>(target->count()) / 1000);
        } else if constexpr (std::is_same_v<T, std::vector<std::string>> || std::is_same_v<T, std::vector<int64_t>>) {
          Json::Array array(target->begin(), target->end());
          return Json(std::move(array));
        } else if constexpr (std::is_same_v<T, std::optional<int64_t>> || std::is_same_v<T, std::optional<double>> ||
                             std::is_same_v<T, std::optional<std::string>>) {
          return target->has_value() ? Json(**target) : Json();
        } else {
          return Json(*target);
        }
      },
      option.target);
  const bool zero = (value.is_number() && value.as_double() == 0) || (value.is_string() && value.as_string().empty());
  if (option.zero_is_unset && zero) return Json();
  if (option.secret && !value.is_null() && !zero) return Json("******");
  return value;
}

bool Options::was_given(std::string_view name) const {
  return std::any_of(options_.begin(), options_.end(), [&](const Option& option) { return option.name == name && option.given; });
}

void Options::Warn(std::string line) {
  if (std::find(warnings_.begin(), warnings_.end(), line) == warnings_.end()) warnings_.push_back(std::move(line));
}

Json Options::Dump() const {
  Json all{Json::Object{}};
  for (const Option& option : options_)
    if (!option.hidden) all.Set(option.dest, Value(option));
  for (const ForeignFlag& flag : foreign_) {
    if (flag.dest.empty()) continue;
    Result<Json> value = ParseJson(flag.dump);
    CHECK(value.ok());  // a typing mistake in a flag table
    all.Set(flag.dest, *std::move(value));
  }
  return all;
}

}  // namespace sgl
