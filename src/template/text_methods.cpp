#include <algorithm>
#include <unordered_map>

#include "lowmem/core/utf8.h"
#include "template/interpreter.h"
#include "template/python_text.h"
#include "template/text_operations.h"

namespace lowmem::jinja {
namespace {

struct Call {
  Interpreter& run;
  const Value& value;
  const Text& self;
  const std::string& name;
  const Arguments& given;

  void takes(size_t least, size_t most,
             std::initializer_list<std::string_view> names = {}) const {
    check_arguments(run, given, "." + name + "()", least, most, names);
  }
  const Text& text(size_t place, std::string_view argument = "") const {
    const Value* found = given.at(place, argument);
    if (found == nullptr) run.fail("gives ." + name + "() too few arguments");
    return text_of(run, *found, "." + name + "()");
  }
  int64_t integer(size_t place, std::string_view argument, int64_t fallback) const {
    const Value* found = given.at(place, argument);
    return found == nullptr ? fallback : integer_of(run, *found, "." + name + "()");
  }
  // None and an absent argument are one.
  const Value* optional(size_t place, std::string_view argument) const {
    const Value* found = given.at(place, argument);
    return found == nullptr || found->is_none() ? nullptr : found;
  }
};

using TextMethod = Value (*)(const Call&);

Value list_of(Interpreter& run, std::vector<Text> parts, Sequence::Kind kind) {
  std::vector<Value> items;
  for (Text& part : parts) items.push_back(run.made(std::move(part)));
  return run.made(kind, std::move(items));
}

template <Side side>
Value strip_method(const Call& call) {
  call.takes(0, 1);
  const Value* set = call.optional(0, "");
  if (set == nullptr) return call.run.made(strip(call.self, std::nullopt, side));
  return call.run.made(strip(call.self, call.text(0).view(), side));
}

template <Text (*change)(const Text&)>
Value change_method(const Call& call) {
  call.takes(0, 0);
  return call.run.made(change(call.self));
}

template <Side from>
Value split_method(const Call& call) {
  call.takes(0, 2, {"sep", "maxsplit"});
  const int64_t most = call.integer(1, "maxsplit", -1);
  if (call.optional(0, "sep") == nullptr)
    return list_of(call.run, split_at_space(call.self, most, from),
                   Sequence::Kind::kList);
  const Text& separator = call.text(0, "sep");
  if (separator.empty()) call.run.fail("splits a text at the empty text");
  call.run.charge(8 * count(call.self.view(), separator.view()));
  return list_of(call.run, split(call.self, separator.view(), most, from),
                 Sequence::Kind::kList);
}

Value splitlines(const Call& call) {
  call.takes(0, 1, {"keepends"});
  const Value* keeps = call.given.at(0, "keepends");
  return list_of(call.run, split_lines(call.self, keeps != nullptr && truth(*keeps)),
                 Sequence::Kind::kList);
}

template <bool at_end>
Value has_affix(const Call& call) {
  call.takes(1, 1);
  const auto has = [&](const Value& affix) {
    const std::string_view wanted =
        text_of(call.run, affix, "." + call.name + "()").view();
    return at_end ? call.self.view().ends_with(wanted)
                  : call.self.view().starts_with(wanted);
  };
  const Sequence* several =
      call.given.values.empty() ? nullptr : call.given.values[0].as_sequence();
  if (several == nullptr || several->kind != Sequence::Kind::kTuple)
    return has(call.given.values.at(0));
  return std::any_of(several->items.begin(), several->items.end(), has);
}

template <bool at_end>
Value remove_affix(const Call& call) {
  call.takes(1, 1);
  const std::string_view all = call.self.view(), affix = call.text(0).view();
  if (affix.empty() || !(at_end ? all.ends_with(affix) : all.starts_with(affix)))
    return call.value;
  return call.run.made(at_end ? call.self.part(0, all.size() - affix.size())
                              : call.self.part(affix.size(), all.size()));
}

// The part that find(), index() and count() look in, as bytes; nothing where it begins
// behind its end.
std::optional<std::pair<size_t, size_t>> searched(const Call& call,
                                                  const Characters& characters) {
  const int64_t size = characters.count();
  const auto bound = [&](size_t place, int64_t fallback) {
    const Value* given = call.optional(place, "");
    int64_t at = given == nullptr ? fallback
                                  : integer_of(call.run, *given, "." + call.name + "()");
    if (at < 0) at = std::max<int64_t>(0, at + size);
    return at;
  };
  const int64_t begin = bound(1, 0), end = std::min(bound(2, size), size);
  if (begin > end) return std::nullopt;
  return std::pair{characters.offset(begin), characters.offset(end)};
}

template <bool last, bool must>
Value find(const Call& call) {
  call.takes(1, 3);
  const std::string_view wanted = call.text(0).view();
  const Characters characters(call.self.view());
  if (const auto range = searched(call, characters)) {
    const std::string_view part =
        call.self.view().substr(range->first, range->second - range->first);
    const size_t found = last ? part.rfind(wanted) : part.find(wanted);
    if (found != std::string_view::npos)
      return characters.at_offset(range->first + found);
  }
  if (must) call.run.fail("asks for the place of what a text does not hold");
  return int64_t{-1};
}

Value count_method(const Call& call) {
  call.takes(1, 3);
  const Characters characters(call.self.view());
  const auto range = searched(call, characters);
  if (!range) return int64_t{0};
  return count(call.self.view().substr(range->first, range->second - range->first),
               call.text(0).view());
}

// Bytes that replacing makes, before they are made.
void check_replaced(Interpreter& run, const Text& text, const Text& from,
                    const Text& to) {
  const auto times = static_cast<size_t>(count(text.view(), from.view()));
  run.charge(static_cast<int64_t>(times));
  run.check_text(text.size() + times * to.size());
}

Value replace_method(const Call& call) {
  call.takes(2, 3, {"count"});
  check_replaced(call.run, call.self, call.text(0), call.text(1));
  return call.run.made(replace(call.self, call.text(0).view(), call.text(1),
                               call.integer(2, "count", -1)));
}

Value join_method(const Call& call) {
  call.takes(1, 1);
  std::vector<Text> parts;
  size_t size = 0;
  for (const Value& item : call.run.items_of(call.given.values.at(0))) {
    parts.push_back(text_of(call.run, item, ".join()"));
    call.run.check_text(size += parts.back().size() + call.self.size());
    call.run.charge(static_cast<int64_t>(parts.back().size() / 8));
  }
  return call.run.made(joined(parts, call.self));
}

template <bool last>
Value partition(const Call& call) {
  call.takes(1, 1);
  const Text& wanted = call.text(0);
  if (wanted.empty()) call.run.fail("splits a text at the empty text");
  const std::string_view all = call.self.view();
  const size_t found = last ? all.rfind(wanted.view()) : all.find(wanted.view());
  if (found == std::string_view::npos)
    return list_of(call.run,
                   last ? std::vector<Text>{Text(), Text(), call.self}
                        : std::vector<Text>{call.self, Text(), Text()},
                   Sequence::Kind::kTuple);
  return list_of(call.run,
                 {call.self.part(0, found), wanted,
                  call.self.part(found + wanted.size(), all.size())},
                 Sequence::Kind::kTuple);
}

template <Side to>
Value justify(const Call& call) {
  call.takes(1, 2);
  const Text fill = call.given.values.size() > 1 ? call.text(1) : Text(" ");
  if (Characters(fill.view()).count() != 1)
    call.run.fail("fills a text up with more than one character");
  const int64_t missing = call.integer(0, "", 0) - Characters(call.self.view()).count();
  if (missing <= 0) return call.value;
  call.run.check_text(call.self.size() + static_cast<size_t>(missing) * fill.size());
  call.run.charge(missing);
  // Python puts the odd one of center() to the left where the width is odd.
  const int64_t left = to == Side::kLeft ? 0
                       : to == Side::kRight
                           ? missing
                           : missing / 2 + (missing & call.integer(0, "", 0) & 1);
  Text out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(call.self);
  for (int64_t i = left; i < missing; ++i) out.append(fill);
  return call.run.made(std::move(out));
}

Value zfill(const Call& call) {
  call.takes(1, 1);
  const int64_t missing = call.integer(0, "", 0) - Characters(call.self.view()).count();
  if (missing <= 0) return call.value;
  call.run.check_text(call.self.size() + static_cast<size_t>(missing));
  const bool sign =
      !call.self.empty() && (call.self.bytes()[0] == '-' || call.self.bytes()[0] == '+');
  Text out = call.self.part(0, sign);
  out.append(std::string(static_cast<size_t>(missing), '0'), kOwn);
  out.append(call.self, sign, call.self.size());
  return call.run.made(std::move(out));
}

// Whether there are characters and all are of a class, which is known here for ASCII.
template <bool (*is)(char)>
Value all_are(const Call& call) {
  call.takes(0, 0);
  for (const char c : call.self.view()) {
    if (c < 0)
      call.run.fail("asks ." + call.name +
                        "() of a character beyond ASCII, which is not "
                        "implemented",
                    kOtherTemplate);
    if (!is(c)) return false;
  }
  return !call.self.empty();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_either(char c) { return is_digit(c) || is_letter(c); }

Value isspace(const Call& call) {
  call.takes(0, 0);
  return !call.self.empty() && strip(call.self, std::nullopt, Side::kBoth).empty();
}

template <bool upper>
Value is_case(const Call& call) {
  call.takes(0, 0);
  bool any = false;
  for (size_t at = 0; at < call.self.size();) {
    const auto character = utf8_at(call.self.view(), at);
    if (upper ? text::is_lower(character.code) : text::is_upper(character.code))
      return false;
    any = any || text::is_cased(character.code);
    at += character.size;
  }
  return any;
}

Value format_method(const Call& call) { return format(call.run, call.self, call.given); }

const std::unordered_map<std::string_view, TextMethod>& methods() {
  static const std::unordered_map<std::string_view, TextMethod> all = {
      {"strip", strip_method<Side::kBoth>},
      {"lstrip", strip_method<Side::kLeft>},
      {"rstrip", strip_method<Side::kRight>},
      {"lower", change_method<lower>},
      {"casefold", nullptr},
      {"upper", change_method<upper>},
      {"title", change_method<title>},
      {"capitalize", change_method<capitalize>},
      {"split", split_method<Side::kLeft>},
      {"rsplit", split_method<Side::kRight>},
      {"splitlines", splitlines},
      {"startswith", has_affix<false>},
      {"endswith", has_affix<true>},
      {"removeprefix", remove_affix<false>},
      {"removesuffix", remove_affix<true>},
      {"find", find<false, false>},
      {"rfind", find<true, false>},
      {"index", find<false, true>},
      {"rindex", find<true, true>},
      {"count", count_method},
      {"replace", replace_method},
      {"join", join_method},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"ljust", justify<Side::kLeft>},
      {"rjust", justify<Side::kRight>},
      {"center", justify<Side::kBoth>},
      {"zfill", zfill},
      {"isdigit", all_are<is_digit>},
      {"isdecimal", all_are<is_digit>},
      {"isnumeric", all_are<is_digit>},
      {"isalpha", all_are<is_letter>},
      {"isalnum", all_are<is_either>},
      {"isspace", isspace},
      {"isupper", is_case<true>},
      {"islower", is_case<false>},
      {"format", format_method},
      // Python's that are not implemented: known, so that an error names them.
      {"encode", nullptr},
      {"expandtabs", nullptr},
      {"format_map", nullptr},
      {"isascii", nullptr},
      {"isidentifier", nullptr},
      {"isprintable", nullptr},
      {"istitle", nullptr},
      {"maketrans", nullptr},
      {"swapcase", nullptr},
      {"translate", nullptr},
  };
  return all;
}

}  // namespace

bool has_text_method(std::string_view name) { return methods().contains(name); }

Value call_text_method(Interpreter& run, const Value& value, const std::string& name,
                       const Arguments& given) {
  const Text& self = *value.as_text();
  run.charge(1 + static_cast<int64_t>(self.size() / 16));
  const TextMethod method = methods().at(name);
  if (method == nullptr)
    run.fail("calls ." + name + "() of a text, which is not implemented", kOtherTemplate);
  return method(Call{run, value, self, name, given});
}

}  // namespace lowmem::jinja
