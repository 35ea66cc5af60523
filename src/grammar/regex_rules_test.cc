// Regular expressions and EBNF: whole texts, masks, errors, and independent judges.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "grammar/test_kit.h"
#include "text/regex.h"

namespace sgl {
namespace {

TEST(RegexGrammar, Dialect) {
  const struct {
    const char* pattern;
    std::vector<const char*> good, bad;
  } cases[] = {
      {"", {""}, {"a"}},
      {"a|bc*", {"a", "b", "bccc"}, {"", "ac", "aa"}},
      {"^[a-c]{2,3}$", {"ab", "abc"}, {"a", "abca", "ad"}},
      {"\\d+\\.\\d{2}", {"1.25", "007.00"}, {"1.2", ".25"}},
      {"[^\\d\\s]+?", {"x-", "\xC3\xA9"}, {"1", "a b"}},
      {".", {"a", "\xF0\x9F\x98\x80"}, {"\n", "\xF0\x9F", "ab"}},
      {"(?:yes|no)(?<tail>!)?", {"yes", "no!"}, {"yes!!", "maybe"}},
      {"\\u00e9\\x41\\t",
       {"\xC3\xA9"
        "A\t"},
       {"eA\t"}},
      {"a{,3}", {"a{,3}"}, {"aaa"}},
      {"[a\\-z]]", {"a]", "-]", "z]"}, {"b]"}},
      {"x{0}y", {"y"}, {"xy"}},
  };
  for (const auto& c : cases) {
    const auto grammar = MustCompile(GrammarKind::kRegex, c.pattern);
    ASSERT_NE(grammar, nullptr);
    for (const char* text : c.good) EXPECT_TRUE(Accepts(*grammar, text)) << c.pattern << ": " << text;
    for (const char* text : c.bad) EXPECT_FALSE(Accepts(*grammar, text)) << c.pattern << ": " << text;
  }
}

TEST(RegexGrammar, ErrorsNameTheCharacter) {
  const std::pair<const char*, const char*> cases[] = {
      {"a(b", "at character 1: unmatched '('"},
      {"ab)", "at character 2: unmatched ')'"},
      {"[a", "at character 0: unmatched '['"},
      {"a**", "two repetition marks"},
      {"*a", "at character 0: nothing to repeat"},
      {"a{3,2}", "counts down"},
      {"(?=a)b", "look-ahead"},
      {"(?<!a)b", "look-behind"},
      {"(a)\\1", "back-references"},
      {"\\bfoo", "word boundary"},
      {"\\p{L}", "Unicode property"},
      {"(?i)a", "flags"},
      {"[]", "empty class"},
      {"a{20000}", "repetition above"},
      {"[b-a]", "counts down"},
      {"a^b", "no text matches"},
  };
  for (const auto& [pattern, part] : cases) {
    const std::string error = CompileError(GrammarKind::kRegex, pattern);
    EXPECT_NE(error.find(part), std::string::npos) << pattern << ": " << error;
  }
}

// Random expressions: what the masks lead to is what PCRE2 matches, and random texts get the same verdict.
TEST(RegexGrammar, AgreesWithPcre) {
  std::mt19937_64 random(3);
  const auto piece = [&](auto&& self, int depth) -> std::string {
    switch (random() % (depth > 3 ? 4 : 9)) {
      case 0: return "a";
      case 1: return "[a-c]";
      case 2: return "b";
      case 3: return "[^a\\d]";
      case 4: return "(" + self(self, depth + 1) + "|" + self(self, depth + 1) + ")";
      case 5: return "(?:" + self(self, depth + 1) + ")" + (random() % 2 == 0 ? "*" : "{1,2}");
      case 6: return self(self, depth + 1) + self(self, depth + 1);
      case 7: return "(" + self(self, depth + 1) + ")?";
      default: return "\\d" + self(self, depth + 1);
    }
  };
  for (int round = 0; round < 200; ++round) {
    const std::string pattern = piece(piece, 0);
    const auto grammar = MustCompile(GrammarKind::kRegex, pattern);
    ASSERT_NE(grammar, nullptr);
    auto judge = Regex::Compile("(?:" + pattern + ")\\Z", RegexSyntax::kPython);
    ASSERT_TRUE(judge.ok());
    const auto matches = [&](const std::string& text) {
      auto whole = Regex::Compile("\\A(?:" + pattern + ")\\Z", RegexSyntax::kPython);
      RegexMatch match;
      return whole.ok() && whole->Find(text, 0, &match) == RegexOutcome::kMatch;
    };
    bool ended = false;
    const std::string drawn = DrawText(*grammar, random, 30, round % 20 == 0, &ended);
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_TRUE(!ended || matches(drawn)) << pattern << " '" << drawn << "'";
    for (int i = 0; i < 10; ++i) {
      std::string text;
      for (size_t n = random() % 6; n > 0; --n) text += "abc1"[random() % 4];
      EXPECT_EQ(Accepts(*grammar, text), matches(text)) << pattern << " '" << text << "'";
    }
  }
}

TEST(Ebnf, Dialect) {
  const struct {
    const char* grammar;
    std::vector<const char*> good, bad;
  } cases[] = {
      {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "yesno"}},
      {"# choices\nroot ::= greeting \" \" name\ngreeting ::= \"hi\" | \"hello\" # two\nname ::= [A-Z] [a-z]*\n",
       {"hi Bob", "hello A"},
       {"hi bob", "hey Bob"}},
      {"root ::= expr\nexpr ::= expr \"+\" term | term\nterm ::= \"(\" expr \")\" | [0-9]+",
       {"1", "1+2+33", "(1+2)+3", "((4))"},
       {"", "1+", "(1", "1)"}},
      {"root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "())"}},
      {"root ::= a\na ::= b \"x\" | \"y\"\nb ::= a \"z\"", {"y", "yzx", "yzxzx"}, {"yz", "x"}},
      {"root ::= item{2,3} (\",\" item)?\nitem ::= \"ab\" | root2\nroot2 ::= \"<\" item \">\"", {"abab", "ab<ab>,ab"}, {"ab", "abababab"}},
      {"root ::= \"\\x41\\u00e9\\n\" [^\\n]", {"A\xC3\xA9\n!"}, {"A\xC3\xA9\n\n"}},
      {"root ::= Regex(\"[a-c]+\") list\nlist ::= \";\" root | \".\"", {"a.", "ab;c."}, {"a", "d."}},
      {"root ::=\n  \"a\" |\n  \"b\"\n", {"a", "b"}, {"ab"}},
      {"root ::= a a\na ::= b?\nb ::= a \"x\" | \"x\"", {"", "x", "xxx"}, {"y"}},
  };
  std::mt19937_64 random(5);
  for (const auto& c : cases) {
    const auto grammar = MustCompile(GrammarKind::kEbnf, c.grammar);
    ASSERT_NE(grammar, nullptr);
    for (const char* text : c.good) EXPECT_TRUE(Accepts(*grammar, text)) << c.grammar << ": " << text;
    for (const char* text : c.bad) EXPECT_FALSE(Accepts(*grammar, text)) << c.grammar << ": " << text;
    bool ended = false;
    for (int i = 0; i < 2; ++i) DrawText(*grammar, random, 12, true, &ended);
    ASSERT_FALSE(HasFatalFailure()) << c.grammar;
  }
}

TEST(Ebnf, ErrorsNameLineAndColumn) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no rule"},
      {"main ::= \"a\"", "no rule 'root'"},
      {"root ::= \"a\nb\"", "line 1, column 10: unterminated string"},
      {"root ::= thing", "line 1, column 10: unknown rule 'thing'"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: rule 'root' is defined twice"},
      {"root ::= (\"a\"", "line 1, column 10: unmatched '('"},
      {"root ::= [a", "unmatched '['"},
      {"root ::= \"\\q\"", "bad escape"},
      {"root ::= root \"a\"", "never comes to an end"},
      {"root ::= \"a\"{2,1}", "counts down"},
      {"root ::= \"a\" ]", "unexpected ']'"},
  };
  for (const auto& [text, part] : cases) {
    const std::string error = CompileError(GrammarKind::kEbnf, text);
    EXPECT_NE(error.find(part), std::string::npos) << text << ": " << error;
  }
}

