// Values of one render: Python's None, bool, int, float, str, list, tuple, dict... Reference counts are plain integers, because a render
// lives on one thread; strings may be borrowed from the parse tree or from the render's Json, which outlive it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sgl::jinja {

class Renderer;
struct MethodEntry;
struct Stmt;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kStr,
  // from here on the value holds an Obj
  kList,
  kTuple,
  kDict,
  kDictView,
  kRange,
  kIterator,
  kNamespace,
  kMacro,
  kFunction,
  kMethod,
  kLoop,
  kCycler,
  kJoiner,
  kMessage,
  kActivation,
};

class Heap;

struct Obj {
  Obj(Heap& heap, Kind kind) : heap(&heap), kind(kind) {}
  Obj(const Obj&) = delete;
  Obj& operator=(const Obj&) = delete;
  virtual ~Obj() = default;

  Heap* heap;
  Obj* next = nullptr;  // while waiting to be destroyed
  size_t bytes = 0;     // what it is charged for
  uint32_t refs = 0;
  Kind kind;
};

struct StrObj;

class Value {
 public:
  Value() = default;  // undefined
  Value(const Value& o) : kind_(o.kind_), flags_(o.flags_), size_(o.size_), u_(o.u_) {
    if (counted()) ++u_.obj->refs;
  }
  Value(Value&& o) noexcept : kind_(o.kind_), flags_(o.flags_), size_(o.size_), u_(o.u_) {
    o.kind_ = Kind::kUndefined, o.flags_ = 0, o.size_ = 0;
  }
  Value& operator=(const Value& o) {
    Value copy(o);
    Swap(copy);
    return *this;
  }
  Value& operator=(Value&& o) noexcept {
    Swap(o);
    return *this;
  }
  ~Value() {
    if (counted()) Release();
  }

  static Value None() { return Value(Kind::kNone); }
  static Value Bool(bool v) {
    Value out(Kind::kBool);
    out.u_.integer = v ? 1 : 0;
    return out;
  }
  static Value Int(int64_t v) {
    Value out(Kind::kInt);
    out.u_.integer = v;
    return out;
  }
  static Value Float(double v) {
    Value out(Kind::kFloat);
    out.u_.number = v;
    return out;
  }
  // The text must outlive the render.
  static Value Borrowed(std::string_view text) {
    Value out(Kind::kStr);
    out.u_.text = text.data();
    out.size_ = static_cast<uint32_t>(text.size());
    return out;
  }
  // Undefined that knows the name it was looked up by; the name must outlive the render. on: the kind of the object, kUndefined for a
  // variable.
  static Value Undefined(std::string_view name, Kind on = Kind::kUndefined) {
    Value out;
    out.u_.text = name.data();
    out.size_ = static_cast<uint32_t>(name.size());
    out.flags_ = static_cast<uint8_t>(static_cast<int>(on) << 2) | kNamed;
    return out;
  }
  explicit Value(Obj* obj) : kind_(obj->kind), flags_(kCounted) {
    u_.obj = obj;
    ++obj->refs;
  }
  Value(StrObj* text, bool markup);
  // Undefined values with a message of their own: text that outlives the render, or an object.
  static Value UndefinedHint(std::string_view message) { return Undefined(message, Kind::kMessage); }
  static Value UndefinedMessage(StrObj* message);

  Kind kind() const { return kind_; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_missing() const { return kind_ == Kind::kUndefined && flags_ == 0; }  // a variable that was never set
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_bool() const { return kind_ == Kind::kBool; }
  bool is_int() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }  // as in Python a bool is an int
  bool is_float() const { return kind_ == Kind::kFloat; }
  bool is_number() const { return is_int() || is_float(); }
  bool is_str() const { return kind_ == Kind::kStr; }
  bool is_markup() const { return is_str() && (flags_ & kMarkup) != 0; }
  bool borrowed() const { return !counted(); }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_dict() const { return kind_ == Kind::kDict; }

