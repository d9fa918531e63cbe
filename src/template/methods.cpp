// Methods of lists, dicts and loops. Those that change a value are refused, as Jinja's
// immutable sandbox does.
#include <algorithm>

#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

bool is_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_list(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  return sequence != nullptr && sequence->kind == Sequence::Kind::kList;
}

bool is_tuple(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  return sequence != nullptr && sequence->kind == Sequence::Kind::kTuple;
}

bool changes(const Value& value, std::string_view name) {
  if (is_list(value))
    return is_of(name, {"append", "extend", "insert", "pop", "remove", "clear", "reverse",
                        "sort"});
  return value.as_dict() != nullptr &&
         is_of(name, {"pop", "popitem", "setdefault", "update", "clear"});
}

Value dict_method(Interpreter& run, const Dict& dict, const Value& self,
                  const std::string& name, const Arguments& given) {
  const std::string what = "dict." + name + "()";
  if (name == "get") {
    check_arguments(run, given, what, 1, 2, {"default"});
    run.charge(static_cast<int64_t>(dict.items.size() / 8));
    for (const auto& [key, value] : dict.items)
      if (equal(run, key, given.values.at(0))) return value;
    const Value* fallback = given.at(1, "default");
    return fallback != nullptr ? *fallback : Value();
  }
  check_arguments(run, given, what, 0, 0, {});
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items)
    items.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : run.made(Sequence::Kind::kTuple, {key, value}));
  return run.made(name == "keys"     ? Sequence::Kind::kKeys
                  : name == "values" ? Sequence::Kind::kValues
                                     : Sequence::Kind::kItems,
                  std::move(items));
}

Value list_method(Interpreter& run, const Value& self, const std::string& name,
                  const Arguments& given) {
  check_arguments(run, given, "list." + name + "()", name == "copy" ? 0 : 1,
                  name == "copy" ? 0 : 1, {});
  if (name == "copy") return self;
  const auto& items = self.as_sequence()->items;
  run.charge(static_cast<int64_t>(items.size()));
  const auto same = [&](const Value& item) { return equal(run, item, given.values[0]); };
  if (name == "count") return int64_t{std::count_if(items.begin(), items.end(), same)};
  const auto found = std::find_if(items.begin(), items.end(), same);
  if (found == items.end()) run.fail("asks for the place of what a list does not hold");
  return int64_t{found - items.begin()};
}

Value loop_method(Interpreter& run, const Loop& loop, const std::string& name,
                  const Arguments& given) {
  if (name != "cycle")
    run.fail("calls loop." + name + "(), which is not implemented", kOtherTemplate);
  if (given.values.empty()) run.fail("gives loop.cycle() nothing");
  return given.values[static_cast<size_t>(loop.index) % given.values.size()];
}

}  // namespace

bool has_method(const Value& value, std::string_view name) {
  if (value.as_text() != nullptr) return has_text_method(name);
  if (value.as_dict() != nullptr)
    return is_of(name, {"get", "items", "keys", "values", "copy"}) ||
           changes(value, name);
  if (is_list(value))
    return is_of(name, {"index", "count", "copy"}) || changes(value, name);
  if (is_tuple(value)) return is_of(name, {"index", "count"});
  return dynamic_cast<const Loop*>(value.as_object()) != nullptr &&
         is_of(name, {"cycle", "changed"});
}

Value call_method(Interpreter& run, const Value& value, const std::string& name,
                  const Arguments& given) {
  if (value.as_text() != nullptr) return call_text_method(run, value, name, given);
  if (changes(value, name))
    run.fail("changes " + kind_of(value) + " by ." + name +
                 "(), which Jinja's sandbox refuses",
             kOtherTemplate);
  if (const Dict* dict = value.as_dict())
    return dict_method(run, *dict, value, name, given);
  if (value.as_sequence() != nullptr) return list_method(run, value, name, given);
  return loop_method(run, dynamic_cast<const Loop&>(*value.as_object()), name, given);
}

}  // namespace lowmem::jinja
