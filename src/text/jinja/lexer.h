// Template source -> tokens, as jinja2 3.1's lexer does with trim_blocks and lstrip_blocks.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sgl::jinja {

enum class TokenKind : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEof
};

struct Token {
  TokenKind kind = TokenKind::kEof;
  int line = 1;
  std::string text;  // data, name, decoded string, operator
  int64_t integer = 0;
  double number = 0;

  bool Is(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool IsName(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

// The last token is kEof. Errors: "line 3: ...".
Result<std::vector<Token>> Tokenize(const std::string& source);

// What an error message calls the token.
std::string Describe(const Token& token);

}  // namespace sgl::jinja
