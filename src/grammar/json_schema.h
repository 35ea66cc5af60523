// A JSON Schema as nodes: every subschema is one, with its own assertions split by the type they speak about, and references to the
// subschemas that it applies to the same value or to members. json_plan.h turns sets of nodes into what runs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/decimal.h"
#include "grammar/dfa.h"

namespace sgl {

// Types as bits; true and false are apart, so that enum and const need nothing else.
enum JsonTypeBit : uint8_t { kNullBit = 1, kTrueBit = 2, kFalseBit = 4, kNumberBit = 8, kStringBit = 16, kArrayBit = 32, kObjectBit = 64 };
constexpr uint8_t kAllTypes = 127;

constexpr int kAnyNode = 0, kNeverNode = 1;  // `true` and `false`

struct ObjectSpec {
  std::vector<std::pair<std::string, int>> properties;  // sorted by name
  std::vector<std::pair<DfaPtr, int>> patterns;
  int additional = kAnyNode;
  DfaPtr names;  // propertyNames as a language; null: any
  std::vector<std::string> required;
  uint32_t min = 0, max = kEndless;
  std::vector<std::pair<std::string, std::vector<std::string>>> dependent_required;
};

struct ArraySpec {
  std::vector<int> prefix;
  int items = kAnyNode;  // behind the prefix
  int contains = -1;
  uint32_t min_contains = 1, max_contains = kEndless;
  uint32_t min = 0, max = kEndless;
  bool unique = false;
};

struct SchemaNode {
  uint8_t types = kAllTypes;
  std::unique_ptr<NumberSpec> number;
  DfaPtr text;           // null: any
  bool spelled = false;  // enum and const have listed the strings
  uint32_t min_length = 0, max_length = kEndless;
  std::unique_ptr<ObjectSpec> object;
  std::unique_ptr<ArraySpec> array;
  // On the same value.
  std::vector<int> all_of;
  std::vector<std::vector<int>> any_of, one_of;
  int not_node = -1, if_node = -1, then_node = -1, else_node = -1;
  std::vector<std::pair<std::string, int>> dependent_schemas;
};

struct Schema {
  std::vector<SchemaNode> nodes;
  int root = 0;
};

// Drafts 4 to 2020-12. Errors name the place: "#/properties/a/pattern: at character 3: ...". What cannot be enforced is an error too;
// docs/structured-output.md has the table.
Result<Schema> CompileSchema(const Json& schema, CompileBudget& budget);

// The strings that a node allows, as one automaton.
Result<DfaPtr> StringLanguage(const Schema& schema, int node, CompileBudget& budget);

// Texts of so many code points, as an automaton. Error: too large.
Result<DfaPtr> LengthLanguage(uint32_t min, uint32_t max, CompileBudget& budget);

// A `format` as a regular expression over the whole string; nullptr: not asserted (unknown formats are annotations).
const char* FormatRegex(std::string_view format);

}  // namespace sgl
