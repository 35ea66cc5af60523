// Values as models write them, byte by byte, to JSON as Python's json.dumps(ensure_ascii=False) lays it out: ", " and ": ", escapes only
// where needed. Whatever has come out is at any time the start of valid JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sgl::tools {

enum class Relay {
  kMore,
  kDone,        // this byte ended the value
  kDoneBefore,  // the value ended before this byte, which is not part of it
  kBad,
};

// kJson: JSON, but control characters may stand in strings as they are. kPython: literals: '..' and "..", True, None, tuples, lists,
// dicts with text or numbers as keys; also JSON's true, false, null.
class ValueRelay {
 public:
  enum class Dialect { kJson, kPython };
  explicit ValueRelay(Dialect dialect) : dialect_(dialect) {}

  Relay Push(char c, std::string& out);
  // The text has ended: true if the value is complete (a number has no end of its own).
  bool End(std::string& out);

 private:
  enum class State : uint8_t { kValue, kFirst, kKey, kFirstKey, kColon, kAfter, kString, kEscape, kDigits, kSurrogate, kWord, kEnd };

  Relay Start(char c, std::string& out);
  Relay After(char c, std::string& out);
  Relay InString(char c, std::string& out);
  Relay Escape(char c, std::string& out);
  Relay Digit(char c, std::string& out);
  Relay WordEnds(char c, std::string& out);
  Relay ValueEnds(Relay how);
  bool FinishWord(std::string& out);
  void Item(std::string& out);  // before a value or key: the comma that was held back
  void EmitCode(uint32_t code, std::string& out);
  void FlushSurrogate(std::string& out);

  const Dialect dialect_;
  State state_ = State::kValue;
  std::vector<char> open_;  // closing brackets to come
  std::string word_;        // number, literal, or the digits of an escape
  uint32_t surrogate_ = 0;  // the first half of a pair
  int digits_ = 0;          // still to come
  char quote_ = '"', escape_ = 0;
  bool is_key_ = false, comma_ = false;
};

// The whole of `text` as a value; false if it is none.
bool RelayAll(ValueRelay::Dialect dialect, std::string_view text, std::string& out);

// A JSON string that grows: opening quote, escaped pieces, closing quote are the caller's.
void AppendEscaped(std::string& out, std::string_view text);

}  // namespace sgl::tools
