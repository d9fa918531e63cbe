#include "tokenizer/json_field.h"

#include "lowmem/core/error.h"

namespace lowmem::tokenization {

const std::string& JsonField::string() const {
  if (!value_->is_string()) fail("is not a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("is not true or false");
  return value_->get<bool>();
}

int64_t JsonField::integer() const {
  if (!value_->is_number_integer()) fail("is not an integer");
  if (value_->is_number_unsigned() && value_->get<uint64_t>() > INT64_MAX)
    fail("is beyond 64 bits");
  return value_->get<int64_t>();
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_->is_array()) fail("is not a list");
  std::vector<JsonField> fields;
  for (size_t i = 0; i < value_->size(); ++i) {
    JsonField field(&(*value_)[i], where_ + "[" + std::to_string(i) + "]");
    field.root_ = false;
    fields.push_back(std::move(field));
  }
  return fields;
}

std::vector<std::pair<std::string, JsonField>> JsonField::members() const {
  if (!value_->is_object()) fail("is not an object");
  std::vector<std::pair<std::string, JsonField>> fields;
  for (const auto& [key, value] : value_->items()) fields.emplace_back(key, at(key));
  return fields;
}

JsonField JsonField::at(const std::string& key) const {
  if (!value_->is_object()) fail("is not an object");
  const auto found = value_->find(key);
  if (found == value_->end()) fail("has no \"" + key + "\"");
  JsonField field(&*found, path_of(key));
  field.root_ = false;
  return field;
}

std::optional<JsonField> JsonField::find(const std::string& key) const {
  if (!value_->is_object()) fail("is not an object");
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return at(key);
}

bool JsonField::boolean(const std::string& key, bool fallback) const {
  const auto field = find(key);
  return field ? field->boolean() : fallback;
}

void JsonField::fail(const std::string& problem) const {
  throw Error(where_, problem, kFetchAgain);
}

void JsonField::refuse(const std::string& what) const {
  throw Error(where_, what + " is not implemented", "Use another tokenizer file");
}

std::string JsonField::path_of(const std::string& step) const {
  return where_ + (root_ ? " " : ".") + step;
}

}  // namespace lowmem::tokenization
