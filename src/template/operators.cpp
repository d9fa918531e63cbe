#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

// A bool counts as the number that Python takes it for.
std::optional<int64_t> as_integer(const Value& value) {
  if (const bool* flag = value.get<bool>()) return static_cast<int64_t>(*flag);
  if (const int64_t* number = value.get<int64_t>()) return *number;
  return std::nullopt;
}

const std::vector<Value>* list_items(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  if (sequence == nullptr || (sequence->kind != Sequence::Kind::kList &&
                              sequence->kind != Sequence::Kind::kTuple))
    return nullptr;
  return &sequence->items;
}

template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

[[noreturn]] void overflow(Interpreter& run) {
  run.fail("computes an integer of more than 64 bits", kOtherTemplate);
}

int64_t floor_division(int64_t a, int64_t b) {
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Value integer_arithmetic(Interpreter& run, std::string_view sign, int64_t a, int64_t b) {
  int64_t result = 0;
  if (sign == "+") {
    if (__builtin_add_overflow(a, b, &result)) overflow(run);
  } else if (sign == "-") {
    if (__builtin_sub_overflow(a, b, &result)) overflow(run);
  } else if (sign == "*") {
    if (__builtin_mul_overflow(a, b, &result)) overflow(run);
  } else if (sign == "**") {
    if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
    result = 1;
    for (int64_t i = 0; i < b && result != 0 && (a != 1); ++i) {
      if (a == -1) return b % 2 == 0 ? int64_t{1} : int64_t{-1};
      if (__builtin_mul_overflow(result, a, &result)) overflow(run);
    }
  } else {
    if (b == 0) run.fail("divides by zero");
    if (sign == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (a == INT64_MIN && b == -1) {
      if (sign == "//") overflow(run);
      return int64_t{0};
    }
    result = sign == "//" ? floor_division(a, b) : a - b * floor_division(a, b);
  }
  return result;
}

Value float_arithmetic(Interpreter& run, std::string_view sign, double a, double b) {
  if (sign == "+") return a + b;
  if (sign == "-") return a - b;
  if (sign == "*") return a * b;
  if (sign == "**") {
    if (a == 0 && b < 0) run.fail("divides by zero");
    if (a < 0 && b != std::floor(b))
      run.fail("computes a complex number", kOtherTemplate);
    const double power = std::pow(a, b);
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b))
      run.fail("computes a number that no double holds");
    return power;
  }
  if (b == 0) run.fail("divides by zero");
  if (sign == "/") return a / b;
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (sign == "%") return remainder == 0 ? std::copysign(0.0, b) : remainder;
  const double quotient = (a - remainder) / b;
  double floor = std::floor(quotient);
  if (quotient - floor > 0.5) floor += 1;
  return quotient == 0 ? std::copysign(0.0, a / b) : floor;
}

Value repeated(Interpreter& run, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (const Text* text = value.as_text()) {
    if (text->empty()) return value;
    const __int128 size = __int128{times} * static_cast<int64_t>(text->size());
    run.check_text(static_cast<size_t>(std::min<__int128>(size, INT64_MAX)));
    run.charge(times);
    Text all;
    for (int64_t i = 0; i < times; ++i) all.append(*text);
    return run.made(std::move(all));
  }
  const Sequence* sequence = value.as_sequence();
  std::vector<Value> items;
  run.charge(times);
  for (int64_t i = 0; i < times && !sequence->items.empty(); ++i) {
    run.charge(static_cast<int64_t>(sequence->items.size()));
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return run.made(sequence->kind, std::move(items));
}

}  // namespace

bool is_number(const Value& value) {
  return value.get<bool>() != nullptr || value.get<int64_t>() != nullptr ||
         value.get<double>() != nullptr;
}

double as_double(const Value& value) {
  if (const double* number = value.get<double>()) return *number;
  return static_cast<double>(as_integer(value).value_or(0));
}

std::string kind_of(const Value& value) {
  if (const auto* missing = value.get<Undefined>())
    return missing->what + ", which is undefined";
  if (value.is_none()) return "None";
  if (value.get<bool>() != nullptr) return "a bool";
  if (is_number(value)) return "a number";
  if (value.as_text() != nullptr) return "a text";
  if (value.as_dict() != nullptr) return "a dict";
  if (value.as_namespace() != nullptr) return "a namespace";
  if (value.get<Range>() != nullptr) return "a range";
  if (value.as_object() != nullptr) return "a function";
  switch (value.as_sequence()->kind) {
    case Sequence::Kind::kList:
      return "a list";
    case Sequence::Kind::kTuple:
      return "a tuple";
    case Sequence::Kind::kGenerator:
      return "a generator";
    default:
      return "a view of a dict";
  }
}

bool truth(const Value& value) {
  if (value.is_none() || value.is_undefined()) return false;
  if (is_number(value)) return as_double(value) != 0;
  if (const Text* text = value.as_text()) return !text->empty();
  if (const Dict* dict = value.as_dict()) return !dict->items.empty();
  if (const Range* range = value.get<Range>()) return range->count > 0;
  if (const Sequence* sequence = value.as_sequence())
    return sequence->kind == Sequence::Kind::kGenerator || !sequence->items.empty();
  return true;
}

namespace {

bool equal_dicts(Interpreter& run, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  // Texts are looked up: dicts in other orders would cost the square of their size.
  std::unordered_map<std::string_view, const Value*> texts;
  const auto same = [&](const auto& item) {
    if (const Text* key = item.first.as_text()) {
      const auto other = texts.find(key->view());
      return other != texts.end() && equal(run, item.second, *other->second);
    }
    return std::any_of(b.items.begin(), b.items.end(), [&](const auto& other) {
      return equal(run, item.first, other.first) && equal(run, item.second, other.second);
    });
  };
  for (const auto& [key, value] : b.items)
    if (const Text* text = key.as_text()) texts.emplace(text->view(), &value);
  run.charge(static_cast<int64_t>(b.items.size()));
  return std::all_of(a.items.begin(), a.items.end(), same);
}

}  // namespace

