#include <algorithm>

#include "template/interpreter.h"

namespace lowmem::jinja {

Value* Scope::find(Name name) {
  for (auto& [each, value] : variables)
    if (each == name) return &value;
  return nullptr;
}

void Scope::set(Name name, Value value) {
  if (Value* known = find(name))
    *known = std::move(value);
  else
    variables.emplace_back(name, std::move(value));
}

// A block's variables, inside those of `parent`; given back at its end, unless a macro
// needs them.
class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& run, Scope* parent) : run_(run), outer_(run.scope_) {
    if (run_.free_scopes_.empty()) {
      run_.charge(8);
      scope_ = std::make_unique<Scope>();
    } else {
      scope_ = std::move(run_.free_scopes_.back());
      run_.free_scopes_.pop_back();
    }
    scope_->parent = parent;
    run_.scope_ = scope_.get();
  }
  ~ScopeGuard() {
    run_.scope_ = outer_;
    if (scope_->captured) {
      run_.scopes_.push_back(std::move(scope_));
    } else {
      scope_->variables.clear();
      run_.free_scopes_.push_back(std::move(scope_));
    }
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& run_;
  Scope* outer_;
  std::unique_ptr<Scope> scope_;
};

namespace {

// Sends output elsewhere while it lives.
class Output {
 public:
  Output(Text*& output, Text* to) : output_(output), outer_(output) { output = to; }
  ~Output() { output_ = outer_; }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

 private:
  Text*& output_;
  Text* outer_;
};

}  // namespace

Rendered Interpreter::run(const std::vector<std::pair<std::string, Value>>& variables) {
  output_ = &rendered_.text;
  const ScopeGuard given(*this, nullptr);
  for (const auto& [name, value] : variables) {
    const auto known = std::find(tree_.names.begin(), tree_.names.end(), name);
    if (known != tree_.names.end())
      scope_->set(static_cast<Name>(known - tree_.names.begin()), value);
  }
  const ScopeGuard own(*this, scope_);
  execute(tree_.body);
  return std::move(rendered_);
}

void Interpreter::write(std::string_view text) {
  check_text(output_->size() + text.size());
  output_->append(text, kOwn);
}

void Interpreter::write(const Text& text) {
  check_text(output_->size() + text.size());
  output_->append(text);
}

Interpreter::Leaves Interpreter::execute(const Block& block) {
  for (const auto& statement : block)
    if (const Leaves leaves = execute(*statement); leaves != Leaves::kNot) return leaves;
  return Leaves::kNot;
}

Interpreter::Leaves Interpreter::execute(const Statement& statement) {
  using Kind = Statement::Kind;
  line_ = statement.line;
  charge(1);
  const Deeper deeper(*this);
  switch (statement.kind) {
    case Kind::kData:
      charge(static_cast<int64_t>(statement.text.size() / 8));
      write(statement.text);
      break;
    case Kind::kOutput:
      write(str(*this, evaluate(*statement.value)));
      break;
    case Kind::kIf:
      return execute_if(statement);
    case Kind::kFor:
      return execute_for(statement);
    case Kind::kSet:
    case Kind::kSetBlock:
      execute_set(statement);
      break;
    case Kind::kMacro:
      scope_->set(statement.name, macro_of(statement));
      break;
    case Kind::kCall: {
      const Value caller = macro_of(statement);
      write(str(*this, evaluate_call(*statement.value, &caller)));
      break;
    }
    case Kind::kFilter: {
      Text body = captured(statement.body);
      const ScopeGuard inner(*this, scope_);
      scope_->set(statement.name, Value(std::move(body)));
      write(str(*this, evaluate(*statement.value)));
      break;
    }
    case Kind::kWith: {
      std::vector<Value> values;
      for (const auto& [target, value] : statement.values)
        values.push_back(evaluate(*value));
      const ScopeGuard inner(*this, scope_);
      for (size_t i = 0; i < values.size(); ++i)
        assign(statement.values[i].first, std::move(values[i]));
      return execute(statement.body);
    }
    case Kind::kGeneration:
      execute_generation(statement);
      break;
    case Kind::kBreak:
      return Leaves::kBreak;
    case Kind::kContinue:
      return Leaves::kContinue;
  }
  return Leaves::kNot;
}

Interpreter::Leaves Interpreter::execute_if(const Statement& statement) {
  const Statement* branch = &statement;
  while (!truth(evaluate(*branch->value))) {
    // An elif is an if alone in the other branch.
    if (branch->other.size() != 1 || branch->other[0]->kind != Statement::Kind::kIf)
      return execute(branch->other);
    branch = branch->other[0].get();
    line_ = branch->line;
  }
  return execute(branch->body);
}

