#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lowmem::jinja {

// Something wrong with a template, or with what it was given, at the line being read.
struct Failure {
  int line;
  std::string problem;
  std::string remedy;
};

// The remedies of most failures.
inline constexpr const char* kRepairTemplate =
    "Repair the template, or choose another data.chat_template";
inline constexpr const char* kOtherTemplate =
    "Choose another data.chat_template, or write the template without it";

struct Token {
  enum class Kind {
    kData,           // text between blocks
    kVariableBegin,  // {{
    kVariableEnd,
    kBlockBegin,  // {%
    kBlockEnd,
    kName,
    kString,  // text: what it stands for
    kInteger,
    kFloat,
    kOperator,
    kEnd
  } kind;
  std::string text;
  int line;
};

// The tokens of a template, with comments gone and white space taken as trim_blocks,
// lstrip_blocks and the signs - and + have it. Throws Failure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace lowmem::jinja
