// Decides documents against JSON Schemas with the server's own grammar engine, offline: to see what a schema lets through, and for
// tools/compare_grammars.py. One JSON object per input line: {"id", "schema", "tests": [{"valid", "text" or "data", "tokens"}]}; with
// "kind" "regex" or "ebnf" the schema is an expression or grammar. One line each comes out: compile time or error, and per test the verdict
// and where it fell. With --tokenizer, tests that carry tokens are walked token by token, every token against the mask before it; the
// masks' times are listed, of a first and of a second pass. With --draw N, N texts are drawn at random from the masks instead; those that
// came to an end are listed, those that could not go on as "stuck". usage: grammar_check [--tokenizer tokenizer.json | --draw N] < in.jsonl
// > out.jsonl SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>

#include "base/json.h"
#include "grammar/grammar.h"
#include "text/tokenizer.h"

namespace {

using namespace sgl;
using Clock = std::chrono::steady_clock;

std::shared_ptr<const Vocabulary> Load(const std::string& path) {
  if (path.empty()) {  // every byte a token
    std::vector<std::string> bytes;
    for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
    bytes.emplace_back("");
    return std::make_shared<const Vocabulary>(std::move(bytes), std::vector<TokenId>{256});
  }
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  auto tokenizer = LoadTokenizer(text, Json());
  if (!tokenizer.ok()) {
    std::cerr << path << ": " << tokenizer.error().message << "\n";
    return nullptr;
  }
  std::vector<TokenId> stop;
  for (const char* name : {"<|eot_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>"})
    if (const auto id = (*tokenizer)->TokenToId(name)) stop.push_back(*id);
  return std::make_shared<const Vocabulary>(**tokenizer, (*tokenizer)->vocab_size(), std::move(stop));
}

struct Walk {
  bool good = true;
  int64_t at = 0;
  Json::Array mask_ns;
};

Walk ByTokens(const Grammar& grammar, const Vocabulary& vocabulary, const Json::Array& tokens) {
  Walk walk;
  const auto matcher = grammar.NewMatcher();
  std::vector<uint32_t> mask(vocabulary.words());
  for (const Json& t : tokens) {
    const auto id = static_cast<TokenId>(t.as_int());
    const auto begin = Clock::now();
    matcher->Fill(mask);
    walk.mask_ns.emplace_back(static_cast<int64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count()));
    walk.good = (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
    if (walk.good && !matcher->Accept(id)) {
      std::cerr << "the mask allowed token " << id << ", the grammar did not\n";
      walk.good = false;
    }
    if (!walk.good) return walk;
    ++walk.at;
  }
  walk.good = matcher->can_end();
  return walk;
}

Walk ByBytes(const Grammar& grammar, const std::string& text) {
  Walk walk;
  const auto matcher = grammar.NewMatcher();
  for (const char c : text) {
    walk.good = matcher->Accept(static_cast<uint8_t>(c));
    if (!walk.good) return walk;
    ++walk.at;
  }
  walk.good = matcher->can_end();
  return walk;
}

// A random text; closing marks are preferred, so that most come to an end. stuck: no token was allowed any more.
std::optional<std::string> Draw(const Grammar& grammar, const Vocabulary& vocabulary, std::mt19937_64& random, std::string* stuck) {
  const auto matcher = grammar.NewMatcher();
  std::vector<uint32_t> mask(vocabulary.words());
  std::string text;
  for (int step = 0; step < 600; ++step) {
    matcher->Fill(mask);
    const auto allowed = [&](TokenId id) { return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0; };
    std::vector<TokenId> all, plain;
    for (size_t id = 0; id < vocabulary.size(); ++id) {
      const auto token = static_cast<TokenId>(id);
      if (!allowed(token)) continue;
      all.push_back(token);
      if (id > ' ' && id < 127 && id != '\\') plain.push_back(token);
    }
    if (all.empty()) {
      *stuck = text;
      return std::nullopt;
    }
    const auto& from = plain.empty() || random() % 16 == 0 ? all : plain;
    TokenId token = from[random() % from.size()];
    if (random() % 3 == 0)
      for (const char c : std::string("}]\""))
        if (allowed(c) && random() % 2 == 0) token = c;
    if (matcher->can_end()) token = vocabulary.stop_ids()[0];
    if (!matcher->Accept(token)) throw std::runtime_error("an allowed token was rejected after " + text);
    if (matcher->terminated()) return text;
    text += vocabulary.bytes(token);
  }
  return std::nullopt;
}

Json Verdict(Walk walk) {
  Json v;
  v.Set("ok", Json(walk.good));
  if (!walk.good) v.Set("at", Json(walk.at));
  if (!walk.mask_ns.empty()) v.Set("mask_ns", Json(std::move(walk.mask_ns)));
  return v;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const std::string option = argc == 3 ? argv[1] : "";
  const std::string path = option == "--tokenizer" ? argv[2] : "";
  const int draw = option == "--draw" ? std::atoi(argv[2]) : 0;
  if (argc != 1 && path.empty() && draw <= 0) {
    std::cerr << "usage: grammar_check [--tokenizer tokenizer.json | --draw N] < in.jsonl\n";
    return 2;
  }
  const auto vocabulary = Load(path);
  if (vocabulary == nullptr) return 1;
  std::mt19937_64 random(1);
  std::string line;
  while (std::getline(std::cin, line)) {
    const Result<Json> parsed = ParseJson(line);
    if (!parsed.ok()) {
      std::cerr << parsed.error().message << "\n";
      return 1;
    }
    const Json& in = *parsed;
    Json out;
    out.Set("id", in["id"]);
    const std::string schema = in["schema"].is_string() ? in["schema"].as_string() : DumpJson(in["schema"]);
    const auto begin = Clock::now();
    const std::string kind = in.get_string("kind", "json_schema");
    const auto grammar = Grammar::Compile({kind == "regex"  ? GrammarKind::kRegex
                                           : kind == "ebnf" ? GrammarKind::kEbnf
                                                            : GrammarKind::kJsonSchema,
                                           schema},
                                          {}, vocabulary);
    out.Set("compile_us", Json(std::chrono::duration<double, std::micro>(Clock::now() - begin).count()));
    if (!grammar.ok()) {
      out.Set("error", Json(grammar.error().message));
    } else if (draw > 0) {
      Json drawn(Json::Array{}), dead(Json::Array{});
      for (int i = 0; i < draw; ++i) {
        std::string stuck;
        if (auto text = Draw(**grammar, *vocabulary, random, &stuck))
          drawn.Push(Json(*std::move(text)));
        else if (!stuck.empty())
          dead.Push(Json(std::move(stuck)));
      }
      out.Set("drawn", std::move(drawn));
      out.Set("stuck", std::move(dead));
    } else {
      Json verdicts(Json::Array{}), again(Json::Array{});
      for (const Json& test : in["tests"].as_array()) {
        if (!path.empty() && test["tokens"].is_array())
          verdicts.Push(Verdict(ByTokens(**grammar, *vocabulary, test["tokens"].as_array())));
        else
          verdicts.Push(Verdict(ByBytes(**grammar, test["text"].is_string() ? test["text"].as_string() : DumpJson(test["data"]))));
      }
      if (!path.empty())
        for (const Json& test : in["tests"].as_array())
          if (test["tokens"].is_array()) again.Push(Verdict(ByTokens(**grammar, *vocabulary, test["tokens"].as_array())));
      out.Set("verdicts", std::move(verdicts));
      out.Set("again", std::move(again));
      out.Set("bytes", Json(static_cast<int64_t>((*grammar)->bytes())));
    }
    std::cout << DumpJson(out) << "\n";
  }
}
