// SPDX-License-Identifier: Apache-2.0
#include "grammar/structural_tag.h"

#include <fmt/core.h>

#include <algorithm>

namespace sgl {
namespace {

constexpr int kMaxDepth = 64;

class Parser {
 public:
  Parser(const SchemaTerminal& machine, const Vocabulary& vocabulary) : machine_(machine), vocabulary_(vocabulary) {}

  Result<RuleSource> Parse(const Json& tag) {
    if (!tag.is_object()) return InvalidArgument("a structural tag is a JSON object");
    source_.names.push_back("structural tag");
    source_.rules.emplace_back();
    const Json* format = tag.find("format");
    auto root = format != nullptr ? Format(*format, "#/format", 0) : Old(tag);
    if (!root.ok()) return std::move(root).error();
    source_.rules[0] = *std::move(root);
    return std::move(source_);
  }

 private:
  static Error Bad(const std::string& where, const std::string& what) { return InvalidArgument(where + ": " + what); }

  static RuleExpr FromTree(RegexTree tree) {
    RuleExpr e;
    e.op = RuleExpr::Op::kText;
    e.text = std::move(tree);
    return e;
  }

  static Result<std::vector<std::string>> Strings(const Json& value, const std::string& where, bool allow_one) {
    std::vector<std::string> out;
    if (allow_one && value.is_string()) return std::vector<std::string>{value.as_string()};
    if (value.is_null()) return out;
    if (!value.is_array()) return Bad(where, "has to be a list of strings");
    for (const Json& v : value.as_array()) {
      if (!v.is_string()) return Bad(where, "has to be a list of strings");
      out.push_back(v.as_string());
    }
    return out;
  }

  // Text in which none of `stops` occurs; with `until`, up to and with the first occurrence of any of them, which is that one.
  Result<RuleExpr> Free(std::vector<std::string> stops, const std::string* until, const std::string& where) {
    for (const std::string& s : stops)
      if (s.empty()) return Bad(where, "an empty string cannot end a text");
    RuleExpr e;
    e.op = RuleExpr::Op::kFree;
    e.stops = std::move(stops);
    if (until != nullptr) e.until = *until, e.has_until = true;
    return e;
  }

  Result<RuleExpr> Schema(const Json& schema, const std::string& where) {
    auto machine = machine_(schema);
    if (!machine.ok()) return Bad(where, machine.error().message);
    source_.schemas.push_back(*std::move(machine));
    RuleExpr e;
    e.op = RuleExpr::Op::kJson;
    e.index = static_cast<int>(source_.schemas.size()) - 1;
    return e;
  }

  Result<TokenId> Token(const Json& value, const std::string& where) {
    if (value.is_int()) {
      const int64_t id = value.as_int();
      if (id < 0 || static_cast<size_t>(id) >= vocabulary_.size()) return Bad(where, fmt::format("token {} is outside the vocabulary", id));
      return static_cast<TokenId>(id);
    }
    if (value.is_string()) {
      if (const auto id = vocabulary_.Find(value.as_string())) return *id;
      return Bad(where, fmt::format("'{}' is not one token of this model", value.as_string()));
    }
    return Bad(where, "has to be a token: an id or its text");
  }

  Result<RuleExpr> Tokens(const Json& list, bool except, const std::string& where) {
    TokenSet set;
    set.except = except;
    if (list.is_array()) {
      for (const Json& v : list.as_array()) {
        TRY(const TokenId id, Token(v, where));
        set.ids.push_back(id);
      }
    } else if (!list.is_null()) {
      TRY(const TokenId id, Token(list, where));
      set.ids.push_back(id);
    }
    std::sort(set.ids.begin(), set.ids.end());
    source_.token_sets.push_back(std::move(set));
    RuleExpr e;
    e.op = RuleExpr::Op::kTokens;
    e.index = static_cast<int>(source_.token_sets.size()) - 1;
    return e;
  }

  // A tag's begin: text, or a token.
  Result<RuleExpr> Mark(const Json& value, const std::string& where) {
    if (value.is_string()) return RuleExpr::Text(value.as_string());
    if (value.is_object() && value.get_string("type", "") == "token") return Tokens(value["token"], false, where);
    return Bad(where, "has to be a string or a token");
  }

