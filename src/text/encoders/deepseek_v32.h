// DeepSeek-V3.2's prompts, which come without a Jinja template: messages, tools, tool results and thinking, written out.
// Reference: encoding_dsv32.py of deepseek-ai/DeepSeek-V3.2 as SGLang has it (its text about tools has fewer blank lines).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string_view>

#include "text/chat_template.h"

namespace sgl {

// Its name for --chat-template.
inline constexpr std::string_view kDeepSeekV32 = "deepseek-v3.2";

// Reads the variables messages, tools and thinking; default_thinking stands for a thinking that is not given. Tools, and messages[i]'s
// member response_format, are told of in a system message, which is put in front if there is none. Errors (kInvalidArgument): unknown
// roles, tool results without their calls, arguments that are no object, an assistant's message after the last question without reasoning
// or calls when thinking.
std::unique_ptr<ChatTemplate> MakeDeepSeekV32(bool default_thinking);

// The text about tools; the functions as JSON, one a line.
std::string DeepSeekV32Tools(std::string_view functions);

}  // namespace sgl
