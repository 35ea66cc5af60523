// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_plan.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "grammar/json_detail.h"

namespace sgl {
namespace {

constexpr size_t kMaxTrackCells = 2'000'000;
constexpr size_t kMaxFewKeys = 256;
constexpr uint32_t kManyKeys = 1'000'000;  // more than one object can have

// What a node's own assertions say before anything of a value of this type was read.
Tri Start(const SchemaNode& n, JsonTypeBit type) {
  if ((n.types & type) == 0) return kFalse;
  switch (type) {
    case kNumberBit: return n.number && !n.number->free() ? kOpen : kTrue;
    case kStringBit: return n.text || n.min_length > 0 || n.max_length != kEndless ? kOpen : kTrue;
    case kArrayBit: return n.array ? kOpen : kTrue;
    case kObjectBit: return n.object ? kOpen : kTrue;
    default: return kTrue;
  }
}

// Keys that no pattern tells apart.
const std::shared_ptr<const MultiDfa>& PlainKeys() {
  static const auto plain = std::make_shared<const MultiDfa>(*MultiDfa::Build({}, kMaxTrackCells));
  return plain;
}

}  // namespace

NameTrie::NameTrie(const std::vector<std::string>& sorted) {
  struct Todo {
    uint32_t node;
    size_t depth;
  };
  nodes.push_back({0, 0, 0, static_cast<uint32_t>(sorted.size()), -1});
  std::vector<Todo> todo{{0, 0}};
  for (size_t t = 0; t < todo.size(); ++t) {
    const auto [at, depth] = todo[t];
    uint32_t i = nodes[at].low;
    const uint32_t high = nodes[at].high;
    if (i < high && sorted[i].size() == depth) nodes[at].name = static_cast<int32_t>(i++);
    nodes[at].first_kid = static_cast<uint32_t>(kid_byte.size());
    while (i < high) {
      uint32_t end = i + 1;
      while (end < high && sorted[end][depth] == sorted[i][depth]) ++end;
      kid_byte.push_back(static_cast<uint8_t>(sorted[i][depth]));
      kid_node.push_back(static_cast<uint32_t>(nodes.size()));
      todo.push_back({static_cast<uint32_t>(nodes.size()), depth + 1});
      nodes.push_back({0, 0, i, end, -1});
      i = end;
    }
    nodes[at].kids = static_cast<uint32_t>(kid_byte.size()) - nodes[at].first_kid;
  }
}

uint32_t NameTrie::Step(uint32_t node, uint8_t byte) const {
  const Node& n = nodes[node];
  for (uint32_t i = n.first_kid; i < n.first_kid + n.kids; ++i)
    if (kid_byte[i] == byte) return kid_node[i];
  return kDeadState;
}

PlanTable::PlanTable(Schema schema) : schema_(std::move(schema)) { root_ = &Get({schema_.root}); }

const ValuePlan& PlanTable::Get(std::vector<int> wanted) const {
  std::lock_guard lock(mutex_);
  const auto it = plans_.find(wanted);
  if (it != plans_.end()) return *it->second;
  std::unique_ptr<ValuePlan> plan = Build(wanted);
  plan->id = static_cast<uint32_t>(plans_.size());
  bytes_ += 400 + plan->locals.size() * 60 + plan->exprs.size() * 48;
  return *plans_.emplace(std::move(wanted), std::move(plan)).first->second;
}

// The expression of a node: its own assertions and everything that it applies to the same value.
int PlanTable::AddNode(ValuePlan& plan, std::map<int, int>& done, int id) const {
  const auto known = done.find(id);
  if (known != done.end()) return known->second;
  const SchemaNode& n = node(id);
  const auto add = [&](PlanExpr::Op op, int index, std::vector<int> kids) {
    plan.exprs.push_back({op, index, std::move(kids)});
    return static_cast<int>(plan.exprs.size()) - 1;
  };
  const auto group = [&](const std::vector<int>& ids) {
    std::vector<int> out;
    for (const int k : ids) out.push_back(AddNode(plan, done, k));
    return out;
  };
  std::vector<int> parts = group(n.all_of);
  const bool silent =
      n.types == kAllTypes && !n.number && !n.text && n.min_length == 0 && n.max_length == kEndless && !n.object && !n.array;
  if (!silent || id == kAnyNode) {
    plan.locals.push_back(id);
    parts.push_back(add(PlanExpr::Op::kLocal, static_cast<int>(plan.locals.size()) - 1, {}));
  }
  for (const auto& any : n.any_of) parts.push_back(add(PlanExpr::Op::kOr, 0, group(any)));
  for (const auto& one : n.one_of) parts.push_back(add(PlanExpr::Op::kOne, 0, group(one)));
  if (n.not_node >= 0) parts.push_back(add(PlanExpr::Op::kNot, 0, {AddNode(plan, done, n.not_node)}));
  if (n.if_node >= 0) {
    const int condition = AddNode(plan, done, n.if_node);
    const int yes = AddNode(plan, done, n.then_node >= 0 ? n.then_node : kAnyNode);
    const int no = AddNode(plan, done, n.else_node >= 0 ? n.else_node : kAnyNode);
    parts.push_back(add(PlanExpr::Op::kIf, 0, {condition, yes, no}));
  }
  for (const auto& [name, k] : n.dependent_schemas) {
    const auto at = std::find(plan.seen_names.begin(), plan.seen_names.end(), name);
    const auto index = static_cast<int>(at - plan.seen_names.begin());
    if (at == plan.seen_names.end()) plan.seen_names.push_back(name);
    const int absent = add(PlanExpr::Op::kNot, 0, {add(PlanExpr::Op::kSeen, index, {})});
    parts.push_back(add(PlanExpr::Op::kOr, 0, {absent, AddNode(plan, done, k)}));
  }
  const int result = parts.size() == 1 ? parts[0] : add(PlanExpr::Op::kAnd, 0, std::move(parts));
  done.emplace(id, result);
  return result;
}

std::unique_ptr<ValuePlan> PlanTable::Build(std::vector<int> wanted) const {
  auto plan = std::make_unique<ValuePlan>();
  std::map<int, int> done;
  for (const int id : wanted) plan->roots.push_back(AddNode(*plan, done, id));
  plan->wanted = std::move(wanted);
  const size_t n = plan->locals.size();
  for (size_t t = 0; t < 7; ++t)
    for (const int id : plan->locals) plan->start[t].push_back(Start(node(id), static_cast<JsonTypeBit>(1 << t)));
  std::vector<Tri> values;
  const auto possible = [&](const Tri* locals, Tri seen) {
    Evaluate(
        *plan, locals, [&](int) { return seen; }, values);
    return std::all_of(plan->roots.begin(), plan->roots.end(), [&](int r) { return (values[static_cast<size_t>(r)] & kTrue) != 0; });
  };
  for (size_t t = 0; t < 7; ++t)
    if (possible(plan->start[t].data(), t == 6 ? kOpen : kFalse)) plan->types |= static_cast<uint8_t>(1 << t);
  for (const Tri t : plan->start[3]) plan->open_numbers |= t == kOpen ? 1 : 0;
  // A conjunction: without any one local it cannot hold, with all of them it does.
  std::vector<Tri> locals(n, kTrue);
  plan->conjunction = plan->seen_names.empty() && n <= 256;
  if (plan->conjunction) {
    Evaluate(
        *plan, locals.data(), [](int) { return kOpen; }, values);
    for (const int r : plan->roots) plan->conjunction = plan->conjunction && values[static_cast<size_t>(r)] == kTrue;
    std::fill(locals.begin(), locals.end(), kOpen);
    for (size_t i = 0; i < n && plan->conjunction; ++i) {
      locals[i] = kFalse;
      plan->conjunction = !possible(locals.data(), kOpen);
      locals[i] = kOpen;
    }
  }
  for (size_t t = 0; t < 7 && n <= 256; ++t) {
    if (t == TypeIndex(kObjectBit) && !plan->seen_names.empty()) continue;
    const std::vector<Tri>& start = plan->start[t];
    locals = start;
    for (Tri& l : locals) l = l == kOpen ? kTrue : l;
    Evaluate(
        *plan, locals.data(), [](int) { return kFalse; }, values);
    bool all = std::all_of(plan->roots.begin(), plan->roots.end(), [&](int r) { return values[static_cast<size_t>(r)] == kTrue; });
    locals = start;
    for (size_t i = 0; i < n && all; ++i) {
      if (start[i] != kOpen) continue;
      locals[i] = kFalse;
      all = !possible(locals.data(), kFalse);
      locals[i] = kOpen;
    }
    if (all) plan->conjunctions |= static_cast<uint8_t>(1 << t);
  }
  return plan;
}

uint8_t PlanTable::Types(const ValuePlan& plan) const {
  constexpr uint8_t kKnown = 0x80;
  constexpr size_t kMaxLevels = 16;
  if (const uint8_t known = plan.feasible.load(std::memory_order_relaxed); known != 0) return known & kAllTypes;
  thread_local std::vector<const ValuePlan*> open;
  // What contains itself is taken to come to an end.
  if (open.size() >= kMaxLevels || std::find(open.begin(), open.end(), &plan) != open.end()) return plan.types;
  struct Level {
    explicit Level(const ValuePlan* plan) { open.push_back(plan); }
    ~Level() { open.pop_back(); }
  } level(&plan);
  uint8_t types = plan.types;
  if ((types & plan.conjunctions & kObjectBit) != 0 && !MembersFeasible(plan)) types &= static_cast<uint8_t>(~kObjectBit);
  if ((types & plan.conjunctions & kArrayBit) != 0 && !ItemsFeasible(plan)) types &= static_cast<uint8_t>(~kArrayBit);
  if ((types & kNumberBit) != 0 && plan.open_numbers != 0) {
    const NumberPlan& numbers = Number(plan);
    if (numbers.known && numbers.any_of.empty()) types &= static_cast<uint8_t>(~kNumberBit);
  }
  if ((types & plan.conjunctions & kStringBit) != 0) {
    const std::vector<Tri>& strings = plan.start[TypeIndex(kStringBit)];
    const bool several = std::count(strings.begin(), strings.end(), kOpen) > 1;
    if (several && String(plan, true).too_large) types &= static_cast<uint8_t>(~kStringBit);
  }
  plan.feasible.store(types | kKnown, std::memory_order_relaxed);
  return types;
}

bool PlanTable::Feasible(std::vector<int> wanted) const {
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (wanted.size() > 1 && wanted[0] == kAnyNode) wanted.erase(wanted.begin());  // `true` says nothing next to others
  return wanted.empty() || Types(Get(std::move(wanted))) != 0;
}

// Of a conjunction: each required member has a value.
bool PlanTable::MembersFeasible(const ValuePlan& plan) const {
  std::vector<const ObjectSpec*> specs;
  std::set<std::string_view> required;
  for (size_t i = 0; i < plan.locals.size(); ++i)
    if (plan.start[TypeIndex(kObjectBit)][i] == kOpen) {
      specs.push_back(node(plan.locals[i]).object.get());
      if (specs.back() == nullptr) specs.pop_back();
    }
  for (const ObjectSpec* o : specs) required.insert(o->required.begin(), o->required.end());
  return std::all_of(required.begin(), required.end(), [&](std::string_view name) {
    std::vector<int> wanted;
    for (const ObjectSpec* o : specs) {
      const size_t before = wanted.size();
      const auto at =
          std::lower_bound(o->properties.begin(), o->properties.end(), name, [](const auto& p, std::string_view s) { return p.first < s; });
      if (at != o->properties.end() && at->first == name) wanted.push_back(at->second);
      for (const auto& [dfa, kid] : o->patterns)
        if (dfa->Matches(name)) wanted.push_back(kid);
      if (wanted.size() == before) wanted.push_back(o->additional);
      if (o->names && !o->names->Matches(name)) return false;
    }
    return Feasible(std::move(wanted));
  });
}

// Of a conjunction: each of the items that there have to be.
bool PlanTable::ItemsFeasible(const ValuePlan& plan) const {
  std::vector<const ArraySpec*> specs;
  size_t min = 0, max = kEndless, prefix = 0;
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    const ArraySpec* a = plan.start[TypeIndex(kArrayBit)][i] == kOpen ? node(plan.locals[i]).array.get() : nullptr;
    if (a == nullptr) continue;
    specs.push_back(a);
    min = std::max({min, size_t{a->min}, size_t{a->contains >= 0 ? a->min_contains : 0}});
    max = std::min(max, size_t{a->max});
    prefix = std::max(prefix, a->prefix.size());
  }
  for (size_t at = 0; at < std::min(min, prefix + 1); ++at) {
    std::vector<int> wanted;
    for (const ArraySpec* a : specs) wanted.push_back(at < a->prefix.size() ? a->prefix[at] : a->items);
    if (!Feasible(std::move(wanted))) return false;
  }
  return min <= max && std::all_of(specs.begin(), specs.end(), [&](const ArraySpec* a) {
           return a->contains < 0 || a->min_contains == 0 || Chances(specs, *a, std::min(prefix, max))[0] >= a->min_contains;
         });
}

