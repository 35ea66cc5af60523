// When the process crashes: a stack and the last requests, without a word of their texts, on stderr and in a file.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sgl {

// Names an entry of the list; older entries are overwritten, and notes about them are then dropped.
struct CrashNote {
  uint64_t number = 0;
};

// Thread: any; a few dozen instructions. The list is global because a signal handler has no other way to it.
CrashNote NoteRequest(std::string_view rid, int64_t received_unix_ms, int64_t prompt_tokens);
void NoteEnd(CrashNote note, int64_t completion_tokens, std::string_view reason);

// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write the report before they end the process. folder "": stderr only; else also
// <folder>/crash_<pid>.txt. Errors: the folder cannot be made or written.
Status InstallCrashReport(const std::string& folder);

}  // namespace sgl
