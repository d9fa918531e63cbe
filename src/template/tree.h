#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lowmem/template/value.h"

// A parsed template.
namespace lowmem::jinja {

struct Arguments;
class Interpreter;

// A filter gets the value that it is applied to as its first argument.
using FilterFunction = Value (*)(Interpreter&, const Arguments&);
using TestFunction = bool (*)(Interpreter&, const Arguments&);

// A name as its number in the template's table of names.
using Name = int32_t;

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,
    kName,
    kList,       // operands
    kTuple,      // operands
    kDict,       // key, value, key, value, ...
    kAttribute,  // operands[0] . text
    kSubscript,  // operands[0] [ operands[1] ]
    kSlice,      // operands[0] [ begin : end : step ], each may be null
    kCall,       // operands[0] ( operands[1...], named )
    kFilter,     // operands[0] | text ( operands[1...], named )
    kTest,       // operands[0] is text ( operands[1...], named )
    kNot,
    kNegative,
    kPositive,
    kAnd,
    kOr,
    kCompare,      // operands[0] operators[0] operands[1] operators[1] ...
    kConcatenate,  // every operand
    kArithmetic,   // operands[0] text operands[1]
    kIf,           // operands: then, condition, else or null
  } kind;
  int line = 0;
  int depth = 1;
  std::string text;
  Name name = -1;
  Value constant;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
  FilterFunction filter = nullptr;
  TestFunction test = nullptr;
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct Parameter {
  Name name;
  ExpressionPtr fallback;  // or null
};

// What a `set` or `for` gives a value to.
struct Target {
  enum class Kind { kName, kAttribute, kTuple } kind = Kind::kName;
  Name name = -1;         // of the variable, or of the namespace
  std::string attribute;  // of the namespace
  std::vector<Target> parts;
};

struct Statement {
  enum class Kind {
    kData,        // text
    kOutput,      // {{ value }}
    kIf,          // value, body, other
    kFor,         // target, value, condition or null, body, other
    kSet,         // target, value
    kSetBlock,    // target, body; value: filters over the block, or null
    kMacro,       // name, parameters, body
    kCall,        // parameters, value (a call), body
    kFilter,      // value over the body
    kWith,        // targets and values, body
    kGeneration,  // body
    kBreak,
    kContinue,
  } kind;
  int line = 0;
  std::string text;
  Name name = -1;
  Target target;
  ExpressionPtr value, condition;
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Block body, other;
};

struct Tree {
  Block body;
  std::vector<std::string> names;
  bool marks_generation = false;
};

}  // namespace lowmem::jinja