// A naive recogniser: which ends can a symbol reach from each begin, to a fixed point. Grammars of one-letter terminals.
using Production = std::vector<int>;  // >= 0: rule; < 0: letter -1 - c
using Toy = std::vector<std::vector<Production>>;

bool NaiveAccepts(const Toy& toy, const std::string& text) {
  const size_t n = text.size() + 1;
  std::vector<std::vector<std::set<size_t>>> ends(toy.size(), std::vector<std::set<size_t>>(n));
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t r = 0; r < toy.size(); ++r)
      for (size_t from = 0; from < n; ++from)
        for (const Production& p : toy[r]) {
          std::set<size_t> at{from};
          for (const int symbol : p) {
            std::set<size_t> next;
            for (const size_t i : at) {
              if (symbol < 0) {
                if (i + 1 < n && text[i] == static_cast<char>('a' - 1 - symbol)) next.insert(i + 1);
              } else {
                next.insert(ends[static_cast<size_t>(symbol)][i].begin(), ends[static_cast<size_t>(symbol)][i].end());
              }
            }
            at = std::move(next);
          }
          for (const size_t i : at) changed = ends[r][from].insert(i).second || changed;
        }
  }
  return ends[0][0].contains(n - 1);
}

TEST(Ebnf, AgreesWithANaiveRecogniser) {
  std::mt19937_64 random(9);
  int compiled = 0;
  for (int round = 0; round < 150; ++round) {
    Toy toy(2 + random() % 3);
    std::string text;
    for (size_t r = 0; r < toy.size(); ++r) {
      text += (r == 0 ? "root" : "r" + std::to_string(r)) + " ::= ";
      for (size_t p = 0; p < 1 + random() % 3; ++p) {
        if (p > 0) text += " | ";
        Production production;
        std::string body;
        for (size_t k = random() % 4; k > 0; --k) {
          if (random() % 2 == 0) {
            const auto rule = static_cast<int>(random() % toy.size());
            production.push_back(rule);
            body += rule == 0 ? " root" : " r" + std::to_string(rule);
          } else {
            const auto letter = static_cast<int>(random() % 2);
            production.push_back(-1 - letter);
            body += std::string(" \"") + static_cast<char>('a' + letter) + "\"";
          }
        }
        text += body.empty() ? "\"\"" : body;
        toy[r].push_back(production);
      }
      text += "\n";
    }
    auto grammar = Grammar::Compile({GrammarKind::kEbnf, text}, {}, TestVocabulary());
    std::vector<std::string> words{""};
    for (size_t i = 0; i < words.size() && words[i].size() < 5; ++i) words.push_back(words[i] + "a"), words.push_back(words[i] + "b");
    for (const std::string& word : words) {
      const bool said = grammar.ok() && Accepts(**grammar, word);
      ASSERT_EQ(said, NaiveAccepts(toy, word)) << text << " '" << word << "' " << (grammar.ok() ? "" : grammar.error().message);
    }
    if (!grammar.ok()) continue;
    ++compiled;
    bool ended = false;
    DrawText(**grammar, random, 8, true, &ended);
    ASSERT_FALSE(HasFatalFailure()) << text;
  }
  EXPECT_GT(compiled, 60);
}

