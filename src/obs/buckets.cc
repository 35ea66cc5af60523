// SPDX-License-Identifier: Apache-2.0
#include "obs/buckets.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace sgl::buckets {
namespace {

Result<double> ParseNumber(const std::string& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value))
    return InvalidArgument("'" + word + "' is not a number");
  return value;
}

}  // namespace

Result<std::vector<double>> ParseBounds(const std::vector<std::string>& words) {
  std::vector<double> bounds;
  for (const std::string& word : words) {
    TRY(const double value, ParseNumber(word));
    if (!bounds.empty() && value <= bounds.back()) return InvalidArgument("'" + word + "' is not above the bucket before it");
    bounds.push_back(value);
  }
  if (bounds.empty()) return InvalidArgument("expected at least one number");
  return bounds;
}

Result<std::vector<double>> ParseTokenRule(const std::vector<std::string>& words) {
  const std::string kind = words.empty() ? "default" : words.front();
  const std::vector<std::string> rest(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (kind == "default" && rest.empty()) return std::vector<double>(std::begin(kTokens), std::end(kTokens));
  if (kind == "custom" && !rest.empty()) {
    std::set<double> bounds;
    for (const std::string& word : rest) {
      TRY(const double value, ParseNumber(word));
      bounds.insert(value);
    }
    return std::vector<double>(bounds.begin(), bounds.end());
  }
  if (kind == "tse" && rest.size() == 3) {
    TRY(const double middle, ParseNumber(rest[0]));
    TRY(const double base, ParseNumber(rest[1]));
    TRY(const double count, ParseNumber(rest[2]));
    if (base <= 1) return InvalidArgument("tse: the base must be above 1, got " + rest[1]);
    if (count < 1 || count > 1000) return InvalidArgument("tse: the count must be in [1, 1000], got " + rest[2]);
    std::set<double> bounds = {middle};
    for (int i = 0; i <= static_cast<int>(std::ceil(count / 2)); ++i) {
      bounds.insert(std::max(0.0, middle - std::pow(base, i)));
      bounds.insert(middle + std::pow(base, i));
    }
    return std::vector<double>(bounds.begin(), bounds.end());
  }
  return InvalidArgument("expected 'default', 'tse <middle> <base> <count>' or 'custom <number>...'");
}

}  // namespace sgl::buckets
