// A chat template in Jinja, rendered over a chat: JSON behind the first NUL byte, or a
// small one where there is none. The bounds are low, so that reaching them is cheap.

#include <nlohmann/json.hpp>

#include "lowmem/core/files.h"
#include "lowmem/core/utf8.h"
#include "lowmem/template/template.h"
#include "support.h"

using namespace lowmem;

namespace {

nlohmann::ordered_json chat_in(std::string_view json) {
  static const auto kChat = nlohmann::ordered_json::parse(R"({"messages": [
      {"role": "system", "content": "Be é brief.\n"}, {"role": "user", "content": " Hi? "},
      {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function",
        "function": {"name": "f", "arguments": {"a": [1, 2.5, null, true]}}}]},
      {"role": "tool", "content": "7"}, {"role": "assistant", "content": "<think>x</think>y"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "documents": null, "add_generation_prompt": true, "bos_token": "<s>",
    "eos_token": "</s>"})");
  if (is_nested_deeper(json, 32) || !is_utf8(json)) return kChat;
  auto chat = nlohmann::ordered_json::parse(json, nullptr, false);
  return chat.is_object() ? chat : kChat;
}

void check(const jinja::Rendered& rendered, size_t most) {
  const jinja::Text& text = rendered.text;
  fuzz::require(text.size() <= most && is_utf8(text.view()));
  size_t at = 0;
  for (const jinja::Text::Run& run : text.runs()) {
    fuzz::require(run.end > at && run.source <= 1);
    at = run.end;
  }
  fuzz::require(at == text.size());
  for (const auto& [begin, end] : rendered.generation)
    fuzz::require(begin <= end && end <= text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = fuzz::text_of(data, size);
  const size_t end = std::min(input.find('\0'), input.size());
  jinja::RenderOptions options;
  options.now = {2026, 3, 5};
  options.most_steps = 200'000;
  options.most_bytes = size_t{1} << 20;
  fuzz::only_errors([&] {
    const jinja::Template chat_template(input.substr(0, end), "t");
    std::vector<std::pair<std::string, jinja::Value>> variables;
    const auto chat = chat_in(input.substr(std::min(end + 1, input.size())));
    for (const auto& [name, value] : chat.items())
      variables.emplace_back(name, jinja::Value::of(value, 1));
    const jinja::Rendered rendered = chat_template.render(variables, options);
    check(rendered, options.most_bytes);
    // The same once more: nothing is kept from one rendering to the next.
    fuzz::require(chat_template.render(variables, options).text.bytes() ==
                  rendered.text.bytes());
  });
  return 0;
}
