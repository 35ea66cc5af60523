// Operations on a running engine, as values: sessions, pausing, new weights. The answer comes through a callback.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/result.h"

namespace sgl {

class WeightsUpdate;

// Answers with the session's id. Errors: an id that is open already, a streaming session, too many sessions.
struct OpenSession {
  std::string session_id;             // "": one is made up
  int64_t capacity_of_str_len = 0;    // tokens that one of its contexts may have; <= 0: as many as the model takes
  bool streaming = false;             // not supported
  std::optional<double> timeout_s{};  // closed after so many idle seconds
};
struct CloseSession {  // unknown ids are ignored; what is running goes on
  std::string session_id;
};

// Until ContinueGeneration newcomers are held back.
enum class PauseMode {
  kAbort,    // everybody is aborted
  kInPlace,  // everybody stays where it is, KV cache included
  kRetract,  // who is running gives its KV back and computes it again later
};
struct PauseGeneration {
  PauseMode mode = PauseMode::kAbort;
};
struct ContinueGeneration {};

// New weights of the same architecture and shapes. They are loaded beside the old ones, which serve on until the exchange: between two
// steps, when nobody is running (newcomers are held back meanwhile) or generation is paused. On any error the old ones stay.
struct UpdateWeights {
  std::string model_path;
  std::string load_format = "auto";
  bool abort_all_requests = false;  // do not wait for the requests that were there when this one came: abort them before the exchange
  bool flush_cache = true;          // the prefix cache was computed with the old weights
  std::optional<std::string> weight_version{};
  bool zero = false;                        // not what the file has, but zeros: for tests of what loads weights
  std::shared_ptr<WeightsUpdate> shared{};  // replicas: the same for all that take part; null: there is one engine
};
struct SetWeightVersion {
  std::string version;
  bool abort_all_requests = true;
};

struct LimitRunningRequests {  // at least 1; the configured value bounds it
  int most = 1;
};
struct SlowDown {  // seconds of sleep before each step, for tests; 0: none
  double seconds = 0;
};
struct AbortByPrefix {  // every request whose rid begins like this; never ""
  std::string prefix;
};

using ControlRequest = std::variant<OpenSession, CloseSession, PauseGeneration, ContinueGeneration, UpdateWeights, SetWeightVersion,
                                    LimitRunningRequests, SlowDown, AbortByPrefix>;

// Called once, on the engine thread, with what there is to say ("" mostly); must not block.
using ControlDone = std::function<void(Result<std::string>)>;

}  // namespace sgl
