#include "template/functions.h"

#include <locale.h>

#include <algorithm>
#include <ctime>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

constexpr std::string_view kFunctions[] = {"range", "dict", "namespace",
                                           "raise_exception", "strftime_now"};
// Jinja's own that are not implemented; known, so that an error names them.
constexpr std::string_view kRefused[] = {"lipsum", "cycler", "joiner"};

bool is_of(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value range(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "range()", 1, 3, {});
  int64_t numbers[3] = {0, 0, 1};
  const size_t count = given.values.size();
  for (size_t i = 0; i < count; ++i)
    numbers[count == 1 ? 1 : i] = integer_of(run, given.values[i], "range()");
  const auto [begin, end, step] = numbers;
  if (step == 0) run.fail("has a range of step 0");
  constexpr int64_t kMost = 100'000;  // as in Jinja's sandbox
  const __int128 span = step > 0 ? __int128{end} - begin : __int128{begin} - end;
  const __int128 size = step > 0 ? __int128{step} : -__int128{step};
  const __int128 items = span <= 0 ? 0 : (span + size - 1) / size;
  if (items > kMost)
    run.fail("has a range of more than " + std::to_string(kMost) + " numbers");
  return Range{begin, end, step, static_cast<int64_t>(items)};
}

std::vector<std::pair<Value, Value>> pairs_of(Interpreter& run, const Value& value,
                                              const std::string& what) {
  if (const Dict* dict = value.as_dict()) return dict->items;
  std::vector<std::pair<Value, Value>> pairs;
  for (const Value& each : run.items_of(value)) {
    const std::vector<Value> parts = run.items_of(each);
    if (parts.size() != 2) run.fail("gives " + what + " items that are no pairs");
    pairs.emplace_back(parts[0], parts[1]);
  }
  return pairs;
}

std::vector<std::pair<Value, Value>> dict_items(Interpreter& run, const Arguments& given,
                                                const std::string& what) {
  if (given.values.size() > 1) run.fail("gives " + what + " more than one argument");
  std::vector<std::pair<Value, Value>> items;
  const auto put = [&](const Value& key, const Value& value) {
    const auto same = [&](const auto& item) { return equal(run, item.first, key); };
    run.charge(1 + static_cast<int64_t>(items.size() / 8));
    const auto known = std::find_if(items.begin(), items.end(), same);
    if (known != items.end())
      known->second = value;
    else
      items.emplace_back(key, value);
  };
  if (!given.values.empty())
    for (const auto& [key, value] : pairs_of(run, given.values[0], what)) put(key, value);
  for (const auto& [name, value] : given.named) put(Value::text(name), value);
  return items;
}

Value make_namespace(Interpreter& run, const Arguments& given) {
  std::vector<std::pair<std::string, Value>> names;
  for (const auto& [key, value] : dict_items(run, given, "namespace()")) {
    if (key.as_text() == nullptr)
      run.fail("names a part of a namespace by " + kind_of(key));
    names.emplace_back(key.as_text()->bytes(), value);
  }
  return run.made_namespace(std::move(names));
}

// The caller's day at midnight, in the words of C's locale.
Value strftime_now(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "strftime_now()", 1, 1, {"format"});
  const Text& format = text_of(run, *given.at(0, "format"), "strftime_now()");
  const Date date = run.now();
  std::tm time = {};
  time.tm_year = date.year - 1900;
  time.tm_mon = date.month - 1;
  time.tm_mday = date.day;
  time.tm_isdst = 0;
  timegm(&time);  // fills in the days of the week and of the year
  if (format.empty()) return Text();
  constexpr size_t kLongest = 1000;
  if (format.size() > kLongest || format.bytes().find('\0') != std::string::npos)
    run.fail("has a date's format of more than 1000 bytes, or with a NUL byte");
  static const locale_t locale = newlocale(LC_ALL_MASK, "C", nullptr);
  std::string text(format.size() * 4 + 256, '\0');
  // A byte more than asked for tells an empty result from one that did not fit.
  const std::string marked = format.bytes() + ".";
  const size_t size = strftime_l(text.data(), text.size(), marked.c_str(), &time, locale);
  if (size == 0)
    run.fail("has a date of more than " + std::to_string(text.size()) + " bytes");
  text.resize(size - 1);
  if (!is_utf8(text)) run.fail("has a date that is no text");
  return run.made(Text(std::move(text)));
}

}  // namespace

const Value* Arguments::at(size_t place, std::string_view name) const {
  if (place < values.size()) return &values[place];
  for (const auto& [each, value] : named)
    if (each == name) return &value;
  return nullptr;
}

void check_arguments(Interpreter& run, const Arguments& given, const std::string& name,
                     size_t least, size_t most,
                     std::initializer_list<std::string_view> names) {
  for (const auto& [each, value] : given.named)
    if (!is_of(each, {names.begin(), names.size()}))
      run.fail("gives " + name + " the argument " + each + ", which is not known here",
               kOtherTemplate);
  const size_t count = given.values.size() + given.named.size();
  if (count < least || count > most)
    run.fail("gives " + name + " " + (count < least ? "too few" : "too many") +
             " arguments");
}

int64_t integer_of(Interpreter& run, const Value& value, const std::string& what) {
  if (const bool* flag = value.get<bool>()) return static_cast<int64_t>(*flag);
  const int64_t* number = value.get<int64_t>();
  if (number == nullptr)
    run.fail("gives " + what + " " + kind_of(value) + " for an integer");
  return *number;
}

const Text& text_of(Interpreter& run, const Value& value, const std::string& what) {
  if (value.as_text() == nullptr)
    run.fail("gives " + what + " " + kind_of(value) + " for a text");
  return *value.as_text();
}

Characters::Characters(std::string_view text) : size_(text.size()) {
  if (std::none_of(text.begin(), text.end(), [](char c) { return c < 0; })) return;
  for (size_t at = 0; at < text.size(); ++at)
    if ((text[at] & 0xC0) != 0x80) offsets_.push_back(at);
  offsets_.push_back(text.size());
}

int64_t Characters::at_offset(size_t offset) const {
  if (offsets_.empty()) return static_cast<int64_t>(offset);
  return std::lower_bound(offsets_.begin(), offsets_.end(), offset) - offsets_.begin();
}

bool has_function(std::string_view name) {
  return is_of(name, kFunctions) || is_of(name, kRefused);
}

Value call_function(Interpreter& run, std::string_view name, const Arguments& given) {
  if (name == "range") return range(run, given);
  if (name == "dict") return run.made_dict(dict_items(run, given, "dict()"));
  if (name == "namespace") return make_namespace(run, given);
  if (name == "strftime_now") return strftime_now(run, given);
  if (name == "raise_exception") {
    check_arguments(run, given, "raise_exception()", 1, 1, {"message"});
    run.fail("refuses the chat: " + str(run, *given.at(0, "message")).bytes(),
             "Change the row as it says, or choose another data.chat_template");
  }
  run.fail("calls " + std::string(name) + "(), which is not implemented", kOtherTemplate);
}

}  // namespace lowmem::jinja
