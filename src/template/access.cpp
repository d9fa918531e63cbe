// What is inside a value: its items, attributes and subscripts.
#include <algorithm>
#include <array>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

Value loop_attribute(const Loop& loop, const std::string& name) {
  const auto& items = loop.items->items;
  const auto count = static_cast<int64_t>(items.size());
  const auto neighbour = [&](int64_t at) {
    return at >= 0 && at < count ? items[static_cast<size_t>(at)]
                                 : Value::undefined("loop." + name);
  };
  if (name == "index") return loop.index + 1;
  if (name == "index0") return loop.index;
  if (name == "first") return loop.index == 0;
  if (name == "last") return loop.index + 1 == count;
  if (name == "length") return count;
  if (name == "revindex") return count - loop.index;
  if (name == "revindex0") return count - loop.index - 1;
  if (name == "depth") return int64_t{1};  // of recursive loops
  if (name == "depth0") return int64_t{0};
  if (name == "previtem") return neighbour(loop.index - 1);
  if (name == "nextitem") return neighbour(loop.index + 1);
  return Value::undefined("loop." + name);
}

Value macro_attribute(const Macro& macro, const std::string& name) {
  if (name == "name") return Value::text(macro.name);
  return Value::undefined(macro.name + "." + name);
}

}  // namespace

std::vector<Value> Interpreter::items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (Sequence* sequence = value.as_sequence()) {
    charge(static_cast<int64_t>(sequence->items.size()));
    if (sequence->kind != Sequence::Kind::kGenerator) return sequence->items;
    const size_t taken = std::exchange(sequence->taken, sequence->items.size());
    return {sequence->items.begin() + static_cast<std::ptrdiff_t>(taken),
            sequence->items.end()};
  }
  std::vector<Value> items;
  if (const Text* text = value.as_text()) {
    for (size_t at = 0; at < text->size();) {
      const size_t end = at + utf8_at(text->view(), at).size;
      charge(8);
      items.emplace_back(text->part(at, end));
      at = end;
    }
  } else if (const Dict* dict = value.as_dict()) {
    charge(static_cast<int64_t>(dict->items.size()));
    for (const auto& [key, item] : dict->items) items.push_back(key);
  } else if (const Range* range = value.get<Range>()) {
    charge(range->count);
    for (int64_t i = 0; i < range->count; ++i)
      items.emplace_back(range->begin + i * range->step);
  } else {
    fail("goes through " + kind_of(value) + " as through a list");
  }
  return items;
}

Value Interpreter::attribute(const Value& value, const std::string& name) {
  if (const auto* missing = value.get<Undefined>())
    fail("asks for " + name + " of " + missing->what + ", which is undefined");
  if (has_method(value, name)) {
    charge(8);
    return std::shared_ptr<const Object>(std::make_shared<const Method>(value, name));
  }
  if (const Dict* dict = value.as_dict()) {
    charge(static_cast<int64_t>(dict->items.size() / 8));
    if (const Value* item = dict->find(name)) return *item;
  } else if (const Namespace* names = value.as_namespace()) {
    for (const auto& [each, item] : names->items)
      if (each == name) return item;
  } else if (const auto* loop = dynamic_cast<const Loop*>(value.as_object())) {
    return loop_attribute(*loop, name);
  } else if (const auto* macro = dynamic_cast<const Macro*>(value.as_object())) {
    return macro_attribute(*macro, name);
  }
  return Value::undefined(name);
}

Value Interpreter::item(const Value& value, const Value& key) {
  if (const auto* missing = value.get<Undefined>())
    fail("asks for an item of " + missing->what + ", which is undefined");
  const Text* name = key.as_text();
  if (const Dict* dict = value.as_dict()) {
    charge(static_cast<int64_t>(dict->items.size() / 8));
    for (const auto& [each, item] : dict->items)
      if (equal(*this, each, key)) return item;
  }
  const bool flag = key.get<bool>() != nullptr;
  if (flag || key.get<int64_t>() != nullptr) {
    const int64_t at =
        flag ? static_cast<int64_t>(*key.get<bool>()) : *key.get<int64_t>();
    const auto place = [&](int64_t count) -> int64_t {
      return at < -count || at >= count ? -1 : at < 0 ? at + count : at;
    };
    const Sequence* sequence = value.as_sequence();
    if (sequence != nullptr && (sequence->kind == Sequence::Kind::kList ||
                                sequence->kind == Sequence::Kind::kTuple)) {
      const int64_t found = place(static_cast<int64_t>(sequence->items.size()));
      if (found >= 0) return sequence->items[static_cast<size_t>(found)];
    } else if (const Text* text = value.as_text()) {
      charge(static_cast<int64_t>(text->size() / 8));
      const Characters characters(text->view());
      const int64_t found = place(characters.count());
      if (found >= 0)
        return made(text->part(characters.offset(found), characters.offset(found + 1)));
    } else if (const Range* range = value.get<Range>()) {
      const int64_t found = place(range->count);
      if (found >= 0) return range->begin + found * range->step;
    }
    return Value::undefined("item " + std::to_string(at) + " of " + kind_of(value));
  }
  if (name == nullptr) return Value::undefined("an item of " + kind_of(value));
  if (value.as_dict() != nullptr && !has_method(value, name->bytes()))
    return Value::undefined(name->bytes());
  return attribute(value, name->bytes());
}

}  // namespace lowmem::jinja
