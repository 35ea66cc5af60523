// SPDX-License-Identifier: Apache-2.0
#include "obs/crash_report.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace sgl {
namespace {

constexpr size_t kRequests = 100;
constexpr int kFrames = 64;
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// Every field by itself is atomic: a report made in the middle of a note shows half of it, never nonsense memory.
struct Entry {
  std::atomic<uint64_t> number{0};  // 0: unused
  std::atomic<char> rid[40] = {};
  std::atomic<int64_t> received_unix_ms{0}, prompt_tokens{0}, completion_tokens{0};
  std::atomic<char> reason[8] = {};  // "" while it lives
};
Entry entries[kRequests];
std::atomic<uint64_t> next_number{1};
char report_path[4096];  // "": none
alignas(16) char alternate_stack[64 << 10];

template <size_t N>
void Store(std::atomic<char> (&to)[N], std::string_view text) {
  for (size_t i = 0; i < N; ++i) to[i].store(i < text.size() && i + 1 < N ? text[i] : '\0', std::memory_order_relaxed);
}

// ---- in the handler: nothing but write(2) and memory of our own ----

class Writer {
 public:
  explicit Writer(int fd) : fd_(fd) {}
  Writer& operator<<(const char* text) {
    (void)!write(fd_, text, std::strlen(text));
    return *this;
  }
  Writer& operator<<(int64_t value) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    do digits[--at] = static_cast<char>('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0) digits[--at] = '-';
    (void)!write(fd_, digits + at, sizeof digits - at);
    return *this;
  }
  template <size_t N>
  Writer& operator<<(const std::atomic<char> (&text)[N]) {
    char plain[N] = {};
    for (size_t i = 0; i + 1 < N; ++i) {
      const char c = text[i].load(std::memory_order_relaxed);
      plain[i] = c == '\0' || (c >= 0x20 && c < 0x7f) ? c : '?';
    }
    return *this << plain;
  }

 private:
  const int fd_;
};

void WriteReport(int fd, int signal, void* const* frames, int count) {
  Writer out(fd);
  out << "\n=== crash report: signal " << signal << ", process " << getpid() << " ===\nstack (addr2line -Cfe names the lines):\n";
  backtrace_symbols_fd(frames, count, fd);
  out << "last requests, newest first (rid, received in unix ms, prompt tokens, completion tokens, end):\n";
  const uint64_t end = next_number.load();
  for (uint64_t number = end - 1; number > 0 && number + kRequests >= end; --number) {
    const Entry& e = entries[number % kRequests];
    if (e.number.load() != number) continue;
    out << "  " << e.rid << " " << e.received_unix_ms.load() << " " << e.prompt_tokens.load() << " " << e.completion_tokens.load() << " "
        << (e.reason[0].load() == '\0' ? "(living)" : "") << e.reason << "\n";
  }
  out << "=== end of crash report ===\n";
}

void OnCrash(int signal) {
  void* frames[kFrames];
  const int count = backtrace(frames, kFrames);
  WriteReport(STDERR_FILENO, signal, frames, count);
  if (report_path[0] != '\0') {
    const int fd = open(report_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
      WriteReport(fd, signal, frames, count);
      close(fd);
    }
  }
  raise(signal);  // the handler is gone by now (SA_RESETHAND): the process ends as it would have
}

}  // namespace

CrashNote NoteRequest(std::string_view rid, int64_t received_unix_ms, int64_t prompt_tokens) {
  const uint64_t number = next_number.fetch_add(1);
  Entry& e = entries[number % kRequests];
  e.number.store(0);
  Store(e.rid, rid);
  Store(e.reason, "");
  e.received_unix_ms.store(received_unix_ms);
  e.prompt_tokens.store(prompt_tokens);
  e.completion_tokens.store(0);
  e.number.store(number);
  return {number};
}

void NoteEnd(CrashNote note, int64_t completion_tokens, std::string_view reason) {
  Entry& e = entries[note.number % kRequests];
  if (note.number == 0 || e.number.load() != note.number) return;
  e.completion_tokens.store(completion_tokens);
  Store(e.reason, reason);
}

Status InstallCrashReport(const std::string& folder) {
  if (!folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error || access(folder.c_str(), W_OK) != 0)
      return InvalidArgument(folder + " cannot be written: " + (error ? error.message() : std::strerror(errno)));
    const std::string path = (std::filesystem::path(folder) / ("crash_" + std::to_string(getpid()) + ".txt")).string();
    if (path.size() >= sizeof report_path) return InvalidArgument(folder + " is too long a name");
    std::copy(path.begin(), path.end(), report_path);
  }
  void* frame = nullptr;
  (void)backtrace(&frame, 1);  // its first call loads a library, which a handler must not
  stack_t stack{};
  stack.ss_sp = alternate_stack;
  stack.ss_size = sizeof alternate_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = OnCrash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_ONSTACK | SA_NODEFER);
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
  return {};
}

}  // namespace sgl
