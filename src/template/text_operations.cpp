#include "template/text_operations.h"

#include <algorithm>
#include <string>

#include "lowmem/core/utf8.h"
#include "template/python_text.h"

namespace lowmem::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

std::u32string characters_of(std::string_view text) {
  std::u32string all;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text, at);
    all += character.code;
    at += character.size;
  }
  return all;
}

// Bytes of a line's end at this place, as splitlines() has them; 0 where none is.
size_t line_end(std::string_view text, size_t at) {
  const auto [code, size] = utf8_at(text, at);
  if (code == '\r') return at + 1 < text.size() && text[at + 1] == '\n' ? 2 : 1;
  const bool ends = (code >= '\n' && code <= '\f') || (code >= 0x1C && code <= 0x1E) ||
                    code == 0x85 || code == 0x2028 || code == 0x2029;
  return ends ? size : 0;
}

}  // namespace

template <class Append>
Text mapped(const Text& text, const Append& append) {
  Text out;
  size_t at = 0;
  for (const Text::Run& run : text.runs()) {
    std::string part;
    while (at < run.end) {
      const auto character = utf8_at(text.view(), at);
      append(part, character.code, at, at + character.size);
      at += character.size;
    }
    out.append(part, run.source);
  }
  return out;
}

Text strip(const Text& text, std::optional<std::string_view> characters, Side side) {
  const std::u32string set = characters ? characters_of(*characters) : std::u32string();
  const auto goes = [&](char32_t c) {
    return characters ? set.find(c) != std::u32string::npos : text::is_space(c);
  };
  size_t begin = 0, end = text.size();
  while (side != Side::kRight && begin < end) {
    const auto character = utf8_at(text.view(), begin);
    if (!goes(character.code)) break;
    begin += character.size;
  }
  while (side != Side::kLeft && begin < end) {
    const auto character = utf8_before(text.view(), end);
    if (!goes(character.code)) break;
    end -= character.size;
  }
  return text.part(begin, end);
}

Text lower(const Text& text) {
  return mapped(text, [&](std::string& out, char32_t, size_t begin, size_t end) {
    text::append_lower(out, text.view(), begin, end);
  });
}

Text upper(const Text& text) {
  return mapped(text, [](std::string& out, char32_t code, size_t, size_t) {
    text::append_upper(out, code);
  });
}

Text capitalize(const Text& text) {
  return mapped(text, [&](std::string& out, char32_t code, size_t begin, size_t end) {
    if (begin == 0)
      text::append_title(out, code);
    else
      text::append_lower(out, text.view(), begin, end);
  });
}

Text title(const Text& text) {
  bool in_word = false;
  return mapped(text, [&](std::string& out, char32_t code, size_t begin, size_t end) {
    if (in_word)
      text::append_lower(out, text.view(), begin, end);
    else
      text::append_title(out, code);
    in_word = text::is_cased(code);
  });
}

Text jinja_title(const Text& text) {
  bool in_word = false;
  size_t word = 0;
  return mapped(text, [&](std::string& out, char32_t code, size_t begin, size_t end) {
    const bool separates = code == '-' || code == '(' || code == '{' || code == '[' ||
                           code == '<' || text::is_space(code);
    if (!in_word) word = begin;
    if (!separates && !in_word)
      text::append_upper(out, code);
    else  // a word is lowered by itself: its end is the text's
      text::append_lower(out, text.view().substr(word), begin - word, end - word);
    in_word = !separates;
  });
}

Text replace(const Text& text, std::string_view from, const Text& to, int64_t most) {
  Text out;
  size_t done = 0;
  if (from.empty()) {
    for (size_t at = 0; most != 0; --most) {
      out.append(to);
      if (at == text.size()) return out;
      const size_t end = at + utf8_at(text.view(), at).size;
      out.append(text, at, end);
      done = at = end;
    }
  } else {
    for (; most != 0; --most) {
      const size_t found = text.view().find(from, done);
      if (found == kNone) break;
      out.append(text, done, found);
      out.append(to);
      done = found + from.size();
    }
  }
  out.append(text, done, text.size());
  return out;
}

std::vector<Text> split(const Text& text, std::string_view separator, int64_t most,
                        Side from) {
  std::vector<Text> parts;
  if (from == Side::kLeft) {
    size_t done = 0;
    for (; most != 0; --most) {
      const size_t found = text.view().find(separator, done);
      if (found == kNone) break;
      parts.push_back(text.part(done, found));
      done = found + separator.size();
    }
    parts.push_back(text.part(done, text.size()));
    return parts;
  }
  size_t end = text.size();
  for (; most != 0 && end >= separator.size(); --most) {
    const size_t found = text.view().rfind(separator, end - separator.size());
    if (found == kNone) break;
    parts.push_back(text.part(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.part(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> split_at_space(const Text& text, int64_t most, Side from) {
  std::vector<Text> parts;
  Text rest = strip(text, std::nullopt, from);
  if (from == Side::kLeft) {
    size_t at = 0;
    const std::string_view all = rest.view();
    const auto skip = [&](bool space) {
      while (at < all.size()) {
        const auto character = utf8_at(all, at);
        if (text::is_space(character.code) != space) break;
        at += character.size;
      }
    };
    while (at < all.size()) {
      const size_t begin = at;
      if (most-- == 0) {
        parts.push_back(rest.part(begin, rest.size()));
        break;
      }
      skip(false);
      parts.push_back(rest.part(begin, at));
      skip(true);
    }
    return parts;
  }
  size_t end = rest.size();
  const auto back = [&](bool space) {
    while (end > 0) {
      const auto character = utf8_before(rest.view(), end);
      if (text::is_space(character.code) != space) break;
      end -= character.size;
    }
  };
  while (end > 0) {
    const size_t stop = end;
    if (most-- == 0) {
      parts.push_back(rest.part(0, stop));
      break;
    }
    back(false);
    parts.push_back(rest.part(end, stop));
    back(true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> split_lines(const Text& text, bool keeps_ends) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = line_end(text.view(), at);
    if (end == 0) {
      at += utf8_at(text.view(), at).size;
      continue;
    }
    lines.push_back(text.part(begin, keeps_ends ? at + end : at));
    begin = at += end;
  }
  if (begin < text.size()) lines.push_back(text.part(begin, text.size()));
  return lines;
}

Text joined(const std::vector<Text>& parts, const Text& between) {
  Text out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(between);
    out.append(parts[i]);
  }
  return out;
}

int64_t count(std::string_view text, std::string_view part) {
  if (part.empty()) return text::length(text) + 1;
  int64_t found = 0;
  for (size_t at = text.find(part); at != kNone; at = text.find(part, at + part.size()))
    ++found;
  return found;
}

}  // namespace lowmem::jinja
