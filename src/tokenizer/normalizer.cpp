#include "tokenizer/normalizer.h"

#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "tokenizer/nfc.h"

namespace lowmem::tokenization {
namespace {

size_t count_of(std::string_view text, std::string_view pattern) {
  size_t count = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, at + pattern.size()))
    ++count;
  return count;
}

}  // namespace

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

Normalizer::Normalizer(const JsonField& field) : where_(field.where()) { read(field, 0); }

void Normalizer::read(const JsonField& field, int depth) {
  const std::string& type = field.at("type").string();
  if (steps_.size() >= kMostSteps) field.refuse("a sequence so long");
  if (type == "Prepend") {
    steps_.push_back({Step::Kind::kPrepend, "", field.at("prepend").string()});
  } else if (type == "Replace") {
    steps_.push_back(
        {Step::Kind::kReplace, read_plain_pattern(field), field.at("content").string()});
  } else if (type == "NFC") {
    steps_.push_back({Step::Kind::kNfc});
  } else if (type == "Sequence") {
    if (depth == kDeepestSequence) field.refuse("a sequence so deep");
    for (const JsonField& step : field.at("normalizers").elements())
      read(step, depth + 1);
  } else {
    field.refuse("the normalizer " + type);
  }
}

std::string Normalizer::applied(const Step& step, const std::string& text,
                                size_t longest) const {
  if (step.kind == Step::Kind::kNfc) return to_nfc(text, where_);
  const bool replaces = step.kind == Step::Kind::kReplace;
  const size_t times = replaces ? count_of(text, step.pattern) : 1;
  if (text.size() + times * step.content.size() > longest)
    throw Error(
        where_,
        "makes more than " + format_bytes(static_cast<int64_t>(longest)) + " of a text",
        kFetchAgain);
  if (replaces) return replace_all(text, step.pattern, step.content);
  return text.empty() ? text : step.content + text;
}

std::string Normalizer::operator()(std::string_view text, bool prepends) const {
  const size_t longest = kMiB + 16 * text.size();
  std::string result(text);
  for (const Step& step : steps_)
    if (prepends || step.kind != Step::Kind::kPrepend)
      result = applied(step, result, longest);
  return result;
}

}  // namespace lowmem::tokenization