  // Content and end of a tag. skip: bytes of `begin` that have been read already.
  Result<RuleExpr> Tag(const Json& tag, size_t skip, const std::string& where, int depth) {
    if (!tag.is_object()) return Bad(where, "has to be a tag object");
    std::vector<RuleExpr> parts;
    if (tag["begin"].is_string()) {
      parts.push_back(RuleExpr::Text(tag["begin"].as_string().substr(skip)));
    } else {
      TRY(RuleExpr begin, Mark(tag["begin"], where + "/begin"));
      parts.push_back(std::move(begin));
    }
    const Json* content = tag.find("content");
    if (content == nullptr) return Bad(where, "has no content");
    const Json& end = tag["end"];
    if (content->get_string("type", "") == "any_text" && (end.is_string() || end.is_array())) {
      // The text lasts until the end mark first appears.
      TRY(std::vector<std::string> ends, Strings(end, where + "/end", true));
      TRY(std::vector<std::string> excludes, Strings((*content)["excludes"], where + "/content/excludes", false));
      std::vector<std::string> stops = ends;
      stops.insert(stops.end(), excludes.begin(), excludes.end());
      std::vector<RuleExpr> arms;
      for (const std::string& e : ends) {
        if (e.empty()) {
          TRY(RuleExpr arm, Free(excludes, nullptr, where));
          arms.push_back(std::move(arm));
        } else {
          TRY(RuleExpr arm, Free(stops, &e, where));
          arms.push_back(std::move(arm));
        }
      }
      if (arms.empty()) return Bad(where + "/end", "is empty");
      parts.push_back(RuleExpr::Alternate(std::move(arms)));
      return RuleExpr::Concat(std::move(parts));
    }
    TRY(RuleExpr body, Format(*content, where + "/content", depth + 1));
    parts.push_back(std::move(body));
    if (end.is_array()) {
      std::vector<RuleExpr> arms;
      for (const Json& e : end.as_array()) {
        TRY(RuleExpr arm, Mark(e, where + "/end"));
        arms.push_back(std::move(arm));
      }
      if (arms.empty()) return Bad(where + "/end", "is empty");
      parts.push_back(RuleExpr::Alternate(std::move(arms)));
    } else {
      TRY(RuleExpr mark, Mark(end, where + "/end"));
      parts.push_back(std::move(mark));
    }
    return RuleExpr::Concat(std::move(parts));
  }

  Result<RuleExpr> Triggered(const Json& format, const std::string& where, int depth) {
    TRY(std::vector<std::string> triggers, Strings(format["triggers"], where + "/triggers", false));
    TRY(std::vector<std::string> excludes, Strings(format["excludes"], where + "/excludes", false));
    if (triggers.empty()) return Bad(where + "/triggers", "is empty");
    const Json& tags = format["tags"];
    if (!tags.is_array() || tags.as_array().empty()) return Bad(where + "/tags", "has to be a list of tags");
    std::vector<std::string> stops = triggers;
    stops.insert(stops.end(), excludes.begin(), excludes.end());
    std::vector<std::vector<RuleExpr>> rests(triggers.size());
    std::vector<RuleExpr> whole;
    for (size_t i = 0; i < tags.as_array().size(); ++i) {
      const Json& tag = tags.as_array()[i];
      const std::string here = fmt::format("{}/tags/{}", where, i);
      if (!tag["begin"].is_string()) return Bad(here + "/begin", "has to be a string");
      const std::string& begin = tag["begin"].as_string();
      size_t matching = triggers.size();
      for (size_t t = 0; t < triggers.size(); ++t)
        if (begin.compare(0, triggers[t].size(), triggers[t]) == 0) matching = t;
      if (matching == triggers.size()) return Bad(here + "/begin", fmt::format("'{}' does not begin with a trigger", begin));
      TRY(RuleExpr rest, Tag(tag, triggers[matching].size(), here, depth));
      rests[matching].push_back(std::move(rest));
      if (format.get_bool("at_least_one", false)) {
        TRY(RuleExpr all, Tag(tag, 0, here, depth));
        whole.push_back(std::move(all));
      }
    }
    std::vector<RuleExpr> dispatch;
    for (size_t t = 0; t < triggers.size(); ++t) {
      if (rests[t].empty()) continue;
      TRY(RuleExpr text, Free(stops, &triggers[t], where + "/triggers"));
      std::vector<RuleExpr> parts;
      parts.push_back(std::move(text));
      parts.push_back(RuleExpr::Alternate(std::move(rests[t])));
      dispatch.push_back(RuleExpr::Concat(std::move(parts)));
    }
    const bool once = format.get_bool("stop_after_first", false);
    std::vector<RuleExpr> parts;
    if (!whole.empty()) parts.push_back(RuleExpr::Alternate(std::move(whole)));
    if (once) {
      if (parts.empty()) {  // at most one
        TRY(RuleExpr text, Free(stops, nullptr, where));
        dispatch.push_back(std::move(text));
        return RuleExpr::Alternate(std::move(dispatch));
      }
      return RuleExpr::Concat(std::move(parts));
    }
    parts.push_back(RuleExpr::Repeat(RuleExpr::Alternate(std::move(dispatch)), 0, kUnbounded));
    TRY(RuleExpr tail, Free(stops, nullptr, where));
    parts.push_back(std::move(tail));
    return RuleExpr::Concat(std::move(parts));
  }