std::vector<uint32_t> PlanTable::Chances(const std::vector<const ArraySpec*>& specs, const ArraySpec& counting, size_t prefix) const {
  std::vector<uint32_t> out(prefix + 1, 0);
  uint32_t max = kEndless;
  for (const ArraySpec* a : specs)
    if (a != nullptr) max = std::min(max, a->max);
  for (size_t at = prefix + 1; at-- > 0;) {
    if (at < prefix) out[at] = out[at + 1];
    if (at >= max) continue;
    std::vector<int> wanted{counting.contains};
    for (const ArraySpec* a : specs)
      if (a != nullptr) wanted.push_back(at < a->prefix.size() ? a->prefix[at] : a->items);
    if (!Feasible(std::move(wanted))) continue;
    if (at == prefix)
      out[at] = max == kEndless ? kEndless : max - static_cast<uint32_t>(at);
    else if (out[at] != kEndless)
      ++out[at];
  }
  return out;
}

std::unique_ptr<StringPlan> PlanTable::BuildString(const ValuePlan& plan, bool must) const {
  auto out = std::make_unique<StringPlan>();
  std::vector<DfaPtr> texts;
  const std::vector<Tri>& start = plan.start[TypeIndex(kStringBit)];
  std::vector<DfaPtr> distinct;
  std::vector<size_t> spelled;  // tracks
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    const SchemaNode& n = node(plan.locals[i]);
    const bool open = start[i] == kOpen;
    out->relevant.push_back(open ? 1 : 0);
    int track = -1;
    if (open && n.text) {
      const auto at = std::find(distinct.begin(), distinct.end(), n.text);
      track = static_cast<int>(at - distinct.begin());
      if (at == distinct.end()) distinct.push_back(n.text);
      if (n.spelled) spelled.push_back(static_cast<size_t>(track));
    }
    out->track_of_local.push_back(track);
    out->has_lengths = out->has_lengths || (open && (n.min_length > 0 || n.max_length != kEndless));
  }
  // Simple when, for strings, every open local is needed and nothing else is in doubt.
  std::vector<Tri> values, locals = start;
  const auto verdicts = [&](Tri want) {
    Evaluate(
        plan, locals.data(), [](int) { return kFalse; }, values);
    return std::all_of(plan.roots.begin(), plan.roots.end(), [&](int r) { return (values[static_cast<size_t>(r)] & want) == want; });
  };
  for (Tri& t : locals) t = t == kOpen ? kTrue : t;
  out->simple = must;
  if (must) {
    Evaluate(
        plan, locals.data(), [](int) { return kFalse; }, values);
    for (const int r : plan.roots) out->simple = out->simple && values[static_cast<size_t>(r)] == kTrue;
  }
  for (size_t i = 0; i < locals.size() && out->simple; ++i) {
    if (start[i] != kOpen) continue;
    locals = start;
    locals[i] = kFalse;
    out->simple = !verdicts(kTrue);
  }
  if (out->simple) {
    for (size_t i = 0; i < plan.locals.size(); ++i) {
      if (start[i] != kOpen) continue;
      const SchemaNode& n = node(plan.locals[i]);
      out->spelled = out->spelled || n.spelled;
      out->min = std::max(out->min, n.min_length);
      out->max = std::min(out->max, n.max_length);
    }
    CompileBudget budget{4'000'000, nullptr};
    auto both = Intersect(distinct, budget);
    if (both.ok() && !(*both)->empty()) {
      out->dfa = *std::move(both);
      // Bounds that the automaton keeps by itself are dropped.
      if (out->max != kEndless && out->dfa->longest(0) <= out->max) out->max = kEndless;
      if (out->dfa->shortest(0) >= out->min) out->min = 0;
      for (uint32_t s = 0; s < out->dfa->size(); ++s) {
        out->slack = std::max(out->slack, out->dfa->shortest(s));
        out->has_finite = out->has_finite || (out->min > 0 && out->dfa->longest(s) != kEndless);
      }
      out->too_large =
          out->min > out->max || out->dfa->shortest(0) > out->max || (out->dfa->longest(0) != kEndless && out->dfa->longest(0) < out->min);
      FindWords(*out);
      return out;
    }
    out->too_large = true;  // empty, or beyond what may be built: no string is allowed
    out->dfa = AnyTextDfa();
    return out;
  }
  if (must && MergeTracks(plan, *out)) return out;
  out->multi = MultiDfa::Build(distinct, kMaxTrackCells);
  out->too_large = !out->multi.has_value();
  if (!spelled.empty()) out->spelled_tracks.assign(distinct.size() / 64 + 1, 0);
  for (const size_t track : spelled) SetBit(out->spelled_tracks, track);
  return out;
}

