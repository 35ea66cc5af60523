// SPDX-License-Identifier: Apache-2.0
#include "text/encoders/deepseek_v32.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

namespace sgl {
namespace {

std::string Sha256(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

// Goldens in short: BOS, EOS, U and A for the turns' tokens, D for the bars around DSML.
std::string Spelled(std::string text) {
  text = Replaced(std::move(text), "[BOS]", "<｜begin▁of▁sentence｜>");
  text = Replaced(std::move(text), "[EOS]", "<｜end▁of▁sentence｜>");
  text = Replaced(std::move(text), "[U]", "<｜User｜>");
  text = Replaced(std::move(text), "[A]", "<｜Assistant｜>");
  return Replaced(std::move(text), "[D]", "｜DSML｜");
}

std::string Render(const std::string& messages, bool thinking, const std::string& tools = "null") {
  const Result<Json> variables =
      ParseJson("{\"messages\":" + messages + ",\"tools\":" + tools + ",\"thinking\":" + (thinking ? "true" : "false") + "}");
  if (!variables.ok()) return variables.error().message;
  const Result<std::string> text = MakeDeepSeekV32(false)->Render(*variables);
  return text.ok() ? *text : "error: " + text.error().message;
}

constexpr const char* kCall =
    R"({"role":"user","content":"Q"},{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"1","type":"function",)"
    R"("function":{"name":"f","arguments":{"a":"x","n":3,"o":{"k":[1]}}}}]},{"role":"tool","tool_call_id":"1","content":"42"})";
constexpr const char* kCallText =
    "\n\n<[D]function_calls>\n<[D]invoke name=\"f\">\n<[D]parameter name=\"a\" string=\"true\">x</[D]parameter>\n"
    "<[D]parameter name=\"n\" string=\"false\">3</[D]parameter>\n<[D]parameter name=\"o\" string=\"false\">{\"k\": [1]}</[D]parameter>\n"
    "</[D]invoke>\n</[D]function_calls>[EOS]\n\n<function_results>\n<result>42</result>\n</function_results>\n\n";

TEST(DeepSeekV32, Chat) {
  EXPECT_EQ(Render(R"([{"role":"user","content":"Hi"}])", false), Spelled("[BOS][U]Hi[A]</think>"));
  EXPECT_EQ(Render(R"([{"role":"system","content":"S"},{"role":"user","content":"Hi"}])", true), Spelled("[BOS]S[U]Hi[A]<think>"));
  EXPECT_EQ(Render(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]}])", false),
            Spelled("[BOS][U]a b[A]</think>"));
  EXPECT_EQ(Render(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":null}])", false),
            Spelled("[BOS][U]a[A]</think>b[EOS][U][A]</think>"));
}

TEST(DeepSeekV32, ToolsAndThinking) {
  EXPECT_EQ(Render("[" + std::string(kCall) + "]", true), Spelled("[BOS][U]Q[A]<think>r</think>" + std::string(kCallText) + "<think>"));
  EXPECT_EQ(Render("[" + std::string(kCall) +
                       R"(,{"role":"assistant","content":"done","reasoning_content":"z"},{"role":"user","content":"next"}])",
                   true),
            Spelled("[BOS][U]Q[A]</think>" + std::string(kCallText) + "</think>done[EOS][U]next[A]<think>"));
  EXPECT_EQ(Render("[" + std::string(kCall) + "]", false), Spelled("[BOS][U]Q[A]</think>" + std::string(kCallText) + "</think>"));
}

TEST(DeepSeekV32, OtherRolesAreForgottenWhenThinking) {
  EXPECT_EQ(Render(R"([{"role":"latest_reminder","content":"x"},{"role":"function","content":"x"},{"role":"user","content":"y"}])", true),
            Spelled("[BOS][U]y[A]<think>"));
  const std::string messages = R"([{"role":"developer","content":"x"},{"role":"user","content":"y"}])";
  EXPECT_EQ(Render(messages, true), Spelled("[BOS][U]y[A]<think>"));
  EXPECT_EQ(Render(messages, false), Spelled("[BOS][U]\n\n# The user's message is: x[A]</think>[U]y[A]</think>"));
}

TEST(DeepSeekV32, TextAboutTools) {
  const std::string function = R"({"name": "f", "parameters": {"type": "object"}})";
  // What the reference's text has.
  EXPECT_EQ(Sha256(DeepSeekV32Tools(function)), "cd893ac101e598c87e40221089ba79349bfc23d4a97db5bb8eae9e8bbec16aba");
  EXPECT_EQ(Sha256(DeepSeekV32Tools("")), "1b50633aa5277b56f6a1219de4af7c4426c33cbc817d889019077278d65a1480");
  EXPECT_EQ(Render(R"([{"role":"user","content":"Hi"}])", false,
                   R"([{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])"),
            Spelled("[BOS]\n\n") + DeepSeekV32Tools(function) + Spelled("[U]Hi[A]</think>"));
  EXPECT_EQ(Render(R"([{"role":"system","content":"S","response_format":{}},{"role":"user","content":"Hi"}])", false),
            Spelled("[BOS]S[U]Hi[A]</think>"));
  EXPECT_EQ(
      Render(R"([{"role":"system","content":"S","response_format":{"a":1.0,"é":"\n"}},{"role":"user","content":"Hi"}])", false),
      Spelled("[BOS]S\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n{\"a\": 1.0, \"é\": \"\\n\"}"
              "[U]Hi[A]</think>"));
}

TEST(DeepSeekV32, Errors) {
  EXPECT_EQ(Render(R"([{"role":"tool","content":"x"}])", false),
            "error: messages[0]: a tool's result must follow an assistant's message with as many tool_calls");
  EXPECT_EQ(Render("[" + std::string(kCall) + R"(,{"role":"tool","content":"more"}])", false),
            "error: messages[3]: a tool's result must follow an assistant's message with as many tool_calls");
  EXPECT_EQ(Render(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])", true),
            "error: messages[1]: with thinking, an assistant's message after the last question needs reasoning_content or tool_calls");
  EXPECT_EQ(Render(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":[1]}}]}])", false),
            "error: messages[0]: the arguments of a tool call must be a JSON object");
  EXPECT_EQ(Render(R"([{"role":"function","content":"x"}])", false), "error: messages[0]: unknown role 'function'");
  EXPECT_EQ(Render(R"([{"role":"developer","content":""}])", false), "error: messages[0]: a developer's message needs content");
}

}  // namespace
}  // namespace sgl
