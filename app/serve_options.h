// Everything `sglang serve` can be told: flags, environment and config file, and how they fill the configs of engine and API.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/watchdog.h"
#include "serve/api_server.h"

namespace sgl {

struct ServeOptions {
  EngineConfig engine;
  ApiConfig api;
  WatchdogConfig watchdog;
  std::string load_balance_method = "auto";
  std::string log_level = "info", log_level_http;
  std::string crash_dump_folder;
  Json extra_metric_labels;
  std::vector<std::string> ttft_buckets, itl_buckets, e2e_buckets, prompt_tokens_buckets, generation_tokens_buckets;
  std::string device = "auto";
  std::string chat_template;  // name or file; Finish puts its text into api.chat_template
  std::string revision;       // of a model from the Hugging Face cache
  std::string config_file;    // read by ExpandConfigFile, listed here for --help
  bool print_env = false, help_markdown = false;

  void Visit(Options& field);
  void VisitEngine(Options& field);  // the part that commands without a server share
  // After parsing: environment variables, checks between options, derived values. Errors name the option.
  Status Finish();

 private:
  Status FinishMetrics();
};

// Flags of other builds; see ForeignFlag.
std::span<const ForeignFlag> ForeignFlags();

// The text of --chat-template: a .jinja file, a .json file with a member "chat_template", or a built-in name.
Result<std::string> ReadChatTemplate(const std::string& name_or_file);

// The file or directory that a --model-path stands for: itself if it exists, else the snapshot of "org/name" in the Hugging Face cache
// (HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub). Nothing is downloaded. Errors say where it was looked for.
Result<std::string> ResolveModelPath(const std::string& name, const std::string& revision);

}  // namespace sgl
