// Formats that write every argument between tags of its own: qwen3_coder, step3p5, mimo, glm45, glm47, hunyuan, poolside_v1, minimax-m2,
// step3, minicpm5, deepseekv32, deepseekv4. Strings stream; other values come out when they are complete.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tools/coerce.h"
#include "text/tools/format_parser.h"

namespace sgl::tools {

// What a key's end says of the value.
enum class KeySays { kNothing, kString, kJson };

struct KeyEnd {
  std::string_view text;
  KeySays says = KeySays::kNothing;
};

struct TaggedParamsStyle {
  std::vector<std::string_view> section_begin = {}, section_end = {};  // around all calls; empty: each call stands alone
  std::vector<std::string_view> call_begin = {}, call_end = {};        // around one; what begins it is followed by the name
  std::vector<std::string_view> noise = {};                            // tags between calls that say nothing
  std::vector<std::string_view> name_end = {};                         // what ends the name and is not part of what follows; "\n", ">"
  bool name_ends_itself = false;                                       // so does the first parameter, or the end of the call
  std::vector<std::string_view> param_begin = {};
  std::vector<KeyEnd> key_end = {};
  std::string_view value_begin = {};  // a tag of the value's own, after the key's; "": the value follows the key
  std::vector<std::string_view> value_end = {};
  bool value_ends_itself = false;  // the next parameter or the end of the call ends a value as well
  enum class Strip { kNothing, kNewline, kSpace } strip = Strip::kNothing;
  bool guess = false;                                 // parameters that the schema does not know: JSON if they look like it
  bool json_body = false;                             // the arguments may be one JSON object
  bool unescape = false;                              // values have HTML's &lt; and the like
  std::string_view cdata_begin = {}, cdata_end = {};  // may stand around a value, which then may have tags in it
};

class TaggedParams final : public FormatParser {
 public:
  TaggedParams(const TaggedParamsStyle& style, std::shared_ptr<const ToolSet> tools, ToolMode mode);

 private:
  enum class State { kText, kBetween, kName, kParams, kKey, kValueBegin, kJsonValue, kValue, kBody, kSkip };
  bool Step() override;
  bool Between();
  bool Name();
  bool Params();
  bool Key();
  bool JsonValue();
  bool Value();
  bool Fail() override;
  void CallDone();

  // The first of `literals` that comes next, taken: its place; -1 none; -2 one may still come.
  int EatOneOf(std::span<const std::string_view> literals);

  void BeginValue();
  void ValueText(std::string_view text, bool last);
  void EndValue();

  const TaggedParamsStyle& style_;
  std::vector<std::string_view> text_markers_, name_markers_, value_markers_, key_markers_;
  State state_ = State::kText;
  std::string name_, key_;
  std::vector<std::string> keys_;  // of this call, so far
  KeySays says_ = KeySays::kNothing;
  ValueKinds kinds_;
  bool streams_ = false, skips_ = false, begun_ = false, in_cdata_ = false, body_done_ = false;
  std::string value_;  // collected, or (when it streams) the white space that may be its end
  std::optional<ValueRelay> relay_;
  size_t seen_ = 0;  // bytes of a value that may be JSON, not taken yet
};

}  // namespace sgl::tools
