#include "tokenizer/normalizer.h"

namespace lowmem::tokenization {

std::string replace_all(std::string_view text, std::string_view pattern,
                        std::string_view content) {
  std::string result;
  result.reserve(text.size());
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, done)) {
    result.append(text, done, at - done);
    result += content;
    done = at + pattern.size();
  }
  result.append(text, done);
  return result;
}

std::string read_plain_pattern(const JsonField& step) {
  const JsonField pattern = step.at("pattern");
  const auto plain = pattern.find("String");
  if (!plain) pattern.refuse("a pattern other than a String");
  if (plain->string().empty()) plain->fail("is empty");
  return plain->string();
}

Normalizer::Normalizer(const JsonField& field) { read(field, 0); }

void Normalizer::read(const JsonField& field, int depth) {
  const std::string& type = field.at("type").string();
  if (type == "Prepend") {
    steps_.push_back({"", field.at("prepend").string()});
  } else if (type == "Replace") {
    steps_.push_back({read_plain_pattern(field), field.at("content").string()});
  } else if (type == "Sequence") {
    if (depth == kDeepestSequence) field.refuse("a sequence so deep");
    for (const JsonField& step : field.at("normalizers").elements())
      read(step, depth + 1);
  } else {
    field.refuse("the normalizer " + type);
  }
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result(text);
  for (const Step& step : steps_) {
    if (!step.pattern.empty())
      result = replace_all(result, step.pattern, step.content);
    else if (!result.empty())
      result = step.content + result;
  }
  return result;
}

}  // namespace lowmem::tokenization
