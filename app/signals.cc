// SPDX-License-Identifier: Apache-2.0
#include "app/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>

#include "obs/log.h"

namespace sgl {
namespace {

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

ShutdownSignals::ShutdownSignals(bool force) : force_(force) {
  const sigset_t set = Watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { Watch(); });
}

ShutdownSignals::~ShutdownSignals() {
  {
    std::lock_guard lock(mutex_);
    callback_ = nullptr;
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGTERM);  // wakes sigwait
  thread_.join();
}

void ShutdownSignals::OnShutdown(std::function<void()> callback) {
  std::lock_guard lock(mutex_);
  callback_ = std::move(callback);
}

void ShutdownSignals::Watch() {
  const sigset_t set = Watched();
  bool first = true;
  while (true) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    if (force_ || !first || !callback_) {
      LOG_WARNING("signal {}: exiting at once", signal);
      _exit(128 + signal);
    }
    first = false;
    LOG_INFO("signal {}: finishing what is running, then exiting; a second signal exits at once", signal);
    callback_();
  }
}

}  // namespace sgl
