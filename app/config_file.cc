// The one place that uses yaml-cpp, which throws; nothing thrown leaves this file.
// SPDX-License-Identifier: Apache-2.0
#include "app/config_file.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

namespace sgl {
namespace {

Result<YAML::Node> Load(const std::string& path) {
  try {
    return YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    return NotFound(fmt::format("cannot read {}", path));
  } catch (const YAML::ParserException& e) {
    return InvalidArgument(fmt::format("{}: line {}, column {}: {}", path, e.mark.line + 1, e.mark.column + 1, e.msg));
  } catch (const std::exception& e) {
    return InvalidArgument(fmt::format("{}: {}", path, e.what()));
  }
}

bool IsTrue(const std::string& text) { return text == "true" || text == "True" || text == "TRUE" || text == "yes" || text == "on"; }
bool IsFalse(const std::string& text) { return text == "false" || text == "False" || text == "FALSE" || text == "no" || text == "off"; }

// One value of a list or a mapping's scalar, as text. Mappings (such as a JSON object written in YAML) must be quoted.
Result<std::string> Scalar(const YAML::Node& node, const std::string& key) {
  if (!node.IsScalar()) return InvalidArgument(fmt::format("option '{}': expected a single value", key));
  return node.Scalar();
}

Status Append(const std::string& key, const YAML::Node& value, const Options& options, std::vector<std::string>& arguments) {
  std::string flag = key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  if (flag == "config" || flag == "help" || flag == "h") return InvalidArgument(fmt::format("Unsupported config option '{}'", key));
  const auto takes = options.TakesOf(flag);
  if (!takes) {
    const std::string nearest = options.NearestFlag(flag);
    return InvalidArgument(
        fmt::format("Unsupported config option '{}'{}", key, nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest)));
  }
  if (value.IsNull()) return {};
  if (*takes == Options::Takes::kNothing) {
    const std::string text = value.IsScalar() ? value.Scalar() : "";
    if (IsTrue(text)) arguments.push_back("--" + flag);
    if (!IsTrue(text) && !IsFalse(text)) return InvalidArgument(fmt::format("option '{}': expected true or false", key));
    return {};
  }
  if (!value.IsSequence()) {
    TRY(const std::string text, Scalar(value, key));
    arguments.push_back("--" + flag + "=" + text);  // with '=', a value may start with a dash
    return {};
  }
  if (*takes != Options::Takes::kMany) return InvalidArgument(fmt::format("option '{}': takes one value, not a list", key));
  if (value.size() == 0) return {};
  arguments.push_back("--" + flag);
  for (const YAML::Node& item : value) {
    TRY(std::string text, Scalar(item, key));
    arguments.push_back(std::move(text));
  }
  return {};
}

Status AppendFile(const std::string& path, const Options& options, std::vector<std::string>& arguments) {
  const auto ends_with = [&](std::string_view end) {
    return path.size() > end.size() && path.compare(path.size() - end.size(), end.size(), end) == 0;
  };
  if (!ends_with(".yaml") && !ends_with(".yml")) return InvalidArgument(fmt::format("{}: a config file must end in .yaml or .yml", path));
  TRY(const YAML::Node root, Load(path));
  if (root.IsNull()) return {};
  if (!root.IsMap()) return InvalidArgument(fmt::format("{}: a config file must be a mapping of options to values", path));
  for (const auto& entry : root) {
    if (!entry.first.IsScalar()) return InvalidArgument(fmt::format("{}: a key is not a name", path));
    if (Status status = Append(entry.first.Scalar(), entry.second, options, arguments); !status.ok())
      return std::move(status).error().In(path);
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> ExpandConfigFile(const std::vector<std::string>& arguments, const Options& options) {
  std::vector<std::string> from_file, rest;
  bool seen = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].rfind("--config=", 0) == 0) return InvalidArgument("argument --config: write it as '--config FILE'");
    if (arguments[i] != "--config") {
      rest.push_back(arguments[i]);
      continue;
    }
    if (seen) return InvalidArgument("Multiple config files specified! Only one allowed.");
    if (i + 1 == arguments.size() || arguments[i + 1].rfind("--", 0) == 0)
      return InvalidArgument("argument --config: expected one argument");
    seen = true;
    TRY_STATUS(AppendFile(arguments[++i], options, from_file));
  }
  from_file.insert(from_file.end(), rest.begin(), rest.end());
  return from_file;
}

}  // namespace sgl
