// A library to preload: lets one allocation of one thread fail, when and where a test says so. The test and the process share a file that
// SGLANG_FAULT_CONTROL names, which has the size of Control.
//   LD_PRELOAD=libfail_allocation.so SGLANG_FAULT_CONTROL=FILE sglang serve ...
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr size_t kNameBytes = 16;  // as the kernel has it

struct Control {
  std::atomic<int64_t> countdown;  // 1: the next allocation of that thread fails; 0: none does
  std::atomic<int64_t> failed;     // so many have
  char thread[kNameBytes];         // its name
};

Control* Open() {
  const char* path = std::getenv("SGLANG_FAULT_CONTROL");
  if (path == nullptr) return nullptr;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* const mapped = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<Control*>(mapped);
}

bool IsMeant(const Control& control) {
  char name[kNameBytes] = {};
  prctl(PR_GET_NAME, name);
  return std::strncmp(name, control.thread, kNameBytes) == 0;
}

}  // namespace

// Those for arrays and the ones that do not throw call this one, and what it returns is freed with free.
void* operator new(size_t bytes) {
  static Control* const control = Open();
  if (control != nullptr && control->countdown.load(std::memory_order_relaxed) > 0 && IsMeant(*control) &&
      control->countdown.fetch_sub(1) == 1) {
    control->failed.fetch_add(1);
    throw std::bad_alloc();
  }
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
