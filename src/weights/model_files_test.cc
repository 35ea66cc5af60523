// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>

#include "weights/hub_cache.h"
#include "weights/test_kit.h"

namespace sgl {
namespace {

using test::GoldenDir;
using test::SafetensorsOf;
using test::TempDir;

void ExpectHas(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nexpected: " << part;
}

// A directory with the two files that a model cannot do without.
void WriteMinimal(const TempDir& dir, const std::string& below = "") {
  dir.Write(below + "config.json", R"({"model_type":"llama"})");
  dir.Write(below + "model.safetensors", SafetensorsOf({"w"}));
}

std::string ErrorOf(const std::filesystem::path& path) {
  const auto model = OpenModel(path);
  EXPECT_FALSE(model.ok()) << "accepted";
  return model.ok() ? "" : model.error().message;
}

// Sets a variable for one scope; null removes it.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

TEST(OpenModel, Directory) {
  const TempDir dir;
  WriteMinimal(dir);
  auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->path, dir.path());
  EXPECT_FALSE(model->is_gguf);
  EXPECT_FALSE(model->gguf_permuted_qk);
  EXPECT_EQ(model->gguf, nullptr);
  EXPECT_EQ(model->config["model_type"], Json("llama"));
  EXPECT_TRUE(model->generation_config.is_null());
  EXPECT_TRUE(model->tokenizer_config.is_null());
  EXPECT_EQ(model->tokenizer_json, "");
  EXPECT_EQ(model->chat_template, "");
  EXPECT_NE(model->weights->find("w"), nullptr);

  dir.Write("generation_config.json", R"({"eos_token_id":[1,2]})");
  dir.Write("tokenizer_config.json", R"({"chat_template":"from tokenizer_config"})");
  dir.Write("tokenizer.json", "{ text }");
  model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->generation_config["eos_token_id"], Json(Json::Array{1, 2}));
  EXPECT_EQ(model->tokenizer_json, "{ text }");
  EXPECT_EQ(model->chat_template, "from tokenizer_config");
}

TEST(OpenModel, TokenizersThatAreNotTokenizerJson) {
  const TempDir dir;
  WriteMinimal(dir);
  const auto name = [&] {
    const auto model = OpenModel(dir.path());
    EXPECT_TRUE(model.ok());
    return model->tokenizer_model_name + "=" + model->tokenizer_model;
  };
  EXPECT_EQ(name(), "=");
  dir.Write("qwen.tiktoken", "ranks");
  EXPECT_EQ(name(), "qwen.tiktoken=ranks");
  dir.Write("tokenizer.model.v1", "1");
  dir.Write("tokenizer.model.v3", "3");
  EXPECT_EQ(name(), "tokenizer.model.v3=3");  // the latest
  dir.Write("tokenizer.model", "spm");
  EXPECT_EQ(name(), "tokenizer.model=spm");
  dir.Write("tokenizer.json", "{}");
  EXPECT_EQ(name(), "=");
}

TEST(OpenModel, ChatTemplatesInOrderOfPreference) {
  const TempDir dir;
  WriteMinimal(dir);
  const auto templates = [&]() -> std::pair<std::string, std::string> {
    const auto model = OpenModel(dir.path());
    EXPECT_TRUE(model.ok()) << model.error().message;
    if (!model.ok()) return {};
    return {model->chat_template, model->chat_template_tool_use};
  };
  using Pair = std::pair<std::string, std::string>;
  dir.Write("tokenizer_config.json",
            R"({"chat_template":[{"name":"rag","template":"R"},{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]})");
  EXPECT_EQ(templates(), (Pair{"D", "T"}));
  dir.Write("tokenizer_config.json", R"({"chat_template":[{"name":"rag","template":"R"},{"name":"tool_use","template":"T"}]})");
  EXPECT_EQ(templates(), (Pair{"R", "T"}));
  dir.Write("tokenizer_config.json", R"({"chat_template":null})");
  EXPECT_EQ(templates(), (Pair{"", ""}));
  dir.Write("tokenizer_config.json", R"({"chat_template":"C"})");
  dir.Write("chat_template.json", R"({"other":1})");
  EXPECT_EQ(templates(), (Pair{"C", ""}));
  dir.Write("chat_template.json", R"({"chat_template":"J"})");
  EXPECT_EQ(templates(), (Pair{"J", ""}));
  dir.Write("chat_template.jinja", "text\n");
  EXPECT_EQ(templates(), (Pair{"text\n", ""}));
  dir.Write("additional_chat_templates/tool_use.jinja", "tools");
  EXPECT_EQ(templates(), (Pair{"text\n", "tools"}));
}

TEST(OpenModel, BrokenDirectories) {
  const TempDir dir;
  ExpectHas(ErrorOf(dir.path()), "config.json is missing (and there is no .gguf file)");
  dir.Write("config.json", "{\"a\":");
  ExpectHas(ErrorOf(dir.path()), "config.json: line 1");
  dir.Write("config.json", "[]");
  ExpectHas(ErrorOf(dir.path()), "config.json: expected a JSON object, found array");
  dir.Write("config.json", "{}");
  ExpectHas(ErrorOf(dir.path()), "cannot find any model weights");
  WriteMinimal(dir);
  for (const char* name : {"generation_config.json", "tokenizer_config.json", "chat_template.json"}) {
    const auto file = dir.Write(name, "3");
    ExpectHas(ErrorOf(dir.path()), std::string(name) + ": expected a JSON object, found integer");
    std::filesystem::remove(file);
  }
  dir.Write("tokenizer_config.json", R"({"chat_template":3})");
  ExpectHas(ErrorOf(dir.path()), "tokenizer_config.json: chat_template: expected a string or a list, found integer");
  dir.Write("tokenizer_config.json", R"({"chat_template":[{"name":"x"}]})");
  ExpectHas(ErrorOf(dir.path()), "chat_template: expected a list of {name, template}");
  ExpectHas(ErrorOf(dir.path() / "model.safetensors"), "expected a model directory or a .gguf file");
}