// What the formula allows as one automaton, lengths included. False: too large, nothing has changed.
bool PlanTable::MergeTracks(const ValuePlan& plan, StringPlan& out) const {
  constexpr uint32_t kMaxCounted = 300;  // code points
  const std::vector<Tri>& start = plan.start[TypeIndex(kStringBit)];
  CompileBudget budget{4'000'000, nullptr};
  std::vector<DfaPtr> tracks;
  std::vector<std::vector<size_t>> of_local(plan.locals.size());
  std::map<std::pair<uint32_t, uint32_t>, DfaPtr> lengths;
  const auto add = [&](size_t local, const DfaPtr& dfa) {
    const auto at = std::find(tracks.begin(), tracks.end(), dfa);
    of_local[local].push_back(static_cast<size_t>(at - tracks.begin()));
    if (at == tracks.end()) tracks.push_back(dfa);
  };
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    const SchemaNode& n = node(plan.locals[i]);
    if (start[i] != kOpen) continue;
    if (n.text) add(i, n.text);
    if (n.min_length == 0 && n.max_length == kEndless) continue;
    if (n.min_length > kMaxCounted || (n.max_length != kEndless && n.max_length > kMaxCounted)) return false;
    DfaPtr& counted = lengths[{n.min_length, n.max_length}];
    if (!counted) {
      auto built = LengthLanguage(n.min_length, n.max_length, budget);
      if (!built.ok()) return false;
      counted = *std::move(built);
    }
    add(i, counted);
  }
  const auto multi = MultiDfa::Build(tracks, kMaxTrackCells / 4);
  if (!multi) return false;
  std::vector<Tri> values, locals;
  std::map<uint32_t, bool> known;
  Dfa merged = multi->Merge([&](uint32_t s) {
    const auto [it, fresh] = known.try_emplace(multi->accept_id(s), false);
    if (!fresh) return it->second;
    locals = start;
    for (size_t i = 0; i < locals.size(); ++i)
      if (locals[i] == kOpen)
        locals[i] =
            std::all_of(of_local[i].begin(), of_local[i].end(), [&](size_t t) { return TestBit(multi->accepting(s), t); }) ? kTrue : kFalse;
    Evaluate(
        plan, locals.data(), [](int) { return kFalse; }, values);
    it->second = std::all_of(plan.roots.begin(), plan.roots.end(), [&](int r) { return values[static_cast<size_t>(r)] == kTrue; });
    return it->second;
  });
  out.simple = true;
  // A finite language of spelled words: what `not` leaves over is none.
  out.spelled = merged.empty() || merged.longest(0) != kEndless;
  for (size_t i = 0; i < start.size(); ++i) out.spelled = out.spelled && (start[i] != kOpen || node(plan.locals[i]).spelled);
  out.too_large = merged.empty();
  out.dfa = merged.empty() ? AnyTextDfa() : std::make_shared<const Dfa>(std::move(merged));
  for (uint32_t s = 0; s < out.dfa->size(); ++s) out.slack = std::max(out.slack, out.dfa->shortest(s));
  FindWords(out);
  return true;
}

