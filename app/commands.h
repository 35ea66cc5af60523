// The subcommands of `sglang`. Each takes its arguments without the command's name and returns the exit code:
// 0 done, 1 it failed (one line on stderr says why), 2 the command line is wrong; `wait` has one more.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"

namespace sgl {

using Arguments = std::vector<std::string>;

int RunServe(const Arguments& arguments);
int RunChat(const Arguments& arguments);
int RunBench(const Arguments& arguments);
int RunBenchServe(const Arguments& arguments);  // `sglang bench serve`
int RunTokenize(const Arguments& arguments);
int RunReplay(const Arguments& arguments);
int RunWait(const Arguments& arguments);

// "sglang serve: error: ..." on stderr; returns `exit_code`.
int Fail(const std::string& command, const std::string& message, int exit_code = 1);

// Prepares the environment, expands --config, parses. Returns the exit code when there is nothing more to do: --help was printed (0) or
// the command line is wrong (2). Otherwise `warnings` has what LogWarnings is to write once the log level is set.
std::optional<int> ParseCommandLine(const std::string& command, Options& options, const Arguments& arguments,
                                    std::vector<std::string>& warnings);
void LogWarnings(const std::vector<std::string>& warnings);

}  // namespace sgl
