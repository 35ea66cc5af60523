// Reads one JSON value byte by byte against a schema: a deterministic machine with a stack of immutable frames. Every state that Step
// reaches can, as far as the schema's parts can be looked through, still be completed to a valid document.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/frame_arena.h"
#include "grammar/json_plan.h"

namespace sgl {

// Where white space may stand: two automata over it, after ',' and ':' and elsewhere.
struct JsonSpacing {
  DfaPtr after_separator, elsewhere;
  static Result<JsonSpacing> Any();
  static Result<JsonSpacing> Compact();  // exactly ", " and ": "
  static Result<JsonSpacing> Pattern(std::string_view regex);
};

struct SeenKey {  // a key nobody named
  const SeenKey* up;
  uint64_t hash;
  uint32_t size;  // bytes
};
struct SeenItem {
  const SeenItem* up;
  uint64_t hash;
  std::optional<Decimal> number;
};

// An open container. What comes in makes a new frame; the old one stays for those who roll back.
struct JsonFrame {
  const JsonFrame* up = nullptr;
  const ValuePlan* plan = nullptr;
  const MemberPlan* member = nullptr;  // how this container enters `up`
  const ObjectPlan* object = nullptr;  // one of the two
  const ArrayPlan* array = nullptr;
  const KeyView* view = nullptr;
  const SeenKey* keys = nullptr;
  const SeenItem* items = nullptr;
  uint64_t hash = 0, key_hash = 0;  // of the members so far; of the key it stands under
  uint32_t count = 0, depth = 0;
  bool must = true, need_hash = false, item_hash = false;
  bool full = false;  // objects: no key beyond the required ones
  // Behind it: Tri[locals], uint64_t seen[words], uint32_t contains[locals] (arrays that count).
};

// Every local that looks at such containers has to hold.
inline bool Simple(const JsonFrame& f) { return f.must && IsConjunction(*f.plan, f.object != nullptr ? kObjectBit : kArrayBit); }

struct JsonState {
  enum class Mode : uint8_t {
    kValue,      // a value has to come
    kFirstItem,  // behind '[': a value or ']'
    kFirstKey,   // behind '{': a key or '}'
    kNextKey,    // behind ',': a key
    kKey,        // inside a key
    kColon,
    kString,
    kNumber,
    kLiteral,
    kAfterValue,  // ',' or the end of the container
    kDone,
  };
  const JsonFrame* top = nullptr;
  const ValuePlan* plan = nullptr;     // of the value at hand
  const MemberPlan* member = nullptr;  // how it enters `top`
  const StringPlan* string = nullptr;
  Mode mode = Mode::kValue;
  bool must = true, need_hash = false, separated = false;
  uint8_t escape = 0;   // 0 none, 1 behind '\', 2..5 hex digits wanted, 6 '\' of a low surrogate wanted, 7 its 'u'
  uint8_t literal = 0;  // bytes of the word read
  uint8_t word = 0;     // null, true, false
  uint8_t pending = 0;  // continuation bytes of the character at hand still to come
  uint16_t hex = 0, high = 0;
  uint32_t space = 0;  // state of the white space automaton
  uint32_t s0 = 0, s1 = 0;
  uint32_t size = 0;  // strings: code points; keys: bytes
  uint64_t hash = 0, key_hash = 0;
  NumberText number;
};

// Thread: immutable; Step may be called from any thread with that thread's arena.
class JsonMachine {
 public:
  using State = JsonState;
  static constexpr uint32_t kMaxDepth = 512;

  JsonMachine(Schema schema, JsonSpacing spacing) : plans_(std::move(schema)), spacing_(std::move(spacing)) {}

  State Start() const;
  bool satisfiable() const { return plans_.Types(plans_.root()) != 0; }
  bool Step(State& s, uint8_t byte, FrameArena& arena) const;
  bool complete(const State& s) const;                                          // the text may end here
  bool finished(const State& s) const { return s.mode == State::Mode::kDone; }  // and has to
  size_t bytes() const { return plans_.bytes(); }

