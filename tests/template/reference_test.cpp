// Against transformers and jinja2, through tests/fixtures/templates.
#include <gmock/gmock.h>

#include "template/support.h"

namespace lowmem {
namespace {

using nlohmann::ordered_json;
using test::fixture;

TEST(TemplateReference, TextsAreThoseOfTransformers) {
  const ordered_json reference = test::ordered_fixture("templates/templates.json");
  int rendered = 0, refused = 0;
  for (const auto& [name, cases] : reference["cases"].items()) {
    const jinja::Template chat_template(
        read_file(fixture("templates/" + name + ".jinja")), name);
    for (size_t i = 0; i < cases.size(); ++i) {
      const ordered_json &row = reference["chats"][i], &expected = cases[i];
      SCOPED_TRACE(name + " over chat " + std::to_string(i) + ": " + row.dump());
      const test::Variables variables = test::variables_of(row, reference["special"]);
      std::string text, error;
      try {
        text = chat_template.render(variables, test::on_day(2026, 3, 5)).text.bytes();
      } catch (const Error& refusal) {
        error = refusal.what();
      }
      if (expected.is_null()) {
        EXPECT_NE(error, "") << text;
        ++refused;
        continue;
      }
      EXPECT_EQ(error, "");
      if (expected.contains("text"))
        EXPECT_EQ(text, expected["text"].get<std::string>());
      else
        EXPECT_EQ(test::fnv(text), expected["text_hash"].get<std::string>()) << text;
      ++rendered;
    }
  }
  EXPECT_GE(reference["cases"].size(), 28u);
  EXPECT_GE(reference["chats"].size(), 30u);
  EXPECT_GT(rendered, 550);
  EXPECT_GT(refused, 80);
}

TEST(JinjaReference, PiecesGiveWhatJinja2Gives) {
  const ordered_json reference = test::ordered_fixture("templates/snippets.json");
  test::Variables variables;
  for (const auto& [name, value] : reference["variables"].items())
    variables.emplace_back(name, jinja::Value::of(value, 1));
  int texts = 0, errors = 0;
  for (const ordered_json& snippet : reference["snippets"]) {
    const auto source = snippet["source"].get<std::string>();
    SCOPED_TRACE(source);
    std::string text, error;
    try {
      text = test::render(source, variables);
    } catch (const Error& refusal) {
      error = refusal.what();
    }
    if (snippet["text"].is_null()) {
      EXPECT_NE(error, "") << text;
      ++errors;
    } else {
      EXPECT_EQ(error, "");
      EXPECT_EQ(text, snippet["text"].get<std::string>());
      ++texts;
    }
  }
  EXPECT_GE(texts, 115);
  EXPECT_GE(errors, 40);
}

}  // namespace
}  // namespace lowmem
