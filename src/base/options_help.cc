// The texts that come out of an option table: --help and docs.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/options.h"

namespace sgl {
namespace {

constexpr size_t kWidth = 110, kIndent = 34;  // columns of a terminal page, and where the explanations start

// Greedy line breaking; lines after the first are indented.
std::string Wrap(const std::string& text, size_t first_column) {
  std::string out;
  size_t column = first_column;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(' ', begin), text.size());
    if (column + (end - begin) > kWidth && column > kIndent) {
      out += "\n" + std::string(kIndent, ' ');
      column = kIndent;
    } else if (begin != 0) {
      out += ' ';
      ++column;
    }
    out.append(text, begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return out;
}

std::string Line(const std::string& left, const std::string& right) {
  const std::string head = "  " + left;
  if (right.empty()) return head + "\n";
  if (head.size() + 2 > kIndent) return head + "\n" + std::string(kIndent, ' ') + Wrap(right, kIndent) + "\n";
  return head + std::string(kIndent - head.size(), ' ') + Wrap(right, kIndent) + "\n";
}

std::string Number(double v) { return fmt::format("{}", v); }

// "|" would end a table cell, "<" would start a tag.
std::string Cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string Plain(const Json& value) { return value.is_string() ? value.as_string() : DumpJson(value); }

}  // namespace

std::string Options::Usage() const {
  return fmt::format("usage: {} [flags]{}", program_, positional_ != nullptr ? fmt::format(" [{}]", positional_name_) : "");
}

std::string Options::Help() const {
  std::string out = Usage() + "\n";
  if (!summary_.empty()) out += "\n" + summary_ + "\n";
  if (positional_ != nullptr) out += "\nArguments:\n" + Line(positional_name_, positional_help_);
  std::string group;
  for (const Option& option : options_) {
    if (option.hidden) continue;
    if (option.group != group) {
      group = option.group;
      out += "\n" + group + ":\n";
    }
    std::string names = "--" + option.name;
    for (const std::string& alias : option.aliases) names += ", --" + alias;
    const Takes takes = TakesOf(option);
    if (!option.choices.empty())
      names += fmt::format(" {{{}}}", fmt::join(option.choices, ","));
    else if (takes != Takes::kNothing)
      names += takes == Takes::kMany ? " X [X ...]" : " X";
    std::string help = option.help;
    const bool shown =
        takes != Takes::kNothing && !option.fallback.is_null() && Plain(option.fallback) != "" && Plain(option.fallback) != "[]";
    if (shown) help += fmt::format(" (default: {})", Plain(option.fallback));
    out += Line(names, help);
  }
  return out;
}

std::string Options::Markdown() const {
  std::string out;
  std::string group;
  for (const Option& option : options_) {
    if (option.hidden) continue;
    if (option.group != group) {
      group = option.group;
      out += fmt::format("\n### {}\n\n| Flag | Default | Meaning |\n|---|---|---|\n", group);
    }
    std::string names = fmt::format("`--{}`", option.name);
    for (const std::string& alias : option.aliases) names += fmt::format(", `--{}`", alias);
    std::string help = Cell(option.help);
    if (!option.choices.empty()) help += fmt::format("; one of {}", fmt::join(option.choices, ", "));
    if (option.range && std::isinf(option.range->max))
      help += fmt::format("; {} {}", option.range->open ? "above" : "at least", Number(option.range->min));
    if (option.range && !std::isinf(option.range->max))
      help += option.range->open ? fmt::format("; between {} and {}, exclusive", Number(option.range->min), Number(option.range->max))
                                 : fmt::format("; {} to {}", Number(option.range->min), Number(option.range->max));
    if (option.human_int) help += "; takes k M G T, Ki Mi Gi Ti";
    for (const std::string& old : option.deprecated) help += fmt::format("; old name `--{}`", old);
    std::string fallback;
    if (TakesOf(option) != Takes::kNothing && !option.fallback.is_null() && !Plain(option.fallback).empty() &&
        Plain(option.fallback) != "[]")
      fallback = "`" + Cell(Plain(option.fallback)) + "`";
    out += fmt::format("| {} | {} | {} |\n", names, fallback, help);
  }
  const auto foreign_table = [&](ForeignFlag::Kind kind, std::string_view title, std::string_view intro) {
    if (std::none_of(foreign_.begin(), foreign_.end(), [&](const ForeignFlag& flag) { return flag.kind == kind; })) return;
    out += fmt::format("\n### {}\n\n{}\n\n| Flag | Why |\n|---|---|\n", title, intro);
    for (const ForeignFlag& flag : foreign_) {
      if (flag.kind != kind) continue;
      std::string names = "`--";
      for (const char c : flag.name) names += c == '|' ? "`, `--" : std::string(1, c);
      std::string note = Cell(flag.note);
      if (kind == ForeignFlag::Kind::kNotBuilt && !flag.harmless.empty()) note += fmt::format("; accepted: {}", Cell(flag.harmless));
      out += fmt::format("| {}` | {} |\n", names, note);
    }
  };
  foreign_table(ForeignFlag::Kind::kNoEffect, "Accepted and ignored",
                "Launch scripts of other builds keep working: each of these costs one warning line.");
  foreign_table(ForeignFlag::Kind::kNotBuilt, "Not available",
                "These would change what the server does, so they are errors, except with the values listed.");
  return out;
}

}  // namespace sgl
