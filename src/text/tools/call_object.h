// {"name": .., "arguments": {..}}: a call as a JSON object, byte by byte. "parameters" is another word for arguments; other members are
// passed over. Arguments written as a string of JSON count as that JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>

#include "text/tools/call_sink.h"
#include "text/tools/value_relay.h"

namespace sgl::tools {

class CallObject {
 public:
  // bare: the object stands in the text without a marker, so the first key must be one that calls have.
  explicit CallObject(bool bare) : bare_(bare) {}
  // Begins with the opening brace. kDone: the call is complete, and the sink knows of it if its function is one. kBad: not a call.
  Relay Push(char c, CallSink& sink);

 private:
  enum class State { kOpen, kFirstKey, kKey, kKeyText, kColon, kValue, kAfter };
  enum class Member { kName, kArguments, kOther };

  bool BeginValue(char c);
  bool EndValue(CallSink& sink);
  bool KnowKey();

  const bool bare_;
  State state_ = State::kOpen;
  Member member_ = Member::kOther;
  std::optional<ValueRelay> relay_;
  std::string value_;  // what the relay gave and is not used yet
  std::string early_;  // arguments that came before the name
  bool named_ = false, unknown_ = false, has_arguments_ = false, streaming_ = false, first_ = true;
};

}  // namespace sgl::tools
