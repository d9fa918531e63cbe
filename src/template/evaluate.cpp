#include <algorithm>

#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

constexpr int kDeepestCalls = 800;
constexpr int kDeepestValue = 100;

}  // namespace

Interpreter::Interpreter(const Tree& tree, const RenderOptions& options)
    : tree_(tree), options_(options) {}

// Namespaces may hold one another in a circle: each lets go of what it holds first.
Interpreter::~Interpreter() {
  for (const auto& names : namespaces_) names->items.clear();
}

Interpreter::Deeper::Deeper(Interpreter& run) : run_(run) {
  if (++run_.depth_ <= kDeepestCalls) return;
  --run_.depth_;
  run_.fail("calls and nests deeper than " + std::to_string(kDeepestCalls));
}

void Interpreter::fail(const std::string& problem, const char* remedy) const {
  throw Failure{line_, problem, remedy};
}

void Interpreter::charge(int64_t steps) {
  if (steps > options_.most_steps - steps_)
    fail("takes more than " + std::to_string(options_.most_steps) +
             " steps over this chat",
         "Make the chat shorter, or choose another data.chat_template");
  steps_ += steps;
}

void Interpreter::check_text(size_t bytes) {
  if (bytes > options_.most_bytes)
    fail(
        "makes a text of more than " + std::to_string(options_.most_bytes >> 20) + " MiB",
        "Make the chat shorter, or choose another data.chat_template");
}

Value Interpreter::made(Text text) {
  check_text(text.size());
  charge(1 + static_cast<int64_t>(text.size() / 8 + text.runs().size()));
  return text;
}

Value Interpreter::made(Sequence::Kind kind, std::vector<Value> items) {
  charge(1 + 4 * static_cast<int64_t>(items.size()));
  Value value = Value::sequence(kind, std::move(items));
  if (value.depth() > kDeepestValue) fail("nests lists too deep");
  return value;
}

Value Interpreter::made_dict(std::vector<std::pair<Value, Value>> items) {
  charge(1 + 8 * static_cast<int64_t>(items.size()));
  Value value = Value::dict(std::move(items));
  if (value.depth() > kDeepestValue) fail("nests dicts too deep");
  return value;
}

Value Interpreter::made_namespace(std::vector<std::pair<std::string, Value>> items) {
  charge(32 + 8 * static_cast<int64_t>(items.size()));
  auto names = std::make_shared<Namespace>();
  names->items = std::move(items);
  namespaces_.push_back(names);
  return names;
}

Value Interpreter::evaluate(const Expression& node) {
  using Kind = Expression::Kind;
  const Deeper deeper(*this);
  line_ = node.line;
  charge(1);
  const auto operand = [&](size_t i) { return evaluate(*node.operands[i]); };
  switch (node.kind) {
    case Kind::kConstant:
      return node.constant;
    case Kind::kName:
      return evaluate_name(node);
    case Kind::kList:
    case Kind::kTuple: {
      std::vector<Value> items;
      for (const ExpressionPtr& each : node.operands) items.push_back(evaluate(*each));
      return made(
          node.kind == Kind::kList ? Sequence::Kind::kList : Sequence::Kind::kTuple,
          std::move(items));
    }
    case Kind::kDict: {
      std::vector<std::pair<Value, Value>> items;
      for (size_t i = 0; i < node.operands.size(); i += 2) {
        Value key = operand(i), value = operand(i + 1);
        if (key.as_sequence() != nullptr || key.as_dict() != nullptr)
          fail("has a dict with " + kind_of(key) + " for a key", kOtherTemplate);
        const auto same = [&](const auto& item) { return equal(*this, item.first, key); };
        const auto known = std::find_if(items.begin(), items.end(), same);
        charge(static_cast<int64_t>(items.size()));
        if (known != items.end())
          known->second = std::move(value);
        else
          items.emplace_back(std::move(key), std::move(value));
      }
      return made_dict(std::move(items));
    }
    case Kind::kAttribute:
      return attribute(operand(0), node.text);
    case Kind::kSubscript: {
      const Value whole = operand(0);
      return item(whole, operand(1));
    }
    case Kind::kSlice:
      return evaluate_slice(node);
    case Kind::kCall:
      return evaluate_call(node, nullptr);
    case Kind::kFilter: {
      const Arguments given = arguments_of(node);
      line_ = node.line;
      return node.filter(*this, given);
    }
    case Kind::kTest: {
      const Arguments given = arguments_of(node);
      line_ = node.line;
      return node.test(*this, given);
    }
    case Kind::kNot:
      return !truth(operand(0));
    case Kind::kNegative:
      return negative(*this, operand(0));
    case Kind::kPositive: {
      Value number = operand(0);
      if (!is_number(number)) fail("has a + before " + kind_of(number));
      if (const bool* flag = number.get<bool>()) return static_cast<int64_t>(*flag);
      return number;
    }
    case Kind::kAnd: {
      Value left = operand(0);
      return truth(left) ? operand(1) : left;
    }
    case Kind::kOr: {
      Value left = operand(0);
      return truth(left) ? left : operand(1);
    }
    case Kind::kCompare:
      return evaluate_compare(node);
    case Kind::kConcatenate: {
      Text text;
      for (const ExpressionPtr& each : node.operands) {
        const Text part = str(*this, evaluate(*each));
        check_text(text.size() + part.size());
        text.append(part);
      }
      return made(std::move(text));
    }
    case Kind::kArithmetic: {
      const Value left = operand(0);
      return arithmetic(*this, node.text, left, operand(1));
    }
    case Kind::kIf:
      if (truth(operand(1))) return operand(0);
      if (node.operands[2]) return operand(2);
      return Value::undefined("the other branch of an inline if");
  }
  return {};
}

