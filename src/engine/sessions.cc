// SPDX-License-Identifier: Apache-2.0
#include "engine/sessions.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <utility>

namespace sgl {

Result<std::string> Sessions::Open(const OpenSession& open, TimePoint now) {
  if (open.streaming) return InvalidArgument("streaming: this server has no streaming sessions; open the session without it.");
  if (open.timeout_s && !(*open.timeout_s > 0)) return InvalidArgument("timeout: must be a number of seconds above 0.");
  if (sessions_.size() >= kMostSessions || sessions_.contains(open.session_id)) Reap(now);
  if (sessions_.size() >= kMostSessions)
    return InvalidArgument(fmt::format("There are {} open sessions already; close some, or open them with a timeout.", kMostSessions));
  std::string id = open.session_id;
  if (id.empty()) {
    std::random_device entropy;  // an id that nobody guesses: it is all one needs to read the conversation
    id = fmt::format("{:08x}{:08x}{:08x}{:08x}", entropy(), entropy(), entropy(), ++made_up_ & 0xFFFFFFFF);
  }
  const auto [it, is_new] = sessions_.try_emplace(id);
  if (!is_new) return InvalidArgument(fmt::format("session_id: session {} is open already.", id));
  it->second.capacity = open.capacity_of_str_len;
  it->second.timeout_s = open.timeout_s;
  it->second.used = now;
  return id;
}

void Sessions::Forget(const Session& session) {
  for (const auto& [rid, node] : session.nodes) tokens_ -= node->prompt.size();
}

void Sessions::Close(const std::string& id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Forget(found->second);
  sessions_.erase(found);
}

// Idle is who has no unfinished request; since the last one ended.
bool Sessions::IsExpired(const Session& session, TimePoint now) {
  if (!session.timeout_s || Seconds(now - session.used) <= *session.timeout_s) return false;
  return std::all_of(session.nodes.begin(), session.nodes.end(), [&](const auto& entry) {
    return entry.second->finished_at && Seconds(now - *entry.second->finished_at) > *session.timeout_s;
  });
}

void Sessions::Reap(TimePoint now) {
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const bool expired = IsExpired(it->second, now);
    if (expired) Forget(it->second);
    it = expired ? sessions_.erase(it) : std::next(it);
  }
}

// Forgets every node below `above`; nullptr: all of them.
void Sessions::Drop(Session& session, const SessionNode* above, std::vector<RequestId>& abort) {
  const auto is_below = [&](const SessionNode* node) {
    if (above == nullptr) return true;
    for (auto parent = node->parent.lock(); parent != nullptr; parent = parent->parent.lock())
      if (parent.get() == above) return true;
    return false;
  };
  std::vector<std::string> gone;
  for (const auto& [rid, node] : session.nodes) {
    if (!is_below(node.get())) continue;
    gone.push_back(rid);
    tokens_ -= node->prompt.size();
    if (!node->finished_at) abort.push_back(node->id);
  }
  for (const std::string& rid : gone) session.nodes.erase(rid);
}

Result<std::shared_ptr<SessionNode>> Sessions::Join(RequestId id, GenerateRequest& request, std::optional<TokenId> bos, TimePoint now,
                                                    std::vector<RequestId>& abort, const std::function<Status(int64_t)>& check) {
  const SessionParams& params = *request.session;
  const auto found = sessions_.find(params.id);
  if (found == sessions_.end() || IsExpired(found->second, now))
    return InvalidArgument(fmt::format("Invalid request: session id {} does not exist", params.id));
  Session& session = found->second;
  session.used = now;

  std::shared_ptr<SessionNode> last;
  if (params.rid) {
    const auto node = session.nodes.find(*params.rid);
    if (node == session.nodes.end()) return InvalidArgument(fmt::format("Invalid request session id: it has no request {}", *params.rid));
    last = node->second;
    if (!last->finished_at && !params.replace) return InvalidArgument("Session request is appending to a request that hasn't finished.");
  }

  // Composed before anything is dropped: a refusal must leave the session as it was.
  std::vector<TokenId> tokens;
  if (last != nullptr) {
    tokens = last->prompt;
    if (!params.drop_previous_output) tokens.insert(tokens.end(), last->output.begin(), last->output.end());
    if (params.offset > 0 && static_cast<size_t>(params.offset) < tokens.size()) tokens.resize(static_cast<size_t>(params.offset));
    const bool has_bos = bos && !request.prompt.empty() && request.prompt.front() == *bos;
    tokens.insert(tokens.end(), request.prompt.begin() + (has_bos ? 1 : 0), request.prompt.end());
  } else {
    tokens = request.prompt;
  }
  if (session.capacity > 0 && static_cast<int64_t>(tokens.size()) > session.capacity)
    return InvalidArgument(
        fmt::format("The context ({} tokens) is larger than the session's capacity_of_str_len ({}).", tokens.size(), session.capacity));
  TRY_STATUS(check(static_cast<int64_t>(tokens.size())));
  if (tokens_ + tokens.size() > kMostTokens) return InvalidArgument("The open sessions hold too many tokens; close some.");

  if (params.replace) {
    if (last != nullptr && !last->finished_at) abort.push_back(last->id);
    Drop(session, last.get(), abort);
  }
  request.prompt = std::move(tokens);
  auto node = std::make_shared<SessionNode>();
  node->id = id;
  node->prompt = request.prompt;
  node->parent = last;
  tokens_ += node->prompt.size();
  auto& slot = session.nodes[request.rid];
  if (slot != nullptr) tokens_ -= slot->prompt.size();  // the rid of an ended request, used again
  slot = node;
  return node;
}

}  // namespace sgl
