// SPDX-License-Identifier: Apache-2.0
#include "weights/file_fault.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>

#include "base/check.h"

namespace sgl {
namespace {

thread_local volatile sig_atomic_t t_guarded = 0, t_happened = 0;
uintptr_t g_page_size = 4096;  // set before the handler can run

// Everything here may be called from a signal handler: mmap and sigaction are plain system calls on Linux.
void OnBusError(int signal, siginfo_t* info, void*) {
  if (t_guarded != 0 && info->si_code == BUS_ADRERR) {
    void* page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(info->si_addr) & ~(g_page_size - 1));
    if (mmap(page, g_page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
      t_happened = 1;
      return;
    }
  }
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);  // the instruction runs again and ends the process
}

}  // namespace

FileFaultGuard::FileFaultGuard() {
  static std::once_flag once;
  std::call_once(once, [] {
    g_page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGBUS, &action, nullptr) == 0);
  });
  CHECK(t_guarded == 0 && "nested");
  t_happened = 0;
  t_guarded = 1;
}

FileFaultGuard::~FileFaultGuard() { t_guarded = 0; }

bool FileFaultGuard::happened() const { return t_happened != 0; }

}  // namespace sgl