  int64_t integer() const { return u_.integer; }
  double number() const { return kind_ == Kind::kFloat ? u_.number : static_cast<double>(u_.integer); }
  std::string_view text() const;
  Obj* obj() const { return u_.obj; }
  Value AsMarkup() const {
    Value out(*this);
    out.flags_ |= kMarkup;
    return out;
  }
  Value AsPlain() const {
    Value out(*this);
    out.flags_ &= static_cast<uint8_t>(~kMarkup);
    return out;
  }
  // What an operation on this undefined value says: "'x' is undefined".
  std::string undefined_message() const;

 private:
  static constexpr uint8_t kCounted = 1, kMarkup = 2, kNamed = 2;  // kMarkup: strings; kNamed: undefined, with the kind above bit 2
  explicit Value(Kind kind) : kind_(kind) {}
  bool counted() const { return (flags_ & kCounted) != 0; }
  void Release();
  void Swap(Value& o) noexcept {
    std::swap(kind_, o.kind_);
    std::swap(flags_, o.flags_);
    std::swap(size_, o.size_);
    std::swap(u_, o.u_);
  }

  Kind kind_ = Kind::kUndefined;
  uint8_t flags_ = 0;
  uint32_t size_ = 0;
  union {
    int64_t integer;
    double number;
    const char* text;
    Obj* obj;
  } u_{0};
};

using Values = std::vector<Value>;

// Owns all objects of a render: counts their bytes, frees them without recursion, and at the end breaks the cycles that namespaces and
// activations can form.
class Heap {
 public:
  explicit Heap(size_t limit_bytes) : limit_(limit_bytes) {}
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  template <class T, class... A>
  T* New(A&&... args) {
    T* obj = new T(*this, std::forward<A>(args)...);
    Charge(obj, sizeof(T));
    return obj;
  }
  void Charge(Obj* obj, size_t bytes) {
    obj->bytes += bytes;
    used_ += bytes;
  }
  void Destroy(Obj* obj);
  bool full() const { return used_ > limit_; }
  bool Fits(size_t bytes) const { return bytes <= limit_ && used_ <= limit_ - bytes; }

  // Objects whose contents can change after they were made.
  struct Mutable;
  Mutable* first = nullptr;

 private:
  size_t limit_, used_ = 0;
  Obj* waiting_ = nullptr;
  bool destroying_ = false;
};

struct Heap::Mutable : Obj {
  Mutable(Heap& heap, Kind kind);
  ~Mutable() override;
  virtual void Clear() = 0;
  Mutable *before = nullptr, *after = nullptr;
};

struct StrObj : Obj {
  StrObj(Heap& heap, std::string s) : Obj(heap, Kind::kStr), text(std::move(s)) { heap.Charge(this, text.capacity()); }
  const std::string text;
};

struct ListObj : Obj {  // list and tuple
  ListObj(Heap& heap, Kind kind, Values v) : Obj(heap, kind), items(std::move(v)) { heap.Charge(this, items.capacity() * sizeof(Value)); }
  Values items;
  bool is_group = false;  // groupby's (grouper, list)
};

struct DictObj : Obj {
  explicit DictObj(Heap& heap) : Obj(heap, Kind::kDict) {}
  // Precondition: the key is hashable.
  void Set(const Value& key, Value value);
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  std::vector<std::pair<Value, Value>> items;

 private:
  std::unordered_multimap<size_t, uint32_t> index_;  // hash -> place in items, once there are many
};

struct DictViewObj : Obj {
  enum What : uint8_t { kKeys, kValues, kItems };
  DictViewObj(Heap& heap, Value d, What w) : Obj(heap, Kind::kDictView), dict(std::move(d)), what(w) {}
  Value dict;
  What what;
};

struct RangeObj : Obj {
  RangeObj(Heap& heap, int64_t a, int64_t b, int64_t s) : Obj(heap, Kind::kRange), start(a), stop(b), step(s) {}
  int64_t size() const;  // precondition: it fits, as checked when it was made
  int64_t at(int64_t i) const { return start + i * step; }
  int64_t start, stop, step;
};

// A generator: gives its items once.
struct IteratorObj : Obj {
  explicit IteratorObj(Heap& heap) : Obj(heap, Kind::kIterator) {}
  virtual bool Next(Renderer& r, Value* out) = 0;  // false at the end and after r.Fail
};

struct NamespaceObj : Heap::Mutable {
  explicit NamespaceObj(Heap& heap) : Mutable(heap, Kind::kNamespace) {}
  void Clear() override { attrs = Value(); }
  Value attrs;  // a dict of its own
};

