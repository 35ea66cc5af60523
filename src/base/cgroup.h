// Where the limits of this process's control groups stand.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace sgl {

// Directories that may hold limits of a controller ("cpu", "memory") for this process: its own group and all above it, in versions 1 and 2
// of cgroups, and the root that a container sees. Not all of them need to exist. root: put in front, for tests.
std::vector<std::string> CgroupDirectories(const std::string& controller, const std::string& root = "");

}  // namespace sgl
