// Texts with places to fill: "%s of %d" % values, and "{} of {name}".format(values).
#include <algorithm>
#include <cmath>

#include "template/interpreter.h"

namespace lowmem::jinja {
namespace {

// %[flags][width][.precision]conversion, as far as it is implemented.
struct Place {
  bool left = false, zeros = false, plus = false;
  int width = 0, precision = -1;
  char conversion = 0;
};

Text number_text(Interpreter& run, const Place& place, const Value& value) {
  if (!is_number(value))
    run.fail(std::string("gives %") + place.conversion + " " + kind_of(value));
  std::string text;
  if (place.conversion == 'd' || place.conversion == 'i' || place.conversion == 'x') {
    if (value.get<double>() != nullptr && place.conversion == 'x')
      run.fail("gives %x a number with a point");
    const double number = as_double(value);
    if (std::abs(number) >= 9.2e18) run.fail("gives %d a number of more than 64 bits");
    const int64_t* integer = value.get<int64_t>();
    const int64_t whole = integer != nullptr ? *integer : static_cast<int64_t>(number);
    if (place.conversion == 'x') {
      char buffer[24];
      std::snprintf(buffer, sizeof buffer, "%s%llx", whole < 0 ? "-" : "",
                    static_cast<unsigned long long>(whole < 0 ? -whole : whole));
      text = buffer;
    } else {
      text = std::to_string(whole);
    }
    if (place.precision >= 0) run.fail("has a precision for an integer", kOtherTemplate);
  } else {
    char buffer[400];
    const int precision = place.precision < 0 ? 6 : std::min(place.precision, 60);
    const std::string format = std::string("%.*") + place.conversion;
    std::snprintf(buffer, sizeof buffer, format.c_str(), precision, as_double(value));
    text = buffer;
  }
  if (place.plus && text[0] != '-') text.insert(0, 1, '+');
  if (place.zeros && !place.left && static_cast<int>(text.size()) < place.width)
    text.insert(text[0] == '-' || text[0] == '+' ? 1 : 0,
                static_cast<size_t>(place.width) - text.size(), '0');
  return Text(std::move(text));
}

Text filled(Interpreter& run, const Place& place, const Value& value) {
  Text text;
  if (place.conversion == 's' || place.conversion == 'r') {
    text = place.conversion == 's' ? str(run, value) : repr(run, value);
    if (place.precision >= 0) {
      const Characters characters(text.view());
      text = text.part(
          0, characters.offset(std::min<int64_t>(place.precision, characters.count())));
    }
  } else {
    text = number_text(run, place, value);
  }
  const int64_t missing = place.width - Characters(text.view()).count();
  if (missing <= 0) return text;
  const std::string spaces(static_cast<size_t>(missing), ' ');
  if (place.left) {
    text.append(spaces, kOwn);
    return text;
  }
  Text out(spaces);
  out.append(text);
  return out;
}

}  // namespace

Value percent(Interpreter& run, const Text& format, const Value& values) {
  const Sequence* tuple = values.as_sequence();
  const bool several = tuple != nullptr && tuple->kind == Sequence::Kind::kTuple;
  const std::vector<Value> all = several ? tuple->items : std::vector<Value>{values};
  const std::string_view text = format.view();
  Text out;
  size_t used = 0, at = 0;
  while (true) {
    const size_t sign = text.find('%', at);
    if (sign == std::string_view::npos) break;
    out.append(format, at, sign);
    at = sign + 1;
    Place place;
    const auto next = [&] {
      if (at >= text.size()) run.fail("has a % at a format's end");
      return text[at];
    };
    for (bool flag = true; flag;) {
      const char c = next();
      if (c == '-')
        place.left = true;
      else if (c == '0')
        place.zeros = true;
      else if (c == '+')
        place.plus = true;
      else
        flag = false;
      at += flag;
    }
    const auto number = [&] {
      int value = 0;
      while (next() >= '0' && next() <= '9') {
        value = value * 10 + (text[at++] - '0');
        if (value > 10'000) run.fail("has a width of more than 10000", kOtherTemplate);
      }
      return value;
    };
    place.width = number();
    if (next() == '.') {
      ++at;
      place.precision = number();
    }
    place.conversion = next();
    ++at;
    if (place.conversion == '%') {
      out.append("%", kOwn);
      continue;
    }
    if (std::string_view("srdixfFeg").find(place.conversion) == std::string_view::npos)
      run.fail(std::string("has %") + place.conversion +
                   " in a format, which is not implemented",
               kOtherTemplate);
    if (used >= all.size()) run.fail("has more places in a format than values");
    out.append(filled(run, place, all[used++]));
    run.check_text(out.size());
    run.charge(1 + place.width / 8);
  }
  out.append(format, at, format.size());
  if (used < all.size() && (several || values.as_dict() == nullptr))
    run.fail("has more values than places in a format");
  return run.made(std::move(out));
}

Value format(Interpreter& run, const Text& format, const Arguments& given) {
  const std::string_view text = format.view();
  Text out;
  size_t automatic = 0, at = 0;
  while (at < text.size()) {
    const size_t brace = text.find_first_of("{}", at);
    out.append(format, at, std::min(brace, text.size()));
    if (brace == std::string_view::npos) break;
    if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
      out.append(format, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t end = text.find('}', brace);
    if (text[brace] == '}' || end == std::string_view::npos)
      run.fail("has a single brace in a format");
    const std::string name(text.substr(brace + 1, end - brace - 1));
    if (name.find_first_of("{:!.[") != std::string::npos)
      run.fail("has {" + name + "} in a format, which is not implemented",
               kOtherTemplate);
    const bool is_number = !name.empty() && name.size() < 4 &&
                           name.find_first_not_of("0123456789") == std::string::npos;
    const Value* value = name.empty() || is_number
                             ? given.at(is_number ? std::stoul(name) : automatic++, "")
                             : given.at(given.values.size(), name);
    if (value == nullptr) run.fail("has no value for {" + name + "} of a format");
    out.append(str(run, *value));
    run.check_text(out.size());
    run.charge(1);
    at = end + 1;
  }
  return run.made(std::move(out));
}

}  // namespace lowmem::jinja
