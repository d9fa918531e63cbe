// Filters over lists and dicts.
#include <algorithm>
#include <charconv>

#include "template/interpreter.h"
#include "template/text_operations.h"

namespace lowmem::jinja {
namespace {

using Kind = Sequence::Kind;

bool flag_at(const Arguments& given, size_t place, std::string_view name) {
  const Value* found = given.at(place, name);
  return found != nullptr && truth(*found);
}

// Without regard to case where it is a text.
Value folded(Interpreter& run, const Value& value, bool case_sensitive) {
  if (case_sensitive || value.as_text() == nullptr) return value;
  return run.made(lower(*value.as_text()));
}

// The attribute `path` of a value: names and numbers of items with points between them.
Value attribute_of(Interpreter& run, Value value, const Value& path) {
  if (path.get<int64_t>() != nullptr) return run.item(value, path);
  std::string_view rest = text_of(run, path, "a filter's attribute").view();
  while (true) {
    const size_t point = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, point));
    int64_t number = 0;
    const auto read = std::from_chars(part.data(), part.data() + part.size(), number);
    const bool is_number = !part.empty() && read.ec == std::errc{} &&
                           read.ptr == part.data() + part.size() && part[0] != '-';
    value = run.item(value, is_number ? Value(number) : Value::text(part));
    if (point == rest.size()) return value;
    rest.remove_prefix(point + 1);
  }
}

Value length(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "length", 1, 1, {});
  const Value& value = given.values[0];
  if (value.is_undefined()) return int64_t{0};
  if (const Text* text = value.as_text()) {
    run.charge(static_cast<int64_t>(text->size() / 32));
    return Characters(text->view()).count();
  }
  if (const Dict* dict = value.as_dict()) return static_cast<int64_t>(dict->items.size());
  if (const Range* range = value.get<Range>()) return range->count;
  if (const auto* loop = dynamic_cast<const Loop*>(value.as_object()))
    return static_cast<int64_t>(loop->items->items.size());
  const Sequence* sequence = value.as_sequence();
  if (sequence == nullptr || sequence->kind == Kind::kGenerator)
    run.fail("asks for the length of " + kind_of(value));
  return static_cast<int64_t>(sequence->items.size());
}

Value first(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "first", 1, 1, {});
  Sequence* sequence = given.values[0].as_sequence();
  if (sequence != nullptr && sequence->kind == Kind::kGenerator) {
    if (sequence->taken == sequence->items.size())
      return Value::undefined("the first item");
    return sequence->items[sequence->taken++];
  }
  const std::vector<Value> items = run.items_of(given.values[0]);
  return items.empty() ? Value::undefined("the first item") : items.front();
}

Value last(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "last", 1, 1, {});
  const Sequence* sequence = given.values[0].as_sequence();
  if (sequence != nullptr && sequence->kind == Kind::kGenerator)
    run.fail("asks for the last item of a generator");
  const std::vector<Value> items = run.items_of(given.values[0]);
  return items.empty() ? Value::undefined("the last item") : items.back();
}

Value join(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "join", 1, 3, {"d", "attribute"});
  const Value *between = given.at(1, "d"), *attribute = given.at(2, "attribute");
  const Text separator = between == nullptr ? Text() : str(run, *between);
  std::vector<Text> parts;
  size_t size = 0;
  for (const Value& item : run.items_of(given.values[0])) {
    parts.push_back(str(run, attribute == nullptr || attribute->is_none()
                                 ? item
                                 : attribute_of(run, item, *attribute)));
    run.check_text(size += parts.back().size() + separator.size());
    run.charge(1 + static_cast<int64_t>(parts.back().size() / 8));
  }
  return run.made(joined(parts, separator));
}

Value fallback(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "default", 1, 3, {"default_value", "boolean"});
  const Value& value = given.values[0];
  const bool absent =
      value.is_undefined() || (flag_at(given, 2, "boolean") && !truth(value));
  if (!absent) return value;
  const Value* other = given.at(1, "default_value");
  return other != nullptr ? *other : Value(Text());
}

Value list(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "list", 1, 1, {});
  return run.made_list(run.items_of(given.values[0]));
}

Value items(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "items", 1, 1, {});
  std::vector<Value> pairs;
  if (const Dict* dict = given.values[0].as_dict()) {
    for (const auto& [key, value] : dict->items)
      pairs.push_back(run.made(Kind::kTuple, {key, value}));
  } else if (!given.values[0].is_undefined()) {
    run.fail("asks for the items of " + kind_of(given.values[0]));
  }
  return run.made(Kind::kGenerator, std::move(pairs));
}

