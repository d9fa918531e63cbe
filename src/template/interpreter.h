#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowmem/template/template.h"
#include "template/functions.h"
#include "template/lexer.h"
#include "template/tree.h"

namespace lowmem::jinja {

// The variables of a block. The interpreter owns them all: a macro may outlive its block.
struct Scope {
  std::vector<std::pair<Name, Value>> variables;
  Scope* parent = nullptr;
  bool captured = false;  // by a macro

  Value* find(Name name);
  void set(Name name, Value value);
};

// One rendering of a tree. Failures carry the line of what is being evaluated.
class Interpreter {
 public:
  Interpreter(const Tree& tree, const RenderOptions& options);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Rendered run(const std::vector<std::pair<std::string, Value>>& variables);

  // For filters, tests, methods and functions.
  [[noreturn]] void fail(const std::string& problem,
                         const char* remedy = kRepairTemplate) const;
  void charge(int64_t steps);
  // A text or list made on the way, by its size.
  Value made(Text text);
  Value made(Sequence::Kind kind, std::vector<Value> items);
  Value made_list(std::vector<Value> items) {
    return made(Sequence::Kind::kList, std::move(items));
  }
  Value made_dict(std::vector<std::pair<Value, Value>> items);
  Value made_namespace(std::vector<std::pair<std::string, Value>> items);
  void check_text(size_t bytes);

  // What iterating over a value gives: characters of a text, keys of a dict.
  std::vector<Value> items_of(const Value& value);
  Value attribute(const Value& value, const std::string& name);
  Value item(const Value& value, const Value& key);
  Value call(const Value& callee, const Arguments& given);
  Date now() const { return options_.now; }

  // Goes one call deeper while it lives.
  class Deeper {
   public:
    explicit Deeper(Interpreter& run);
    ~Deeper() { --run_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Interpreter& run_;
  };

 private:
  enum class Leaves { kNot, kBreak, kContinue };
  class ScopeGuard;
  friend class ScopeGuard;

  // Statements: execute.cpp.
  Leaves execute(const Block& block);
  Leaves execute(const Statement& statement);
  Leaves execute_if(const Statement& statement);
  Leaves execute_for(const Statement& statement);
  void execute_set(const Statement& statement);
  void execute_generation(const Statement& statement);
  void assign(const Target& target, Value value);
  Value macro_of(const Statement& statement);
  Value call_macro(const Object& macro, const Arguments& given);
  Text captured(const Block& block);
  void write(const Text& text);
  void write(std::string_view text);

  // Expressions: evaluate.cpp.
  Value evaluate(const Expression& node);
  Value evaluate_name(const Expression& node);
  Value evaluate_slice(const Expression& node);
  Value evaluate_compare(const Expression& node);
  Value evaluate_call(const Expression& node, const Value* caller);
  Arguments arguments_of(const Expression& node);

  const Tree& tree_;
  const RenderOptions& options_;
  Scope* scope_ = nullptr;
  std::vector<std::unique_ptr<Scope>> scopes_, free_scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  Text* output_ = nullptr;
  Rendered rendered_;
  int64_t steps_ = 0;
  int depth_ = 0;
  int line_ = 1;
};

// Python's operations: operators.cpp.
bool truth(const Value& value);
bool equal(Interpreter& run, const Value& a, const Value& b);
// -1, 0 or 1. Fails where Python does not order the two.
int compare(Interpreter& run, const Value& a, const Value& b);
bool contains(Interpreter& run, const Value& whole, const Value& part);
Value arithmetic(Interpreter& run, std::string_view sign, const Value& a, const Value& b);
Value negative(Interpreter& run, const Value& a);
bool is_number(const Value& value);
double as_double(const Value& value);
// "a text", "a list", for errors.
std::string kind_of(const Value& value);

// Python's str() and repr(): print.cpp.
Text str(Interpreter& run, const Value& value);
Text repr(Interpreter& run, const Value& value);
std::string float_text(double number);
// json.dumps(): json_text.cpp.
struct JsonStyle {
  bool ascii = false, sorts_keys = false;
  std::string indent;
  bool indented = false;
  std::string item_separator = ", ", key_separator = ": ";
};
Text json_text(Interpreter& run, const Value& value, const JsonStyle& style);
// `format` % values: format_text.cpp.
Value percent(Interpreter& run, const Text& format, const Value& values);
Value format(Interpreter& run, const Text& format, const Arguments& given);

// Helpers for the functions. Each fails with the name of what was called.
int64_t integer_of(Interpreter& run, const Value& value, const std::string& what);
const Text& text_of(Interpreter& run, const Value& value, const std::string& what);
void check_arguments(Interpreter& run, const Arguments& given, const std::string& name,
                     size_t least, size_t most,
                     std::initializer_list<std::string_view> names);

// Characters of a text, by place: Python counts them, not bytes. O(1) for ASCII.
class Characters {
 public:
  explicit Characters(std::string_view text);
  int64_t count() const {
    return static_cast<int64_t>(offsets_.empty() ? size_ : offsets_.size() - 1);
  }
  size_t offset(int64_t character) const {  // up to count()
    const auto at = static_cast<size_t>(character);
    return offsets_.empty() ? at : offsets_[at];
  }
  int64_t at_offset(size_t offset) const;

 private:
  size_t size_;
  std::vector<size_t> offsets_;  // empty for ASCII
};

// What a loop's body sees as `loop`.
class Loop : public Object {
 public:
  explicit Loop(std::shared_ptr<Sequence> all) : items(std::move(all)) {}
  int depth() const override { return items->depth + 1; }
  std::shared_ptr<Sequence> items;
  mutable int64_t index = 0;  // from 0
};

class Macro : public Object {
 public:
  const Statement* statement = nullptr;
  Scope* scope = nullptr;
  std::string name;
};

class Method : public Object {
 public:
  Method(Value owner, std::string called)
      : self(std::move(owner)), name(std::move(called)) {}
  int depth() const override { return self.depth() + 1; }
  Value self;
  std::string name;
};

class Function : public Object {
 public:
  explicit Function(std::string called) : name(std::move(called)) {}
  std::string name;
};

}  // namespace lowmem::jinja
