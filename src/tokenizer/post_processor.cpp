#include "tokenizer/post_processor.h"

#include "tokenizer/normalizer.h"
#include "tokenizer/vocabulary.h"

namespace lowmem::tokenization {
namespace {

std::optional<LeadingToken> read_template(const JsonField& field) {
  const JsonField single = field.at("single");
  std::optional<LeadingToken> leading;
  for (const JsonField& step : single.elements()) {
    const auto special = step.find("SpecialToken");
    if (!special) break;
    if (leading) single.refuse("more than one token before the text");
    const std::string& name = special->at("id").string();
    const JsonField ids = field.at("special_tokens").at(name).at("ids");
    const auto elements = ids.elements();
    if (elements.size() != 1) ids.refuse("a special token of other than one id");
    leading = {checked_id(elements[0].integer(), elements[0].where()), single.where()};
  }
  return leading;
}

std::optional<LeadingToken> read(const JsonField& field, int depth) {
  const std::string& type = field.at("type").string();
  if (type == "ByteLevel") return std::nullopt;
  if (type == "TemplateProcessing") return read_template(field);
  if (type != "Sequence") field.refuse("the post-processor " + type);
  if (depth == kDeepestSequence) field.refuse("a sequence so deep");
  std::optional<LeadingToken> leading;
  for (const JsonField& step : field.at("processors").elements()) {
    const auto found = read(step, depth + 1);
    if (found && leading) field.refuse("more than one token before the text");
    if (found) leading = found;
  }
  return leading;
}

}  // namespace

std::optional<LeadingToken> leading_token(const JsonField& field) {
  return read(field, 0);
}

}  // namespace lowmem::tokenization
