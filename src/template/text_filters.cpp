// Filters that make texts and numbers.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "template/interpreter.h"
#include "template/python_text.h"
#include "template/text_operations.h"

namespace lowmem::jinja {
namespace {

Text subject(Interpreter& run, const Arguments& given) {
  Text text = str(run, given.values[0]);
  run.charge(1 + static_cast<int64_t>(text.size() / 16));
  return text;
}

template <Text (*change)(const Text&)>
Value change_filter(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "a filter", 1, 1, {});
  return run.made(change(subject(run, given)));
}

Value trim(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "trim", 1, 2, {"chars"});
  const Value* set = given.at(1, "chars");
  if (set == nullptr || set->is_none())
    return run.made(strip(subject(run, given), std::nullopt, Side::kBoth));
  return run.made(
      strip(subject(run, given), text_of(run, *set, "trim").view(), Side::kBoth));
}

Value replace_filter(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "replace", 3, 4, {"old", "new", "count"});
  if (given.at(1, "old") == nullptr || given.at(2, "new") == nullptr)
    run.fail("gives replace too few arguments");
  const Text text = subject(run, given), from = str(run, *given.at(1, "old")),
             to = str(run, *given.at(2, "new"));
  const Value* most = given.at(3, "count");
  const auto times = static_cast<size_t>(count(text.view(), from.view()));
  run.charge(static_cast<int64_t>(times));
  run.check_text(text.size() + times * to.size());
  return run.made(replace(
      text, from.view(), to,
      most == nullptr || most->is_none() ? -1 : integer_of(run, *most, "replace")));
}

Value indent(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "indent", 1, 4, {"width", "first", "blank"});
  const Value *width = given.at(1, "width"), *first = given.at(2, "first"),
              *blank = given.at(3, "blank");
  Text by;
  if (width != nullptr && width->as_text() != nullptr) {
    by = *width->as_text();
  } else {
    const int64_t spaces = width == nullptr ? 4 : integer_of(run, *width, "indent");
    run.check_text(static_cast<size_t>(std::max<int64_t>(spaces, 0)));
    run.charge(std::max<int64_t>(spaces, 0) / 8);
    by = Text(std::string(static_cast<size_t>(std::max<int64_t>(spaces, 0)), ' '));
  }
  Text text = subject(run, given);
  text.append("\n", kOwn);  // as Jinja does, for the sake of a last empty line
  const std::vector<Text> lines = split_lines(text, false);
  run.check_text(text.size() + lines.size() * by.size());
  run.charge(static_cast<int64_t>(lines.size() + lines.size() * by.size() / 8));
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n", kOwn);
    const bool indented = i == 0
                              ? first != nullptr && truth(*first)
                              : (blank != nullptr && truth(*blank)) || !lines[i].empty();
    if (indented) out.append(by);
    out.append(lines[i]);
  }
  return run.made(std::move(out));
}

Value to_json(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "tojson", 1, 5,
                  {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  const auto flag = [&](size_t place, std::string_view name) {
    const Value* found = given.at(place, name);
    return found != nullptr && truth(*found);
  };
  style.ascii = flag(1, "ensure_ascii");
  style.sorts_keys = flag(4, "sort_keys");
  if (const Value* by = given.at(2, "indent"); by != nullptr && !by->is_none()) {
    style.indented = true;
    style.item_separator = ",";
    if (by->as_text() != nullptr) {
      style.indent = by->as_text()->bytes();
    } else {
      const int64_t spaces = integer_of(run, *by, "tojson");
      if (spaces > 1000) run.fail("indents JSON by more than 1000");
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(spaces, 0)), ' ');
    }
  }
  if (const Value* both = given.at(3, "separators");
      both != nullptr && !both->is_none()) {
    const std::vector<Value> parts = run.items_of(*both);
    if (parts.size() != 2) run.fail("gives tojson separators that are not two");
    style.item_separator = text_of(run, parts[0], "tojson").bytes();
    style.key_separator = text_of(run, parts[1], "tojson").bytes();
  }
  return run.made(json_text(run, given.values[0], style));
}

Value string(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "string", 1, 1, {});
  return run.made(str(run, given.values[0]));
}

// Its place in the grammar makes it the last thing that happens to an output.
Value safe(Interpreter& run, const Arguments& given) { return string(run, given); }

Value format_filter(Interpreter& run, const Arguments& given) {
  if (!given.named.empty())
    run.fail("gives format values by name, which is not implemented", kOtherTemplate);
  std::vector<Value> values(given.values.begin() + 1, given.values.end());
  return percent(run, subject(run, given), Value::tuple(std::move(values)));
}

