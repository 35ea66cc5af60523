// A thread is a capability: clang's -Wthread-safety rejects a call from the wrong one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__clang__)
#define SGL_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define SGL_THREAD_ATTRIBUTE(x)
#endif
#define CAPABILITY(x) SGL_THREAD_ATTRIBUTE(capability(x))
#define REQUIRES(...) SGL_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define GUARDED_BY(x) SGL_THREAD_ATTRIBUTE(guarded_by(x))
#define ACQUIRE(...) SGL_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) SGL_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define SCOPED_CAPABILITY SGL_THREAD_ATTRIBUTE(scoped_lockable)
#define ASSERT_CAPABILITY(...) SGL_THREAD_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS SGL_THREAD_ATTRIBUTE(no_thread_safety_analysis)

#include <mutex>

namespace sgl {

class CAPABILITY("role") ThreadRole {};
inline ThreadRole engine_thread;  // whoever runs Engine::Step()

// At the top of a thread's main function: "from here on I am that thread".
inline void AssertRole(ThreadRole& role) ASSERT_CAPABILITY(role) { (void)role; }

// std::mutex with the annotations that clang's analysis needs.
class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { m_.lock(); }
  void unlock() RELEASE() { m_.unlock(); }
  std::mutex& native() { return m_; }

 private:
  std::mutex m_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& m) ACQUIRE(m) : m_(m) { m_.lock(); }
  ~MutexLock() RELEASE() { m_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& m_;
};

}  // namespace sgl