void PlanTable::FindWords(StringPlan& out) {
  std::vector<std::string> words;
  if (out.too_large || out.min > 0 || out.max != kEndless || !ListWords(*out.dfa, 64, &words)) return;
  for (size_t i = 0; i < words.size(); ++i) {
    uint64_t hash = json_detail::kHashStart;
    out.words_of_head[hash] |= uint64_t{1} << i;
    for (const char c : words[i]) {
      hash = json_detail::AppendTextHash(hash, static_cast<uint8_t>(c));
      out.words_of_head[hash] |= uint64_t{1} << i;
    }
    out.words.push_back(json_detail::StringHash(hash));
  }
}

const NumberPlan& PlanTable::Number(const ValuePlan& plan) const {
  std::call_once(plan.number_once, [&] {
    plan.number = BuildNumber(plan);
    bytes_ += 100 + plan.number->own.size() * sizeof(NumberSpec);
  });
  return *plan.number;
}

const StringPlan& PlanTable::String(const ValuePlan& plan, bool must) const {
  const size_t i = must ? 1 : 0;
  std::call_once(plan.string_once[i], [&] {
    plan.string[i] = BuildString(plan, must);
    bytes_ += 200 + (plan.string[i]->dfa && plan.string[i]->dfa != AnyTextDfa() ? plan.string[i]->dfa->bytes() : 0);
  });
  return *plan.string[i];
}

