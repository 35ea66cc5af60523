// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include "app/commands.h"
#include "app/config_file.h"
#include "base/env.h"
#include "base/nearest.h"
#include "obs/log.h"

namespace sgl {
namespace {

struct Command {
  const char *name, *help;
  int (*run)(const Arguments&);
};
constexpr Command kCommands[] = {
    {"serve", "serve a model over HTTP (also when flags follow at once: sglang --model-path X)", RunServe},
    {"chat", "talk to a server in the terminal", RunChat},
    {"bench", "measure prefill and decoding; bench serve: measure a running server", RunBench},
    {"tokenize", "text to token ids and back", RunTokenize},
    {"wait", "wait until a server has generated a token", RunWait},
    {"replay", "send recorded requests to a server again", RunReplay},
};

std::string Overview() {
  std::string text = "usage: sglang <command> [flags]\n\nCommands:\n";
  for (const Command& command : kCommands) text += fmt::format("  {:<10}{}\n", command.name, command.help);
  return text + "  version   print the version\n\nsglang <command> --help lists a command's flags.\n";
}

int PrintVersion() {
  fmt::print("sglang {}\n", SGLANG_VERSION);
  return 0;
}

int Main(Arguments arguments) {
  if (arguments.empty()) {
    fmt::print(stderr, "{}", Overview());
    return 2;
  }
  const std::string name = arguments.front();
  if (name == "--help" || name == "-h" || name == "help") {
    fmt::print("{}", Overview());
    return 0;
  }
  if (name == "version" || name == "--version") return PrintVersion();
  if (name.front() == '-') return RunServe(arguments);
  arguments.erase(arguments.begin());
  std::vector<std::string> names = {"version"};
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(arguments);
    names.emplace_back(command.name);
  }
  const std::string nearest = Nearest(name, names);
  fmt::print(stderr, "sglang: error: unknown command '{}'{}\n{}", name, nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
             Overview());
  return 2;
}

}  // namespace

int Fail(const std::string& command, const std::string& message, int exit_code) {
  fmt::print(stderr, "sglang {}: error: {}\n", command, message);
  return exit_code;
}

std::optional<int> ParseCommandLine(const std::string& command, Options& options, const Arguments& arguments,
                                    std::vector<std::string>& warnings) {
  warnings = PrepareEnvironment();
  Status status;
  if (Result<Arguments> expanded = ExpandConfigFile(arguments, options); expanded.ok())
    status = options.Parse(*expanded);
  else
    status = std::move(expanded).error();
  if (!status.ok()) {
    fmt::print(stderr, "{} (sglang {} --help lists all)\n", options.Usage(), command);
    return Fail(command, status.error().message, 2);
  }
  if (options.help_requested()) {
    fmt::print("{}", options.Help());
    return 0;
  }
  warnings.insert(warnings.end(), options.warnings().begin(), options.warnings().end());
  return std::nullopt;
}

void LogWarnings(const std::vector<std::string>& warnings) {
  for (const std::string& line : warnings) LOG_WARNING("{}", line);
}

}  // namespace sgl

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of that write, not the end of the process
  std::signal(SIGXFSZ, SIG_IGN);  // nor is a file that may not grow any more (ulimit -f)
  try {
    return sgl::Main(sgl::Arguments(argv + 1, argv + argc));
  } catch (const std::exception& e) {  // out of memory, or a library that throws where we did not expect it
    return sgl::Fail("", e.what());
  }
}