TEST(OpenModel, Gguf) {
  const auto model = OpenModel(GoldenDir() / "llama.gguf");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model->is_gguf);
  EXPECT_TRUE(model->gguf_permuted_qk);
  ASSERT_NE(model->gguf, nullptr);
  EXPECT_EQ(*model->gguf->find("tokenizer.ggml.model"), Json("gpt2"));
  EXPECT_EQ(model->config["hidden_size"], Json(32));
  EXPECT_EQ(model->chat_template, "D");
  EXPECT_EQ(model->chat_template_tool_use, "T");
  EXPECT_EQ(model->tokenizer_json, "");
  EXPECT_NE(model->weights->find("rope_freqs.weight"), nullptr);
  ExpectHas(ErrorOf(GoldenDir() / "kinds.gguf"), "kinds.gguf: unknown GGUF architecture \"kinds\"");
  ExpectHas(ErrorOf(GoldenDir() / "none.gguf"), "none.gguf: no such file");
}

TEST(OpenModel, OnlyLlamaFilesArePermuted) {
  const TempDir dir;
  std::string text = test::ReadAll(GoldenDir() / "llama.gguf");
  for (size_t at = 0; (at = text.find("llama", at)) != std::string::npos;) text.replace(at, 5, "qwen2");
  const auto model = OpenModel(dir.Write("q.gguf", text));
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_FALSE(model->gguf_permuted_qk);
}

TEST(OpenModel, DirectoryWithGguf) {
  const TempDir dir;
  const std::string llama = test::ReadAll(GoldenDir() / "llama.gguf");
  dir.Write("b.gguf", llama);
  dir.Write("README.md", "x");
  const auto one = OpenModel(dir.path());
  ASSERT_TRUE(one.ok()) << one.error().message;
  EXPECT_EQ(one->path, dir.path() / "b.gguf");
  dir.Write("s-00002-of-00003.gguf", "later parts of a split model do not count");
  dir.Write("s-00003-of-00003.gguf", "");
  EXPECT_TRUE(OpenModel(dir.path()).ok());
  dir.Write("a.gguf", llama);
  ExpectHas(ErrorOf(dir.path()), "holds several GGUF models (a.gguf, b.gguf); name one of them");
  std::filesystem::rename(dir.path() / "a.gguf", dir.path() / "s-00001-of-00003.gguf");
  ExpectHas(ErrorOf(dir.path()), "(b.gguf, s-00001-of-00003.gguf)");
}

TEST(HubCache, FindsTheSnapshotOfMain) {
  const TempDir home;
  const Variable no_cache("HF_HUB_CACHE", nullptr), hf_home("HF_HOME", home.path().c_str());
  const std::string root = "hub/models--org--some.model-1/";
  WriteMinimal(home, root + "snapshots/abc123/");
  home.Write(root + "refs/main", "abc123\n");
  const auto model = OpenModel("org/some.model-1");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->path, home.path() / root / "snapshots" / "abc123");

  const std::string missing = ErrorOf("org/other");
  ExpectHas(missing, "\"org/other\": no such file or directory, and no such model in the Hugging Face cache");
  ExpectHas(missing, "The server does not download models");
  home.Write(root + "refs/main", "../../..");
  ExpectHas(ErrorOf("org/some.model-1"), "expected a revision");
  home.Write(root + "refs/main", "gone");
  ExpectHas(ErrorOf("org/some.model-1"), "the cached model is incomplete");
  std::filesystem::remove(home.path() / root / "refs" / "main");
  ExpectHas(ErrorOf("org/some.model-1"), "refs/main: cannot open");
  for (const char* path : {"/none/such", "none", "a/b/c", "../x", "org/", "/x", "org/a b", ""})
    ExpectHas(ErrorOf(path), "no such file or directory");
}

TEST(HubCache, Variables) {
  const TempDir dir;
  dir.Write("cache/models--o--m/refs/main", "r");
  dir.Write("cache/models--o--m/snapshots/r/x", "");
  const std::string cache = (dir.path() / "cache").string(), absent = (dir.path() / "absent").string();
  {
    const Variable first("HF_HUB_CACHE", cache.c_str()), second("HF_HOME", absent.c_str());
    EXPECT_TRUE(FindInHubCache("o/m").ok());
  }
  const Variable none("HF_HUB_CACHE", nullptr), no_home("HF_HOME", nullptr), no_xdg("XDG_CACHE_HOME", nullptr);
  const Variable home("HOME", dir.path().c_str());
  EXPECT_FALSE(FindInHubCache("o/m").ok());
  std::filesystem::create_directories(dir.path() / ".cache" / "huggingface");
  std::filesystem::rename(dir.path() / "cache", dir.path() / ".cache" / "huggingface" / "hub");
  EXPECT_TRUE(FindInHubCache("o/m").ok());
}

}  // namespace
}  // namespace sgl
