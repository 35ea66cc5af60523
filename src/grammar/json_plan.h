// What is to be decided about one JSON value: a set of schema nodes, flattened into local assertions and a formula over them. Plans are
// made when a value of their kind is first met and kept with the grammar; they never change afterwards. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/json_schema.h"
#include "grammar/multi_dfa.h"

namespace sgl {

// What is known of a truth value: it can become true, it can become false.
using Tri = uint8_t;
constexpr Tri kTrue = 1, kFalse = 2, kOpen = 3;

struct PlanExpr {
  enum class Op : uint8_t { kLocal, kSeen, kAnd, kOr, kOne, kNot, kIf } op = Op::kAnd;
  int index = 0;          // kLocal: of plan.locals; kSeen: of plan.seen_names
  std::vector<int> kids;  // earlier expressions; kIf: condition, then, else
};

struct ValuePlan;
struct MemberPlan;

// How strings are judged. Simple: one automaton and two bounds, which is so wherever the value's verdicts have to be true and the automaton
// stays small; otherwise every local assertion has its track.
struct StringPlan {
  DfaPtr dfa;
  uint32_t min = 0, max = kEndless;
  bool simple = false, too_large = false, has_lengths = false;
  bool spelled = false;     // simple: only words that the schema spells out are allowed
  BitRow spelled_tracks;    // else: tracks that are such words; empty: none
  bool has_finite = false;  // the automaton has states with a longest way: `min` matters on the way
  uint32_t slack = 0;       // largest finite shortest() of a state
  // Where only few strings are allowed: the hash of each, and by the hash of every head the words (bits) that begin with it.
  std::vector<uint64_t> words;
  std::unordered_map<uint64_t, uint64_t> words_of_head;
  std::optional<MultiDfa> multi;
  std::vector<int> track_of_local;  // -1: any text
  std::vector<uint8_t> relevant;    // [locals] still open for a string
};

// The numbers that make every verdict true, as alternatives.
struct NumberPlan {
  bool known = false;  // else too much would have to be told apart
  std::vector<const NumberSpec*> any_of;
  std::vector<std::unique_ptr<const NumberSpec>> own;
  bool Reachable(const NumberText& text) const {
    return std::any_of(any_of.begin(), any_of.end(), [&](const NumberSpec* n) { return n->Reachable(text); });
  }
  bool Allows(const NumberText& text) const {
    return std::any_of(any_of.begin(), any_of.end(), [&](const NumberSpec* n) { return n->Allows(text); });
  }
};

struct NameTrie {
  struct Node {
    uint32_t first_kid = 0, kids = 0;
    uint32_t low = 0, high = 0;  // names below, by rank
    int32_t name = -1;
  };
  std::vector<Node> nodes;
  std::vector<uint8_t> kid_byte;
  std::vector<uint32_t> kid_node;
  explicit NameTrie(const std::vector<std::string>& sorted);
  uint32_t Step(uint32_t node, uint8_t byte) const;
};

struct ObjectLocal {
  const ObjectSpec* spec = nullptr;  // null: no assertion about objects
  BitRow required;
  BitRow open;                                         // names whose value can still fail
  bool closed = false;                                 // additional, patterns and names accept anything: only `open` can fail
  std::vector<std::pair<uint32_t, BitRow>> dependent;  // what a name asks for, and what that asks for
};

// Which keys nobody named are worth starting, under one set of still possible locals.
struct KeyView {
  std::vector<uint8_t> live;  // [key automaton state]
  bool all_live = false;      // every key may be started, nothing tells them apart
  // Where patterns leave few keys, which then can be used up: at which states one ends, and how many begin with what led to a state
  // (kEndless: more than any text has). Empty: endless everywhere.
  std::vector<uint8_t> ends;
  std::vector<uint32_t> words;
};

struct ObjectPlan {
  std::vector<std::string> names;
  std::unique_ptr<NameTrie> trie;
  size_t words = 0;
  std::shared_ptr<const MultiDfa> keys;            // tracks: patterns, then propertyNames
  std::vector<std::vector<int>> track_of_pattern;  // [local][pattern]
  std::vector<int> track_of_names;                 // [local]; -1 none
  std::vector<ObjectLocal> locals;
  std::vector<uint32_t> end_of_name;  // key automaton state behind each name
  std::vector<int> seen_name;         // of ValuePlan::seen_names
  bool too_large = false;
  bool bounded = false;     // some local has maxProperties
  bool only_named = false;  // every key that a conjunction allows is among `names`