TEST(StructuralTag, FreeTextUntilATrigger) {
  const std::string old =
      R"({"type":"structural_tag","triggers":["<t"],"structures":[{"begin":"<t>","schema":{"type":"integer"},"end":"</t>"}]})";
  const auto grammar = MustCompile(GrammarKind::kStructuralTag, old);
  ASSERT_NE(grammar, nullptr);
  for (const char* text : {"", "hello", "hi <t>12</t> and <t>3</t>.", "<t>1</t>", "a < b"}) EXPECT_TRUE(Accepts(*grammar, text)) << text;
  for (const char* text : {"<t>x</t>", "<t>1", "<tx", "<t>1</t><t>"}) EXPECT_FALSE(Accepts(*grammar, text)) << text;
  std::mt19937_64 random(1);
  bool ended = false;
  for (int i = 0; i < 3; ++i) DrawText(*grammar, random, 15, true, &ended);
}

TEST(StructuralTag, Formats) {
  const struct {
    const char* format;
    std::vector<const char*> good, bad;
  } cases[] = {
      {R"({"type":"const_string","value":"ok"})", {"ok"}, {"o"}},
      {R"({"type":"sequence","elements":[{"type":"const_string","value":"n="},{"type":"json_schema","json_schema":{"type":"number"}},{"type":"const_string","value":";"}]})",
       {"n=1;", "n=-2.5e3;"},
       {"n=;", "n=1"}},
      {R"({"type":"or","elements":[{"type":"regex","pattern":"a+"},{"type":"grammar","grammar":"root ::= \"(\" root \")\" | \"x\""}]})",
       {"aa", "((x))"},
       {"(x", "b"}},
      {R"({"type":"tag","begin":"<t>","content":{"type":"any_text"},"end":"</t>"})", {"<t></t>", "<t>a<b</t>"}, {"<t>a</t>b", "<t>a"}},
      {R"({"type":"triggered_tags","triggers":["<t"],"tags":[{"begin":"<t>","content":{"type":"json_schema","json_schema":{"type":"boolean"}},"end":"</t>"}],"at_least_one":true,"stop_after_first":true})",
       {"<t>true</t>"},
       {"", "x<t>true</t>", "<t>true</t> "}},
      {R"({"type":"tags_with_separator","tags":[{"begin":"[","content":{"type":"regex","pattern":"[0-9]"},"end":"]"}],"separator":",","at_least_one":true})",
       {"[1]", "[1],[2]"},
       {"", "[1][2]", "[1],"}},
      {R"({"type":"repeat","content":{"type":"const_string","value":"ab"},"min":1,"max":2})", {"ab", "abab"}, {"", "ababab"}},
      {R"({"type":"any_text","excludes":["no"]})", {"", "yes", "n o"}, {"know"}},
  };
  std::mt19937_64 random(2);
  for (const auto& c : cases) {
    const auto grammar = MustCompile(GrammarKind::kStructuralTag, std::string(R"({"type":"structural_tag","format":)") + c.format + "}");
    ASSERT_NE(grammar, nullptr);
    for (const char* text : c.good) EXPECT_TRUE(Accepts(*grammar, text)) << c.format << ": " << text;
    for (const char* text : c.bad) EXPECT_FALSE(Accepts(*grammar, text)) << c.format << ": " << text;
    bool ended = false;
    DrawText(*grammar, random, 12, true, &ended);
    ASSERT_FALSE(HasFatalFailure()) << c.format;
  }
}

TEST(StructuralTag, ErrorsNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"{", "not JSON"},
      {"{}", "neither 'format' nor 'structures'"},
      {R"({"format":{"type":"magic"}})", "#/format/type: 'magic' is not supported"},
      {R"({"format":{"type":"tag","begin":"<","content":{"type":"json_schema","json_schema":{"type":"x"}},"end":">"}})",
       "#/format/content/json_schema: #/type"},
      {R"({"format":{"type":"triggered_tags","triggers":["<a"],"tags":[{"begin":"<b","content":{"type":"any_text"},"end":">"}]}})",
       "does not begin with a trigger"},
      {R"({"format":{"type":"token","token":"<|nowhere|>"}})", "is not one token"},
  };
  for (const auto& [text, part] : cases) {
    const std::string error = CompileError(GrammarKind::kStructuralTag, text);
    EXPECT_NE(error.find(part), std::string::npos) << text << ": " << error;
  }
}

}  // namespace
}  // namespace sgl