std::unique_ptr<ObjectPlan> PlanTable::BuildObject(const ValuePlan& plan) const {
  auto out = std::make_unique<ObjectPlan>();
  const std::vector<Tri>& start = plan.start[TypeIndex(kObjectBit)];
  std::set<std::string> names(plan.seen_names.begin(), plan.seen_names.end());
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    const ObjectSpec* o = start[i] == kOpen ? node(plan.locals[i]).object.get() : nullptr;
    out->locals.push_back({.spec = o, .required = {}, .open = {}, .closed = false, .dependent = {}});
    if (o == nullptr) continue;
    for (const auto& [name, kid] : o->properties) names.insert(name);
    names.insert(o->required.begin(), o->required.end());
    // Few keys are allowed: each is known by name, so that none is begun twice.
    std::vector<std::string> words;
    bool few = false;
    if (o->names) {
      few = ListWords(*o->names, kMaxFewKeys, &words);
      if (few) names.insert(words.begin(), words.end());
    } else if (o->additional == kNeverNode) {
      few = true;
      for (const auto& [dfa, kid] : o->patterns) {
        few = few && ListWords(*dfa, kMaxFewKeys, &words);
        if (few) names.insert(words.begin(), words.end());
      }
    }
    out->only_named = out->only_named || (few && IsConjunction(plan, kObjectBit));
    for (const auto& [name, needed] : o->dependent_required) {
      names.insert(name);
      names.insert(needed.begin(), needed.end());
    }
  }
  out->names.assign(names.begin(), names.end());
  out->words = (out->names.size() + 63) / 64;
  out->trie = std::make_unique<NameTrie>(out->names);
  const auto index = [&](const std::string& name) {
    return static_cast<size_t>(std::lower_bound(out->names.begin(), out->names.end(), name) - out->names.begin());
  };
  for (const std::string& name : plan.seen_names) out->seen_name.push_back(static_cast<int>(index(name)));
  std::vector<DfaPtr> tracks;
  const auto track = [&](const DfaPtr& dfa) {
    const auto at = std::find(tracks.begin(), tracks.end(), dfa);
    const auto i = static_cast<int>(at - tracks.begin());
    if (at == tracks.end()) tracks.push_back(dfa);
    return i;
  };
  for (ObjectLocal& local : out->locals) {
    out->track_of_pattern.emplace_back();
    out->track_of_names.push_back(-1);
    if (local.spec == nullptr) continue;
    local.required.assign(out->words, 0);
    local.open.assign(out->words, 0);
    for (const std::string& name : local.spec->required) SetBit(local.required, index(name));
    for (const auto& [name, kid] : local.spec->properties)
      if (kid != kAnyNode) SetBit(local.open, index(name));
    for (const auto& [name, needed] : local.spec->dependent_required) {
      BitRow row(out->words, 0);
      for (const std::string& n : needed) SetBit(row, index(n));
      local.dependent.emplace_back(static_cast<uint32_t>(index(name)), std::move(row));
    }
    // What a needed name needs is needed.
    for (bool grown = true; grown;) {
      grown = false;
      for (auto& entry : local.dependent)
        for (const auto& other : local.dependent) {
          if (!TestBit(entry.second, other.first)) continue;
          for (size_t w = 0; w < out->words; ++w) {
            const uint64_t more = other.second[w] & ~entry.second[w];
            entry.second[w] |= more;
            grown = grown || more != 0;
          }
        }
    }
    for (const auto& [dfa, kid] : local.spec->patterns) out->track_of_pattern.back().push_back(track(dfa));
    if (local.spec->names) out->track_of_names.back() = track(local.spec->names);
    local.closed = local.spec->additional == kAnyNode && local.spec->patterns.empty() && !local.spec->names;
    out->bounded = out->bounded || local.spec->max != kEndless;
  }
  if (tracks.empty()) {
    out->keys = PlainKeys();
  } else if (auto multi = MultiDfa::Build(tracks, kMaxTrackCells)) {
    out->keys = std::make_shared<const MultiDfa>(*std::move(multi));
  } else {
    out->keys = PlainKeys();
    out->too_large = true;
  }
  for (const std::string& name : out->names) {
    uint32_t state = 0;
    for (size_t i = 0; i < name.size() && state != kDeadState; ++i) state = out->keys->Step(state, static_cast<uint8_t>(name[i]));
    out->end_of_name.push_back(state);
  }
  out->by_name = std::make_unique<std::atomic<const MemberPlan*>[]>(out->names.size());
  return out;
}

