// Sessions: conversations whose requests build on each other's tokens. The KV cache needs no help for that: the tokens are the same, so the
// radix tree has them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/control.h"
#include "sched/request.h"

namespace sgl {

// One request of a session: a node of its tree. Shared with the living request, which appends its output.
struct SessionNode {
  RequestId id{};
  std::vector<TokenId> prompt, output;
  std::optional<TimePoint> finished_at;
  std::weak_ptr<SessionNode> parent;  // in the same session
};

// Thread: engine. Source of the rules: SGLang's session controller.
class Sessions {
 public:
  static constexpr size_t kMostSessions = 4096;
  static constexpr size_t kMostTokens = size_t{1} << 26;  // in the contexts of all sessions

  // A session that has been idle for longer than its timeout is closed, whether Reap has come round or not.
  Result<std::string> Open(const OpenSession& open, TimePoint now);
  void Close(const std::string& id);
  void Reap(TimePoint now);  // forgets those

  // Puts the context in front of request.prompt and adds the request to its session. `abort` gets unfinished requests that it replaces;
  // they must be aborted. bos: dropped from the head of what is appended. check: may the whole have so many tokens? Errors, which leave the
  // session as it was: no such session, no such request, not finished yet, too long for the session, what check says.
  Result<std::shared_ptr<SessionNode>> Join(RequestId id, GenerateRequest& request, std::optional<TokenId> bos, TimePoint now,
                                            std::vector<RequestId>& abort, const std::function<Status(int64_t)>& check);

  size_t size() const { return sessions_.size(); }

 private:
  struct Session {
    int64_t capacity = 0;
    std::optional<double> timeout_s;
    TimePoint used{};
    std::unordered_map<std::string, std::shared_ptr<SessionNode>> nodes;  // by rid
  };
  static bool IsExpired(const Session& session, TimePoint now);
  void Drop(Session& session, const SessionNode* above, std::vector<RequestId>& abort);
  void Forget(const Session& session);

  std::unordered_map<std::string, Session> sessions_;
  size_t tokens_ = 0;  // of the prompts of all nodes
  uint64_t made_up_ = 0;
};

}  // namespace sgl