bool equal(Interpreter& run, const Value& a, const Value& b) {
  run.charge(1);
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (is_number(a) && is_number(b)) {
    const auto left = as_integer(a), right = as_integer(b);
    return left && right ? *left == *right : as_double(a) == as_double(b);
  }
  if (a.as_text() != nullptr && b.as_text() != nullptr) {
    if (a.as_text()->size() != b.as_text()->size()) return false;
    run.charge(static_cast<int64_t>(a.as_text()->size() / 32));
    return a.as_text()->bytes() == b.as_text()->bytes();
  }
  if (a.get<Range>() != nullptr && b.get<Range>() != nullptr) {
    const Range &left = *a.get<Range>(), &right = *b.get<Range>();
    return left.count == right.count &&
           (left.count == 0 ||
            (left.begin == right.begin && (left.count == 1 || left.step == right.step)));
  }
  const Dict *left_dict = a.as_dict(), *right_dict = b.as_dict();
  if (left_dict != nullptr && right_dict != nullptr)
    return left_dict == right_dict || equal_dicts(run, *left_dict, *right_dict);
  const auto *left = list_items(a), *right = list_items(b);
  if (left != nullptr && right != nullptr)
    return a.as_sequence()->kind == b.as_sequence()->kind &&
           std::equal(left->begin(), left->end(), right->begin(), right->end(),
                      [&](const Value& x, const Value& y) { return equal(run, x, y); });
  if (a.as_sequence() != nullptr) return a.as_sequence() == b.as_sequence();
  if (a.as_namespace() != nullptr) return a.as_namespace() == b.as_namespace();
  return a.as_object() != nullptr && a.as_object() == b.as_object();
}

int compare(Interpreter& run, const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) {
    const auto left = as_integer(a), right = as_integer(b);
    return left && right ? order(*left, *right) : order(as_double(a), as_double(b));
  }
  if (a.as_text() != nullptr && b.as_text() != nullptr) {
    run.charge(
        static_cast<int64_t>(std::min(a.as_text()->size(), b.as_text()->size()) / 16));
    return order(a.as_text()->bytes(), b.as_text()->bytes());
  }
  const auto *left = list_items(a), *right = list_items(b);
  if (left != nullptr && right != nullptr &&
      a.as_sequence()->kind == b.as_sequence()->kind) {
    for (size_t i = 0; i < std::min(left->size(), right->size()); ++i) {
      run.charge(1);
      if (!equal(run, (*left)[i], (*right)[i]))
        return compare(run, (*left)[i], (*right)[i]);
    }
    return order(left->size(), right->size());
  }
  run.fail("orders " + kind_of(a) + " and " + kind_of(b));
}

bool contains(Interpreter& run, const Value& whole, const Value& part) {
  if (const Text* text = whole.as_text()) {
    const Text* wanted = part.as_text();
    if (wanted == nullptr) run.fail("looks for " + kind_of(part) + " in a text");
    run.charge(static_cast<int64_t>(text->size() / 8));
    return text->view().find(wanted->view()) != std::string_view::npos;
  }
  if (const Dict* dict = whole.as_dict()) {
    if (part.as_dict() != nullptr || part.as_sequence() != nullptr)
      run.fail("looks for " + kind_of(part) + " among the keys of a dict");
    run.charge(static_cast<int64_t>(dict->items.size() / 8));
    return std::any_of(dict->items.begin(), dict->items.end(),
                       [&](const auto& item) { return equal(run, item.first, part); });
  }
  const std::vector<Value> items = run.items_of(whole);
  run.charge(static_cast<int64_t>(items.size()));
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& item) { return equal(run, item, part); });
}

Value negative(Interpreter& run, const Value& a) {
  if (const auto number = as_integer(a)) return integer_arithmetic(run, "-", 0, *number);
  if (const double* number = a.get<double>()) return -*number;
  run.fail("has a - before " + kind_of(a));
}

Value arithmetic(Interpreter& run, std::string_view sign, const Value& a,
                 const Value& b) {
  if (is_number(a) && is_number(b)) {
    const auto left = as_integer(a), right = as_integer(b);
    if (left && right) return integer_arithmetic(run, sign, *left, *right);
    return float_arithmetic(run, sign, as_double(a), as_double(b));
  }
  const auto repeats = [](const Value& value) {
    return value.as_text() != nullptr || list_items(value) != nullptr;
  };
  if (sign == "+" && a.as_text() != nullptr && b.as_text() != nullptr) {
    run.check_text(a.as_text()->size() + b.as_text()->size());
    Text text = *a.as_text();
    text.append(*b.as_text());
    return run.made(std::move(text));
  }
  if (sign == "+" && list_items(a) != nullptr && list_items(b) != nullptr &&
      a.as_sequence()->kind == b.as_sequence()->kind) {
    std::vector<Value> items = *list_items(a);
    items.insert(items.end(), list_items(b)->begin(), list_items(b)->end());
    return run.made(a.as_sequence()->kind, std::move(items));
  }
  if (sign == "*" && repeats(a) && as_integer(b)) return repeated(run, a, *as_integer(b));
  if (sign == "*" && repeats(b) && as_integer(a)) return repeated(run, b, *as_integer(a));
  if (sign == "%" && a.as_text() != nullptr) return percent(run, *a.as_text(), b);
  run.fail("has a " + std::string(sign) + " between " + kind_of(a) + " and " +
           kind_of(b));
}

}  // namespace lowmem::jinja