Interpreter::Leaves Interpreter::execute_for(const Statement& statement) {
  const Value whole = evaluate(*statement.value);
  std::vector<Value> items = items_of(whole);
  charge(static_cast<int64_t>(items.size()));
  if (statement.condition) {
    std::vector<Value> chosen;
    for (Value& item : items) {
      const ScopeGuard inner(*this, scope_);
      assign(statement.target, item);
      if (truth(evaluate(*statement.condition))) chosen.push_back(std::move(item));
    }
    items = std::move(chosen);
  }
  if (items.empty()) {
    const ScopeGuard inner(*this, scope_);
    return execute(statement.other);
  }
  static constexpr std::string_view kLoop = "loop";
  const auto name = std::find(tree_.names.begin(), tree_.names.end(), kLoop);
  const auto number = static_cast<Name>(name - tree_.names.begin());
  const auto sequence = std::make_shared<Sequence>();
  sequence->kind = Sequence::Kind::kList;
  for (const Value& item : items)
    sequence->depth = std::max(sequence->depth, item.depth() + 1);
  sequence->items = std::move(items);
  const auto loop = std::make_shared<const Loop>(sequence);
  for (size_t i = 0; i < sequence->items.size(); ++i) {
    const ScopeGuard inner(*this, scope_);
    loop->index = static_cast<int64_t>(i);
    line_ = statement.line;
    if (name != tree_.names.end())
      scope_->set(number, std::shared_ptr<const Object>(loop));
    assign(statement.target, sequence->items[i]);
    if (execute(statement.body) == Leaves::kBreak) break;
  }
  return Leaves::kNot;
}

void Interpreter::execute_set(const Statement& statement) {
  if (statement.kind == Statement::Kind::kSet) {
    assign(statement.target, evaluate(*statement.value));
    return;
  }
  Value value(captured(statement.body));
  if (statement.value) {
    const ScopeGuard inner(*this, scope_);
    scope_->set(statement.name, std::move(value));
    value = evaluate(*statement.value);
  }
  assign(statement.target, std::move(value));
}

void Interpreter::assign(const Target& target, Value value) {
  switch (target.kind) {
    case Target::Kind::kName:
      scope_->set(target.name, std::move(value));
      return;
    case Target::Kind::kAttribute: {
      const std::string& name = tree_.names[static_cast<size_t>(target.name)];
      for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
        const Value* variable = scope->find(target.name);
        if (variable == nullptr) continue;
        Namespace* names = variable->as_namespace();
        if (names == nullptr) break;
        for (auto& [known, held] : names->items) {
          if (known != target.attribute) continue;
          held = std::move(value);
          return;
        }
        names->items.emplace_back(target.attribute, std::move(value));
        return;
      }
      fail("sets " + name + "." + target.attribute + ", and " + name +
           " is no namespace");
    }
    case Target::Kind::kTuple: {
      const std::vector<Value> parts = items_of(value);
      if (parts.size() != target.parts.size())
        fail("takes " + std::to_string(parts.size()) + " values apart into " +
             std::to_string(target.parts.size()));
      for (size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
    }
  }
}

void Interpreter::execute_generation(const Statement& statement) {
  if (output_ != &rendered_.text)
    fail("has a generation block whose text is not written at once", kOtherTemplate);
  const size_t begin = output_->size();
  const ScopeGuard inner(*this, scope_);
  execute(statement.body);
  rendered_.generation.emplace_back(begin, output_->size());
}

Text Interpreter::captured(const Block& block) {
  Text text;
  const Output output(output_, &text);
  const ScopeGuard inner(*this, scope_);
  execute(block);
  charge(static_cast<int64_t>(text.size() / 8));
  return text;
}

Value Interpreter::macro_of(const Statement& statement) {
  charge(16);
  auto macro = std::make_shared<Macro>();
  macro->statement = &statement;
  macro->scope = scope_;
  macro->name = statement.kind == Statement::Kind::kCall ? "caller" : statement.text;
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent)
    scope->captured = true;
  return std::shared_ptr<const Object>(std::move(macro));
}

Value Interpreter::call_macro(const Object& object, const Arguments& given) {
  const auto& macro = static_cast<const Macro&>(object);
  const auto& parameters = macro.statement->parameters;
  const auto number_of = [&](std::string_view name) {
    const auto known = std::find(tree_.names.begin(), tree_.names.end(), name);
    return known == tree_.names.end() ? Name{-1}
                                      : static_cast<Name>(known - tree_.names.begin());
  };
  if (given.values.size() > parameters.size())
    fail(macro.name + "() takes " + std::to_string(parameters.size()) +
         " arguments, and is given " + std::to_string(given.values.size()));
  const ScopeGuard inner(*this, macro.scope);
  for (const auto& [name, value] : given.named) {
    const Name number = number_of(name);
    const auto is_it = [&](const Parameter& each) { return each.name == number; };
    const auto known = std::find_if(parameters.begin(), parameters.end(), is_it);
    const bool is_caller = name == "caller" && number >= 0;
    if (known == parameters.end() && !is_caller)
      fail(macro.name + "() has no argument " + name);
    if (known - parameters.begin() < static_cast<std::ptrdiff_t>(given.values.size()) &&
        known != parameters.end())
      fail(macro.name + "() is given " + name + " twice");
    scope_->set(number, value);
  }
  for (size_t i = 0; i < given.values.size(); ++i)
    scope_->set(parameters[i].name, given.values[i]);
  for (const Parameter& parameter : parameters) {
    if (scope_->find(parameter.name) != nullptr) continue;
    const std::string& name = tree_.names[static_cast<size_t>(parameter.name)];
    scope_->set(parameter.name, parameter.fallback ? evaluate(*parameter.fallback)
                                                   : Value::undefined(name));
  }
  Text text;
  {
    const Output output(output_, &text);
    execute(macro.statement->body);
  }
  return made(std::move(text));
}

}  // namespace lowmem::jinja
