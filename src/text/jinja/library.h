// The tables of filters, tests and methods, and how their arguments are bound.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace sgl::jinja {

class Renderer;

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;  // names from the parse tree, or in `keep`
  std::vector<Value> keep;
  bool empty() const { return positional.empty() && named.empty(); }
};

// Binds arguments to `names` (at most 8) as Python does; what was not given stays null. `required`: how many must be given.
// False after r.Fail.
struct Bound {
  Value storage[8];
  bool given[8] = {};
  const Value* Get(int i) const { return given[i] ? &storage[i] : nullptr; }
};
bool Bind(Renderer& r, std::string_view function, const Args& args, std::initializer_list<std::string_view> names, int required,
          Bound* out);

// Like every function that takes a Renderer: after r.Fail the result is meaningless and the caller need not look at it.
using FilterFunction = Value (*)(Renderer& r, const Value& value, const Args& args);

struct FilterEntry {
  std::string_view name;
  FilterFunction call;
};
struct TestEntry {
  std::string_view name;
  FilterFunction call;  // gives a boolean
};
struct MethodEntry {
  std::string_view name;
  FilterFunction call;
};

const FilterEntry* FindFilter(std::string_view name);
const TestEntry* FindTest(std::string_view name);
// Methods of str, list, tuple, dict... null: there is none. `refused`: it exists, but the sandbox hides it.
const MethodEntry* FindMethod(const Value& object, std::string_view name, bool* refused);

// a % b and "...".format(...)
Value FormatPercent(Renderer& r, const Value& format, const Value& argument, const Args* named);
Value FormatBraces(Renderer& r, const Value& format, const Args& args);

}  // namespace sgl::jinja