  Result<std::vector<RuleExpr>> Elements(const Json& list, const std::string& where, int depth) {
    if (!list.is_array() || list.as_array().empty()) return Bad(where, "has to be a list of formats");
    std::vector<RuleExpr> out;
    for (size_t i = 0; i < list.as_array().size(); ++i) {
      TRY(RuleExpr e, Format(list.as_array()[i], fmt::format("{}/{}", where, i), depth + 1));
      out.push_back(std::move(e));
    }
    return out;
  }

  Result<RuleExpr> Format(const Json& format, const std::string& where, int depth) {
    if (depth > kMaxDepth) return Bad(where, "nested too deeply");
    if (!format.is_object()) return Bad(where, "has to be a format object");
    const std::string type = format.get_string("type", "");
    if (type == "const_string") {
      if (!format["value"].is_string()) return Bad(where + "/value", "has to be a string");
      return RuleExpr::Text(format["value"].as_string());
    }
    if (type == "json_schema") {
      const Json* schema = format.find("json_schema");
      return Schema(schema == nullptr || schema->is_null() ? Json(true) : *schema, where + "/json_schema");
    }
    if (type == "regex") {
      if (!format["pattern"].is_string()) return Bad(where + "/pattern", "has to be a string");
      auto tree = ParseRegex(format["pattern"].as_string());
      if (!tree.ok()) return Bad(where + "/pattern", tree.error().message);
      for (const RegexNode& n : tree->nodes)
        if (n.op == RegexOp::kBegin || n.op == RegexOp::kEnd)
          return Bad(where + "/pattern", "anchors are not supported inside a structural tag");
      return FromTree(*std::move(tree));
    }
    if (type == "grammar") {
      if (!format["grammar"].is_string()) return Bad(where + "/grammar", "has to be a string");
      auto inner = ParseEbnf(format["grammar"].as_string());
      if (!inner.ok()) return Bad(where + "/grammar", inner.error().message);
      return Import(*std::move(inner));
    }
    if (type == "any_text") {
      TRY(std::vector<std::string> excludes, Strings(format["excludes"], where + "/excludes", false));
      return Free(std::move(excludes), nullptr, where + "/excludes");
    }
    if (type == "sequence") {
      TRY(std::vector<RuleExpr> parts, Elements(format["elements"], where + "/elements", depth));
      return RuleExpr::Concat(std::move(parts));
    }
    if (type == "or") {
      TRY(std::vector<RuleExpr> arms, Elements(format["elements"], where + "/elements", depth));
      return RuleExpr::Alternate(std::move(arms));
    }
    if (type == "optional" || type == "plus" || type == "star" || type == "repeat") {
      const Json* content = format.find("content");
      if (content == nullptr) return Bad(where, "has no content");
      TRY(RuleExpr body, Format(*content, where + "/content", depth + 1));
      int64_t min = type == "plus" ? 1 : 0, max = type == "optional" ? 1 : kUnbounded;
      if (type == "repeat") {
        min = format.get_int("min", 0);
        max = format.get_int("max", kUnbounded);
        if (min < 0 || min > 10000 || max > 10000 || (max >= 0 && max < min))
          return Bad(where, "min and max have to be counts up to 10000");
        if (max < 0) max = kUnbounded;
      }
      return RuleExpr::Repeat(std::move(body), static_cast<int>(min), static_cast<int>(max));
    }
    if (type == "tag") return Tag(format, 0, where, depth);
    if (type == "triggered_tags") return Triggered(format, where, depth);
    if (type == "tags_with_separator") {
      const Json& tags = format["tags"];
      if (!tags.is_array() || tags.as_array().empty()) return Bad(where + "/tags", "has to be a list of tags");
      if (!format["separator"].is_string()) return Bad(where + "/separator", "has to be a string");
      std::vector<RuleExpr> arms, again;
      for (size_t i = 0; i < tags.as_array().size(); ++i) {
        TRY(RuleExpr tag, Tag(tags.as_array()[i], 0, fmt::format("{}/tags/{}", where, i), depth));
        arms.push_back(std::move(tag));
      }
      // One rule for a tag, so that both places share it.
      source_.rules.push_back(RuleExpr::Alternate(std::move(arms)));
      source_.names.push_back("tag");
      const int one = static_cast<int>(source_.rules.size()) - 1;
      std::vector<RuleExpr> parts{RuleExpr::Call(one)};
      if (!format.get_bool("stop_after_first", false)) {
        std::vector<RuleExpr> more{RuleExpr::Text(format["separator"].as_string()), RuleExpr::Call(one)};
        parts.push_back(RuleExpr::Repeat(RuleExpr::Concat(std::move(more)), 0, kUnbounded));
      }
      RuleExpr all = RuleExpr::Concat(std::move(parts));
      return format.get_bool("at_least_one", false) ? std::move(all) : RuleExpr::Repeat(std::move(all), 0, 1);
    }
    if (type == "token") return Tokens(format["token"], false, where + "/token");
    if (type == "exclude_token")
      return Tokens(format.find("token") != nullptr ? format["token"] : format["tokens"], true, where + "/token");
    if (type == "any_tokens") {
      TRY(RuleExpr one,
          Tokens(format.find("exclude_tokens") != nullptr ? format["exclude_tokens"] : format["excludes"], true, where + "/excludes"));
      return RuleExpr::Repeat(std::move(one), 0, kUnbounded);
    }
    return Bad(where + "/type",
               fmt::format(
                   "'{}' is not supported; it is one of const_string, json_schema, regex, grammar, any_text, sequence, or, optional, plus, "
                   "star, repeat, tag, triggered_tags, tags_with_separator, token, exclude_token, any_tokens",
                   type));
  }