const ObjectPlan& PlanTable::Object(const ValuePlan& plan) const {
  std::call_once(plan.object_once, [&] {
    plan.object = BuildObject(plan);
    bytes_ += 600 + plan.object->names.size() * 80 + plan.object->trie->nodes.size() * 25;
  });
  return *plan.object;
}

const ArrayPlan& PlanTable::Array(const ValuePlan& plan) const {
  std::call_once(plan.array_once, [&] {
    auto out = std::make_unique<ArrayPlan>();
    const std::vector<Tri>& start = plan.start[TypeIndex(kArrayBit)];
    for (size_t i = 0; i < plan.locals.size(); ++i) {
      const ArraySpec* a = start[i] == kOpen ? node(plan.locals[i]).array.get() : nullptr;
      out->locals.push_back(a);
      if (a == nullptr) continue;
      out->prefix = std::max(out->prefix, a->prefix.size());
      out->unique = out->unique || a->unique;
      out->counts_contains = out->counts_contains || a->contains >= 0;
    }
    if (IsConjunction(plan, kArrayBit) && out->counts_contains)
      for (const ArraySpec* a : out->locals)
        out->chances.push_back(a != nullptr && a->contains >= 0 ? Chances(out->locals, *a, out->prefix) : std::vector<uint32_t>());
    out->members = std::make_unique<std::atomic<const MemberPlan*>[]>(out->prefix + 1);
    bytes_ += 200 + out->prefix * 8;
    plan.array = std::move(out);
  });
  return *plan.array;
}

struct PlanTable::Links {
  std::vector<std::vector<int>> needs;  // schema nodes per local
  std::vector<int> contains;            // schema node per local, -1 none
  std::vector<uint8_t> never;
};

const MemberPlan* PlanTable::Keep(Links links, int name) const {
  auto member = std::make_unique<MemberPlan>();
  std::set<int> needed, all;
  for (const auto& ids : links.needs) needed.insert(ids.begin(), ids.end());
  all = needed;
  for (const int id : links.contains)
    if (id >= 0) all.insert(id);
  if (all.empty()) all.insert(kAnyNode), needed.insert(kAnyNode);
  // `true` says nothing next to others.
  if (all.size() > 1 && all.contains(kAnyNode) && std::find(links.contains.begin(), links.contains.end(), kAnyNode) == links.contains.end())
    all.erase(kAnyNode);
  std::vector<int> wanted(all.begin(), all.end());
  const auto index = [&](int id) { return static_cast<int>(std::lower_bound(wanted.begin(), wanted.end(), id) - wanted.begin()); };
  for (const auto& ids : links.needs) {
    member->needs.emplace_back();
    for (const int id : ids)
      if (all.contains(id)) member->needs.back().push_back(index(id));
  }
  for (const int id : links.contains) member->contains.push_back(id < 0 ? -1 : index(id));
  member->never = std::move(links.never);
  member->any_never = std::find(member->never.begin(), member->never.end(), 1) != member->never.end();
  member->all_needed = std::all_of(wanted.begin(), wanted.end(), [&](int id) { return needed.contains(id); });
  member->name = name;
  member->child = &Get(std::move(wanted));
  bytes_ += 200 + member->needs.size() * 40;
  std::lock_guard lock(mutex_);
  return member_plans_.emplace_back(std::move(member)).get();
}

