// SPDX-License-Identifier: Apache-2.0
#include "grammar/schema_unevaluated.h"

#include <algorithm>
#include <map>

namespace sgl {
namespace {

constexpr size_t kMaxSets = 128;

// Subschemas that evaluate something when all of `conditions` hold.
struct Source {
  std::vector<int> conditions;                     // nodes
  std::vector<std::pair<const void*, int>> picks;  // of choices that exclude each other: which choice, and what it chose
  std::vector<int> nodes;
};

class Resolver {
 public:
  Resolver(Schema& schema, const Unevaluated& what, const std::function<bool(int, std::string_view)>& has)
      : schema_(schema), what_(what), has_(has) {}

  Status Run() {
    Collect(what_.id, {});
    // Nothing is left where something that surely holds looks at everything.
    Source& base = sources_[{}];
    if (EvaluatesAll(base)) return {};
    std::vector<const Source*> choices;
    for (const auto& [conditions, source] : sources_)
      if (!conditions.empty() && EvaluatesAny(source)) choices.push_back(&source);
    std::vector<std::vector<const Source*>> sets{{&base}};
    for (const Source* c : choices)
      for (size_t i = 0, n = sets.size(); i < n; ++i) {
        if (!std::all_of(sets[i].begin(), sets[i].end(), [&](const Source* s) { return Together(*s, *c); })) continue;
        std::vector<const Source*> more = sets[i];
        more.push_back(c);
        sets.push_back(std::move(more));
        if (sets.size() > kMaxSets) return InvalidArgument(what_.where + ": too many alternatives beside this keyword");
      }
    std::vector<int> arms;
    for (const auto& set : sets) arms.push_back(Arm(set));
    if (arms.size() == 1)
      node(what_.id).all_of.push_back(arms[0]);
    else
      node(what_.id).any_of.push_back(std::move(arms));
    return {};
  }

 private:
  SchemaNode& node(int id) { return schema_.nodes[static_cast<size_t>(id)]; }
  int New(SchemaNode n) {
    schema_.nodes.push_back(std::move(n));
    return static_cast<int>(schema_.nodes.size()) - 1;
  }

  void Collect(int id, Source path) {
    sources_.try_emplace(path.conditions, path).first->second.nodes.push_back(id);
    const auto below = [&](std::vector<int> conditions, const void* choice, int pick, int kid) {
      Source next = path;
      for (const int c : conditions)
        if (std::find(next.conditions.begin(), next.conditions.end(), c) == next.conditions.end()) next.conditions.push_back(c);
      std::sort(next.conditions.begin(), next.conditions.end());
      if (choice != nullptr) next.picks.emplace_back(choice, pick);
      Collect(kid, std::move(next));
    };
    const auto copy = [&](auto member) { return node(id).*member; };  // nodes are added on the way
    for (const int k : copy(&SchemaNode::all_of)) below({}, nullptr, 0, k);
    for (const auto& group : copy(&SchemaNode::any_of))
      for (const int k : group) below({k}, nullptr, 0, k);
    size_t nth = 0;
    for (const auto& group : copy(&SchemaNode::one_of)) {
      const void* choice = &choices_[{id, static_cast<int>(nth++)}];
      for (const int k : group) below({k}, choice, k, k);
    }
    if (const int condition = node(id).if_node; condition >= 0) {
      const int yes = node(id).then_node, no = node(id).else_node;
      const void* choice = &choices_[{id, -1}];
      below({condition}, choice, 1, condition);
      if (yes >= 0) below({condition, yes}, choice, 1, yes);
      if (no >= 0) {
        SchemaNode negated;
        negated.not_node = condition;
        below({New(std::move(negated)), no}, choice, 0, no);
      }
    }
    for (const auto& [name, k] : copy(&SchemaNode::dependent_schemas)) {
      SchemaNode present;
      present.types = kObjectBit;
      present.object = std::make_unique<ObjectSpec>();
      present.object->required.push_back(name);
      below({New(std::move(present)), k}, nullptr, 0, k);
    }
  }

  static bool Together(const Source& a, const Source& b) {
    for (const auto& [choice, pick] : a.picks)
      for (const auto& [other, its] : b.picks)
        if (choice == other && pick != its) return false;
    return true;
  }

  bool EvaluatesAll(const Source& source) {
    return std::any_of(source.nodes.begin(), source.nodes.end(), [&](int id) {
      if (what_.properties) return (id != what_.id && has_(id, "unevaluatedProperties")) || has_(id, "additionalProperties");
      return (id != what_.id && has_(id, "unevaluatedItems")) || has_(id, "items");
    });
  }

  bool EvaluatesAny(const Source& source) {
    return EvaluatesAll(source) || std::any_of(source.nodes.begin(), source.nodes.end(), [&](int id) {
             const SchemaNode& n = node(id);
             if (what_.properties) return n.object && !(n.object->properties.empty() && n.object->patterns.empty());
             return n.array && (!n.array->prefix.empty() || n.array->contains >= 0);
           });
  }

  // All of the set hold, and what none of them names is for the keyword to judge.
  int Arm(const std::vector<const Source*>& set) {
    SchemaNode arm, closed;
    bool all = false;
    ObjectSpec object;
    ArraySpec array;
    object.additional = what_.kid;
    std::vector<int> found;  // schemas that evaluate an item by accepting it
    for (const Source* source : set) {
      arm.all_of.insert(arm.all_of.end(), source->conditions.begin(), source->conditions.end());
      all = all || EvaluatesAll(*source);
      for (const int id : source->nodes) {
        if (const ObjectSpec* o = node(id).object.get()) {
          for (const auto& [name, kid] : o->properties) object.properties.emplace_back(name, kAnyNode);
          for (const auto& [dfa, kid] : o->patterns) object.patterns.emplace_back(dfa, kAnyNode);
        }
        if (const ArraySpec* a = node(id).array.get()) {
          if (a->prefix.size() > array.prefix.size()) array.prefix.assign(a->prefix.size(), kAnyNode);
          if (a->contains >= 0) found.push_back(a->contains);
        }
      }
    }
    if (!all && what_.properties) {
      std::sort(object.properties.begin(), object.properties.end());
      object.properties.erase(std::unique(object.properties.begin(), object.properties.end()), object.properties.end());
      closed.object = std::make_unique<ObjectSpec>(std::move(object));
    } else if (!all) {
      array.items = what_.kid;
      if (!found.empty()) {
        SchemaNode either;
        if (what_.kid != kNeverNode) found.push_back(what_.kid);
        either.any_of.push_back(std::move(found));
        array.items = New(std::move(either));
      } else if (array.items == kNeverNode) {
        array.max = static_cast<uint32_t>(array.prefix.size());
      }
      closed.array = std::make_unique<ArraySpec>(std::move(array));
    }
    if (!all) arm.all_of.push_back(New(std::move(closed)));
    return New(std::move(arm));
  }

  Schema& schema_;
  const Unevaluated& what_;
  const std::function<bool(int, std::string_view)>& has_;
  std::map<std::vector<int>, Source> sources_;  // by conditions
  std::map<std::pair<int, int>, char> choices_;
};

}  // namespace

Status AddUnevaluated(Schema& schema, const Unevaluated& what, const std::function<bool(int, std::string_view)>& has) {
  return Resolver(schema, what, has).Run();
}

}  // namespace sgl
