// Tool calls in what a model writes: from text, as it streams, to calls and the text around them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sgl {

// A function that the model may call.
struct ToolFunction {
  std::string name;
  Json parameters;  // its JSON schema; null: none given
  bool strict = false;
};

struct ToolSet {
  std::vector<ToolFunction> functions;
  bool forward_unknown = false;  // calls of functions that are not in the list are calls all the same
  // Place in `functions`, -1 if it is not there.
  int Find(std::string_view name) const;
};

struct ToolEvent {
  enum class Kind {
    kText,       // more of the text around the calls
    kCall,       // a call begins; text: the function's name
    kArguments,  // more of that call's arguments: a piece of a JSON object
  };
  Kind kind = Kind::kText;
  int call = -1;  // 0, 1, 2... in the order of the text
  std::string text;
};

// When a call becomes one. kStream: as soon as its name is known and its arguments begin; should they break off, the call stays without
// the rest. kWhole: when it is complete; what breaks off stays text. Both say the same about every complete call.
enum class ToolMode { kStream, kWhole };

// One answer's parser. The events depend on the text alone, not on how it is cut into pieces: neighbours of one kind (and call) joined,
// they are the same for any cut. The arguments of a call are at any time the start of a JSON object, and in the end a complete one,
// unless the text broke off or broke the rules (kStream). Calls of unknown functions, and what is no call after all, are text; after a
// first call they are left out. White space alone between calls is left out. Never fails; O(bytes). Thread: whoever owns it.
class ToolParser {
 public:
  virtual ~ToolParser() = default;
  virtual void Push(std::string_view text, std::vector<ToolEvent>& out) = 0;
  virtual void Finish(std::vector<ToolEvent>& out) = 0;  // the text has ended
};

// What calls of one function look like when a grammar writes them: section_begin, calls with separators between them, section_end. A call
// is begin, the arguments, end. Any of the texts may contain special tokens of the model.
struct ToolTag {
  // The arguments: one JSON object; or each parameter for itself, with param_separator between them: param_begin, the name, key_end, the
  // value, value_end. Values are text as it is, and JSON for other types (kTagged); Python, of which JSON is enough (kPython); text in
  // text_quote, and objects whose keys are bare words (kQuoted).
  enum class Form { kJson, kTagged, kPython, kQuoted } form = Form::kJson;
  std::string begin, end, separator = {};
  std::string trigger = {};  // how every begin (or section) starts, and nothing else that the model writes; "": nothing is that certain
  std::string section_begin = {}, section_end = {};
  bool one_call = false;          // an answer has no second one
  std::string after_number = {};  // not empty: begin is followed by a number, and that by this
  std::string param_begin = {}, key_end = {}, value_end = {}, param_separator = {};
  std::string value_tail = {};               // between a value and value_end; a text's last line may do without
  std::vector<std::string> ends_value = {};  // what a value that is text cannot have in it, beside value_end
  std::string json_key_end = {};             // key_end of values that are not strings, where it is another
  std::string text_quote = {};
  std::string raw_begin = {}, raw_end = {};  // kTagged: a text between these may have tags in it
  // Where everything in an answer is a message with a header: what begins reasoning, a remark and the answer itself; what ends the first
  // two. The grammar then holds from the first token of the answer on.
  std::string thought_begin = {}, remark_begin = {}, answer_begin = {}, message_end = {};
};

// A tool-call format by its --tool-call-parser name.
struct ToolFormat {
  std::string_view name;
  std::unique_ptr<ToolParser> (*make)(std::shared_ptr<const ToolSet> tools, ToolMode mode);
  // How a grammar has to write calls of `function`; special: whether the model has a special token of that text. Null: this format cannot
  // be forced that way.
  ToolTag (*tag)(const std::string& function, const std::function<bool(std::string_view)>& special);
};

// Every format, in the order of --help.
std::span<const ToolFormat> ToolFormats();
// Null if there is none of that name. "json_array" (what a forced call becomes where the format has no tag) and "hunyuan:opensource" (the
// same tags with that suffix) are found, but not listed.
const ToolFormat* FindToolFormat(std::string_view name);
// The format that a chat template asks its model to write; "" if it does not speak of any that we know.
std::string_view DetectToolFormat(std::string_view chat_template);

// The whole of a text at once.
struct ParsedCall {
  std::string name, arguments;
};
struct ParsedText {
  std::string text;
  std::vector<ParsedCall> calls;
};
ParsedText ParseToolCalls(const ToolFormat& format, std::shared_ptr<const ToolSet> tools, std::string_view text);

}  // namespace sgl
