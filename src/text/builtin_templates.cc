// Chat templates by name. The names are SGLang's; where it puts a system message of its own in front, so do these.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "text/chat_template.h"

namespace sgl {
namespace {

#define HELPFUL "You are a helpful assistant."
#define SYSTEM_AND_TURNS(standard)                                                                                               \
  "{% if messages and messages[0].role == 'system' %}{% set system = messages[0].content or '' %}{% set turns = messages[1:] %}" \
  "{% else %}{% set system = '" standard "' %}{% set turns = messages %}{% endif %}"
#define CHATML_TURNS                                                                                                              \
  "{% for message in turns %}{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}{% endfor %}" \
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
#define HEADER_TURNS(begin, end, eot)                                                                                  \
  "{{ bos_token }}{% if system %}{{ '" begin "system" end "\\n\\n' + system + '" eot                                   \
  "' }}{% endif %}"                                                                                                    \
  "{% for message in turns %}{{ '" begin "' + message.role + '" end "\\n\\n' + (message.content or '') | trim + '" eot \
  "' }}{% endfor %}"                                                                                                   \
  "{% if add_generation_prompt %}{{ '" begin "assistant" end "\\n\\n' }}{% endif %}"

constexpr std::string_view kChatMl = SYSTEM_AND_TURNS(HELPFUL) "{{ '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}" CHATML_TURNS;
constexpr std::string_view kChatMlBare = "{% set turns = messages %}" CHATML_TURNS;
constexpr std::string_view kLlama2 = SYSTEM_AND_TURNS(
    "") "{% if system %}{% set system = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' %}{% endif %}"
        "{% for message in turns %}{% set text = (system if loop.first else '') + (message.content or '') %}"
        "{% if message.role == 'assistant' %}{{ ' ' + text + ' ' + (eos_token or '</s>') }}"
        "{% else %}{{ (bos_token or '<s>') + '[INST] ' + text + ' [/INST]' }}{% endif %}{% endfor %}";
constexpr std::string_view kLlama3 = SYSTEM_AND_TURNS("") HEADER_TURNS("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>");
constexpr std::string_view kLlama3Vision = SYSTEM_AND_TURNS(
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language.")
    HEADER_TURNS("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>");
constexpr std::string_view kLlama4 = SYSTEM_AND_TURNS("") HEADER_TURNS("<|header_start|>", "<|header_end|>", "<|eot|>");
constexpr std::string_view kMistral = SYSTEM_AND_TURNS(
    "") "{{ bos_token }}{% if system %}{{ '[SYSTEM_PROMPT]' + system + '[/SYSTEM_PROMPT]' }}{% endif %}"
        "{% for message in turns %}{% if message.role == 'assistant' %}{{ (message.content or '') + (eos_token or '</s>') }}"
        "{% else %}{{ '[INST]' + (message.content or '') + '[/INST]' }}{% endif %}{% endfor %}";
constexpr std::string_view kVicuna =
    SYSTEM_AND_TURNS("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
                     "polite answers to the user\\'s questions.") "{{ system + ' ' }}"
                                                                  "{% for message in turns %}{% if message.role == 'assistant' %}"
                                                                  "{{ 'ASSISTANT: ' + (message.content or '') + (eos_token or '</s>') }}"
                                                                  "{% else %}{{ 'USER: ' + (message.content or '') + ' ' }}{% endif %}"
                                                                  "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
constexpr std::string_view kGemma = SYSTEM_AND_TURNS(
    HELPFUL) "{{ bos_token }}{% if system %}{% set system = system + '\\n\\n' %}{% endif %}"
             "{% for message in turns %}{% set role = 'model' if message.role == 'assistant' else 'user' %}"
             "{{ '<start_of_turn>' + role + '\\n' + (system if loop.first else '') + (message.content or '') + '<end_of_turn>\\n' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";
constexpr std::string_view kPhi4 = SYSTEM_AND_TURNS(
    "") "{{ system }}{% for message in turns %}{{ '<|' + message.role + '|>' + (message.content or '') + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
constexpr std::string_view kPlain =
    "{% for message in messages %}{{ message.role | capitalize + ': ' + (message.content or '') + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

constexpr std::pair<std::string_view, std::string_view> kBuiltins[] = {
    {"chatml", kChatMl},
    {"chatml-llava", kChatMl},
    {"gemma-it", kGemma},
    {"internlm2-chat", kChatMlBare},
    {"llama-2", kLlama2},
    {"llama-3", kLlama3},
    {"llama-4", kLlama4},
    {"llama_3_vision", kLlama3Vision},
    {"llava_llama_3", kLlama3Vision},
    {"mistral", kMistral},
    {"phi-4-mm", kPhi4},
    {"plain", kPlain},
    {"qwen2-vl", kChatMl},
    {"vicuna", kVicuna},
    {"vicuna_v1.1", kVicuna},
};

}  // namespace

std::string_view BuiltinChatTemplate(std::string_view name) {
  const auto* found = std::find_if(std::begin(kBuiltins), std::end(kBuiltins), [&](const auto& entry) { return entry.first == name; });
  return found != std::end(kBuiltins) ? found->second : std::string_view();
}

std::vector<std::string_view> BuiltinChatTemplates() {
  std::vector<std::string_view> names;
  for (const auto& entry : kBuiltins) names.push_back(entry.first);
  return names;
}

}  // namespace sgl
