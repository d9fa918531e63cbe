#include "lowmem/template/value.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"

namespace lowmem::jinja {

Text::Text(std::string bytes, Source source) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), source});
}

void Text::append(std::string_view bytes, Source source) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (!runs_.empty() && runs_.back().source == source)
    runs_.back().end = bytes_.size();
  else
    runs_.push_back({bytes_.size(), source});
}

void Text::append(const Text& text, size_t begin, size_t end) {
  if (begin >= end) return;
  auto run = std::upper_bound(text.runs_.begin(), text.runs_.end(), begin,
                              [](size_t at, const Run& r) { return at < r.end; });
  while (begin < end) {
    const size_t stop = std::min(end, run->end);
    append(text.view().substr(begin, stop - begin), run->source);
    begin = stop;
    ++run;
  }
}

Text Text::part(size_t begin, size_t end) const {
  Text text;
  text.append(*this, begin, end);
  return text;
}

Source Text::source_at(size_t at) const {
  return std::upper_bound(runs_.begin(), runs_.end(), at,
                          [](size_t place, const Run& run) { return place < run.end; })
      ->source;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items)
    if (const Text* text = name.as_text(); text != nullptr && text->view() == key)
      return &value;
  return nullptr;
}

Value Value::sequence(Sequence::Kind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items)
    sequence->depth = std::max(sequence->depth, item.depth() + 1);
  sequence->items = std::move(items);
  return sequence;
}

int Value::depth() const {
  if (const Sequence* sequence = as_sequence()) return sequence->depth;
  if (const Dict* dict = as_dict()) return dict->depth;
  if (const Object* object = as_object()) return object->depth();
  return 0;
}

Value Value::list(std::vector<Value> items) {
  return sequence(Sequence::Kind::kList, std::move(items));
}

Value Value::tuple(std::vector<Value> items) {
  return sequence(Sequence::Kind::kTuple, std::move(items));
}

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, item] : items)
    dict->depth = std::max({dict->depth, key.depth() + 1, item.depth() + 1});
  dict->items = std::move(items);
  return std::shared_ptr<const Dict>(std::move(dict));
}

Value Value::dict(std::vector<std::pair<std::string, Value>> items) {
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(items.size());
  for (std::pair<std::string, Value>& item : items)
    entries.emplace_back(text(std::move(item.first)), std::move(item.second));
  return dict(std::move(entries));
}

Value Value::undefined(std::string what) {
  Value value;
  value.held_ = Undefined{std::move(what)};
  return value;
}

Value Value::of(const nlohmann::ordered_json& json, Source source) {
  using Type = nlohmann::json::value_t;
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_unsigned:
      if (json.get<uint64_t>() <= INT64_MAX) return json.get<int64_t>();
      throw Error("the number " + json.dump(), "has more than 64 bits",
                  "Write it as a text");
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return text(to_utf8(json.get_ref<const std::string&>()), source);
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(of(item, source));
      return list(std::move(items));
    }
    case Type::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, item] : json.items())
        items.emplace_back(text(to_utf8(key), source), of(item, source));
      return dict(std::move(items));
    }
    case Type::null:
    case Type::binary:
    case Type::discarded:
      break;
  }
  return {};
}

}  // namespace lowmem::jinja
