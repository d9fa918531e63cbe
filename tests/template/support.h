#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/template/template.h"
#include "support/shared.h"

namespace lowmem::test {

// JSON with its keys in the order of the file, which Python keeps.
inline nlohmann::ordered_json ordered_fixture(const std::string& name) {
  return nlohmann::ordered_json::parse(read_file(fixture(name)));
}

// FNV-1a, as scripts/references/templates.py has it.
inline std::string fnv(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char byte : bytes)
    value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

inline jinja::RenderOptions on_day(int year, int month, int day) {
  jinja::RenderOptions options;
  options.now = {year, month, day};
  return options;
}

using Variables = std::vector<std::pair<std::string, jinja::Value>>;

// A row's keys and the tokens' names, as apply_chat_template gives them.
inline Variables variables_of(const nlohmann::ordered_json& row,
                              const nlohmann::ordered_json& names, bool prompt = false) {
  Variables variables;
  for (const auto& [name, token] : names.items())
    variables.emplace_back(name, jinja::Value::of(token, jinja::kOwn));
  for (const char* key : {"messages", "tools", "documents"})
    variables.emplace_back(
        key, row.contains(key) ? jinja::Value::of(row[key], 1) : jinja::Value());
  variables.emplace_back("add_generation_prompt", prompt);
  return variables;
}

inline std::string render(const std::string& source, const Variables& variables = {},
                          const jinja::RenderOptions& options = on_day(2026, 3, 5)) {
  return jinja::Template(source, "t").render(variables, options).text.bytes();
}

// What rendering says that it cannot do: "t line 2: has ...".
inline std::string refusal(const std::string& source, const Variables& variables = {},
                           const jinja::RenderOptions& options = on_day(2026, 3, 5)) {
  try {
    return "text: " + render(source, variables, options);
  } catch (const Error& error) {
    return error.thing() + ": " + error.problem();
  }
}

}  // namespace lowmem::test
