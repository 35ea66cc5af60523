// SPDX-License-Identifier: Apache-2.0
#include "grammar/json_schema.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/check.h"
#include "grammar/schema_refs.h"
#include "grammar/schema_unevaluated.h"

namespace sgl {
namespace {

constexpr int kMaxNesting = 128;
constexpr size_t kMaxNodes = 200'000;
constexpr uint32_t kMaxHostname = 253;

// The path to the schema at hand, kept on the stack: only errors need it as text.
struct Where {
  const Where* up = nullptr;
  std::string_view key;
  int index = -1;
  int depth = 0;

  std::string Text() const {
    if (up == nullptr) return std::string(key);
    return up->Text() + "/" + (index >= 0 ? std::to_string(index) : std::string(key));
  }
  Where Down(std::string_view k) const { return {this, k, -1, depth + 1}; }
  Where Down(int i) const { return {this, {}, i, depth + 1}; }
};

uint8_t TypeBits(std::string_view name) {
  if (name == "null") return kNullBit;
  if (name == "boolean") return kTrueBit | kFalseBit;
  if (name == "number" || name == "integer") return kNumberBit;
  if (name == "string") return kStringBit;
  if (name == "array") return kArrayBit;
  if (name == "object") return kObjectBit;
  if (name == "any") return kAllTypes;  // draft 3, still written
  return 0;
}

const std::unordered_map<std::string_view, int>& KnownKeywords() {
  // 1: read by the compiler. 2: says nothing about the value. 3: refused.
  static const std::unordered_map<std::string_view, int> table = [] {
    std::unordered_map<std::string_view, int> t;
    for (const char* k : {"$dynamicRef", "$recursiveRef"}) t[k] = 3;
    return t;
  }();
  return table;
}

class Compiler {
 public:
  Compiler(const Json& root, CompileBudget& budget) : root_(root), refs_(root), budget_(budget) {}

  Result<Schema> Run() {
    schema_.nodes.resize(2);
    schema_.nodes[kNeverNode].types = 0;
    if (root_.is_object()) {
      const std::string draft = root_.get_string("$schema", "");
      draft4_ = draft.find("draft-04") != std::string::npos || draft.find("draft-03") != std::string::npos;
      // Before 2019-09 a $ref stood alone: what is beside it was ignored.
      lonely_refs_ = draft.find("draft-04") != std::string::npos || draft.find("draft-03") != std::string::npos ||
                     draft.find("draft-06") != std::string::npos || draft.find("draft-07") != std::string::npos;
      if (lonely_refs_) refs_.StandAlone();
    }
    TRY(schema_.root, Compile(root_, Where{nullptr, "#", -1, 0}));
    TRY_STATUS(CheckLoops());
    for (const Unevaluated& u : unevaluated_)
      TRY_STATUS(AddUnevaluated(schema_, u, [this](int id, std::string_view key) { return Has(id, key); }));
    return std::move(schema_);
  }

 private:
  SchemaNode& node(int id) { return schema_.nodes[static_cast<size_t>(id)]; }
  Error Bad(const Where& where, const std::string& what) const { return InvalidArgument(where.Text() + ": " + what); }

  Result<int> NewNode(const Where& where) {
    if (schema_.nodes.size() >= kMaxNodes) return Bad(where, fmt::format("more than {} subschemas", kMaxNodes));
    if (!budget_.Spend(20)) return budget_.Exhausted();
    schema_.nodes.emplace_back();
    return static_cast<int>(schema_.nodes.size()) - 1;
  }

  Result<int> Compile(const Json& schema, const Where& where) {
    if (where.depth > kMaxNesting * 2) return Bad(where, fmt::format("nested more than {} levels", kMaxNesting));
    if (schema.is_bool()) return schema.as_bool() ? kAnyNode : kNeverNode;
    if (!schema.is_object()) return Bad(where, fmt::format("a schema is an object or a boolean, not {}", schema.type_name()));
    if (schema.as_object().empty()) return kAnyNode;
    const auto known = by_json_.find(&schema);
    if (known != by_json_.end()) return known->second;
    TRY(const int id, NewNode(where));
    by_json_.emplace(&schema, id);
    json_of_.emplace(id, &schema);
    TRY_STATUS(Fill(id, schema, where));
    return id;
  }

