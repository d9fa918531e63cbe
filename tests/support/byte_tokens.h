// A tokenizer of one token a byte, so that ids can be read off the text, and of some
// whose text is their name.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem::test {

class ByteTokens : public Tokenizer {
 public:
  static constexpr int32_t kFirstName = 256;

  explicit ByteTokens(std::vector<std::string> names) : names_(std::move(names)) {}

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::string text;
    for (const int32_t id : ids)
      if (id < kFirstName) text.push_back(static_cast<char>(id));
    return text;
  }
  std::string piece(int32_t id) const override {
    return id < kFirstName ? decode({id}) : names_[static_cast<size_t>(id - kFirstName)];
  }
  int64_t vocab_size() const override {
    return kFirstName + static_cast<int64_t>(names_.size());
  }
  std::vector<Part> parts(std::string_view text,
                          std::span<const Range> plain) const override {
    std::vector<Part> parts;
    size_t done = 0;
    const auto add = [&](size_t begin, size_t end, std::optional<int32_t> id) {
      if (begin < end) parts.push_back({{begin, end}, id});
    };
    for (size_t at = 0; at < text.size(); ++at)
      for (size_t i = 0; i < names_.size() && text[at] == '<'; ++i) {
        const size_t end = at + names_[i].size();
        const auto touches = [&](const Range& range) {
          return range.begin < end && at < range.end;
        };
        if (!text.substr(at).starts_with(names_[i]) ||
            std::any_of(plain.begin(), plain.end(), touches))
          continue;
        add(done, at, std::nullopt);
        add(at, end, kFirstName + static_cast<int32_t>(i));
        done = end;
      }
    add(done, text.size(), std::nullopt);
    return parts;
  }

 protected:
  // Each begins with <.
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<int32_t> ids_of(std::string_view text, bool /*starts_text*/,
                              bool /*special*/) const override {
    std::vector<int32_t> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }

  std::vector<std::string> names_;
};

}  // namespace lowmem::test
