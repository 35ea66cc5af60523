// Any bytes as a template: it parses or not, and renders over fixed variables to a text or an error.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const sgl::Json variables = *sgl::ParseJson(
      R"({"messages":[{"role":"system","content":"Sé"},{"role":"user","content":[{"type":"text","text":" x "}]},{"role":"assistant","content":null,)"
      R"("tool_calls":[{"function":{"name":"f","arguments":{"a":[1,2.5,true]}}}]}],"tools":[{"name":"f"}],"add_generation_prompt":true,)"
      R"("n":-3,"s":"Grüße 🙂","l":[3,1,2],"d":{"b":1,"a":[]}})");
  if (size > 4096) return 0;
  auto parsed = sgl::ChatTemplate::Parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  const auto out = (*parsed)->RenderAt(variables, 0);
  if (out.ok() && out->size() > (size_t{16} << 20)) __builtin_trap();
  return 0;
}
