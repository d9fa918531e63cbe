// Rows of every format as training sequences. The first two bytes choose the format, the
// chat template, the longest sequence, what becomes of longer ones, and whether bad rows
// are left out.

#include <algorithm>

#include "../support/byte_tokens.h"
#include "lowmem/data/examples.h"
#include "support.h"

using namespace lowmem;

namespace {

// Of a folder: without `generation` blocks, with tools and what else a row may say.
constexpr const char* kOwnTemplate = R"({% for m in messages %}{% if m.role == 'tool' %}<
{{ m.content }}>{% elif loop.last or m.role != 'system' %}<s>{{ m.role }}:{{ m.content or '' }}
{%- for c in m.tool_calls %}{{ c | tojson }}{% endfor %}</s>{% endif %}{% endfor %}
{%- if tools %}{{ tools | tojson(indent=1) }}{% endif %}
{%- if add_generation_prompt %}<s>assistant:{% endif %})";

// With the tokens that the templates ask for.
class Bytes : public test::ByteTokens {
 public:
  Bytes()
      : ByteTokens({"<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>",
                    "<|eot_id|>", "<|im_start|>", "<|im_end|>"}) {
    bos_id_ = 256;
    eos_id_ = 257;
    adds_bos_ = true;
    chat_templates_ = {{"default", kOwnTemplate, "t"}};
  }
  std::optional<int32_t> id_of(std::string_view token) const override {
    const auto found = std::find(names().begin(), names().end(), token);
    if (found == names().end()) return std::nullopt;
    return kFirstName + static_cast<int32_t>(found - names().begin());
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