  mutable std::mutex mutex;  // plans are read by every matcher of the grammar; entries only appear
  mutable std::map<std::pair<int, uint32_t>, const MemberPlan*> members;
  mutable std::map<std::string, std::unique_ptr<const KeyView>> views;
  mutable std::unique_ptr<std::atomic<const MemberPlan*>[]> by_name;
  mutable std::atomic<const KeyView*> plain_view{nullptr};  // all locals possible
};

struct ArrayPlan {
  std::vector<const ArraySpec*> locals;  // null: no assertion
  size_t prefix = 0;
  bool unique = false, counts_contains = false;
  // Of a conjunction: how many items from a place on (the last one: behind the prefix) can be what a local's `contains` counts; per local,
  // empty where nothing is counted.
  std::vector<std::vector<uint32_t>> chances;
  uint32_t ChancesFrom(size_t local, size_t at) const {
    return local < chances.size() && !chances[local].empty() ? chances[local][std::min(at, prefix)] : kEndless;
  }
  mutable std::unique_ptr<std::atomic<const MemberPlan*>[]> members;  // [prefix + 1]
};

// One member or item: its own plan, and what its verdicts mean for the locals of the container.
struct MemberPlan {
  const ValuePlan* child = nullptr;
  std::vector<std::vector<int>> needs;  // [local] verdicts that have to be true
  std::vector<int> contains;            // [local] verdict that is counted, -1 none
  std::vector<uint8_t> never;           // [local] fails whatever the value
  bool any_never = false;
  bool all_needed = false;  // every verdict is needed by some local
  int name = -1;            // objects: which name, -1 none of them

  mutable std::mutex mutex;  // as ObjectPlan::mutex
  mutable std::map<std::string, const MemberPlan*> reduced;
};

struct ValuePlan {
  std::vector<int> wanted;  // schema nodes, ascending
  std::vector<int> locals;  // schema nodes
  std::vector<PlanExpr> exprs;
  std::vector<int> roots;  // [wanted]
  std::vector<std::string> seen_names;
  bool conjunction = false;               // every local has to hold for the verdicts to be all true
  uint8_t conjunctions = 0;               // types of which that is so, as far as locals look at values of the type
  std::array<std::vector<Tri>, 7> start;  // [type][local]
  uint8_t types = 0;                      // with which all verdicts can be true, as far as the value's own locals say
  uint8_t open_numbers = 0;               // some local looks at numbers
  uint32_t id = 0;

  mutable std::atomic<uint8_t> feasible{0};  // PlanTable::Types with the highest bit set, once it is known

  mutable std::once_flag string_once[2], number_once, object_once, array_once;
  mutable std::unique_ptr<StringPlan> string[2];
  mutable std::unique_ptr<NumberPlan> number;
  mutable std::unique_ptr<ObjectPlan> object;
  mutable std::unique_ptr<ArrayPlan> array;
};

inline bool IsConjunction(const ValuePlan& plan, JsonTypeBit type) { return (plan.conjunctions & type) != 0; }
inline size_t TypeIndex(JsonTypeBit bit) { return static_cast<size_t>(__builtin_ctz(bit)); }

// Verdicts of `exprs` (scratch, one per expression) from those of the locals. seen(i): of seen_names[i].
template <class Seen>
void Evaluate(const ValuePlan& plan, const Tri* locals, Seen&& seen, std::vector<Tri>& values) {
  values.resize(plan.exprs.size());
  for (size_t e = 0; e < plan.exprs.size(); ++e) {
    const PlanExpr& x = plan.exprs[e];
    bool can_true = false, can_false = false;
    const auto value = [&](int kid) { return values[static_cast<size_t>(kid)]; };
    switch (x.op) {
      case PlanExpr::Op::kLocal: values[e] = locals[x.index]; continue;
      case PlanExpr::Op::kSeen: values[e] = seen(x.index); continue;
      case PlanExpr::Op::kAnd:
        can_true = true;
        for (const int k : x.kids) can_true = can_true && (value(k) & kTrue) != 0, can_false = can_false || (value(k) & kFalse) != 0;
        break;
      case PlanExpr::Op::kOr:
        can_false = true;
        for (const int k : x.kids) can_true = can_true || (value(k) & kTrue) != 0, can_false = can_false && (value(k) & kFalse) != 0;
        break;
      case PlanExpr::Op::kOne: {
        size_t surely = 0, maybe = 0;
        for (const int k : x.kids) surely += value(k) == kTrue ? 1 : 0, maybe += value(k) == kOpen ? 1 : 0;
        can_true = surely == 1 || (surely == 0 && maybe > 0);
        can_false = surely != 1 || maybe > 0;
        break;
      }
      case PlanExpr::Op::kNot:
        can_true = (value(x.kids[0]) & kFalse) != 0;
        can_false = (value(x.kids[0]) & kTrue) != 0;
        break;
      case PlanExpr::Op::kIf: {
        const Tri c = value(x.kids[0]), t = value(x.kids[1]), f = value(x.kids[2]);
        can_true = ((c & kTrue) && (t & kTrue)) || ((c & kFalse) && (f & kTrue));
        can_false = ((c & kTrue) && (t & kFalse)) || ((c & kFalse) && (f & kFalse));
        break;
      }
    }
    values[e] = static_cast<Tri>((can_true ? kTrue : 0) | (can_false ? kFalse : 0));
  }
}

// The plans of one schema. Thread: any; look-ups take a lock only the first time.
class PlanTable {
 public:
  explicit PlanTable(Schema schema);
  const Schema& schema() const { return schema_; }
  const ValuePlan& root() const { return *root_; }