  RuleExpr Import(RuleSource inner) {
    const auto shift = static_cast<int>(source_.rules.size());
    const auto move = [&](auto&& self, RuleExpr& e) -> void {
      if (e.op == RuleExpr::Op::kCall) e.index += shift;
      for (RuleExpr& k : e.kids) self(self, k);
    };
    for (size_t r = 0; r < inner.rules.size(); ++r) {
      move(move, inner.rules[r]);
      source_.rules.push_back(std::move(inner.rules[r]));
      source_.names.push_back(std::move(inner.names[r]));
    }
    return RuleExpr::Call(inner.root + shift);
  }

  // {"structures": [{"begin", "schema", "end"}], "triggers": [...]}
  Result<RuleExpr> Old(const Json& tag) {
    const Json& structures = tag["structures"];
    if (!structures.is_array()) return InvalidArgument("#: neither 'format' nor 'structures'");
    Json::Array tags;
    for (const Json& s : structures.as_array()) {
      Json content;
      content.Set("type", "json_schema");
      content.Set("json_schema", s["schema"]);
      Json out;
      out.Set("begin", s["begin"]);
      out.Set("content", std::move(content));
      out.Set("end", s["end"]);
      tags.push_back(std::move(out));
    }
    Json format;
    format.Set("triggers", tag["triggers"]);
    format.Set("tags", Json(std::move(tags)));
    format.Set("at_least_one", tag["at_least_one"]);
    return Triggered(format, "#", 0);
  }

  const SchemaTerminal& machine_;
  const Vocabulary& vocabulary_;
  RuleSource source_;
};

}  // namespace

Result<RuleSource> ParseStructuralTag(const Json& tag, const SchemaTerminal& machine, const Vocabulary& vocabulary) {
  return Parser(machine, vocabulary).Parse(tag);
}

}  // namespace sgl
