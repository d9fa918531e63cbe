// Rows of every format as training sequences. The first two bytes choose the format, the
// chat template, the longest sequence, what becomes of longer ones, and whether bad rows
// are left out.

#include <algorithm>

#include "lowmem/data/examples.h"
#include "support.h"

using namespace lowmem;

namespace {

constexpr std::string_view kNames[] = {
    "<s>",        "</s>",         "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<|im_start|>", "<|im_end|>"};

// Of a folder: without `generation` blocks, with tools and what else a row may say.
constexpr const char* kOwnTemplate = R"({% for m in messages %}{% if m.role == 'tool' %}<
{{ m.content }}>{% elif loop.last or m.role != 'system' %}<s>{{ m.role }}:{{ m.content or '' }}
{%- for c in m.tool_calls %}{{ c | tojson }}{% endfor %}</s>{% endif %}{% endfor %}
{%- if tools %}{{ tools | tojson(indent=1) }}{% endif %}
{%- if add_generation_prompt %}<s>assistant:{% endif %})";

// A token a byte, and those that the templates ask for.
class Bytes : public Tokenizer {
 public:
  Bytes() {
    bos_id_ = 256;
    eos_id_ = 257;
    adds_bos_ = true;
    chat_templates_ = {{"default", kOwnTemplate, "t"}};
  }
  std::string decode(const std::vector<int32_t>&) const override { return {}; }
  std::optional<int32_t> id_of(std::string_view token) const override {
    for (size_t i = 0; i < std::size(kNames); ++i)
      if (kNames[i] == token) return static_cast<int32_t>(256 + i);
    return std::nullopt;
  }
  std::string piece(int32_t id) const override {
    return id < 256 ? std::string(1, static_cast<char>(id))
                    : std::string(kNames[static_cast<size_t>(id - 256)]);
  }
  std::vector<Part> parts(std::string_view text,
                          std::span<const Range> plain) const override {
    std::vector<Part> parts;
    size_t done = 0;
    const auto add = [&](size_t begin, size_t end, std::optional<int32_t> id) {
      if (begin < end) parts.push_back({{begin, end}, id});
    };
    for (size_t at = 0; at < text.size(); ++at)
      for (size_t i = 0; i < std::size(kNames) && text[at] == '<'; ++i) {
        const size_t end = at + kNames[i].size();
        const auto touches = [&](const Range& r) { return r.begin < end && at < r.end; };
        if (!text.substr(at).starts_with(kNames[i]) ||
            std::any_of(plain.begin(), plain.end(), touches))
          continue;
        add(done, at, std::nullopt);
        add(at, end, static_cast<int32_t>(256 + i));
        done = end;
      }
    add(done, text.size(), std::nullopt);
    return parts;
  }
  int64_t vocab_size() const override { return 256 + std::size(kNames); }

 private:
  std::vector<int32_t> ids_of(std::string_view text, bool, bool) const override {
    std::vector<int32_t> ids;
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }
};

void check(const Example& example, int64_t max_length, int64_t vocabulary) {
  fuzz::require(example.ids.size() == example.labels.size());
  fuzz::require(static_cast<int64_t>(example.ids.size()) <= max_length);
  fuzz::require(example.labelled() > 0);
  for (size_t i = 0; i < example.ids.size(); ++i) {
    const int32_t label = example.labels[i];
    fuzz::require(example.ids[i] >= 0 && example.ids[i] < vocabulary);
    if (i + 1 < example.ids.size())
      fuzz::require(label == kIgnoreLabel || label == example.ids[i + 1]);
    else
      fuzz::require(label == kIgnoreLabel || label < vocabulary);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::InputFile file;
  static const Bytes tokenizer;
  if (size < 2) return 0;
  file.write(fuzz::text_of(data + 2, size - 2));
  ExampleOptions options;
  options.format = kDataFormats[data[0] % std::size(kDataFormats)].value;
  options.chat_template = kChatTemplates[data[1] % std::size(kChatTemplates)].value;
  options.chat_date = "2026-03-05";
  options.long_rows = kLongModes[data[1] / 4 % std::size(kLongModes)].value;
  options.max_length = 2 + data[1] / 16;
  fuzz::only_errors([&] {
    ExampleCounts counts;
    BadRows bad;
    const auto examples = read_examples(file.path(), tokenizer, options, counts,
                                        data[0] & 0x80 ? &bad : nullptr);
    for (const Example& example : examples)
      check(example, options.max_length, tokenizer.vocab_size());
  });
  return 0;
}
