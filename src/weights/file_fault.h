// Reading mapped files that somebody may shorten meanwhile, without losing the process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sgl {

// While one is alive on a thread, pages that a mapped file has lost read as zeros there, instead of ending the process with SIGBUS.
// What was read is worthless when happened(). Replaces the process' SIGBUS handler once; faults on other threads still end the process.
// Thread: use on the thread that made it; they do not nest.
class FileFaultGuard {
 public:
  FileFaultGuard();
  ~FileFaultGuard();
  FileFaultGuard(const FileFaultGuard&) = delete;
  FileFaultGuard& operator=(const FileFaultGuard&) = delete;
  bool happened() const;
};

}  // namespace sgl
