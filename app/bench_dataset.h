// What `sglang bench serve` sends: prompts from a file or made up, with the lengths that SGLang's bench_serving would give them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/options.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace sgl {

struct BenchPrompt {
  std::string text;          // what is sent, unless ids are
  std::vector<TokenId> ids;  // empty when the dataset has only text
  int64_t prompt_len = 0;    // tokens
  int64_t output_len = 0;
};

struct DatasetOptions {
  std::string name = "sharegpt", path;
  int64_t num_prompts = 1000;
  int64_t random_input_len = 1024, random_output_len = 1024;
  double random_range_ratio = 0;
  std::optional<int64_t> sharegpt_output_len, sharegpt_context_len;
  std::string prompt_suffix;
  int64_t gsp_num_groups = 64, gsp_prompts_per_group = 16;
  int64_t gsp_system_prompt_len = 2048, gsp_question_len = 128, gsp_output_len = 256;
  int64_t seed = 1;

  void Visit(Options& field);
};

// tokenizer: null: only random token ids can be made, in [0, vocabulary). Errors name the option that is missing or the file and line.
Result<std::vector<BenchPrompt>> MakePrompts(const DatasetOptions& options, const Tokenizer* tokenizer, int64_t vocabulary);

}  // namespace sgl