  // A member that must be a non-negative integer (5.0 is one).
  Status Count(const Json& schema, std::string_view key, const Where& where, uint32_t* out) {
    const Json* value = schema.find(key);
    if (value == nullptr) return {};
    const double v = value->is_number()                                                             ? value->as_double()
                     : IsNumber(*value) && Number(*value).mantissa > 0 && IsInteger(Number(*value)) ? 1e18
                                                                                                    : -1;
    if (v < 0 || v != std::floor(v)) return Bad(where.Down(key), "has to be a non-negative integer");
    *out = v >= 4e9 ? kEndless : static_cast<uint32_t>(v);
    return {};
  }

  Result<std::vector<int>> List(const Json& value, const Where& where) {
    if (!value.is_array()) return Bad(where, "has to be a list of schemas");
    std::vector<int> out;
    for (size_t i = 0; i < value.as_array().size(); ++i) {
      TRY(const int kid, Compile(value.as_array()[i], where.Down(static_cast<int>(i))));
      out.push_back(kid);
    }
    return out;
  }

  Result<std::vector<std::string>> Names(const Json& value, const Where& where) {
    if (!value.is_array()) return Bad(where, "has to be a list of strings");
    std::vector<std::string> out;
    for (const Json& v : value.as_array()) {
      if (!v.is_string()) return Bad(where, "has to be a list of strings");
      out.push_back(v.as_string());
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }

  static bool IsNumber(const Json& v) { return v.is_number() || (v.is_string() && v.as_string().starts_with(kExactNumber)); }
  static Decimal Number(const Json& v) {
    if (v.is_string()) return Decimal::FromText(std::string_view(v.as_string()).substr(kExactNumber.size()));
    return v.is_int() ? Decimal::FromInt(v.as_int()) : Decimal::FromDouble(v.as_double());
  }

  Status Fill(int id, const Json& schema, const Where& where) {
    if (const Json* ref = schema.find("$ref"); ref != nullptr && ref->is_string()) {
      TRY(SchemaRefs::Target target, ResolveRef(schema, ref->as_string(), where));
      const Where there{nullptr, target.where, -1, where.depth + 1};
      TRY(const int to, Compile(*target.schema, there));
      node(id).all_of.push_back(to);
      if (lonely_refs_) return {};
    }
    for (const auto& [key, value] : schema.as_object()) {
      const auto known = KnownKeywords().find(key);
      if (known != KnownKeywords().end()) return Bad(where.Down(key), "this keyword is not supported");
    }
    TRY_STATUS(FillType(id, schema, where));
    TRY_STATUS(FillNumber(id, schema, where));
    TRY_STATUS(FillString(id, schema, where));
    TRY_STATUS(FillObject(id, schema, where));
    TRY_STATUS(FillArray(id, schema, where));
    TRY_STATUS(FillLogic(id, schema, where));
    TRY_STATUS(FillValues(id, schema, where));
    for (const char* key : {"unevaluatedProperties", "unevaluatedItems"})
      if (const Json* value = schema.find(key)) {
        const Where here = where.Down(key);
        TRY(const int kid, Compile(*value, here));
        if (kid != kAnyNode) unevaluated_.push_back({id, kid, key[11] == 'P', here.Text()});
      }
    return Simplify(id);
  }

  Result<SchemaRefs::Target> ResolveRef(const Json& schema, const std::string& ref, const Where& where) {
    auto target = refs_.Resolve(schema, ref);
    if (!target.ok()) return Bad(where.Down("$ref"), target.error().message);
    return target;
  }

  Status FillType(int id, const Json& schema, const Where& where) {
    const Json* type = schema.find("type");
    if (type == nullptr) return {};
    uint8_t bits = 0;
    bool number = false, integer = false;
    const auto add = [&](const Json& name) {
      if (!name.is_string()) return false;
      const uint8_t b = TypeBits(name.as_string());
      bits |= b;
      number = number || name.as_string() == "number" || b == kAllTypes;
      integer = integer || name.as_string() == "integer";
      return b != 0;
    };
    bool good = true;
    std::string bad;
    if (type->is_array()) {
      for (const Json& t : type->as_array())
        if (!add(t)) good = false, bad = DumpJson(t);
    } else if (!add(*type)) {
      good = false, bad = DumpJson(*type);
    }
    if (!good)
      return Bad(where.Down("type"),
                 fmt::format("{} is not a type; it is one of null, boolean, integer, number, string, array, object", bad));
    SchemaNode& n = node(id);
    n.types = bits;
    if (integer && !number) {
      n.number = std::make_unique<NumberSpec>();
      n.number->integer = true;
      n.number->plain = draft4_;
    }
    return {};
  }

  Status FillNumber(int id, const Json& schema, const Where& where) {
    const auto spec = [&]() -> NumberSpec& {
      SchemaNode& n = node(id);
      if (!n.number) n.number = std::make_unique<NumberSpec>();
      return *n.number;
    };
    const auto read = [&](const char* key, const Json** out) -> Status {
      *out = schema.find(key);
      if (*out != nullptr && !IsNumber(**out) && !((*out)->is_bool() && key[0] == 'e')) return Bad(where.Down(key), "has to be a number");
      return {};
    };
    const Json *min = nullptr, *max = nullptr, *above = nullptr, *below = nullptr, *multiple = nullptr;
    TRY_STATUS(read("minimum", &min));
    TRY_STATUS(read("maximum", &max));
    TRY_STATUS(read("exclusiveMinimum", &above));
    TRY_STATUS(read("exclusiveMaximum", &below));
    TRY_STATUS(read("multipleOf", &multiple));
    if (min != nullptr) {
      spec().min = Number(*min);
      spec().min_exclusive = above != nullptr && above->is_bool() && above->as_bool();  // draft 4
    }
    if (max != nullptr) {
      spec().max = Number(*max);
      spec().max_exclusive = below != nullptr && below->is_bool() && below->as_bool();
    }
    if (above != nullptr && IsNumber(*above) && (!spec().min || Compare(Number(*above), *spec().min) >= 0)) {
      spec().min = Number(*above);
      spec().min_exclusive = true;
    }
    if (below != nullptr && IsNumber(*below) && (!spec().max || Compare(Number(*below), *spec().max) <= 0)) {
      spec().max = Number(*below);
      spec().max_exclusive = true;
    }
    if (multiple != nullptr) {
      const Decimal m = Number(*multiple);
      if (m.mantissa <= 0) return Bad(where.Down("multipleOf"), "has to be above 0");
      spec().multiples.push_back(m);
    }
    return {};
  }

  // ^X{m,n}$ with one character class X: a loop and two bounds instead of n copies.
  static bool CountedClass(RegexTree& tree, uint32_t* min, uint32_t* max) {
    const RegexNode& root = tree.nodes[static_cast<size_t>(tree.root)];
    if (root.op != RegexOp::kConcat || root.kids.size() != 3) return false;
    const auto op = [&](size_t i) -> const RegexNode& { return tree.nodes[static_cast<size_t>(root.kids[i])]; };
    if (op(0).op != RegexOp::kBegin || op(2).op != RegexOp::kEnd || op(1).op != RegexOp::kRepeat) return false;
    const RegexNode& repeat = op(1);
    const RegexNode& body = tree.nodes[static_cast<size_t>(repeat.kids[0])];
    if (body.op != RegexOp::kClass || std::max(repeat.min, repeat.max) < 16) return false;
    *min = static_cast<uint32_t>(repeat.min);
    *max = repeat.max == kUnbounded ? kEndless : static_cast<uint32_t>(repeat.max);
    const int kid = repeat.kids[0];
    tree.root = tree.Repeat(kid, 0, kUnbounded);
    return true;
  }

  Result<DfaPtr> Pattern(const std::string& pattern, const Where& where) {
    const auto it = patterns_.find(pattern);
    if (it != patterns_.end()) return it->second;
    auto dfa = RegexDfa(pattern, MatchMode::kSearch, budget_, RegexDialect::kSchema);
    if (!dfa.ok()) return Bad(where, dfa.error().message);
    patterns_.emplace(pattern, *dfa);
    return *std::move(dfa);
  }

  static Result<DfaPtr> Format(std::string_view format, const char* regex) {
    static std::mutex mutex;  // shared by compile jobs: a format's automaton is built once per process
    static std::unordered_map<std::string, DfaPtr> built;
    std::lock_guard lock(mutex);
    DfaPtr& dfa = built[std::string(format)];
    if (!dfa) {
      CompileBudget budget;
      TRY(dfa, RegexDfa(regex, MatchMode::kWhole, budget));
    }
    return dfa;
  }

  Status FillString(int id, const Json& schema, const Where& where) {
    uint32_t min = 0, max = kEndless;
    TRY_STATUS(Count(schema, "minLength", where, &min));
    TRY_STATUS(Count(schema, "maxLength", where, &max));
    std::vector<DfaPtr> texts;
    if (const Json* pattern = schema.find("pattern")) {
      const Where here = where.Down("pattern");
      if (!pattern->is_string()) return Bad(here, "has to be a string");
      auto tree = ParseRegex(pattern->as_string(), RegexDialect::kSchema);
      if (!tree.ok()) return Bad(here, tree.error().message);
      uint32_t low = 0, high = kEndless;
      if (CountedClass(*tree, &low, &high)) {
        auto dfa = BuildDfa(*tree, MatchMode::kWhole, budget_);
        if (!dfa.ok()) return Bad(here, dfa.error().message);
        texts.push_back(std::make_shared<const Dfa>(*std::move(dfa)));
        min = std::max(min, low);
        max = std::min(max, high);
      } else {
        TRY(DfaPtr dfa, Pattern(pattern->as_string(), here));
        texts.push_back(std::move(dfa));
      }
    }
    if (const Json* format = schema.find("format"); format != nullptr && format->is_string()) {
      if (const char* regex = FormatRegex(format->as_string())) {
        TRY(DfaPtr dfa, Format(format->as_string(), regex));
        texts.push_back(std::move(dfa));
        if (format->as_string() == "hostname" || format->as_string() == "idn-hostname") max = std::min(max, kMaxHostname);
      }
    }
    SchemaNode& n = node(id);
    n.min_length = min;
    n.max_length = max;
    if (texts.empty()) return {};
    auto both = Intersect(std::move(texts), budget_);
    if (!both.ok()) return Bad(where, both.error().message);
    n.text = *std::move(both);
    return {};
  }

  Status FillObject(int id, const Json& schema, const Where& where) {
    ObjectSpec spec;
    bool used = false;
    if (const Json* properties = schema.find("properties")) {
      const Where here = where.Down("properties");
      if (!properties->is_object()) return Bad(here, "has to be an object of schemas");
      used = true;
      spec.properties.reserve(properties->as_object().size());
      for (const auto& [name, value] : properties->as_object()) {
        TRY(const int kid, Compile(value, here.Down(name)));
        spec.properties.emplace_back(name, kid);
      }
      std::sort(spec.properties.begin(), spec.properties.end());
    }
    if (const Json* patterns = schema.find("patternProperties")) {
      const Where here = where.Down("patternProperties");
      if (!patterns->is_object()) return Bad(here, "has to be an object of schemas");
      used = true;
      for (const auto& [pattern, value] : patterns->as_object()) {
        TRY(DfaPtr dfa, Pattern(pattern, here.Down(pattern)));
        TRY(const int kid, Compile(value, here.Down(pattern)));
        spec.patterns.emplace_back(std::move(dfa), kid);
      }
    }
    if (const Json* additional = schema.find("additionalProperties")) {
      used = true;
      TRY(spec.additional, Compile(*additional, where.Down("additionalProperties")));
    }
    if (const Json* required = schema.find("required"); required != nullptr && !required->is_bool()) {  // draft 3: a boolean
      used = true;
      TRY(spec.required, Names(*required, where.Down("required")));
    }
    used = used || schema.find("minProperties") != nullptr || schema.find("maxProperties") != nullptr;
    TRY_STATUS(Count(schema, "minProperties", where, &spec.min));
    TRY_STATUS(Count(schema, "maxProperties", where, &spec.max));
    int names = -1;
    if (const Json* value = schema.find("propertyNames")) {
      used = true;
      TRY(names, Compile(*value, where.Down("propertyNames")));
    }
    for (const char* key : {"dependencies", "dependentRequired", "dependentSchemas"}) {
      const Json* value = schema.find(key);
      if (value == nullptr) continue;
      const Where here = where.Down(key);
      if (!value->is_object()) return Bad(here, "has to be an object");
      for (const auto& [name, what] : value->as_object()) {
        used = true;
        if (what.is_array() || what.is_string()) {
          TRY(std::vector<std::string> needed, Names(what.is_string() ? Json(Json::Array{what}) : what, here.Down(name)));
          spec.dependent_required.emplace_back(name, std::move(needed));
        } else {
          TRY(const int kid, Compile(what, here.Down(name)));
          node(id).dependent_schemas.emplace_back(name, kid);
        }
      }
    }
    if (names >= 0) {
      auto language = StringLanguage(schema_, names, budget_);
      if (!language.ok()) return Bad(where.Down("propertyNames"), language.error().message);
      spec.names = *std::move(language);
    }
    if (used) node(id).object = std::make_unique<ObjectSpec>(std::move(spec));
    return {};
  }

  Status FillArray(int id, const Json& schema, const Where& where) {
    ArraySpec spec;
    bool used = false;
    const Json* prefix = schema.find("prefixItems");
    const Json* items = schema.find("items");
    const Json* rest = items;
    if (items != nullptr && items->is_array()) {  // before 2020-12
      prefix = items;
      rest = schema.find("additionalItems");
    }
    if (prefix != nullptr) {
      used = true;
      TRY(spec.prefix, List(*prefix, where.Down(prefix == items ? "items" : "prefixItems")));
    }
    if (rest != nullptr) {
      used = true;
      TRY(spec.items, Compile(*rest, where.Down(rest == items ? "items" : "additionalItems")));
    }
    if (const Json* contains = schema.find("contains")) {
      used = true;
      TRY(spec.contains, Compile(*contains, where.Down("contains")));
      TRY_STATUS(Count(schema, "minContains", where, &spec.min_contains));
      TRY_STATUS(Count(schema, "maxContains", where, &spec.max_contains));
    }
    used = used || schema.find("minItems") != nullptr || schema.find("maxItems") != nullptr;
    TRY_STATUS(Count(schema, "minItems", where, &spec.min));
    TRY_STATUS(Count(schema, "maxItems", where, &spec.max));
    if (const Json* unique = schema.find("uniqueItems")) {
      if (!unique->is_bool()) return Bad(where.Down("uniqueItems"), "has to be a boolean");
      used = used || unique->as_bool();
      spec.unique = unique->as_bool();
    }
    if (used) node(id).array = std::make_unique<ArraySpec>(std::move(spec));
    return {};
  }

  Status FillLogic(int id, const Json& schema, const Where& where) {
    if (const Json* all = schema.find("allOf")) {
      TRY(std::vector<int> kids, List(*all, where.Down("allOf")));
      for (const int k : kids) node(id).all_of.push_back(k);
    }
    if (const Json* any = schema.find("anyOf")) {
      TRY(std::vector<int> kids, List(*any, where.Down("anyOf")));
      node(id).any_of.push_back(std::move(kids));
    }
    if (const Json* one = schema.find("oneOf")) {
      TRY(std::vector<int> kids, List(*one, where.Down("oneOf")));
      node(id).one_of.push_back(std::move(kids));
    }
    const auto single = [&](const char* key, int SchemaNode::*member) -> Status {
      const Json* value = schema.find(key);
      if (value == nullptr) return {};
      TRY(const int kid, Compile(*value, where.Down(key)));
      node(id).*member = kid;
      return {};
    };
    TRY_STATUS(single("not", &SchemaNode::not_node));
    if (schema.find("if") == nullptr) return {};
    TRY_STATUS(single("if", &SchemaNode::if_node));
    TRY_STATUS(single("then", &SchemaNode::then_node));
    return single("else", &SchemaNode::else_node);
  }

  // A node that allows exactly one array or object.
  Result<int> Exactly(const Json& value, const Where& where) {
    TRY(const int id, NewNode(where));
    if (value.is_array() || value.is_object()) {
      std::vector<int> kids;
      if (value.is_array()) {
        for (const Json& v : value.as_array()) {
          TRY(const int kid, Exactly(v, where));
          kids.push_back(kid);
        }
        ArraySpec spec;
        spec.min = spec.max = static_cast<uint32_t>(kids.size());
        spec.prefix = std::move(kids);
        node(id).types = kArrayBit;
        node(id).array = std::make_unique<ArraySpec>(std::move(spec));
      } else {
        ObjectSpec spec;
        for (const auto& [name, v] : value.as_object()) {
          TRY(const int kid, Exactly(v, where));
          spec.properties.emplace_back(name, kid);
          spec.required.push_back(name);
        }
        spec.additional = kNeverNode;
        std::sort(spec.properties.begin(), spec.properties.end());
        std::sort(spec.required.begin(), spec.required.end());
        node(id).types = kObjectBit;
        node(id).object = std::make_unique<ObjectSpec>(std::move(spec));
      }
      return id;
    }
    TRY_STATUS(Scalars(id, {&value}, where));
    return id;
  }

  Status Scalars(int id, const std::vector<const Json*>& values, const Where& where) {
    uint8_t bits = 0;
    std::vector<std::string> words;
    std::vector<Decimal> numbers;
    for (const Json* v : values) {
      if (v->is_null()) bits |= kNullBit;
      if (v->is_bool()) bits |= v->as_bool() ? kTrueBit : kFalseBit;
      if (IsNumber(*v))
        bits |= kNumberBit, numbers.push_back(Number(*v));
      else if (v->is_string())
        bits |= kStringBit, words.push_back(v->as_string());
    }
    SchemaNode& n = node(id);
    n.types &= bits;
    if (!numbers.empty()) {
      if (!n.number) n.number = std::make_unique<NumberSpec>();
      n.number->values = std::move(numbers);
    }
    if (words.empty()) return {};
    auto dfa = WordsDfa(std::move(words), budget_);
    if (!dfa.ok()) return Bad(where, dfa.error().message);
    DfaPtr enumerated = std::make_shared<const Dfa>(*std::move(dfa));
    if (n.text) {
      auto both = Intersect({n.text, enumerated}, budget_);
      if (!both.ok()) return Bad(where, both.error().message);
      enumerated = *std::move(both);
    }
    n.text = std::move(enumerated);
    n.spelled = true;
    return {};
  }

  Status FillValues(int id, const Json& schema, const Where& where) {
    for (const char* key : {"enum", "const"}) {
      const Json* value = schema.find(key);
      if (value == nullptr) continue;
      const Where here = where.Down(key);
      std::vector<const Json*> scalars, others;
      const auto add = [&](const Json& v) { (v.is_array() || v.is_object() ? others : scalars).push_back(&v); };
      if (key[0] == 'c') {
        add(*value);
      } else {
        if (!value->is_array()) return Bad(here, "has to be a list");
        if (value->as_array().empty()) return Bad(here, "is empty: nothing would match");
        for (const Json& v : value->as_array()) add(v);
      }
      if (others.empty()) {
        if (key[0] == 'c' && schema.find("enum") != nullptr) {  // both: two assertions
          TRY(const int kid, NewNode(here));
          TRY_STATUS(Scalars(kid, scalars, here));
          node(id).all_of.push_back(kid);
        } else {
          TRY_STATUS(Scalars(id, scalars, here));
        }
        continue;
      }
      std::vector<int> arms;
      if (!scalars.empty()) {
        TRY(const int kid, NewNode(here));
        TRY_STATUS(Scalars(kid, scalars, here));
        arms.push_back(kid);
      }
      for (const Json* v : others) {
        TRY(const int kid, Exactly(*v, here));
        arms.push_back(kid);
      }
      node(id).any_of.push_back(std::move(arms));
    }
    return {};
  }

  // Types that a node's own keywords rule out.
  Status Simplify(int id) {
    SchemaNode& n = node(id);
    if (n.min_length > n.max_length || (n.text && n.text->empty())) n.types &= static_cast<uint8_t>(~kStringBit);
    if (n.number && !n.number->Satisfiable()) n.types &= static_cast<uint8_t>(~kNumberBit);
    if (n.array) {
      ArraySpec& a = *n.array;
      if (a.contains >= 0 && a.max_contains < a.min_contains) n.types &= static_cast<uint8_t>(~kArrayBit);
      for (size_t i = 0; i < a.prefix.size(); ++i)
        if (a.prefix[i] == kNeverNode) a.max = std::min(a.max, static_cast<uint32_t>(i));
      if (a.items == kNeverNode) a.max = std::min(a.max, static_cast<uint32_t>(a.prefix.size()));
      if (a.min > a.max) n.types &= static_cast<uint8_t>(~kArrayBit);
    }
    if (n.object) {
      ObjectSpec& o = *n.object;
      bool bad = o.min > o.max || o.required.size() > o.max;
      size_t possible = 0;
      for (const auto& [name, kid] : o.properties) possible += kid != kNeverNode ? 1 : 0;
      if (o.additional == kNeverNode && o.patterns.empty()) bad = bad || possible < o.min;
      for (const std::string& name : o.required) {
        const auto it = std::lower_bound(o.properties.begin(), o.properties.end(), name,
                                         [](const auto& p, const std::string& s) { return p.first < s; });
        const bool named = it != o.properties.end() && it->first == name;
        const bool matched = std::any_of(o.patterns.begin(), o.patterns.end(), [&](const auto& p) { return p.first->Matches(name); });
        if (named ? it->second == kNeverNode : !matched && o.additional == kNeverNode) bad = true;
        if (o.names && !o.names->Matches(name)) bad = true;
      }
      if (bad) n.types &= static_cast<uint8_t>(~kObjectBit);
    }
    return {};
  }

  template <class F>
  static void ForEachInPlace(const SchemaNode& n, F&& f) {
    for (const int k : n.all_of) f(k);
    for (const auto& group : n.any_of)
      for (const int k : group) f(k);
    for (const auto& group : n.one_of)
      for (const int k : group) f(k);
    for (const int k : {n.not_node, n.if_node, n.then_node, n.else_node})
      if (k >= 0) f(k);
    for (const auto& [name, k] : n.dependent_schemas) f(k);
  }

  // A value that has to satisfy a schema which refers to itself for the same value: there is no end to it.
  Status CheckLoops() {
    std::vector<uint8_t> color(schema_.nodes.size(), 0);
    std::vector<std::pair<int, std::vector<int>>> path;
    for (size_t root = 0; root < schema_.nodes.size(); ++root) {
      if (color[root] != 0) continue;
      const auto enter = [&](int id) {
        color[static_cast<size_t>(id)] = 1;
        std::vector<int> kids;
        ForEachInPlace(node(id), [&](int k) { kids.push_back(k); });
        path.emplace_back(id, std::move(kids));
      };
      enter(static_cast<int>(root));
      while (!path.empty()) {
        if (path.back().second.empty()) {
          color[static_cast<size_t>(path.back().first)] = 2;
          path.pop_back();
          continue;
        }
        const int k = path.back().second.back();
        path.back().second.pop_back();
        if (color[static_cast<size_t>(k)] == 1) {
          for (const auto& [json, id] : by_json_)
            if (id == k && json->find("$ref") != nullptr)
              return InvalidArgument("#: $ref '" + json->get_string("$ref", "") + "' refers to itself without reading anything");
          return InvalidArgument("#: a $ref refers to itself without reading anything");
        }
        if (color[static_cast<size_t>(k)] == 0) enter(k);
      }
    }
    return {};
  }

  // Whether the node was written with a keyword; of `items`, as one schema for all.
  bool Has(int id, std::string_view key) const {
    const auto json = json_of_.find(id);
    if (json == json_of_.end()) return false;
    if (lonely_refs_ && json->second->find("$ref") != nullptr) return false;
    const Json* items = json->second->find("items");
    if (key != "items") return json->second->find(key) != nullptr;
    return items != nullptr && (!items->is_array() || json->second->find("additionalItems") != nullptr);
  }

  const Json& root_;
  SchemaRefs refs_;
  CompileBudget& budget_;
  Schema schema_;
  bool lonely_refs_ = false, draft4_ = false;
  std::unordered_map<const Json*, int> by_json_;
  std::unordered_map<std::string, DfaPtr> patterns_;
  std::vector<Unevaluated> unevaluated_;
  std::unordered_map<int, const Json*> json_of_;
};

Result<DfaPtr> Combine(std::vector<DfaPtr> operands, bool (*accepts)(uint64_t, uint64_t), CompileBudget& budget) {
  std::vector<const Dfa*> raw;
  for (const DfaPtr& d : operands) raw.push_back(d.get());
  TRY(Dfa dfa, Product(raw, accepts, budget));
  return std::make_shared<const Dfa>(std::move(dfa));
}

Result<DfaPtr> LengthDfa(uint32_t min, uint32_t max, CompileBudget& budget) {
  RegexTree tree;
  const int any = tree.Class(Complement(CodeSet{}));
  if (min > 10000 || (max != kEndless && max > 10000)) return InvalidArgument("length bounds above 10000 cannot be combined here");
  tree.root = tree.Repeat(any, static_cast<int>(min), max == kEndless ? kUnbounded : static_cast<int>(max));
  TRY(Dfa dfa, BuildDfa(tree, MatchMode::kWhole, budget));
  return std::make_shared<const Dfa>(std::move(dfa));
}

Result<DfaPtr> LanguageOf(const Schema& schema, int id, int depth, CompileBudget& budget) {
  if (depth > kMaxNesting) return InvalidArgument("nested too deeply");
  const SchemaNode& n = schema.nodes[static_cast<size_t>(id)];
  static const DfaPtr nothing = std::make_shared<const Dfa>();
  if ((n.types & kStringBit) == 0) return nothing;
  std::vector<DfaPtr> all{n.text ? n.text : AnyTextDfa()};
  if (n.min_length > 0 || n.max_length != kEndless) {
    TRY(DfaPtr length, LengthDfa(n.min_length, n.max_length, budget));
    all.push_back(std::move(length));
  }
  for (const int k : n.all_of) {
    TRY(DfaPtr kid, LanguageOf(schema, k, depth + 1, budget));
    all.push_back(std::move(kid));
  }
  const auto group = [&](const std::vector<int>& kids, bool (*accepts)(uint64_t, uint64_t)) -> Result<DfaPtr> {
    std::vector<DfaPtr> arms;
    for (const int k : kids) {
      TRY(DfaPtr kid, LanguageOf(schema, k, depth + 1, budget));
      arms.push_back(std::move(kid));
    }
    return Combine(std::move(arms), accepts, budget);
  };
  for (const auto& kids : n.any_of) {
    TRY(DfaPtr any, group(kids, [](uint64_t bits, uint64_t) { return bits != 0; }));
    all.push_back(std::move(any));
  }
  for (const auto& kids : n.one_of) {
    TRY(DfaPtr one, group(kids, [](uint64_t bits, uint64_t) { return bits != 0 && (bits & (bits - 1)) == 0; }));
    all.push_back(std::move(one));
  }
  if (n.not_node >= 0) {
    TRY(DfaPtr kid, LanguageOf(schema, n.not_node, depth + 1, budget));
    TRY(Dfa inverse, Complement(*kid, budget));
    all.push_back(std::make_shared<const Dfa>(std::move(inverse)));
  }
  if (n.if_node >= 0) {
    std::vector<DfaPtr> parts{AnyTextDfa()};
    for (const int k : {n.if_node, n.then_node, n.else_node}) {
      TRY(DfaPtr kid, k >= 0 ? LanguageOf(schema, k, depth + 1, budget) : Result<DfaPtr>(AnyTextDfa()));
      parts.push_back(std::move(kid));
    }
    TRY(DfaPtr choice,
        Combine(
            std::move(parts), [](uint64_t b, uint64_t) { return (b & 1) != 0 && ((b & 2) != 0 ? (b & 4) != 0 : (b & 8) != 0); }, budget));
    all.push_back(std::move(choice));
  }
  return Intersect(std::move(all), budget);
}

}  // namespace

Result<Schema> CompileSchema(const Json& schema, CompileBudget& budget) { return Compiler(schema, budget).Run(); }

Result<DfaPtr> LengthLanguage(uint32_t min, uint32_t max, CompileBudget& budget) { return LengthDfa(min, max, budget); }

Result<DfaPtr> StringLanguage(const Schema& schema, int node, CompileBudget& budget) { return LanguageOf(schema, node, 0, budget); }

}  // namespace sgl
