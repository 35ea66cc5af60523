// The inside of scalars: strings and keys with their escapes, and what a mask may know of them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "grammar/json_detail.h"
#include "grammar/json_machine.h"

namespace sgl {

using json_detail::Mix;
using json_detail::Scratch;

namespace {

using Mode = JsonState::Mode;

// Polynomial hash modulo 2^61 - 1: the hash of a tail follows from those of the whole and the head.
constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1, kBase = 0x1234567890ABCDu;
uint64_t MulMod(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  const uint64_t sum = static_cast<uint64_t>(product & kPrime) + static_cast<uint64_t>(product >> 61);
  return sum >= kPrime ? sum - kPrime : sum;
}

}  // namespace

// ---- strings ----

bool JsonMachine::StringPossible(const State& s) const {
  const ValuePlan& plan = *s.plan;
  const StringPlan& p = *s.string;
  std::vector<Tri>& locals = Scratch(3);
  locals = plan.start[TypeIndex(kStringBit)];
  const BitRow& alive = p.multi->alive(s.s0);
  for (size_t i = 0; i < locals.size(); ++i) {
    if (p.relevant[i] == 0) continue;
    const SchemaNode& n = plans_.schema().nodes[static_cast<size_t>(plan.locals[i])];
    if (p.track_of_local[i] >= 0 && !TestBit(alive, static_cast<size_t>(p.track_of_local[i]))) locals[i] = kFalse;
    if (n.max_length != kEndless && s.size > n.max_length) locals[i] = kFalse;
    if (locals[i] == kOpen && p.track_of_local[i] < 0 && s.size >= n.min_length && n.max_length == kEndless) locals[i] = kTrue;
  }
  return ValuePossible(s, locals.data(), kStringBit);
}

// One of the few words that begin like this is not in the array yet.
bool JsonMachine::WordLeft(const State& s) const {
  const auto found = s.string->words_of_head.find(s.hash);
  if (found == s.string->words_of_head.end()) return false;
  for (uint64_t words = found->second; words != 0; words &= words - 1)
    if (!Used(*s.top, s.string->words[static_cast<size_t>(__builtin_ctzll(words))])) return true;
  return false;
}

bool JsonMachine::TextByte(State& s, uint8_t b) const {
  if (s.mode == Mode::kKey) {
    s.hash = AppendHash(s.hash, b);
    ++s.size;
    s.s1 = s.top->object->keys->Step(s.s1, b);
    if (s.s1 == kDeadState) return false;
    if (s.s0 != kDeadState) s.s0 = s.top->object->trie->Step(s.s0, b);
    return KeyAlive(s);
  }
  if (s.need_hash) s.hash = AppendHash(s.hash, b);
  if ((b & 0xC0) != 0x80) ++s.size;
  const StringPlan& p = *s.string;
  if (p.simple) {
    s.s0 = p.dfa->Step(s.s0, b);
    if (s.s0 == kDeadState) return false;
    if (p.max != kEndless && s.size + p.dfa->shortest(s.s0) > p.max) return false;
    if (p.has_finite && p.dfa->longest(s.s0) != kEndless && s.size + p.dfa->longest(s.s0) < p.min) return false;
    return p.words.empty() || !OnlyOnce(s) || WordLeft(s);
  }
  const uint32_t before = s.s0;
  s.s0 = p.multi->Step(before, b);
  if (s.s0 == kDeadState) return false;
  if (!p.has_lengths && p.multi->alive_id(before) == p.multi->alive_id(s.s0)) return true;
  return StringPossible(s);
}

bool JsonMachine::TextCode(State& s, uint32_t code) const {
  std::string bytes;
  SpellCodePoint(bytes, code);
  for (const char c : bytes)
    if (!TextByte(s, static_cast<uint8_t>(c))) return false;
  return !OverEscaped(s, code);
}

// The \uXXXX that was read stands for a character of a word which the schema spells out, and nobody writes that character so: letters,
// digits and most marks are escaped by no serialiser, but small models like to.
bool JsonMachine::OverEscaped(const State& s, uint32_t code) const {
  if (code < ' ' || code > '~' || std::strchr("\"&'+/<=>\\`", static_cast<int>(code)) != nullptr) return false;
  if (s.mode == Mode::kKey) return s.s0 != kDeadState;
  const StringPlan& p = *s.string;
  if (p.simple) return p.spelled;
  const BitRow& alive = p.multi->alive(s.s0);
  for (size_t w = 0; w < p.spelled_tracks.size(); ++w)
    if ((alive[w] & p.spelled_tracks[w]) != 0) return true;
  return false;
}

// Some character of the range, written as an escape, goes on from here.
bool JsonMachine::AnyAlive(const State& s, CodeRange range) const {
  for (; range.first <= range.last && range.first < 0x80; ++range.first) {
    State next = s;
    if (TextCode(next, range.first)) return true;
  }
  if (range.first > range.last) return false;
  std::vector<ByteSequence> sequences;
  AppendUtf8Sequences(range, sequences);
  const auto try_from = [&](auto&& self, const State& at, const ByteSequence& sequence, size_t i) -> bool {
    if (i == sequence.size()) return true;
    for (int b = sequence[i].first; b <= sequence[i].last; ++b) {
      State next = at;
      if (TextByte(next, static_cast<uint8_t>(b)) && self(self, next, sequence, i + 1)) return true;
    }
    return false;
  };
  return std::any_of(sequences.begin(), sequences.end(), [&](const ByteSequence& q) { return try_from(try_from, s, q, 0); });
}

// The digits read so far of \uXXXX can become a character that may stand here.
bool JsonMachine::EscapeAlive(const State& s) const {
  const int left = s.escape >= 2 && s.escape <= 5 ? 6 - s.escape : 4;
  const uint32_t read = s.escape >= 2 && s.escape <= 5 ? s.hex : 0;
  const uint32_t low = read << (4 * left), high = low | ((1u << (4 * left)) - 1);
  State plain = s;
  plain.escape = 0;
  plain.high = 0;
  if (s.high != 0) {
    const uint32_t from = std::max(low, 0xDC00u), to = std::min(high, 0xDFFFu);
    const uint32_t base = 0x10000 + ((uint32_t{s.high} - 0xD800) << 10);
    return from <= to && AnyAlive(plain, {base + (from - 0xDC00), base + (to - 0xDC00)});
  }
  if (low < 0xD800 && AnyAlive(plain, {low, std::min(high, 0xD7FFu)})) return true;
  if (high > 0xDFFF && AnyAlive(plain, {std::max(low, 0xE000u), high})) return true;
  const uint32_t from = std::max(low, 0xD800u), to = std::min(high, 0xDBFFu);
  return from <= to && AnyAlive(plain, {0x10000 + ((from - 0xD800) << 10), 0x10000 + ((to - 0xD800) << 10) + 0x3FF});
}

bool JsonMachine::Escape(State& s, uint8_t b) const {
  if (s.escape == 1) {
    static constexpr char kShort[] = "\"\\/bfnrt", kMeans[] = "\"\\/\b\f\n\r\t";
    if (b == 'u') {
      s.escape = 2;
      s.hex = 0;
      return EscapeAlive(s);
    }
    const char* at = b == 0 ? nullptr : std::strchr(kShort, b);
    if (at == nullptr) return false;
    s.escape = 0;
    return TextByte(s, static_cast<uint8_t>(kMeans[at - kShort]));
  }
  if (s.escape == 6 || s.escape == 7) {
    if (b != (s.escape == 6 ? '\\' : 'u')) return false;
    s.escape = s.escape == 6 ? 7 : 2;
    s.hex = 0;
    return true;
  }
  const int digit = b >= '0' && b <= '9' ? b - '0' : (b | 32) >= 'a' && (b | 32) <= 'f' ? (b | 32) - 'a' + 10 : -1;
  if (digit < 0) return false;
  s.hex = static_cast<uint16_t>(s.hex << 4 | digit);
  ++s.escape;
  if (s.escape < 6) return EscapeAlive(s);
  if (s.high != 0) {
    if (s.hex < 0xDC00 || s.hex > 0xDFFF) return false;
    const uint32_t code = 0x10000 + ((uint32_t{s.high} - 0xD800) << 10) + (s.hex - 0xDC00);
    s.high = 0;
    s.escape = 0;
    return TextCode(s, code);
  }
  if (s.hex >= 0xDC00 && s.hex <= 0xDFFF) return false;
  if (s.hex >= 0xD800 && s.hex <= 0xDBFF) {
    s.high = s.hex;
    s.escape = 6;
    return EscapeAlive(s);
  }
  s.escape = 0;
  return TextCode(s, s.hex);
}

bool JsonMachine::StepText(State& s, uint8_t b, FrameArena& arena) const {
  if (s.escape != 0) return Escape(s, b);
  if (b == '"') return Close(s, arena);
  if (b < 0x20) return false;
  if (b == '\\') {
    // Not inside a character; and something that an escape can write has to be possible.
    if (s.pending != 0) return false;
    s.escape = 1;
    return EscapeAlive(s);
  }
  if ((b & 0xC0) == 0x80)
    --s.pending;  // where none is due the automata die
  else
    s.pending = b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : b >= 0xC0 ? 1 : 0;
  return TextByte(s, b);
}

bool JsonMachine::CloseString(State& s, FrameArena& arena) const {
  const StringPlan& p = *s.string;
  const uint64_t hash = json_detail::StringHash(s.hash);
  if (p.simple) {
    if (!p.dfa->accepts(s.s0) || s.size < p.min || s.size > p.max) return false;
    return EndValue(s, nullptr, hash, arena);
  }
  if (!p.multi->boundary(s.s0)) return false;
  const ValuePlan& plan = *s.plan;
  std::vector<Tri> locals = plan.start[TypeIndex(kStringBit)];
  const BitRow& accepting = p.multi->accepting(s.s0);
  for (size_t i = 0; i < locals.size(); ++i) {
    if (p.relevant[i] == 0) continue;
    const SchemaNode& n = plans_.schema().nodes[static_cast<size_t>(plan.locals[i])];
    const bool text = p.track_of_local[i] < 0 || TestBit(accepting, static_cast<size_t>(p.track_of_local[i]));
    locals[i] = text && s.size >= n.min_length && s.size <= n.max_length ? kTrue : kFalse;
  }
  return EndValue(s, locals.data(), hash, arena);
}

const StringPlan& JsonMachine::FreeText() {
  static const StringPlan plan = [] {
    StringPlan p;
    p.dfa = AnyTextDfa();
    p.simple = true;
    return p;
  }();
  return plan;
}

// ---- masks ----

uint64_t JsonMachine::AppendHash(uint64_t hash, uint8_t byte) { return json_detail::AppendTextHash(hash, byte); }

uint64_t json_detail::AppendTextHash(uint64_t hash, uint8_t byte) {
  const uint64_t sum = MulMod(hash, kBase) + byte + 1;
  return sum >= kPrime ? sum - kPrime : sum;
}

uint64_t JsonMachine::TailHash(uint64_t whole, uint64_t head, uint32_t tail_size) {
  uint64_t power = 1, factor = kBase;
  for (uint32_t n = tail_size; n != 0; n >>= 1) {
    if ((n & 1) != 0) power = MulMod(power, factor);
    factor = MulMod(factor, factor);
  }
  const uint64_t moved = MulMod(head, power);
  return whole >= moved ? whole - moved : whole + kPrime - moved;
}

bool JsonMachine::scalar_key(const State& s, uint32_t longest_token, ScalarKey* key) const {
  static const char kNumbers = 0, kKeys = 0;
  *key = {};
  if (s.mode == Mode::kNumber) {
    if (s.plan->open_numbers == 0 && !s.need_hash) {
      // Exponents and very long numbers have to stay within what a double holds.
      if (s.number.in_exponent() || s.number.count + s.number.extra + longest_token >= 300) return false;
      *key = {&kNumbers, static_cast<uint64_t>(s.number.at), 0, true};
      return true;
    }
    // Which digits go on; the rest is looked at with the number at hand.
    if (!s.must || (s.need_hash && s.number.in_exponent()) || (s.plan->open_numbers != 0 && OnlyOnce(s)) || s.top == nullptr ||
        s.number.past > 200 || s.number.fraction > 150)
      return false;
    uint64_t digits = 0;
    const std::vector<Tri>& start = s.plan->start[TypeIndex(kNumberBit)];
    const NumberPlan& numbers = plans_.Number(*s.plan);
    for (const NumberSpec* n : numbers.any_of) digits = Mix(digits ^ n->DigitsAhead(s.number));
    for (size_t i = 0; i < start.size() && !numbers.known; ++i)
      if (start[i] == kOpen)
        digits = Mix(digits ^ plans_.schema().nodes[static_cast<size_t>(s.plan->locals[i])].number->DigitsAhead(s.number));
    *key = {s.plan, digits, static_cast<uint64_t>(s.number.at) | 0x100, false};
    return true;
  }
  if ((s.mode != Mode::kString && s.mode != Mode::kKey) || s.escape > 1 || s.high != 0) return false;
  if (s.mode == Mode::kKey) {
    const JsonFrame& f = *s.top;
    if (f.full || f.view->live[s.s1] == 0) return false;
    const uint64_t exact = f.item_hash ? 1 : 0;
    if (f.view->all_live && exact == 0)  // names are the caller's matter
      *key = {&kKeys, s.s1, s.escape, true};
    else
      *key = {f.view, uint64_t{s.s0} << 32 | s.s1, s.escape | exact << 8, false};
    return true;
  }
  const StringPlan& p = *s.string;
  const uint64_t exact = s.need_hash ? 1 : 0;
  if (!p.simple) {
    *key = {&p, s.s0, s.escape | exact << 8, false};
    return true;
  }
  if (!p.words.empty() && OnlyOnce(s)) return false;
  uint64_t room = 0xFFFFFF, need = 0xFFFFFF;
  const bool any = p.dfa == AnyTextDfa() && exact == 0;
  if (p.max != kEndless && !any) room = std::min<uint64_t>(p.max - s.size, longest_token + p.slack + 1);
  if (p.has_finite) need = s.size;  // near enough to matter byte by byte
  const bool any_room = any && p.max != kEndless;
  const bool sized = any && (p.min > 0 || any_room);  // then how far an exit is counts
  *key = {any ? static_cast<const void*>(p.dfa.get()) : &p, s.s0, s.escape | exact << 8 | uint64_t{sized} << 9 | room << 16 | need << 40,
          any, any_room};
  return true;
}

JsonMachine::Scalar JsonMachine::StepScalar(State& s, uint8_t b, const ScalarKey& key) const {
  if (s.mode == Mode::kNumber && !key.shared) {
    if (b < '0' || b > '9')
      return b == '.' || b == '+' || b == '-' || b == 'e' || b == 'E' || b == ',' || b == ']' || b == '}' || b == ' ' ||
                     (b >= '\t' && b <= '\r')
                 ? Scalar::kUnsure
                 : Scalar::kDead;
    NumberText next = s.number;
    if (!next.Step(b)) return Scalar::kDead;
    s.number = next;
    return s.plan->open_numbers == 0 || NumberPossible(s) ? Scalar::kStay : Scalar::kDead;
  }
  if (s.mode == Mode::kNumber) {
    if (b == 'e' || b == 'E') return s.number.complete() ? Scalar::kUnsure : Scalar::kDead;
    NumberText next;
    next.at = s.number.at;
    if (next.Step(b)) {
      s.number = {};
      s.number.at = next.at;
      return Scalar::kStay;
    }
    return s.number.complete() ? Scalar::kEndBefore : Scalar::kDead;
  }
  if (b == '"' && s.escape == 0) {
    if (s.pending != 0) return Scalar::kDead;
    if ((key.b >> 8 & 1) != 0) return Scalar::kUnsure;  // its hash would be needed
    return Scalar::kClose;
  }
  FrameArena none;
  if (s.mode == Mode::kKey) {
    if (key.shared) return StepText(s, b, none) ? Scalar::kStay : Scalar::kDead;
    if (s.escape != 0 || b == '\\') return b == '\\' || s.escape != 0 ? Scalar::kUnsure : Scalar::kDead;
    if (b < 0x20) return Scalar::kDead;
    const JsonFrame& f = *s.top;
    s.s1 = f.object->keys->Step(s.s1, b);
    if (s.s1 == kDeadState) return Scalar::kDead;
    s.hash = AppendHash(s.hash, b);
    ++s.size;
    s.pending = (b & 0xC0) == 0x80 ? static_cast<uint8_t>(s.pending - 1) : b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : b >= 0xC0 ? 1 : 0;
    if (s.s0 != kDeadState) s.s0 = f.object->trie->Step(s.s0, b);
    if (f.view->live[s.s1] != 0) return f.view->words.empty() || f.view->words[s.s1] == kEndless ? Scalar::kStay : Scalar::kUnsure;
    return s.s0 == kDeadState ? Scalar::kDead : Scalar::kUnsure;
  }
  if (s.string->simple) return StepText(s, b, none) ? Scalar::kStay : Scalar::kDead;
  if (s.escape != 0 || b == '\\') return Scalar::kUnsure;
  if (b < 0x20) return Scalar::kDead;
  s.s0 = s.string->multi->Step(s.s0, b);
  if (s.s0 == kDeadState) return Scalar::kDead;
  if ((b & 0xC0) != 0x80) ++s.size;
  s.pending = (b & 0xC0) == 0x80 ? static_cast<uint8_t>(s.pending - 1) : b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : b >= 0xC0 ? 1 : 0;
  return Scalar::kStay;  // as far as the tracks that are left allow: the caller asks StringPossible
}

}  // namespace sgl