  const ValuePlan& Get(std::vector<int> wanted) const;
  // As plan.types, required members and items looked at as well: without them a container has no end.
  uint8_t Types(const ValuePlan& plan) const;
  const StringPlan& String(const ValuePlan& plan, bool must) const;
  const NumberPlan& Number(const ValuePlan& plan) const;
  const ObjectPlan& Object(const ValuePlan& plan) const;
  const ArrayPlan& Array(const ValuePlan& plan) const;
  // name: index of a known name or -1; accept: MultiDfa::accept_id at the end of the key.
  const MemberPlan& Member(const ValuePlan& plan, const ObjectPlan& object, int name, uint32_t accept) const;
  const MemberPlan& Named(const ValuePlan& plan, const ObjectPlan& object, int name) const;
  // Without what only locals that have failed ask for. Often a single alternative is left then, and everything is simple.
  const MemberPlan& Reduce(const MemberPlan& member, const Tri* locals) const;
  const MemberPlan& Item(const ValuePlan& plan, const ArrayPlan& array, size_t index) const;
  // must: every verdict of the object has to be true; else any key may be wanted.
  const KeyView& View(const ValuePlan& plan, const ObjectPlan& object, const Tri* locals, bool must) const;
  size_t bytes() const { return bytes_.load(); }

 private:
  struct Links;
  const SchemaNode& node(int id) const { return schema_.nodes[static_cast<size_t>(id)]; }
  int AddNode(ValuePlan& plan, std::map<int, int>& done, int id) const;
  std::unique_ptr<ValuePlan> Build(std::vector<int> wanted) const;
  std::unique_ptr<NumberPlan> BuildNumber(const ValuePlan& plan) const;
  std::unique_ptr<StringPlan> BuildString(const ValuePlan& plan, bool must) const;
  bool MergeTracks(const ValuePlan& plan, StringPlan& out) const;
  static void FindWords(StringPlan& out);
  std::unique_ptr<ObjectPlan> BuildObject(const ValuePlan& plan) const;
  const MemberPlan* Keep(Links links, int name) const;
  static void CountKeys(const MultiDfa& keys, std::vector<uint8_t> ends, KeyView& view);
  bool MembersFeasible(const ValuePlan& plan) const;
  bool ItemsFeasible(const ValuePlan& plan) const;
  // ArrayPlan::chances of one of `specs`, all of which have to hold.
  std::vector<uint32_t> Chances(const std::vector<const ArraySpec*>& specs, const ArraySpec& counting, size_t prefix) const;
  bool Feasible(std::vector<int> wanted) const;

  Schema schema_;
  const ValuePlan* root_ = nullptr;
  mutable std::mutex mutex_;  // guards the two below; never held while a plan's details are built
  mutable std::map<std::vector<int>, std::unique_ptr<ValuePlan>> plans_;
  mutable std::vector<std::unique_ptr<MemberPlan>> member_plans_;
  mutable std::atomic<size_t> bytes_{0};
};

}  // namespace sgl