const MemberPlan& PlanTable::Member(const ValuePlan& plan, const ObjectPlan& object, int name, uint32_t accept) const {
  {
    std::lock_guard lock(object.mutex);
    const auto it = object.members.find({name, accept});
    if (it != object.members.end()) return *it->second;
  }
  const BitRow& matched = object.keys->set(accept);
  Links links;
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    std::vector<int>& needs = links.needs.emplace_back();
    links.contains.push_back(-1);
    uint8_t never = 0;
    if (const ObjectSpec* o = object.locals[i].spec) {
      bool evaluated = false;
      const auto take = [&](int kid) {
        evaluated = true;
        if (kid == kNeverNode) never = 1;
        needs.push_back(kid);
      };
      if (name >= 0) {
        const std::string& text = object.names[static_cast<size_t>(name)];
        const auto at = std::lower_bound(o->properties.begin(), o->properties.end(), text,
                                         [](const auto& p, const std::string& s) { return p.first < s; });
        if (at != o->properties.end() && at->first == text) take(at->second);
      }
      for (size_t p = 0; p < o->patterns.size(); ++p)
        if (TestBit(matched, static_cast<size_t>(object.track_of_pattern[i][p]))) take(o->patterns[p].second);
      if (!evaluated) take(o->additional);
      if (object.track_of_names[i] >= 0 && !TestBit(matched, static_cast<size_t>(object.track_of_names[i]))) never = 1;
    }
    links.never.push_back(never);
  }
  const MemberPlan* member = Keep(std::move(links), name);
  std::lock_guard lock(object.mutex);
  return *object.members.emplace(std::pair{name, accept}, member).first->second;
}

const MemberPlan& PlanTable::Named(const ValuePlan& plan, const ObjectPlan& object, int name) const {
  std::atomic<const MemberPlan*>& slot = object.by_name[static_cast<size_t>(name)];
  if (const MemberPlan* known = slot.load(std::memory_order_acquire)) return *known;
  const MemberPlan& member = Member(plan, object, name, object.keys->accept_id(object.end_of_name[static_cast<size_t>(name)]));
  slot.store(&member, std::memory_order_release);
  return member;
}

const MemberPlan& PlanTable::Reduce(const MemberPlan& member, const Tri* locals) const {
  const size_t n = member.needs.size();
  std::string key(n, '1');
  bool all = true;
  for (size_t i = 0; i < n; ++i)
    if (locals[i] == kFalse && (!member.needs[i].empty() || member.contains[i] >= 0)) key[i] = '0', all = false;
  if (all) return member;
  {
    std::lock_guard lock(member.mutex);
    const auto it = member.reduced.find(key);
    if (it != member.reduced.end()) return *it->second;
  }
  Links links;
  for (size_t i = 0; i < n; ++i) {
    const bool kept = key[i] == '1';
    std::vector<int>& needs = links.needs.emplace_back();
    if (kept)
      for (const int r : member.needs[i]) needs.push_back(member.child->wanted[static_cast<size_t>(r)]);
    links.contains.push_back(kept && member.contains[i] >= 0 ? member.child->wanted[static_cast<size_t>(member.contains[i])] : -1);
    links.never.push_back(kept ? member.never[i] : 0);
  }
  const MemberPlan* made = Keep(std::move(links), member.name);
  std::lock_guard lock(member.mutex);
  return *member.reduced.emplace(std::move(key), made).first->second;
}

const MemberPlan& PlanTable::Item(const ValuePlan& plan, const ArrayPlan& array, size_t index) const {
  std::atomic<const MemberPlan*>& slot = array.members[std::min(index, array.prefix)];
  if (const MemberPlan* known = slot.load(std::memory_order_acquire)) return *known;
  Links links;
  for (size_t i = 0; i < plan.locals.size(); ++i) {
    const ArraySpec* a = array.locals[i];
    links.needs.emplace_back();
    links.contains.push_back(a != nullptr ? a->contains : -1);
    links.never.push_back(0);
    if (a == nullptr) continue;
    const int kid = index < a->prefix.size() ? a->prefix[index] : a->items;
    links.needs.back().push_back(kid);
    links.never.back() = kid == kNeverNode ? 1 : 0;
  }
  const MemberPlan* made = Keep(std::move(links), -1);
  const MemberPlan* expected = nullptr;
  return slot.compare_exchange_strong(expected, made, std::memory_order_acq_rel) ? *made : *expected;
}