// The variables of one call of a macro, or of the template.
struct Activation : Heap::Mutable {
  Activation(Heap& heap, Activation* parent, int num_slots)
      : Mutable(heap, Kind::kActivation), outer(parent), slots(static_cast<size_t>(num_slots)) {
    if (outer != nullptr) ++outer->refs;
    heap.Charge(this, slots.capacity() * sizeof(Value));
  }
  ~Activation() override { DropOuter(); }
  void Clear() override {
    slots.assign(slots.size(), Value());
    DropOuter();
  }
  void DropOuter();
  Activation* outer;
  Values slots;  // an undefined value without a name: not set
};

struct MacroObj : Obj {
  MacroObj(Heap& heap, const Stmt* s, Activation* a) : Obj(heap, Kind::kMacro), def(s), closure(a), hold(a) {}
  const Stmt* def;
  Activation* closure;
  Value hold;
};

struct FunctionObj : Obj {  // a global function: range, namespace, raise_exception...
  enum Which : uint8_t { kRange, kDict, kNamespace, kCycler, kJoiner, kLipsum, kRaiseException, kStrftimeNow };
  FunctionObj(Heap& heap, Which w) : Obj(heap, Kind::kFunction), which(w) {}
  Which which;
};

struct MethodObj : Obj {
  MethodObj(Heap& heap, Value s, const MethodEntry* m) : Obj(heap, Kind::kMethod), self(std::move(s)), method(m) {}
  Value self;
  const MethodEntry* method;
};

struct CyclerObj : Obj {
  CyclerObj(Heap& heap, Values v) : Obj(heap, Kind::kCycler), items(std::move(v)) { heap.Charge(this, items.capacity() * sizeof(Value)); }
  Values items;
  size_t pos = 0;
};

struct JoinerObj : Obj {
  JoinerObj(Heap& heap, Value s) : Obj(heap, Kind::kJoiner), separator(std::move(s)) {}
  Value separator;
  bool used = false;
};

// Walks over anything iterable. Create with Renderer::Iterate.
class Cursor {
 public:
  Cursor() = default;
  explicit Cursor(Value source) : source_(std::move(source)) {}
  bool Next(Renderer& r, Value* out);  // false at the end and after r.Fail

 private:
  Value source_;
  size_t pos_ = 0;
};

struct LoopObj : Obj {
  LoopObj(Heap& heap) : Obj(heap, Kind::kLoop) {}
  bool Advance(Renderer& r, Value* out);  // to the next item
  bool Peek(Renderer& r);                 // is there another item?
  int64_t Length(Renderer& r);
  Cursor cursor;
  Value iterable, before, current, after, changed;
  bool has_after = false, ended = false, has_changed = false;
  int64_t index0 = -1, length = -1;
  int depth0 = 0;
  const Stmt* recursive = nullptr;  // the for statement, when it may be called
  Activation* closure = nullptr;
  Value hold;
};

inline ListObj* AsList(const Value& v) { return static_cast<ListObj*>(v.obj()); }
inline DictObj* AsDict(const Value& v) { return static_cast<DictObj*>(v.obj()); }
inline RangeObj* AsRange(const Value& v) { return static_cast<RangeObj*>(v.obj()); }
inline DictViewObj* AsView(const Value& v) { return static_cast<DictViewObj*>(v.obj()); }
inline LoopObj* AsLoop(const Value& v) { return static_cast<LoopObj*>(v.obj()); }

inline std::string_view Value::text() const {
  return counted() ? std::string_view(static_cast<const StrObj*>(u_.obj)->text) : std::string_view(u_.text, size_);
}
inline void Value::Release() {
  if (--u_.obj->refs == 0) u_.obj->heap->Destroy(u_.obj);
}

// "str", "int", "dict"...; the names that messages use.
const char* TypeName(Kind kind);
inline const char* TypeName(const Value& v) { return TypeName(v.kind()); }

bool Hashable(const Value& v);
size_t Hash(const Value& v);                // precondition: Hashable
bool Same(const Value& a, const Value& b);  // Python's == for hashable values; never fails, never recurses deeply

}  // namespace sgl::jinja
