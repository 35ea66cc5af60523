// Decides documents against JSON Schemas with the server's own grammar engine: one JSON object per input line, {"id", "schema", "tests":
// [{"valid", "text" | "data"}]}. Writes one JSON line each: compile time, errors, verdicts. Used by tools/compare_grammars.py.
// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <iostream>
#include <string>

#include "base/json.h"
#include "grammar/json_machine.h"

int main() {
  using namespace sgl;
  std::ios::sync_with_stdio(false);
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
    const auto begin = std::chrono::steady_clock::now();
    CompileBudget budget;
    Result<Schema> schema = CompileSchema(in["schema"], budget);
    if (!schema.ok()) {
      out.Set("error", Json(schema.error().message));
      std::cout << DumpJson(out) << "\n";
      continue;
    }
    const JsonMachine machine(*std::move(schema), *JsonSpacing::Any());
    out.Set("compile_us", Json(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count()));
    Json verdicts(Json::Array{});
    for (const Json& test : in["tests"].as_array()) {
      const std::string text = test.find("text") != nullptr ? test["text"].as_string() : DumpJson(test["data"]);
      Arena arena;
      JsonState state = machine.Start();
      int64_t at = 0;
      bool good = true;
      for (; good && at < static_cast<int64_t>(text.size()); ++at)
        good = machine.Step(state, static_cast<uint8_t>(text[static_cast<size_t>(at)]), arena);
      if (good && !machine.complete(state)) good = false;
      Json v;
      v.Set("ok", Json(good));
      if (!good) v.Set("at", Json(at));
      verdicts.Push(std::move(v));
    }
    out.Set("verdicts", std::move(verdicts));
    std::cout << DumpJson(out) << "\n";
  }
}
