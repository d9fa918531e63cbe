// What may stand behind `is`.
#include <algorithm>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"
#include "template/python_text.h"

namespace lowmem::jinja {
namespace {

const Value& subject(const Arguments& given) { return given.values[0]; }

// A test that asks nothing but the value's kind.
template <bool (*is)(const Value&)>
bool simple(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "a test", 1, 1, {});
  return is(subject(given));
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_string(const Value& value) { return value.as_text() != nullptr; }
bool is_mapping(const Value& value) { return value.as_dict() != nullptr; }
bool is_boolean(const Value& value) { return value.get<bool>() != nullptr; }
bool is_true(const Value& value) { return is_boolean(value) && *value.get<bool>(); }
bool is_false(const Value& value) { return is_boolean(value) && !*value.get<bool>(); }
bool is_integer(const Value& value) { return value.get<int64_t>() != nullptr; }
bool is_float(const Value& value) { return value.get<double>() != nullptr; }
bool is_callable(const Value& value) {
  return value.as_object() != nullptr &&
         dynamic_cast<const Loop*>(value.as_object()) == nullptr;
}
bool is_iterable(const Value& value) {
  return is_string(value) || is_mapping(value) || value.is_undefined() ||
         value.get<Range>() != nullptr || value.as_sequence() != nullptr ||
         dynamic_cast<const Loop*>(value.as_object()) != nullptr;
}
bool is_sequence(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  return is_string(value) || is_mapping(value) || value.is_undefined() ||
         value.get<Range>() != nullptr ||
         (sequence != nullptr && (sequence->kind == Sequence::Kind::kList ||
                                  sequence->kind == Sequence::Kind::kTuple));
}

template <bool upper>
bool is_case(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "a test", 1, 1, {});
  const Text text = str(run, subject(given));
  run.charge(static_cast<int64_t>(text.size() / 8));
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text.view(), at);
    if (upper ? text::is_lower(character.code) : text::is_upper(character.code))
      return false;
    any = any || text::is_cased(character.code);
    at += character.size;
  }
  return any;
}

// The one argument of a test that compares.
const Value& other(Interpreter& run, const Arguments& given) {
  if (given.values.size() != 2 || !given.named.empty())
    run.fail("gives a test that takes one value " +
             std::to_string(given.values.size() + given.named.size() - 1));
  return given.values[1];
}

Value remainder(Interpreter& run, const Arguments& given, const Value& by) {
  return arithmetic(run, "%", subject(given), by);
}

bool odd(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "odd", 1, 1, {});
  return equal(run, remainder(run, given, int64_t{2}), int64_t{1});
}
bool even(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "even", 1, 1, {});
  return equal(run, remainder(run, given, int64_t{2}), int64_t{0});
}
bool divisible(Interpreter& run, const Arguments& given) {
  return equal(run, remainder(run, given, other(run, given)), int64_t{0});
}
bool eq(Interpreter& run, const Arguments& given) {
  return equal(run, subject(given), other(run, given));
}
bool ne(Interpreter& run, const Arguments& given) { return !eq(run, given); }
bool lt(Interpreter& run, const Arguments& given) {
  return compare(run, subject(given), other(run, given)) < 0;
}
bool le(Interpreter& run, const Arguments& given) {
  return compare(run, subject(given), other(run, given)) <= 0;
}
bool gt(Interpreter& run, const Arguments& given) { return !le(run, given); }
bool ge(Interpreter& run, const Arguments& given) { return !lt(run, given); }
bool in(Interpreter& run, const Arguments& given) {
  return contains(run, other(run, given), subject(given));
}

// Python's `is`, which tells 1 from True and finds equal texts to be the same only where
// they are one object.
bool same(Interpreter& run, const Arguments& given) {
  const Value &a = subject(given), &b = other(run, given);
  if (a.as_text() != nullptr || b.as_text() != nullptr) return a.as_text() == b.as_text();
  if (is_boolean(a) != is_boolean(b) || is_float(a) != is_float(b)) return false;
  if (a.as_sequence() != nullptr) return a.as_sequence() == b.as_sequence();
  if (a.as_dict() != nullptr) return a.as_dict() == b.as_dict();
  return equal(run, a, b);
}

bool filter_exists(Interpreter& run, const Arguments& given) {
  return filter_named(text_of(run, subject(given), "filter").bytes()) != nullptr;
}
bool test_exists(Interpreter& run, const Arguments& given) {
  return test_named(text_of(run, subject(given), "test").bytes()) != nullptr;
}

constexpr std::pair<std::string_view, TestFunction> kTests[] = {
    {"defined", simple<is_defined>},
    {"undefined", simple<is_undefined>},
    {"none", simple<is_none>},
    {"string", simple<is_string>},
    {"mapping", simple<is_mapping>},
    {"iterable", simple<is_iterable>},
    {"sequence", simple<is_sequence>},
    {"number", simple<is_number>},
    {"integer", simple<is_integer>},
    {"float", simple<is_float>},
    {"boolean", simple<is_boolean>},
    {"true", simple<is_true>},
    {"false", simple<is_false>},
    {"callable", simple<is_callable>},
    {"lower", is_case<false>},
    {"upper", is_case<true>},
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible},
    {"eq", eq},
    {"equalto", eq},
    {"==", eq},
    {"ne", ne},
    {"!=", ne},
    {"lt", lt},
    {"lessthan", lt},
    {"<", lt},
    {"le", le},
    {"<=", le},
    {"gt", gt},
    {"greaterthan", gt},
    {">", gt},
    {"ge", ge},
    {">=", ge},
    {"in", in},
    {"sameas", same},
    {"filter", filter_exists},
    {"test", test_exists},
};

}  // namespace

TestFunction test_named(std::string_view name) {
  for (const auto& [each, test] : kTests)
    if (each == name) return test;
  return nullptr;
}

}  // namespace lowmem::jinja