// Sorts by keys of which each is compared as often as merging asks.
void sort_by(Interpreter& run, std::vector<std::pair<Value, Value>>& keyed,
             bool backwards) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    run.charge(1);
    return backwards ? compare(run, b.first, a.first) < 0
                     : compare(run, a.first, b.first) < 0;
  });
}

Value dictsort(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "dictsort", 1, 4, {"case_sensitive", "by", "reverse"});
  const Dict* dict = given.values[0].as_dict();
  if (dict == nullptr) run.fail("sorts the items of " + kind_of(given.values[0]));
  const Value* by = given.at(2, "by");
  const std::string part = by == nullptr ? "key" : text_of(run, *by, "dictsort").bytes();
  if (part != "key" && part != "value") run.fail("sorts a dict by " + part);
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : dict->items)
    keyed.emplace_back(
        folded(run, part == "key" ? key : value, flag_at(given, 1, "case_sensitive")),
        run.made(Kind::kTuple, {key, value}));
  sort_by(run, keyed, flag_at(given, 3, "reverse"));
  std::vector<Value> sorted;
  for (auto& [key, pair] : keyed) sorted.push_back(std::move(pair));
  return run.made_list(std::move(sorted));
}

// Each item with what it is compared by.
std::vector<std::pair<Value, Value>> keyed_items(Interpreter& run, const Value& value,
                                                 bool case_sensitive,
                                                 const Value* attribute) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : run.items_of(value)) {
    Value key = attribute == nullptr || attribute->is_none()
                    ? item
                    : attribute_of(run, item, *attribute);
    keyed.emplace_back(folded(run, key, case_sensitive), std::move(item));
  }
  run.charge(8 * static_cast<int64_t>(keyed.size()));
  return keyed;
}

Value sort(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "sort", 1, 4, {"reverse", "case_sensitive", "attribute"});
  const Value* attribute = given.at(3, "attribute");
  if (attribute != nullptr && attribute->as_text() != nullptr &&
      attribute->as_text()->bytes().find(',') != std::string::npos)
    run.fail("sorts by several attributes, which is not implemented", kOtherTemplate);
  auto keyed =
      keyed_items(run, given.values[0], flag_at(given, 2, "case_sensitive"), attribute);
  sort_by(run, keyed, flag_at(given, 1, "reverse"));
  std::vector<Value> sorted;
  for (auto& [key, item] : keyed) sorted.push_back(std::move(item));
  return run.made_list(std::move(sorted));
}

Value unique(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "unique", 1, 3, {"case_sensitive", "attribute"});
  auto keyed = keyed_items(run, given.values[0], flag_at(given, 1, "case_sensitive"),
                           given.at(2, "attribute"));
  std::vector<Value> kept;
  for (size_t i = 0; i < keyed.size(); ++i) {
    run.charge(static_cast<int64_t>(i));
    if (keyed[i].first.as_dict() != nullptr || keyed[i].first.as_sequence() != nullptr)
      run.fail("looks for " + kind_of(keyed[i].first) +
               " among others, which has no hash");
    const auto before = keyed.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::none_of(keyed.begin(), before, [&](const auto& other) {
          return equal(run, other.first, keyed[i].first);
        }))
      kept.push_back(keyed[i].second);
  }
  return run.made(Kind::kGenerator, std::move(kept));
}

template <bool greatest>
Value extreme(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, greatest ? "max" : "min", 1, 3,
                  {"case_sensitive", "attribute"});
  const auto keyed =
      keyed_items(run, given.values[0], flag_at(given, 1, "case_sensitive"),
                  given.at(2, "attribute"));
  if (keyed.empty()) return Value::undefined("an item of an empty list");
  size_t best = 0;
  for (size_t i = 1; i < keyed.size(); ++i) {
    const int order = compare(run, keyed[i].first, keyed[best].first);
    if (greatest ? order > 0 : order < 0) best = i;
  }
  return keyed[best].second;
}

Value sum(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "sum", 1, 3, {"attribute", "start"});
  const Value *attribute = given.at(1, "attribute"), *start = given.at(2, "start");
  Value total = start == nullptr ? Value(int64_t{0}) : *start;
  if (total.as_text() != nullptr) run.fail("adds texts up");
  for (const Value& item : run.items_of(given.values[0]))
    total = arithmetic(run, "+", total,
                       attribute == nullptr || attribute->is_none()
                           ? item
                           : attribute_of(run, item, *attribute));
  return total;
}

Value reverse(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "reverse", 1, 1, {});
  std::vector<Value> all = run.items_of(given.values[0]);
  std::reverse(all.begin(), all.end());
  if (given.values[0].as_text() == nullptr)
    return run.made(Kind::kGenerator, std::move(all));
  Text out;
  for (const Value& character : all) out.append(*character.as_text());
  return run.made(std::move(out));
}

