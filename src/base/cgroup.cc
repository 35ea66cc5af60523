// SPDX-License-Identifier: Apache-2.0
#include "base/cgroup.h"

#include <fstream>

namespace sgl {

std::vector<std::string> CgroupDirectories(const std::string& controller, const std::string& root) {
  const std::string base = root + "/sys/fs/cgroup";
  // In a container the path of the group may be the host's: then the roots that we see are ours.
  std::vector<std::string> directories = {base, base + "/" + controller};
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/a/b", or "0::/a/b" for version 2
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::vector<std::string> mounts;
    if (controllers.empty())
      mounts = {base, base + "/unified"};
    else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos)
      mounts = {base + "/" + controller, base + "/" + controllers};
    for (const std::string& mount : mounts)
      for (std::string path = line.substr(second + 1); path.size() > 1; path.resize(path.rfind('/'))) directories.push_back(mount + path);
    directories.insert(directories.end(), mounts.begin(), mounts.end());
  }
  return directories;
}

}  // namespace sgl
