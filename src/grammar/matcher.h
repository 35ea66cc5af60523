// The matcher of any machine: history, tokens, stop tokens. Inside of the room.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "grammar/arena.h"
#include "grammar/grammar.h"

namespace sgl {

// Engine: shared by all matchers of a grammar. It has
//   State (copyable), State Start() const, bool Step(State&, uint8_t, Arena&) const, bool complete(const State&) const,
//   bool finished(const State&) const, bool StepToken(State&, TokenId, Arena&) const (for tokens that are not text),
//   void Fill(const State&, Arena&, std::span<uint32_t>) const, const Vocabulary& vocabulary() const.
template <class Engine>
class MatcherOf final : public Matcher {
 public:
  explicit MatcherOf(std::shared_ptr<const Engine> engine) : engine_(std::move(engine)), state_(engine_->Start()) {}

  bool Accept(TokenId token) override {
    if (ended_) return false;
    const Vocabulary& vocabulary = engine_->vocabulary();
    Entry before{state_, arena_.mark()};
    if (vocabulary.is_stop(token)) {
      if (!engine_->complete(state_)) return false;
      ended_ = true;
    } else {
      const std::string_view bytes = vocabulary.bytes(token);
      auto next = state_;
      bool good = true;
      if (bytes.empty()) {
        good = engine_->StepToken(next, token, arena_);
      } else {
        for (size_t i = 0; i < bytes.size() && good; ++i) good = engine_->Step(next, static_cast<uint8_t>(bytes[i]), arena_);
      }
      if (!good) {
        arena_.Reset(before.mark);
        return false;
      }
      state_ = std::move(next);
    }
    history_.push_back(std::move(before));
    if (history_.size() > kMaxRollback) history_.pop_front();
    return true;
  }

  void Rollback(size_t tokens) override {
    for (; tokens > 0 && !history_.empty(); --tokens) {
      ended_ = false;
      state_ = std::move(history_.back().state);
      arena_.Reset(history_.back().mark);
      history_.pop_back();
    }
  }

  void Fill(std::span<uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0);
    if (ended_) return;
    engine_->Fill(state_, arena_, mask);
    if (!engine_->complete(state_)) return;
    for (const TokenId id : engine_->vocabulary().stop_ids()) mask[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  }

  bool can_end() const override { return ended_ || engine_->complete(state_); }
  bool must_end() const override { return ended_ || engine_->finished(state_); }
  bool terminated() const override { return ended_ || (engine_->vocabulary().stop_ids().empty() && engine_->finished(state_)); }

  std::unique_ptr<Matcher> Fork() override {
    auto copy = std::make_unique<MatcherOf>(engine_);
    copy->state_ = state_;
    copy->history_ = history_;
    copy->ended_ = ended_;
    copy->arena_ = arena_.Share();
    // Marks taken before the fork must not give back what the other one still reads.
    for (Entry& e : history_) e.mark = arena_.mark();
    for (Entry& e : copy->history_) e.mark = copy->arena_.mark();
    return copy;
  }

  std::string JumpForward() override {
    std::string forced;
    const Arena::Mark mark = arena_.mark();
    auto state = state_;
    while (forced.size() < 4096 && !engine_->complete(state)) {
      int only = -1;
      const Arena::Mark here = arena_.mark();
      for (int b = 0; b < 256; ++b) {
        auto next = state;
        const bool good = engine_->Step(next, static_cast<uint8_t>(b), arena_);
        if (!good) {
          arena_.Reset(here);
          continue;
        }
        if (only >= 0) {
          only = -2;
          break;
        }
        only = b;
        arena_.Reset(here);
      }
      if (only < 0) break;
      if (!engine_->Step(state, static_cast<uint8_t>(only), arena_)) break;
      forced += static_cast<char>(only);
    }
    arena_.Reset(mark);
    return forced;
  }

 private:
  struct Entry {
    typename Engine::State state;
    Arena::Mark mark;
  };
  std::shared_ptr<const Engine> engine_;
  typename Engine::State state_;
  std::deque<Entry> history_;
  Arena arena_;
  bool ended_ = false;
};

template <class Engine>
class GrammarOf final : public Grammar {
 public:
  explicit GrammarOf(std::shared_ptr<const Engine> engine) : engine_(std::move(engine)) {}
  std::unique_ptr<Matcher> NewMatcher() const override { return std::make_unique<MatcherOf<Engine>>(engine_); }
  size_t bytes() const override { return engine_->bytes(); }

 private:
  std::shared_ptr<const Engine> engine_;
};

}  // namespace sgl