// The whole of a text as Python's float() reads it, white space around it and all.
std::optional<double> double_in(const Text& text) {
  const std::string trimmed = text::strip(text.view());
  std::string_view digits = trimmed;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.starts_with("+") || digits.empty() ||
      digits.find_first_of("xXpP") != std::string_view::npos)
    return std::nullopt;
  double number = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (read.ptr != digits.data() + digits.size() || read.ec != std::errc{})
    return std::nullopt;
  return number;
}

std::optional<int64_t> integer_in(Interpreter& run, const Text& text, int64_t base) {
  std::string digits = text::strip(text.view());
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.erase(0, 1);
  const auto is_prefix = [&](char letter) {
    return digits.size() > 2 && digits[0] == '0' && (digits[1] | 0x20) == letter;
  };
  if ((base == 16 && is_prefix('x')) || (base == 8 && is_prefix('o')) ||
      (base == 2 && is_prefix('b')))
    digits.erase(0, 2);
  if (base < 2 || base > 36)
    run.fail("reads an integer of base " + std::to_string(base), kOtherTemplate);
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  int64_t number = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number,
                                    static_cast<int>(base));
  if (read.ptr != digits.data() + digits.size()) return std::nullopt;
  if (read.ec != std::errc{}) run.fail("reads an integer of more than 64 bits");
  return minus ? -number : number;
}

Value to_int(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "int", 1, 3, {"default", "base"});
  const Value* fallback = given.at(1, "default");
  const Value* base = given.at(2, "base");
  Value otherwise = fallback != nullptr ? *fallback : Value(int64_t{0});
  std::optional<double> number;
  if (const Text* text = given.values[0].as_text()) {
    const auto whole =
        integer_in(run, *text, base == nullptr ? 10 : integer_of(run, *base, "int"));
    if (whole) return *whole;
    number = double_in(*text);
  } else if (is_number(given.values[0])) {
    if (given.values[0].get<double>() == nullptr)
      return integer_of(run, given.values[0], "int");
    number = as_double(given.values[0]);
  } else if (given.values[0].is_undefined()) {
    run.fail("makes an integer of " + kind_of(given.values[0]));
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  if (std::abs(*number) >= 9.2e18) run.fail("makes an integer of more than 64 bits");
  return static_cast<int64_t>(*number);
}

Value to_float(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "float", 1, 2, {"default"});
  if (is_number(given.values[0])) return as_double(given.values[0]);
  if (given.values[0].is_undefined())
    run.fail("makes a number of " + kind_of(given.values[0]));
  if (const Text* text = given.values[0].as_text())
    if (const auto number = double_in(*text)) return *number;
  const Value* fallback = given.at(1, "default");
  return fallback != nullptr ? *fallback : Value(0.0);
}

Value absolute(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "abs", 1, 1, {});
  if (!is_number(given.values[0])) run.fail("takes abs of " + kind_of(given.values[0]));
  if (given.values[0].get<double>() != nullptr)
    return std::abs(as_double(given.values[0]));
  return as_double(given.values[0]) < 0 ? negative(run, given.values[0])
                                        : integer_of(run, given.values[0], "abs");
}

Value round_filter(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "round", 1, 3, {"precision", "method"});
  const Value *digits = given.at(1, "precision"), *how = given.at(2, "method");
  const int64_t precision = digits == nullptr ? 0 : integer_of(run, *digits, "round");
  const std::string method =
      how == nullptr ? "common" : text_of(run, *how, "round").bytes();
  if (!is_number(given.values[0])) run.fail("rounds " + kind_of(given.values[0]));
  if (method != "common" && method != "ceil" && method != "floor")
    run.fail("rounds by " + method);
  if (precision < 0 || precision > 15)
    run.fail(
        "rounds to " + std::to_string(precision) + " digits, which is not implemented",
        kOtherTemplate);
  const double number = as_double(given.values[0]);
  if (method == "common") {
    if (given.values[0].get<double>() == nullptr)
      return integer_of(run, given.values[0], "round");
    if (!std::isfinite(number)) return number;
    char buffer[400];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), number);
    double rounded = 0;
    std::from_chars(buffer, buffer + sizeof buffer, rounded);
    return rounded;
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return (method == "ceil" ? std::ceil(number * scale) : std::floor(number * scale)) /
         scale;
}

constexpr NamedFilter kFilters[] = {
    {"trim", trim},
    {"lower", change_filter<lower>},
    {"upper", change_filter<upper>},
    {"capitalize", change_filter<capitalize>},
    {"title", change_filter<jinja_title>},
    {"replace", replace_filter},
    {"indent", indent},
    {"tojson", to_json},
    {"string", string},
    {"safe", safe},
    {"format", format_filter},
    {"int", to_int},
    {"float", to_float},
    {"abs", absolute},
    {"round", round_filter},
};

}  // namespace

const NamedFilter* text_filters(size_t* count) {
  *count = std::size(kFilters);
  return kFilters;
}

}  // namespace lowmem::jinja