  // ---- for masks (json_mask.h) ----
  // What the bytes inside an open scalar depend on; equal keys go the same ways until the scalar ends.
  struct ScalarKey {
    const void* owner = nullptr;
    uint64_t a = 0, b = 0;
    bool shared = false;    // the same in every grammar
    bool any_room = false;  // free text of bounded length: the bound is not part of the key
    friend bool operator==(const ScalarKey&, const ScalarKey&) = default;
  };
  // False: no scalar is open, or its bytes depend on more than a key can say.
  bool scalar_key(const State& s, uint32_t longest_token, ScalarKey* key) const;
  // One byte inside it. kClose: the closing quote, not yet acted upon. kEndBefore: the scalar is over before this byte. kUnsure: depends on
  // the context.
  enum class Scalar : uint8_t { kStay, kDead, kClose, kEndBefore, kUnsure };
  Scalar StepScalar(State& s, uint8_t byte, const ScalarKey& key) const;
  bool Close(State& s, FrameArena& arena) const { return s.mode == State::Mode::kKey ? CloseKey(s, arena) : CloseString(s, arena); }
  bool EndNumber(State& s, FrameArena& arena) const;
  // What decides which tokens may come next, as 128 bits: equal ones allow the same. False: too much would have to be looked at.
  struct Print {
    uint64_t a = 0x243F6A8885A308D3u, b = 0x13198A2E03707344u;
    void Add(uint64_t v) {
      a = (a ^ v) * 0x9E3779B97F4A7C15u;
      a ^= a >> 32;
      b = (b + v) * 0xC4CEB9FE1A85EC53u;
      b ^= b >> 29;
    }
    friend bool operator==(const Print&, const Print&) = default;
  };
  struct Reach {  // of one token
    uint32_t bytes = 0, closers = 0, digits = 0;
  };
  bool Fingerprint(const State& s, const Reach& reach, Print* print) const;
  // Inside a string that is judged by tracks: whether it may still become what its container needs.
  bool StringPossible(const State& s) const;
  static const StringPlan& FreeText();  // any string
  // The bytes that Step may take where few can be; false: look at all. buffer: for what has to be put together.
  static bool FewMayFollow(const State& s, std::string_view* bytes, std::string* buffer);
  bool NamePossible(const JsonFrame& f, uint32_t name) const;
  static uint64_t AppendHash(uint64_t hash, uint8_t byte);
  static uint64_t TailHash(uint64_t whole, uint64_t head, uint32_t tail_size);  // hash of what follows `head` in `whole`

 private:
  bool StepValue(State& s, uint8_t b, FrameArena& arena) const;
  bool StepText(State& s, uint8_t b, FrameArena& arena) const;
  bool StepContainer(State& s, uint8_t b, FrameArena& arena) const;
  bool StepNumber(State& s, uint8_t b, FrameArena& arena) const;
  bool StepLiteral(State& s, uint8_t b, FrameArena& arena) const;
  bool TextByte(State& s, uint8_t b) const;
  bool TextCode(State& s, uint32_t code) const;
  bool Escape(State& s, uint8_t b) const;
  bool EscapeAlive(const State& s) const;
  bool AnyAlive(const State& s, CodeRange range) const;
  bool OverEscaped(const State& s, uint32_t code) const;
  void PrintNumber(const State& s, uint32_t digits, Print* print) const;
  bool CloseKey(State& s, FrameArena& arena) const;
  bool CloseString(State& s, FrameArena& arena) const;
  bool BeginValue(State& s, const MemberPlan& member) const;
  bool Enter(State& s, JsonTypeBit type, FrameArena& arena) const;
  bool EndValue(State& s, const Tri* locals, uint64_t hash, FrameArena& arena, const JsonFrame* self = nullptr) const;
  bool EndContainer(State& s, FrameArena& arena) const;
  bool NumberPossible(const State& s) const;
  void JudgeNumber(const ValuePlan& plan, const NumberText& text, std::vector<Tri>& locals) const;
  bool IntegerPossible(const State& s) const;
  bool NumberLeft(const State& s) const;
  bool ValuePossible(const State& s, const Tri* locals, JsonTypeBit type) const;
  bool FramePossible(const JsonFrame& f, const Tri* locals) const;
  bool VerdictsPossible(const JsonFrame* up, const MemberPlan* member, const Tri* verdicts) const;
  // The value at hand is an item of an array that must not have it twice.
  static bool OnlyOnce(const State& s) { return s.top != nullptr && s.top->array != nullptr && s.top->array->unique && Simple(*s.top); }
  static bool Used(const JsonFrame& f, uint64_t hash);
  bool WordLeft(const State& s) const;
  bool ItemLeft(const State& s) const;
  bool NamesBelow(const JsonFrame& f, uint32_t node) const;
  // Some key that nobody named and that is not there yet begins like `s`, a state inside of a key of f.
  bool UnnamedLeft(const JsonFrame& f, const State& s) const;
  JsonFrame* AddKey(const JsonFrame& f, int name, const MemberPlan& member, FrameArena& arena, State& after) const;
  bool KeyAlive(const State& s) const;
  bool MoreKeys(const JsonFrame& f) const;
  bool MoreItems(const JsonFrame& f) const;
  void Refresh(JsonFrame& f) const;
  Tri ObjectTri(const JsonFrame& f, size_t local, bool at_end) const;
  Tri ArrayTri(const JsonFrame& f, size_t local, bool at_end) const;
  const Dfa& space_of(const State& s) const { return s.separated ? *spacing_.after_separator : *spacing_.elsewhere; }

  PlanTable plans_;
  JsonSpacing spacing_;
};

inline Tri* LocalsOf(JsonFrame& f) { return reinterpret_cast<Tri*>(&f + 1); }
inline const Tri* LocalsOf(const JsonFrame& f) { return reinterpret_cast<const Tri*>(&f + 1); }

}  // namespace sgl