// From the ends backwards: what is never reached goes round in circles, and has endless keys ahead.
void PlanTable::CountKeys(const MultiDfa& keys, std::vector<uint8_t> ends, KeyView& view) {
  const size_t n = keys.size();
  std::vector<uint32_t> ahead(n, 0), todo;  // moves to states that are not counted yet
  std::vector<std::vector<uint32_t>> sources(n);
  for (uint32_t s = 0; s < n; ++s) {
    if (view.live[s] == 0) continue;
    for (int b = 0; b < 256; ++b)
      if (const uint32_t t = keys.Step(s, static_cast<uint8_t>(b)); t != kDeadState && view.live[t] != 0) {
        ++ahead[s];
        sources[t].push_back(s);
      }
    if (ahead[s] == 0) todo.push_back(s);
  }
  if (todo.empty()) return;
  std::vector<uint32_t> words(n, 0);
  for (uint32_t s = 0; s < n; ++s) words[s] = ends[s];
  while (!todo.empty()) {
    const uint32_t t = todo.back();
    todo.pop_back();
    for (const uint32_t s : sources[t]) {
      const uint64_t sum = uint64_t{words[s]} + words[t];
      words[s] = static_cast<uint32_t>(std::min<uint64_t>(sum, kEndless));
      if (--ahead[s] == 0) todo.push_back(s);
    }
  }
  for (uint32_t s = 0; s < n; ++s)
    if (ahead[s] > 0 || words[s] > kManyKeys) words[s] = kEndless;
  if (std::none_of(words.begin(), words.end(), [](uint32_t w) { return w > 0 && w != kEndless; })) return;
  view.ends = std::move(ends);
  view.words = std::move(words);
}

const KeyView& PlanTable::View(const ValuePlan& plan, const ObjectPlan& object, const Tri* locals, bool must) const {
  const size_t n = plan.locals.size();
  bool plain = must;
  for (size_t i = 0; i < n; ++i) plain = plain && (locals[i] & kTrue) != 0;
  if (plain)
    if (const KeyView* known = object.plain_view.load(std::memory_order_acquire)) return *known;
  std::string key(n + 1, '1');
  key[n] = must ? '1' : '0';
  for (size_t i = 0; i < n; ++i)
    if ((locals[i] & kTrue) == 0) key[i] = '0';
  {
    std::lock_guard lock(object.mutex);
    const auto it = object.views.find(key);
    if (it != object.views.end()) return *it->second;
  }
  // A key automaton state is live when a state can be reached whose member does not rule out what is still possible.
  auto view = std::make_unique<KeyView>();
  const MultiDfa& keys = *object.keys;
  view->live.assign(keys.size(), 0);
  std::vector<Tri> values;
  std::map<uint32_t, bool> good;
  std::vector<std::vector<uint32_t>> sources(keys.size());
  std::vector<uint32_t> todo;
  std::vector<uint8_t> ends(keys.size(), 0);
  for (uint32_t s = 0; s < keys.size() && !object.too_large && !(must && object.only_named); ++s) {
    keys.ForEachMove(s, [&](uint32_t t) {
      if (sources[t].empty() || sources[t].back() != s) sources[t].push_back(s);
    });
    if (!keys.boundary(s)) continue;
    const auto [it, fresh] = good.try_emplace(keys.accept_id(s), false);
    if (fresh) {
      const MemberPlan& member = Member(plan, object, -1, it->first);
      std::vector<Tri> now(locals, locals + n);
      for (size_t i = 0; i < n; ++i)
        if (member.never[i] != 0 || plan.start[TypeIndex(kObjectBit)][i] == kFalse) now[i] = kFalse;
      Evaluate(
          plan, now.data(), [](int) { return kOpen; }, values);
      it->second = !must;
      if (must) {
        it->second =
            std::all_of(plan.roots.begin(), plan.roots.end(), [&](int r) { return (values[static_cast<size_t>(r)] & kTrue) != 0; });
        if (IsConjunction(plan, kObjectBit) && member.all_needed && Types(*member.child) == 0) it->second = false;
      }
    }
    if (it->second) view->live[s] = ends[s] = 1, todo.push_back(s);
  }
  while (!todo.empty()) {
    const uint32_t t = todo.back();
    todo.pop_back();
    for (const uint32_t s : sources[t])
      if (view->live[s] == 0) view->live[s] = 1, todo.push_back(s);
  }
  if (&keys != PlainKeys().get()) CountKeys(keys, std::move(ends), *view);
  view->all_live = &keys == PlainKeys().get() && std::all_of(view->live.begin(), view->live.end(), [](uint8_t l) { return l != 0; });
  std::lock_guard lock(object.mutex);
  const KeyView& kept = *object.views.try_emplace(key, std::move(view)).first->second;
  if (plain) object.plain_view.store(&kept, std::memory_order_release);
  return kept;
}

}  // namespace sgl
