// --config FILE: a YAML mapping from flag names to values, turned into arguments.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "base/options.h"

namespace sgl {

// Replaces "--config FILE" by the file's options, placed before all other arguments, so that the command line wins. Keys may be written
// with - or _. true adds a switch, false and null skip the key, lists become several values.
// Errors: two files, not .yaml or .yml, unreadable, not a mapping, unknown keys, values of the wrong shape; all name the file.
Result<std::vector<std::string>> ExpandConfigFile(const std::vector<std::string>& arguments, const Options& options);

}  // namespace sgl