Value Interpreter::evaluate_name(const Expression& node) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent)
    if (const Value* value = scope->find(node.name)) return *value;
  if (has_function(node.text)) {
    charge(8);
    return std::shared_ptr<const Object>(std::make_shared<const Function>(node.text));
  }
  return Value::undefined(node.text);
}

Value Interpreter::evaluate_compare(const Expression& node) {
  Value left = evaluate(*node.operands[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    const std::string& sign = node.operators[i];
    Value right = evaluate(*node.operands[i + 1]);
    line_ = node.line;
    const bool holds = sign == "=="       ? equal(*this, left, right)
                       : sign == "!="     ? !equal(*this, left, right)
                       : sign == "in"     ? contains(*this, right, left)
                       : sign == "not in" ? !contains(*this, right, left)
                       : sign == "<"      ? compare(*this, left, right) < 0
                       : sign == "<="     ? compare(*this, left, right) <= 0
                       : sign == ">"      ? compare(*this, left, right) > 0
                                          : compare(*this, left, right) >= 0;
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Interpreter::arguments_of(const Expression& node) {
  Arguments given;
  const size_t first = node.kind == Expression::Kind::kCall ? 1 : 0;
  given.values.reserve(node.operands.size() - first);
  for (size_t i = first; i < node.operands.size(); ++i)
    given.values.push_back(evaluate(*node.operands[i]));
  for (const auto& [name, value] : node.named)
    given.named.emplace_back(name, evaluate(*value));
  return given;
}

Value Interpreter::evaluate_call(const Expression& node, const Value* caller) {
  const Expression& callee = *node.operands[0];
  const auto given = [&] {
    Arguments arguments = arguments_of(node);
    if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
    line_ = node.line;
    return arguments;
  };
  if (callee.kind == Expression::Kind::kAttribute) {
    const Value owner = evaluate(*callee.operands[0]);
    if (has_method(owner, callee.text))
      return call_method(*this, owner, callee.text, given());
    line_ = node.line;
    const Value function = attribute(owner, callee.text);
    return call(function, given());
  }
  const Value function = evaluate(callee);
  return call(function, given());
}

Value Interpreter::call(const Value& callee, const Arguments& given) {
  const Deeper deeper(*this);
  if (const auto* missing = callee.get<Undefined>())
    fail("calls " + missing->what + ", which is undefined");
  const Object* object = callee.as_object();
  if (dynamic_cast<const Macro*>(object) != nullptr) return call_macro(*object, given);
  if (const auto* method = dynamic_cast<const Method*>(object))
    return call_method(*this, method->self, method->name, given);
  if (const auto* function = dynamic_cast<const Function*>(object))
    return call_function(*this, function->name, given);
  fail("calls " + kind_of(callee));
}

Value Interpreter::evaluate_slice(const Expression& node) {
  const Value whole = evaluate(*node.operands[0]);
  const auto bound = [&](size_t i) -> std::optional<int64_t> {
    if (!node.operands[i]) return std::nullopt;
    const Value value = evaluate(*node.operands[i]);
    if (value.is_none()) return std::nullopt;
    return integer_of(*this, value, "a slice");
  };
  const auto begin = bound(1), end = bound(2), given_step = bound(3);
  line_ = node.line;
  const int64_t step = std::max(given_step.value_or(1), -INT64_MAX);
  if (step == 0) fail("has a slice of step 0");
  const Text* text = whole.as_text();
  const Sequence* sequence = whole.as_sequence();
  if (whole.is_undefined())
    fail("takes a slice of " + whole.get<Undefined>()->what + ", which is undefined");
  const bool sliceable =
      sequence != nullptr && (sequence->kind == Sequence::Kind::kList ||
                              sequence->kind == Sequence::Kind::kTuple);
  if (text == nullptr && !sliceable) {
    if (whole.get<Range>() == nullptr)
      return Value::undefined("a slice of " + kind_of(whole));
    fail("takes a slice of a range, which is not implemented", kOtherTemplate);
  }
  if (text != nullptr) charge(static_cast<int64_t>(text->size() / 8));
  const Characters characters(text != nullptr ? text->view() : std::string_view());
  const int64_t count =
      text != nullptr ? characters.count() : static_cast<int64_t>(sequence->items.size());
  const auto clamp = [&](int64_t at) {
    if (at < 0) at += count;
    return step > 0 ? std::clamp<int64_t>(at, 0, count)
                    : std::clamp<int64_t>(at, -1, count - 1);
  };
  const int64_t from = begin ? clamp(*begin) : step > 0 ? 0 : count - 1;
  const int64_t to = end ? clamp(*end) : step > 0 ? count : -1;
  const auto for_each = [&](auto&& use) {
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
      use(i);
      if (step > 0 ? to - i <= step : i - to <= -step) break;
      i += step;
    }
  };
  if (text != nullptr) {
    if (step == 1)
      return made(from < to ? text->part(characters.offset(from), characters.offset(to))
                            : Text());
    Text part;
    for_each([&](int64_t i) {
      part.append(*text, characters.offset(i), characters.offset(i + 1));
    });
    return made(std::move(part));
  }
  std::vector<Value> items;
  for_each([&](int64_t i) { items.push_back(sequence->items[static_cast<size_t>(i)]); });
  return made(sequence->kind, std::move(items));
}

}  // namespace lowmem::jinja
