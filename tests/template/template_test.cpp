// What a template may not do, what its errors say, and whose each byte is.
#include "lowmem/template/template.h"

#include <gmock/gmock.h>

#include "lowmem/template/built_in.h"
#include "template/support.h"

namespace lowmem {
namespace {

using jinja::Value;
using test::refusal;
using testing::HasSubstr;
using testing::StartsWith;

TEST(TemplateErrors, NameTheLineAndWhatIsThere) {
  EXPECT_EQ(refusal("a\nb {{ 'x' + 1 }}"),
            "t line 2: has a + between a text and a number");
  EXPECT_EQ(refusal("{% for m in [1] %}\n\n{{ m.x.y }}{% endfor %}"),
            "t line 3: asks for y of x, which is undefined");
  EXPECT_EQ(refusal("\n{% if true %}\nx"), "t line 2: has no endif here");
  EXPECT_EQ(refusal("{{ raise_exception('only\n' ~ 'users') }}"),
            "t line 1: refuses the chat: only\nusers");
  EXPECT_EQ(refusal("{{ x }}\n{% set y = 1 |"), "t line 2: has a block without an end");
  EXPECT_EQ(refusal("{{ 1 }"), "t line 1: closes } too early");
}

TEST(TemplateErrors, NameWhatIsNotImplemented) {
  for (const auto& [source, what] : {
           std::pair{"{% include 'x' %}", "has the tag include"},
           {"{% extends 'x' %}", "has the tag extends"},
           {"{% import 'x' as y %}", "has the tag import"},
           {"{% for x in y recursive %}{% endfor %}", "has a recursive loop"},
           {"{{ x|urlize }}", "has the filter urlize"},
           {"{{ x is escaped }}", "has the test escaped"},
           {"{{ (x|safe) ~ 'y' }}", "uses the filter safe elsewhere"},
           {"{{ f(*x) }}", "spreads a list over arguments"},
           {"{{ lipsum() }}", "calls lipsum(), which is not implemented"},
           {"{{ 'a'.swapcase() }}", "calls .swapcase() of a text, which is not"},
           {"{% for x in [1] %}{{ loop.changed(x) }}{% endfor %}",
            "calls loop.changed()"},
           {"{{ 9223372036854775807 + 1 }}", "an integer of more than 64 bits"},
           {"{{ 99999999999999999999 }}", "none of at most 64 bits"},
           {"{{ [1]|map('upper') }}", "prints a generator"},
           {"{{ '\\N{BULLET}' }}", "names a character by \\N"},
           {"{% macro m() %}{% generation %}{% endgeneration %}{% endmacro %}",
            "has a generation block inside a macro"},
           {"{% set x %}{% generation %}{% endgeneration %}{% endset %}",
            "has a generation block whose text is not written at once"},
       })
    EXPECT_THAT(refusal(source), HasSubstr(what)) << source;
}

TEST(TemplateSandbox, ChangesNothingAndReachesNothing) {
  const test::Variables variables = {
      {"list", Value::of(nlohmann::ordered_json::parse("[1]"), 1)},
      {"map", Value::of(nlohmann::ordered_json::parse(R"({"a": 1})"), 1)}};
  for (const char* source :
       {"{{ list.append(1) }}", "{{ list.pop() }}", "{{ map.update({}) }}",
        "{{ map.clear() }}", "{{ [].extend([1]) }}"})
    EXPECT_THAT(refusal(source, variables), HasSubstr("which Jinja's sandbox refuses"));
  for (const char* source : {"{{ ''.__class__ }}", "{{ x.__init__.__globals__ }}"})
    EXPECT_THAT(refusal(source), HasSubstr("which Jinja's sandbox keeps closed"));
  EXPECT_EQ(test::render("{{ ''['__class__'] }}{{ [].x }}{{ open is defined }}"),
            "False");
}

TEST(TemplateBounds, AreHeldTo) {
  jinja::RenderOptions few;
  few.most_steps = 10'000;
  few.most_bytes = 10'000;
  for (const auto& [source, what] : {
           std::pair{"{% for a in range(99) %}{% for b in range(999) %}{% endfor %}"
                     "{% endfor %}",
                     "takes more than 10000 steps"},
           {"{{ 'x' * 20000 }}", "makes a text of more than"},
           {"{% set ns = namespace(x='x') %}{% for i in range(64) %}"
            "{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "makes a text of more than"},
           {"{% for i in range(600) %}{{ 'twenty bytes of text' }}{% endfor %}",
            "makes a text of more than"},
           {"{{ [0] * 5000 }}", "takes more than"},
           {"{{ 'x'|indent(99999999) }}", "makes a text of more than"},
           {"{{ '%9999d%9999d' % (1, 2) }}", "makes a text of more than"},
           {"{{ 'ab'.center(999999999) }}", "makes a text of more than"},
           {"{{ 'aaaa'.replace('a', 'b' * 4000) }}", "makes a text of more than"},
           {"{{ range(99999)|list }}", "takes more than"},
       })
    EXPECT_THAT(refusal(source, {}, few), HasSubstr(what)) << source;
  EXPECT_THAT(refusal("{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}"),
              HasSubstr("calls and nests deeper than"));
  EXPECT_THAT(refusal("{% set ns = namespace(x=[]) %}{% for i in range(999) %}"
                      "{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("nests lists too deep"));
  EXPECT_THAT(refusal("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"),
              HasSubstr("prints a namespace"));
  EXPECT_THAT(
      refusal("{{ " + std::string(200, '(') + "1" + std::string(200, ')') + " }}"),
      HasSubstr("nests deeper than"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 1000; ++i) sum += "+1";
  EXPECT_THAT(refusal(sum + " }}"),
              HasSubstr("has an expression of more than 400 steps"));
  EXPECT_THAT(refusal(std::string((size_t{1} << 20) + 1, 'x')),
              HasSubstr("has more than 1 MiB"));
}

// The sources of a text's bytes, a digit each.
std::string sources_of(const jinja::Text& text) {
  std::string sources;
  for (const jinja::Text::Run& run : text.runs())
    sources.append(run.end - sources.size(), static_cast<char>('0' + run.source));
  return sources;
}

TEST(TemplateSources, AreKeptByEveryOperation) {
  const test::Variables variables = {
      {"a", Value::text(" Ab c ", 1)},
      {"b", Value::text("XY", 2)},
      {"list", Value::list({Value::text("p", 1), Value::text("q", 2)})}};
  const struct {
    const char *source, *text, *sources;
  } cases[] = {
      {"<{{ a ~ b }}>", "< Ab c XY>", "0111111220"},
      {"{{ ('(' + a|trim + ')')[::-1] }}", ")c bA(", "011110"},
      {"{{ a.strip().upper() + 'z' }}", "AB Cz", "11110"},
      {"{{ a|trim|replace('b', b) }}", "AXY c", "12211"},
      {"{{ list|join('-') }}", "p-q", "102"},
      {"{{ list }}", "['p', 'q']", "0010000200"},
      {"{{ list|tojson }}", "[\"p\", \"q\"]", "0010000200"},
      {"{{ {'k': b}|tojson(indent=1) }}", "{\n \"k\": \"XY\"\n}", "00000000022000"},
      {"{{ a.split()[1] ~ a.split(' ')[1] }}", "cAb", "111"},
      {"{{ '%s=%5s' % (b, a|trim) }}", "XY= Ab c", "22001111"},
      {"{{ '{}!'.format(b) }}", "XY!", "220"},
      {"{% set x %}<{{ b }}>{% endset %}{{ x|lower }}", "<xy>", "0220"},
      {"{% macro m(v) %}[{{ v }}]{% endmacro %}{{ m(b) }}", "[XY]", "0220"},
      {"{% filter title %}a{{ b }}{% endfilter %}", "Axy", "022"},
      {"{{ (b ~ '\n' ~ b)|indent(1) }}", "XY\n XY", "220022"},
      {"{{ b * 2 }}{{ b[0] }}{{ b|first }}{{ b|last }}", "XYXYXXY", "2222222"},
      {"{{ b|length }}{{ b == 'XY' }}", "2True", "00000"},
  };
  for (const auto& each : cases) {
    const jinja::Text text = jinja::Template(each.source, "t").render(variables, {}).text;
    EXPECT_EQ(text.bytes(), each.text);
    EXPECT_EQ(sources_of(text), each.sources) << each.source;
  }
}

TEST(TemplateGeneration, IsSaidInBytes) {
  const jinja::Template marked(
      "é{% for i in [1, 2] %}{% generation %}ü{{ i }}{% endgeneration %};{% endfor %}",
      "t");
  EXPECT_TRUE(marked.marks_generation());
  const auto spans = marked.render({}, {}).generation;
  EXPECT_EQ(spans, (std::vector<std::pair<size_t, size_t>>{{2, 5}, {6, 9}}));
  EXPECT_FALSE(jinja::Template("generation", "t").marks_generation());
}

TEST(TemplateNames, AreKnown) {
  const jinja::Template dated("{{ strftime_now('%d') }}", "t");
  EXPECT_TRUE(dated.names("strftime_now"));
  EXPECT_FALSE(dated.names("tools"));
}

TEST(BuiltInTemplates, AreWhole) {
  for (const char* name : {"llama2", "llama3", "tinyllama", "chatml", "mistral"})
    EXPECT_TRUE(jinja::Template(jinja::built_in_template(name), name).marks_generation());
  EXPECT_EQ(jinja::built_in_template("alpaca"), "");
}

}  // namespace
}  // namespace lowmem
