// Plays tests/traces/*.trace: scheduler scenarios as text, on a virtual clock with a fake model. tests/traces/README.md has the language.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "sched/scheduler.h"

namespace sgl {
namespace {

// "1..4,9" is 1 2 3 4 9.
std::vector<TokenId> ParseTokens(const std::string& text) {
  std::vector<TokenId> tokens;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const size_t dots = part.find("..");
    const int first = std::stoi(part), last = dots == std::string::npos ? first : std::stoi(part.substr(dots + 2));
    for (int t = first; t <= last; ++t) tokens.push_back(t);
  }
  return tokens;
}

struct Command {
  std::string verb;
  std::vector<std::string> words;            // arguments without "="
  std::map<std::string, std::string> named;  // name=value
  std::vector<std::string> names;            // keys of named, in order
  std::string expected;                      // after "->"; "" if there is no arrow

  explicit Command(const std::string& line) {
    const size_t arrow = line.find("->");
    if (arrow != std::string::npos) {
      const size_t start = line.find_first_not_of(' ', arrow + 2);
      if (start != std::string::npos) expected = line.substr(start);
      expected.erase(expected.find_last_not_of(' ') + 1);
    }
    std::istringstream in(line.substr(0, arrow));
    in >> verb;
    for (std::string word; in >> word;) {
      const size_t equals = word.find('=');
      if (equals == std::string::npos) {
        words.push_back(word);
      } else {
        named[word.substr(0, equals)] = word.substr(equals + 1);
        names.push_back(word.substr(0, equals));
      }
    }
  }
  int Int(const std::string& name, int otherwise) const {
    const auto it = named.find(name);
    return it == named.end() ? otherwise : std::stoi(it->second);
  }
  std::string Text(const std::string& name, const std::string& otherwise) const {
    const auto it = named.find(name);
    return it == named.end() ? otherwise : it->second;
  }
};

class Player {
 public:
  void Play(const std::filesystem::path& file) {
    std::ifstream in(file);
    ASSERT_TRUE(in.is_open()) << file;
    int number = 0, steps = 0;
    for (std::string line; std::getline(in, line);) {
      ++number;
      line.erase(std::min(line.find('#'), line.size()));
      const Command c(line);
      if (c.verb.empty()) continue;
      SCOPED_TRACE(file.filename().string() + ":" + std::to_string(number));
      steps += c.verb == "step" ? 1 : 0;
      Do(c);
      if (sched_) sched_->CheckInvariants();
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(steps, 0) << "a trace without a step";
  }

 private:
  void Do(const Command& c) {
    if (c.verb == "pool") return Pool(c);
    ASSERT_TRUE(sched_ != nullptr) << "the first line is `pool`";
    if (c.verb == "add") return Add(c);
    if (c.verb == "step") return Step(c);
    if (c.verb == "abort") return sched_->Abort(ids_.at(c.words.at(0)), Finish::Abort(c.Text("reason", "Aborted"), c.Int("status", 0)));
    if (c.verb == "wait") {
      now_ += std::chrono::seconds(std::stoi(c.words.at(0)));
    } else if (c.verb == "forgive") {
      now_ += std::chrono::seconds(std::stoi(c.words.at(0)));
      sched_->ForgiveTime(std::chrono::seconds(std::stoi(c.words.at(0))));
    } else if (c.verb == "retract_all") {
      sched_->RetractAll(now_);
    } else if (c.verb == "limit") {
      sched_->LimitRunning(std::stoi(c.words.at(0)));
    } else if (c.verb == "flush") {
      cache_->Flush();
    } else if (c.verb == "idle") {
      EXPECT_TRUE(sched_->idle());
      EXPECT_EQ(Pages(), c.expected + " held=0");
    } else if (c.verb == "pages") {
      EXPECT_EQ(Pages(), c.expected);
    } else if (c.verb == "stats") {
      const SchedStats s = sched_->stats();
      EXPECT_EQ("running=" + std::to_string(s.running) + " waiting=" + std::to_string(s.waiting) + " retractions=" +
                    std::to_string(s.retractions) + (s.preemptions > 0 ? " preemptions=" + std::to_string(s.preemptions) : ""),
                c.expected);
    } else {
      FAIL() << "unknown command " << c.verb;
    }
  }

  void Pool(const Command& c) {
    SchedConfig config;
    config.max_running_requests = c.Int("max_running", 64);
    config.max_queued_requests = c.Int("max_queued", 0);
    config.chunked_prefill_size = c.Int("chunk", 2048);
    config.max_prefill_tokens = c.Int("max_prefill", 16384);
    config.schedule_policy = c.Text("policy", "fcfs");
    config.context_length = c.Int("context", 1000);
    config.clip_max_new_tokens = c.Int("clip", 4096);
    config.waiting_timeout_s = c.Int("waiting_timeout", -1);
    config.running_timeout_s = c.Int("running_timeout", -1);
    config.test_retract_interval = c.Int("test_retract", 0);
    config.test_retract_max_running = c.Int("test_retract_bs", config.test_retract_max_running);
    config.enable_mixed_chunk = c.Text("mixed", "off") == "on";
    config.prefill_max_requests = c.Int("prefill_max", 0);
    config.enable_priority_scheduling = c.Text("priority", "off") != "off";
    config.schedule_low_priority_values_first = c.Text("priority", "off") == "low_first";
    config.disable_priority_preemption = c.Text("preemption", "on") == "off";
    config.priority_scheduling_preemption_threshold = c.Int("threshold", 10);
    config.abort_on_priority_when_disabled = c.Text("abort_on_priority", "off") == "on";
    if (c.named.contains("default_priority")) config.default_priority_value = c.Int("default_priority", 0);
    config.random_seed = static_cast<uint64_t>(c.Int("seed", 0));
    cache_ = std::make_unique<KvCache>(c.Int("pages", 8), c.Int("page_size", 4), c.Text("radix", "on") == "on");
    sched_ = std::make_unique<Scheduler>(config, *cache_);
  }

  void Add(const Command& c) {
    const std::string name = c.words.at(0);
    SchedRequest r;
    r.id = RequestId{++last_id_};
    r.prompt = ParseTokens(c.named.at("prompt"));
    r.max_new_tokens = c.Int("max_new", 4);
    r.min_new_tokens = c.Int("min_new", 0);
    r.stop_ids = ParseTokens(c.Text("stop", ""));
    r.logprob_start_len = c.Int("logprob_start", -1);
    r.extra_key = c.Text("key", "");
    r.routing_key = c.Text("route", "");
    if (c.named.contains("priority")) r.priority = c.Int("priority", 0);
    ids_[name] = r.id;
    names_[r.id] = name;
    outputs_[r.id] = 0;
    const Status status = sched_->Add(std::move(r), now_);
    EXPECT_EQ(status.ok() ? "" : status.error().message, c.expected);
  }

  // Tokens are 500, 501... per request unless the command gives one: a=7; a=~text is a token that completes that stop string.
  void Step(const Command& c) {
    std::string said;
    const auto say = [&](const std::string& text) { said += (said.empty() ? "" : "; ") + text; };
    const auto say_ended = [&](const std::vector<Ended>& ended) {
      for (const Ended& e : ended) say("end " + names_.at(e.id) + " " + Describe(e.finish));
    };
    say_ended(sched_->Sweep(now_));
    std::vector<Ended> ended;
    const StepPlan& plan = sched_->Plan(now_, ended);
    say_ended(ended);
    if (!plan.empty()) say(Describe(plan));
    if (!c.words.empty() && c.words[0] == "fails") {
      say_ended(sched_->FailStep(Finish::Abort("the step failed", 500)));
      EXPECT_EQ(said, c.expected);
      return;
    }
    std::vector<Sampled> sampled;
    size_t used = 0;
    for (const PlanRow& row : plan.rows) {
      if (!row.sample) continue;
      Sampled s;
      s.token = 500 + outputs_.at(row.id)++;
      const auto given = c.named.find(names_.at(row.id));
      if (given != c.named.end()) {
        ++used;
        if (given->second[0] == '~') {
          s.hit.emplace();
          s.hit->matched = given->second.substr(1);
        } else {
          s.token = std::stoi(given->second);
        }
      }
      sampled.push_back(s);
    }
    EXPECT_EQ(used, c.names.size()) << "a token for a request that does not sample here";
    say_ended(sched_->Commit(sampled, now_));
    EXPECT_EQ(said.empty() ? "nothing" : said, c.expected);
  }

  std::string Describe(const Finish& f) const {
    if (f.kind == FinishKind::kLength) return "length " + std::to_string(f.length);
    if (f.kind == FinishKind::kAbort)
      return "abort " + (f.status_code != 0 ? std::to_string(f.status_code) + " " : "") + "\"" + f.message + "\"";
    if (const auto* token = std::get_if<TokenId>(&f.matched)) return "stop " + std::to_string(*token);
    return "stop \"" + std::get<std::string>(f.matched) + "\"";
  }

  std::string Describe(const StepPlan& plan) const {
    std::string text = plan.rows.front().prefill ? "prefill" : "decode";
    bool prefill = plan.rows.front().prefill;
    for (const PlanRow& row : plan.rows) {
      const auto end = row.first_pos + static_cast<int>(row.tokens.size());
      if (row.prefill != prefill) text += ", prefill";
      prefill = row.prefill;
      text += " " + names_.at(row.id);
      if (row.prefill) {
        text += "[" + std::to_string(row.first_pos) + "," + std::to_string(end) + ")" + (row.sample ? "" : "..");
        if (row.cached_tokens > 0) text += " cached=" + std::to_string(row.cached_tokens);
      } else {
        text += "@" + std::to_string(row.first_pos);
      }
    }
    return text;
  }

  std::string Pages() const {
    return "free=" + std::to_string(cache_->free_pages()) +
           " cached=" + std::to_string(cache_->evictable_pages() + cache_->protected_pages()) +
           " held=" + std::to_string(cache_->held_pages());
  }

  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Scheduler> sched_;
  TimePoint now_{};
  uint64_t last_id_ = 0;
  std::map<std::string, RequestId> ids_;
  std::map<RequestId, std::string> names_;
  std::map<RequestId, int> outputs_;
};

std::vector<std::string> TraceNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SGLANG_SOURCE_DIR "/tests/traces")) {
    if (entry.path().extension() == ".trace") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Trace : public testing::TestWithParam<std::string> {};

TEST_P(Trace, Plays) {
  Player player;
  player.Play(std::filesystem::path(SGLANG_SOURCE_DIR "/tests/traces") / (GetParam() + ".trace"));
}

INSTANTIATE_TEST_SUITE_P(Files, Trace, testing::ValuesIn(TraceNames()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace sgl