Value batch(Interpreter& run, const Arguments& given) {
  check_arguments(run, given, "batch", 2, 3, {"linecount", "fill_with"});
  const Value *size = given.at(1, "linecount"), *filling = given.at(2, "fill_with");
  if (size == nullptr) run.fail("gives batch no size");
  const int64_t most = integer_of(run, *size, "batch");
  if (most < 1) run.fail("makes batches of " + std::to_string(most));
  std::vector<Value> batches, part;
  const auto end_part = [&] {
    if (!part.empty()) batches.push_back(run.made_list(std::exchange(part, {})));
  };
  for (Value& item : run.items_of(given.values[0])) {
    if (static_cast<int64_t>(part.size()) == most) end_part();
    part.push_back(std::move(item));
  }
  if (filling != nullptr && !filling->is_none() && !part.empty())
    while (static_cast<int64_t>(part.size()) < most) {
      run.charge(4);
      part.push_back(*filling);
    }
  end_part();
  return run.made(Kind::kGenerator, std::move(batches));
}

Value map(Interpreter& run, const Arguments& given) {
  std::vector<Value> out;
  if (given.values.size() == 1) {
    check_arguments(run, given, "map", 2, 3, {"attribute", "default"});
    const Value *attribute = given.at(1, "attribute"), *other = given.at(2, "default");
    if (attribute == nullptr) run.fail("gives map neither a filter nor an attribute");
    for (const Value& item : run.items_of(given.values[0])) {
      Value found = attribute_of(run, item, *attribute);
      if (found.is_undefined() && other != nullptr) found = *other;
      out.push_back(std::move(found));
    }
    return run.made(Kind::kGenerator, std::move(out));
  }
  const std::string& name = text_of(run, given.values[1], "map").bytes();
  const FilterFunction filter = filter_named(name);
  if (filter == nullptr)
    run.fail("maps the filter " + name + ", which is not known here", kOtherTemplate);
  Arguments inner;
  inner.named = given.named;
  inner.values.assign(given.values.begin() + 1, given.values.end());
  const Interpreter::Deeper deeper(run);
  for (Value& item : run.items_of(given.values[0])) {
    inner.values[0] = std::move(item);
    run.charge(2);
    out.push_back(filter(run, inner));
  }
  return run.made(Kind::kGenerator, std::move(out));
}

// select, reject, selectattr, rejectattr.
template <bool keeps, bool by_attribute>
Value choose(Interpreter& run, const Arguments& given) {
  const size_t first_argument = by_attribute ? 2 : 1;
  if (given.values.size() < first_argument) run.fail("gives selectattr no attribute");
  TestFunction test = nullptr;
  Arguments inner;
  inner.named = given.named;
  if (given.values.size() > first_argument) {
    const std::string& name =
        text_of(run, given.values[first_argument], "select").bytes();
    test = test_named(name);
    if (test == nullptr)
      run.fail("selects by the test " + name + ", which is not known here",
               kOtherTemplate);
    inner.values.assign(
        given.values.begin() + static_cast<std::ptrdiff_t>(first_argument),
        given.values.end());
  } else {
    inner.values.resize(1);
  }
  std::vector<Value> out;
  for (Value& item : run.items_of(given.values[0])) {
    run.charge(2);
    inner.values[0] = by_attribute ? attribute_of(run, item, given.values[1]) : item;
    const bool holds = test != nullptr ? test(run, inner) : truth(inner.values[0]);
    if (holds == keeps) out.push_back(std::move(item));
  }
  return run.made(Kind::kGenerator, std::move(out));
}

constexpr NamedFilter kFilters[] = {
    {"length", length},
    {"count", length},
    {"first", first},
    {"last", last},
    {"join", join},
    {"default", fallback},
    {"d", fallback},
    {"list", list},
    {"items", items},
    {"dictsort", dictsort},
    {"sort", sort},
    {"unique", unique},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"sum", sum},
    {"reverse", reverse},
    {"batch", batch},
    {"map", map},
    {"select", choose<true, false>},
    {"reject", choose<false, false>},
    {"selectattr", choose<true, true>},
    {"rejectattr", choose<false, true>},
};

}  // namespace

const NamedFilter* list_filters(size_t* count) {
  *count = std::size(kFilters);
  return kFilters;
}

FilterFunction filter_named(std::string_view name) {
  for (const auto table : {text_filters, list_filters}) {
    size_t count = 0;
    const NamedFilter* all = table(&count);
    for (size_t i = 0; i < count; ++i)
      if (all[i].name == name) return all[i].function;
  }
  return nullptr;
}

}  // namespace lowmem::jinja
