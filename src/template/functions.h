#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "template/tree.h"

// Filters, tests, methods and functions by name, and what they get.
namespace lowmem::jinja {

struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at this place or of this name; null where it is not given.
  const Value* at(size_t place, std::string_view name) const;
};

// null: there is none, or it is not implemented.
FilterFunction filter_named(std::string_view name);
TestFunction test_named(std::string_view name);

// A filter or test of another file of the same table.
struct NamedFilter {
  std::string_view name;
  FilterFunction function;
};
const NamedFilter* text_filters(size_t* count);
const NamedFilter* list_filters(size_t* count);

// Methods of texts, lists and dicts: `value.name(...)`. Undefined in `found` where there
// is none of this name.
bool has_method(const Value& value, std::string_view name);
Value call_method(Interpreter& run, const Value& value, const std::string& name,
                  const Arguments& given);
Value call_text_method(Interpreter& run, const Value& value, const std::string& name,
                       const Arguments& given);
bool has_text_method(std::string_view name);

// range, dict, namespace, raise_exception, strftime_now.
bool has_function(std::string_view name);
Value call_function(Interpreter& run, std::string_view name, const Arguments& given);

}  // namespace lowmem::jinja
