// Waits until a server has generated a token, or says why it never will.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "app/client_tls.h"
#include "app/commands.h"
#include "serve/http_client.h"

namespace sgl {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPause{200};
constexpr milliseconds kOneTry{25000};  // a health check may take 20 s
constexpr size_t kTailLines = 20;
constexpr int kDied = 1, kTimedOut = 3;

struct WaitOptions {
  std::string url = "http://127.0.0.1:30000";
  int64_t pid = 0;
  double timeout = 600;
  std::string log;
  ClientTlsOptions tls;

  void Visit(Options& field) {
    field.Group("Options");
    field("url", url, "the server");
    field("pid", pid, "its process: when that ends, so does the waiting", OptionTrait::kZeroIsUnset, Range{1, 1 << 30});
    field("timeout", timeout, "seconds to wait at most", Range{0, 1e9});
    field("log", log, "file whose last lines are shown when the process has ended; unset: what its standard error is, if that is a file",
          OptionTrait::kZeroIsUnset);
    tls.Visit(field);
  }
};

// A process that need not be our child. Linux: /proc.
class Process {
 public:
  explicit Process(int64_t pid) : folder_(fmt::format("/proc/{}", pid)), pid_(static_cast<pid_t>(pid)) {}

  // The file behind its standard error; "" if that is no regular file, or not ours to see.
  std::string ErrorFile() const {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(folder_ / "fd/2", error);
    return !error && std::filesystem::is_regular_file(target, error) ? target.string() : "";
  }

  // Nothing while it lives. Its end, in words, once it is gone or a zombie; a parent that has already taken its exit code keeps that.
  std::optional<std::string> End() const {
    std::ifstream in(folder_ / "stat");
    const std::string stat((std::istreambuf_iterator<char>(in)), {});
    const size_t name_end = stat.rfind(')');  // the name before it may hold anything
    if (name_end == std::string::npos || name_end + 2 >= stat.size())
      return kill(pid_, 0) == 0 || errno == EPERM ? std::nullopt : std::optional<std::string>("has ended");
    if (stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X') return {};
    const size_t last = stat.find_last_of(' ');
    const int status = last == std::string::npos ? 0 : std::atoi(stat.c_str() + last);
    if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
    return fmt::format("has ended with exit code {}", WEXITSTATUS(status));
  }

 private:
  const std::filesystem::path folder_;
  const pid_t pid_;
};

std::string Tail(const std::string& file) {
  std::ifstream in(file);
  std::deque<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(std::move(line));
    if (lines.size() > kTailLines) lines.pop_front();
  }
  std::string out;
  for (const std::string& line : lines) out += "  " + line + "\n";
  return out;
}

// One question. "" when a token was generated, else what happened instead.
std::string Ask(const HttpUrl& url, HttpClientConfig config, milliseconds patience) {
  config.connect_timeout = std::min(patience, milliseconds(2000));
  config.io_timeout = std::min(patience, kOneTry);
  HttpClient client(url.host, url.port, std::move(config));
  const Result<HttpReplyData> reply = client.Request("GET", "/health_generate");
  if (!reply.ok()) return reply.error().message;
  return reply->status == 200 ? "" : fmt::format("/health_generate says {}", reply->status);
}

int Wait(const WaitOptions& options, const HttpUrl& url, const HttpClientConfig& client) {
  const Clock::time_point deadline = Clock::now() + milliseconds(static_cast<int64_t>(options.timeout * 1000));
  const Process process(options.pid);
  const std::string log = !options.log.empty() ? options.log : options.pid != 0 ? process.ErrorFile() : "";
  std::string last = "nothing was asked";
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    if (left.count() > 0) last = Ask(url, client, left);
    if (last.empty()) return 0;
    if (options.pid != 0) {
      if (const std::optional<std::string> end = process.End()) {
        const std::string tail = log.empty() ? "" : Tail(log);
        return Fail("wait", fmt::format("process {} {}{}", options.pid, *end, tail.empty() ? "" : "; its log ends with\n" + tail), kDied);
      }
    }
    if (Clock::now() + kPause >= deadline) return Fail("wait", fmt::format("not ready within {} s: {}", options.timeout, last), kTimedOut);
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

int RunWait(const Arguments& arguments) {
  WaitOptions config;
  Options options("sglang wait",
                  "Waits until a server has generated a token. Exit code 0: it has; 1: its process has ended; 3: time is over.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("wait", options, arguments, warnings)) return *done;
  const Result<HttpUrl> url = ParseHttpUrl(config.url, true);
  if (!url.ok()) return Fail("wait", "argument --url: " + url.error().message, 2);
  const Result<HttpClientConfig> client = config.tls.For(*url);
  if (!client.ok()) return Fail("wait", "argument --cacert: " + client.error().message, 2);
  LogWarnings(warnings);
  return Wait(config, *url, *client);
}

}  // namespace sgl
