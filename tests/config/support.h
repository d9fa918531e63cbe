#pragma once

#include <gtest/gtest.h>

#include <string>

#include "lowmem/config/run_config.h"
#include "lowmem/core/error.h"

namespace lowmem::test {

// The Error that `action` must throw; another outcome fails the test.
template <class Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& other) {
    ADD_FAILURE() << "another exception: " << other.what();
  }
  ADD_FAILURE() << "no lowmem::Error was thrown";
  return Error("", "", "");
}

// Changes a value of any type that a key may have; `salt` makes equal types differ.
inline void change(std::string& value, int salt) {
  static const std::string kTexts[] = {"true",   "12",         "null",       "a: b # c",
                                       "-x",     "\"q\\'\t\n", "Größe 模型", " edges ",
                                       "[1, 2]", "&a *b !c"};
  value = kTexts[salt % 10];
}
inline void change(StringList& value, int salt) {
  value = {"a,b", "", "model.layers.*.mlp.*", "c d " + std::to_string(salt)};
}
inline void change(int64_t& value, int salt) { value += INT64_MAX / 2 - salt; }
inline void change(double& value, int salt) { value = value * 3 + 0.1 / (salt + 1); }
inline void change(AutoDouble& value, int salt) { value = 1e-30 / (salt + 3); }
inline void change(bool& value, int) { value = !value; }
inline void change(Interval& value, int salt) { value = Interval::every(17 + salt); }
// The next choice; an enumeration of one stays as it is.
template <ChoiceEnum Enum>
void change(Enum& value, int) {
  const auto all = choices(value);
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i].value == value) {
      value = all[(i + 1) % all.size()].value;
      return;
    }
}

template <ChoiceEnum Enum>
void change(OrCount<Enum>& value, int salt) {
  value = OrCount<Enum>::of(2 + salt);
}

template <ChoiceEnum Enum>
void change(OrText<Enum>& value, int salt) {
  value = OrText<Enum>::of("text " + std::to_string(salt));
}

template <class Value>
constexpr bool can_change(const Value&) {
  if constexpr (ChoiceEnum<Value>)
    return choices(Value{}).size() > 1;
  else
    return true;
}

// Calls use("section.key", value, doc) for each key.
template <class Use>
void for_each_key(RunConfig& config, Use&& use) {
  config.visit([&](const std::string& section_name, auto& section, const char*) {
    section.visit([&](const char* name, auto& value, Alters, const char* doc) {
      use(section_name + "." + name, value, doc);
    });
  });
}

// A configuration in which every key that can differ from its default does.
inline RunConfig changed_config(int salt = 0) {
  RunConfig config;
  for_each_key(config, [&](const std::string&, auto& value, const char*) {
    change(value, salt++);
  });
  return config;
}

}  // namespace lowmem::test
