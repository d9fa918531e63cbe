// A model folder's own chat template: what is chosen, written and learned.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "data/support.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/data/chat.h"
#include "support/shared.h"
#include "template/support.h"

namespace lowmem {
namespace {

using nlohmann::ordered_json;
using test::error_of;
using test::fixture;
using testing::HasSubstr;

constexpr const char* kDate = "2026-03-05";

std::string hash_of(const std::vector<int32_t>& ids) {
  return test::fnv({reinterpret_cast<const char*>(ids.data()), 4 * ids.size()});
}

OrText<ChatTemplate> file_of(const std::string& name) {
  return OrText<ChatTemplate>::of(fixture("templates/" + name + ".jinja").string());
}

TEST(FolderTemplateReference, IdsAndLearnedTokensAreThoseOfTransformers) {
  const ordered_json reference = test::ordered_fixture("templates/templates.json");
  const auto tokenizer = open_tokenizer(fixture("templates"));
  int written = 0, refused = 0, printed = 0;
  for (const auto& [name, cases] : reference["cases"].items()) {
    ChatWriter writer(file_of(name), *tokenizer, kDate);
    for (size_t i = 0; i < cases.size(); ++i) {
      const ordered_json &row = reference["chats"][i], &expected = cases[i];
      SCOPED_TRACE(name + " over chat " + std::to_string(i) + ": " + row.dump());
      Example example;
      const std::string error =
          error_of([&] { example = writer.example(read_chat(row, "row"), "row"); });
      if (expected.is_null() || expected["learned"].is_null()) {
        EXPECT_NE(error, "nothing");
        ++refused;
        continue;
      }
      // Where transformers writes a list as Python prints it.
      if (error.find("is a list of parts") != std::string::npos) {
        EXPECT_TRUE(row.dump().find(R"("content":[{)") != std::string::npos);
        ++printed;
        continue;
      }
      EXPECT_EQ(error, "nothing");
      if (error != "nothing") continue;
      EXPECT_EQ(hash_of(example.ids), expected["ids_hash"].get<std::string>())
          << tokenizer->decode(example.ids);
      std::vector<int32_t> labels(example.ids.size(), kIgnoreLabel);
      for (const auto& range : expected["learned"])
        for (auto at = range[0].get<size_t>(); at < range[1].get<size_t>(); ++at)
          if (at > 0) labels.at(at - 1) = example.ids.at(at);
      EXPECT_EQ(example.labels, labels);
      ++written;
    }
  }
  EXPECT_GT(written, 550);
  EXPECT_GT(refused, 130);
  EXPECT_GT(printed, 0);
  EXPECT_LT(printed, 20);
}

TEST(FolderTemplateReferenceData, IdsAreThoseOfTransformersWithLlama3) {
  LOWMEM_NEEDS_SHARED("tokenizers/llama3");
  const ordered_json reference = test::ordered_fixture("templates/templates.json");
  struct Named : Tokenizer {  // as its folder has no tokenizer_config.json
    explicit Named(std::unique_ptr<Tokenizer> all) : all_(std::move(all)) {
      named_tokens_ = {{"bos_token", "<|begin_of_text|>"}, {"eos_token", "<|eot_id|>"}};
    }
    std::vector<Part> parts(std::string_view text,
                            std::span<const Range> plain) const override {
      return all_->parts(text, plain);
    }
    std::optional<int32_t> id_of(std::string_view token) const override {
      return all_->id_of(token);
    }
    std::string piece(int32_t id) const override { return all_->piece(id); }
    std::string decode(const std::vector<int32_t>& ids) const override {
      return all_->decode(ids);
    }
    int64_t vocab_size() const override { return all_->vocab_size(); }
    std::vector<int32_t> ids_of(std::string_view text, bool starts,
                                bool special) const override {
      return special ? all_->encode(text) : all_->encode_plain(text, starts);
    }
    std::unique_ptr<Tokenizer> all_;
  };
  const Named tokenizer(open_tokenizer(test::shared("tokenizers/llama3")));
  int compared = 0;
  for (const auto& [name, cases] : reference["cases"].items()) {
    ChatWriter writer(file_of(name), tokenizer, kDate);
    for (size_t i = 0; i < cases.size(); ++i) {
      const ordered_json &row = reference["chats"][i], &expected = cases[i];
      if (expected.is_null()) continue;
      SCOPED_TRACE(name + " over chat " + std::to_string(i) + ": " + row.dump());
      try {
        const Example example = writer.example(read_chat(row, "row"), "row");
        EXPECT_EQ(hash_of(example.ids), expected["llama3_hash"].get<std::string>())
            << tokenizer.decode(example.ids);
        ++compared;
      } catch (const Error&) {  // the other test asks which rows are refused
      }
    }
  }
  EXPECT_GT(compared, 500);
}

// One token a byte, with the templates of a folder.
struct Folder : test::ByteTokenizer {
  explicit Folder(const std::string& text) {
    chat_templates_ = {{"default", text, "here"}};
  }
  explicit Folder(std::vector<NamedTemplate> all) { chat_templates_ = std::move(all); }
};

ordered_json user(const char* text) { return {{"role", "user"}, {"content", text}}; }
ordered_json assistant(const char* text) {
  return {{"role", "assistant"}, {"content", text}};
}

Chat chat(std::vector<ordered_json> turns, const ordered_json& more = {}) {
  ordered_json row = more.is_object() ? more : ordered_json::object();
  row["messages"] = std::move(turns);
  return read_chat(row, "f line 3");
}

Example written(const std::string& text, const Chat& row) {
  const Folder folder(text);
  return ChatWriter(ChatTemplate::kAuto, folder, kDate).example(row, "f line 3");
}

std::string refused(const std::string& text, const Chat& row) {
  return error_of([&] { written(text, row); });
}

constexpr const char* kPlain =
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] + ':' + m.content }}"
    "{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}";

TEST(FolderTemplate, IsLearnedByWhatATurnAddsUpToItsLastToken) {
  const Example example =
      written(kPlain, chat({user("q"), assistant("x"), user("r"), assistant("yz")}));
  EXPECT_EQ(test::text_of(example.ids), "^u:q\na:x$\nu:r\na:yz$\n");
  EXPECT_EQ(test::labels_of(example), "......x$.......yz$..");
  ordered_json left_out = assistant("x");
  left_out["weight"] = 0;
  EXPECT_EQ(test::labels_of(
                written(kPlain, chat({user("q"), left_out, user("r"), assistant("yz")}))),
            "...............yz$..");
}

TEST(FolderTemplate, WithoutATokenThatEndsATurnIsLearnedUpToTheNext) {
  const Example example = written(
      "{% for m in messages %}{{ m.role[0] + ':' + m.content + '\n' }}{% endfor %}"
      "{{ 'a:' if add_generation_prompt }}",
      chat({user("q"), assistant("x"), user("r"), assistant("y")}));
  EXPECT_EQ(test::labels_of(example), ".....x\n......y\n.");
}

TEST(FolderTemplate, WithoutAPromptForTheAssistantIsLearnedWithItsHeader) {
  const Example example = written(
      "{% for m in messages %}{{ m.role[0] + ':' + m.content + eos_token }}"
      "{% endfor %}",
      chat({user("q"), assistant("x")}));
  EXPECT_EQ(test::labels_of(example), "...a:x$.");
}

TEST(FolderTemplate, ThatMarksWhatIsGeneratedIsLearnedThere) {
  constexpr const char* kMarked =
      "{% for m in messages %}{{ m.role[0] }}:{% if m.role == 'assistant' %}"
      "{% generation %}<{{ m.content }}>{% endgeneration %}{% else %}{{ m.content }}"
      "{% endif %}{% endfor %}";
  EXPECT_EQ(test::labels_of(written(
                kMarked, chat({user("q"), assistant("x"), user("r"), assistant("y")}))),
            "....<x>.....<y>.");
  ordered_json left_out = assistant("x");
  left_out["train"] = false;
  EXPECT_EQ(test::labels_of(
                written(kMarked, chat({user("q"), left_out, user("r"), assistant("y")}))),
            "............<y>.");
}

TEST(FolderTemplate, ThatRewritesEarlierTurnsIsRefusedWithTheRemedy) {
  constexpr const char* kLastAlone =
      "{% for m in messages %}{{ m.role[0] + ':' }}{% if m.role == 'assistant' and "
      "loop.last %}(thinks){% endif %}{{ m.content + eos_token }}{% endfor %}"
      "{{ 'a:' if add_generation_prompt }}";
  EXPECT_EQ(refused(kLastAlone, chat({user("q"), assistant("x")})), "nothing");
  const Chat two = chat({user("q"), assistant("x"), user("r"), assistant("y")});
  EXPECT_THAT(refused(kLastAlone, two),
              HasSubstr("f line 3 messages[1]: is written in another way"));
  try {
    written(kLastAlone, two);
  } catch (const Error& error) {
    EXPECT_THAT(error.remedy(), HasSubstr("Keep one turn of the assistant a row"));
  }
  // A guard's template, which prompts behind the whole chat.
  EXPECT_THAT(refused("{% for m in messages %}{{ m.content }}{% endfor %}judge:",
                      chat({user("q"), assistant("safe")})),
              HasSubstr("is written in another way"));
}

TEST(FolderTemplate, ThatLeavesOutWhatATurnSaysIsRefused) {
  constexpr const char* kNoSystem =
      "{% for m in messages if m.role != 'system' %}{{ m.content }}$\n{% endfor %}";
  EXPECT_THAT(
      refused(kNoSystem,
              chat({{{"role", "system"}, {"content", "s"}}, user("q"), assistant("x")})),
      HasSubstr("messages[0] content: is not written by the chat template here"));
  constexpr const char* kNoReasoning =
      "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{{ eos_token }}"
      "{% endfor %}";
  EXPECT_THAT(refused(kNoReasoning, chat({user("q"), assistant("why</think>x")})),
              HasSubstr("messages[1] content: is written in part"));
  ordered_json call = assistant("x");
  call["tool_calls"] = {{{"function", {{"name", "f"}, {"arguments", {{"a", 1}}}}}}};
  EXPECT_THAT(refused(kPlain, chat({user("q"), call})),
              HasSubstr("messages[1] tool_calls: is not written by the chat template"));
}

TEST(FolderTemplate, ThatLeavesOutAKeyIsWarnedOfOnce) {
  const Folder folder(kPlain);
  ChatWriter writer(ChatTemplate::kAuto, folder, kDate);
  ordered_json named = user("q");
  named["name"] = "Ann";
  const Chat row = chat({named, assistant("x")}, {{"tools", {{{"name", "f"}}}}});
  testing::internal::CaptureStdout();
  writer.example(row, "f line 1");
  writer.example(row, "f line 2");
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_THAT(log, HasSubstr("f line 1 messages[0] name: is not written"));
  EXPECT_THAT(log, HasSubstr("f line 1 tools: is not written"));
  EXPECT_THAT(log, testing::Not(HasSubstr("f line 2")));
}

ordered_json calling(const std::vector<std::pair<std::string, ordered_json>>& calls) {
  ordered_json turn = {{"role", "assistant"}, {"content", ""}};
  for (const auto& [name, arguments] : calls)
    turn["tool_calls"].push_back(
        {{"function", {{"name", name}, {"arguments", arguments}}}});
  return turn;
}

// What a template says is in the text and its warnings.
struct Said {
  std::string text, labels, log;
};
Said said(const std::string& text, const Chat& row) {
  testing::internal::CaptureStdout();
  Example example;
  const std::string error = error_of([&] { example = written(text, row); });
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_EQ(error, "nothing");
  return {test::text_of(example.ids), test::labels_of(example), log};
}

// `{{ m.content }}`, and behind it `more`.
std::string turns_with(const std::string& more) {
  return "{% for m in messages %}{{ m.role[0] + ':' + (m.content or '') }}" + more +
         "{{ eos_token }}{% endfor %}{{ 'a:' if add_generation_prompt }}";
}

// A call that one turn has, and the template writes of the others.
TEST(FolderTemplate, ThatLeavesOutTheCallOfOneTurnIsRefusedByThatTurn) {
  const Chat row = chat({user("q"),
                         calling({{"f", {{"x", "1"}}}}),
                         {{"role", "tool"}, {"content", "r"}},
                         calling({{"g", {{"x", "2"}}}})});
  const std::string every = "{% for c in m.tool_calls or [] %}{{ c|tojson }}{% endfor %}";
  EXPECT_EQ(refused(turns_with(every), row), "nothing");
  EXPECT_EQ(
      refused(turns_with("{% if not loop.last %}" + every + "{% endif %}"), row),
      "f line 3 messages[3] tool_calls[0].function.name: is not written by the chat "
      "template here");
  EXPECT_EQ(refused(turns_with(""), row),
            "f line 3 messages[1] tool_calls: is not written by the chat template here");
  // One of two calls, and a call without its arguments.
  const Chat two = chat({user("q"), calling({{"f", {{"x", "1"}}}, {"g", {{"x", "2"}}}})});
  EXPECT_EQ(
      refused(turns_with("{{ m.tool_calls[0]|tojson if m.tool_calls }}"), two),
      "f line 3 messages[1] tool_calls[1].function.name: is not written by the chat "
      "template here");
  EXPECT_EQ(
      refused(turns_with("{% for c in m.tool_calls or [] %}"
                         "{{ c.function.name }}{% endfor %}"),
              two),
      "f line 3 messages[1] tool_calls[0].function.arguments: is not written by the "
      "chat template here");
}

TEST(FolderTemplate, ThatLeavesOutAKeyOfOneTurnIsWarnedOf) {
  ordered_json first = assistant("x"), last = assistant("y");
  first["reasoning_content"] = "because";
  first["weight"] = 0;
  last["reasoning_content"] = "hence";
  const Chat row = chat({user("q"), first, user("r"), last});
  const Said partly = said(
      turns_with("{{ m.reasoning_content if loop.last and m.reasoning_content }}"), row);
  EXPECT_THAT(partly.text, HasSubstr("yhence$"));
  EXPECT_THAT(partly.log, HasSubstr("f line 3 messages[1] reasoning_content: is not "
                                    "written by the chat template here in this turn; "
                                    "the chats are learned without it"));
  const Said whole = said(turns_with("{{ m.reasoning_content or '' }}"), row);
  EXPECT_THAT(whole.text, HasSubstr("xbecause$"));
  EXPECT_EQ(whole.log, "");
  EXPECT_THAT(said(turns_with(""), row).log,
              HasSubstr("messages[1] reasoning_content: is not written by the chat "
                        "template here; the chats are learned without it"));
}

TEST(FolderTemplate, ThatDoesNotReadAVariableOfTheRowIsWarnedOf) {
  const Chat row =
      chat({user("q"), assistant("x")}, {{"chat_template_kwargs", {{"mode", "m"}}}});
  EXPECT_THAT(said(kPlain, row).log,
              HasSubstr("f line 3 chat_template_kwargs mode: is not written"));
  EXPECT_EQ(said(turns_with("{{ mode }}"), row).log, "");
}

// As DeepSeek-R1's does. TRL learns what follows the beginning that prompt and chat
// share.
TEST(FolderTemplate, WhosePromptOpensWhatTheChatLacksIsLearnedBehindWhatTheyShare) {
  const std::string r1 =
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<U>{{ m.content }}"
      "{% else %}{% set c = m.content %}{% if '</think>' in c %}"
      "{% set c = c.split('</think>')[-1] %}{% endif %}<A>{{ c + eos_token }}{% endif %}"
      "{% endfor %}{{ '<A><think>\n' if add_generation_prompt }}";
  const Said two =
      said(r1, chat({user("q"), assistant("x"), user("r"), assistant("<b>y")}));
  EXPECT_EQ(two.text, "^<U>q<A>x$<U>r<A><b>y$");
  // The answer's own "<" is not of the prompt.
  EXPECT_EQ(two.labels, ".......x$.......<b>y$.");
  EXPECT_THAT(two.log, HasSubstr("f line 3 messages[1]: the chat template here prompts "
                                 "with \"<think>\\n\", which it leaves out of a whole "
                                 "chat: answers are learned without it"));
  EXPECT_THAT(two.log, testing::Not(HasSubstr("messages[3]")));
  // An answer that keeps its <think> is behind the whole prompt.
  EXPECT_EQ(said(r1, chat({user("q"), assistant("<think>\nx")})).labels,
            "...............x$.");

  const Chat thought = chat({user("q"), assistant("<think>\nwhy</think>x")});
  EXPECT_THAT(refused(r1, thought), HasSubstr("messages[1] content: is written in part"));
  try {
    written(r1, thought);
  } catch (const Error& error) {
    EXPECT_THAT(error.remedy(), HasSubstr("a copy of this one that writes the content"));
    EXPECT_THAT(error.remedy(), testing::Not(HasSubstr("Keep one turn")));
  }
  const Folder folder(r1);
  testing::internal::CaptureStdout();
  const UsedTemplate used = ChatWriter(ChatTemplate::kAuto, folder, kDate).used();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(used.end_of_turn, test::ByteTokenizer::kEos);
}

// Arguments that are JSON in a text.
TEST(FolderTemplate, ThatWritesArgumentsAsTheyAreGetsTheTextOfTheRow) {
  const std::string json = "{ \"b\":1 , \"a\": [] }";  // not as tojson would have it
  const Chat row = chat({user("q"), calling({{"f", json}})});
  const std::string open =
      "{% for c in m.tool_calls or [] %}{% set a = c.function.arguments %}"
      "{{ c.function.name }}";
  const std::string hermes =
      open + "{% if a is string %}{{ a }}{% else %}{{ a|tojson }}{% endif %}{% endfor %}";
  const Said as_it_is = said(turns_with(hermes), row);
  EXPECT_EQ(as_it_is.text, "u:q$a:f" + json + "$");
  EXPECT_EQ(as_it_is.log, "");
  // One that would quote it, and one that needs an object, get what the text says.
  const Said quoting = said(turns_with(open + "{{ a|tojson }}{% endfor %}"), row);
  EXPECT_EQ(quoting.text, "u:q$a:f{\"b\": 1, \"a\": []}$");
  EXPECT_THAT(
      quoting.log,
      HasSubstr("f line 3 messages[1] tool_calls[0].function.arguments: is JSON in "
                "a text, which the chat template here would quote"));
  const std::string items =
      open + "{% for k, v in a.items() %}{{ k }}={{ v }};{% endfor %}{% endfor %}";
  const Said walking = said(turns_with(items), row);
  EXPECT_EQ(walking.text, "u:q$a:fb=1;a=[];$");
  EXPECT_EQ(walking.log, "");
  // "{}" in quotes is not the text as it is.
  EXPECT_EQ(said(turns_with(open + "{{ a|tojson }}{% endfor %}"),
                 chat({user("q"), calling({{"f", "{}"}})}))
                .text,
            "u:q$a:f{}$");

  const Chat bad = chat({user("q"), calling({{"f", "b = 1"}})});
  EXPECT_EQ(said(turns_with(hermes), bad).text, "u:q$a:fb = 1$");
  EXPECT_EQ(refused(turns_with(items), bad),
            "f line 3 messages[1] tool_calls[0].function.arguments: is a text that holds "
            "no JSON object, which the chat template here needs");
}

TEST(FolderTemplate, LearnsNoTurnThatSaysNothing) {
  for (const char* nothing : {"", " \n"}) {
    EXPECT_EQ(refused(kPlain, chat({user("q"), assistant(nothing)})),
              "f line 3 messages[1] content: is empty, and an empty answer would be "
              "learned");
    EXPECT_EQ(refused(kPlain, chat({assistant(nothing), user("q"), assistant("x")})),
              "f line 3 messages[0] content: is empty, and an empty answer would be "
              "learned");
  }
  ordered_json read_only = assistant("");
  read_only["weight"] = 0;
  EXPECT_EQ(refused(kPlain, chat({user("q"), read_only, user("r"), assistant("x")})),
            "nothing");
  EXPECT_EQ(refused(kPlain, chat({user(""), assistant("x")})), "nothing");
  const Chat call = chat({user("q"), calling({{"f", {{"x", "1"}}}})});
  EXPECT_EQ(refused(turns_with("{{ m.tool_calls|tojson if m.tool_calls }}"), call),
            "nothing");
}

// A first turn of the assistant that only calls begins with the call.
TEST(FolderTemplate, LearnsACallThatBeginsTheChat) {
  EXPECT_EQ(said(turns_with("{{ m.tool_calls[0].function.name + '!' + "
                            "m.tool_calls[0].function.arguments.x if m.tool_calls }}"),
                 chat({calling({{"f", {{"x", "1"}}}}), user("q")}))
                .labels,
            ".f!1$.....");
}

TEST(FolderTemplate, ReadsToolsAndCallsAndWhatElseARowGivesIt) {
  constexpr const char* kAll =
      "{{ tools|tojson }}{{ documents|tojson }}{{ mode }}{% for m in messages %}"
      "{{ m.role[0] ~ ':' ~ (m.content or '') ~ (m.tool_calls|tojson if m.tool_calls "
      "else '')"
      " ~ eos_token }}{% endfor %}{{ 'a:' if add_generation_prompt }}";
  ordered_json call = {
      {"role", "assistant"},
      {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", "{}"}}}}}}};
  const Example example =
      written(kAll, chat({user("q"), call}, {{"tools", {{{"z", 1}, {"a", "é"}}}},
                                             {"documents", {{{"text", "d"}}}},
                                             {"chat_template_kwargs", {{"mode", "m"}}}}));
  EXPECT_EQ(test::text_of(example.ids),
            "[{\"z\": 1, \"a\": \"é\"}][{\"text\": \"d\"}]mu:q$a:"
            "[{\"function\": {\"name\": \"f\", \"arguments\": {}}}]$");
  EXPECT_THAT(test::labels_of(example),
              HasSubstr("[{\"function\": {\"name\": \"f\", \"arguments\": {}}}]$"));
}

// Whoever writes a row cannot end a turn, and the template can, with parts of the row
// too.
TEST(FolderTemplate, WritesTokensThatARowCannot) {
  const Example example = written(
      "{% for m in messages %}{{ '<' + m.role[:0] + 'eos>' + m.content + '<eos>' }}"
      "{% endfor %}",
      chat({user("a<eos>b"), assistant("<eo")}));
  EXPECT_EQ(test::text_of(example.ids), "$a<eos>b$$<eo$");
}

TEST(FolderTemplate, IsChosenByItsName) {
  const Folder folder(std::vector<NamedTemplate>{
      {"default", "{% for m in messages %}{{ m.content }};{% endfor %}", "d"},
      {"tool_use",
       "{{ tools|length }}{% for m in messages %}{{ m.content }};{% endfor %}", "t"},
      {"rag", "R{% for m in messages %}{{ m.content }};{% endfor %}", "r"}});
  const auto text = [&](const OrText<ChatTemplate>& choice, const Chat& row) {
    return test::text_of(ChatWriter(choice, folder, kDate).example(row, "row").ids);
  };
  const Chat plain = chat({user("q"), assistant("x")});
  const Chat tools = chat({user("q"), assistant("x")}, {{"tools", {{{"name", "f"}}}}});
  EXPECT_EQ(text(ChatTemplate::kAuto, plain), "q;x;");
  EXPECT_EQ(text(ChatTemplate::kAuto, tools), "1q;x;");
  EXPECT_EQ(text(OrText<ChatTemplate>::of("rag"), plain), "Rq;x;");
  EXPECT_EQ(text(ChatTemplate::kLlama2, plain), "^[INST] q [/INST] x $");
  EXPECT_EQ(ChatWriter(ChatTemplate::kAuto, folder).described(),
            "d, and with tools tool_use of t");
  EXPECT_THAT(
      error_of([&] { text(OrText<ChatTemplate>::of("rug"), plain); }),
      HasSubstr("data.chat_template = rug: is no word, and no template of the model "
                "folder (it has default, tool_use, rag)"));
  const Folder nameless(std::vector<NamedTemplate>{{"rag", "x", "r"}});
  EXPECT_THAT(error_of([&] { ChatWriter(ChatTemplate::kAuto, nameless); }),
              HasSubstr("finds no template default in the model folder, but rag"));
}

TEST(FolderTemplate, IsNotGuessedByMarksInItsText) {
  for (const char* text :
       {"[INST]<<SYS>>{% for m in messages %}{{ m.content }};{% endfor %}",
        "<|user|>{{ eos_token }}{% for m in messages %}{{ m.content }};"
        "{% endfor %}"})
    EXPECT_EQ(
        test::text_of(written(text, chat({user("q"), assistant("x")})).ids).substr(0, 3),
        std::string(text).substr(0, 3));
  EXPECT_EQ(ChatWriter(ChatTemplate::kAuto, test::ByteTokenizer()).described(), "llama2");
  const auto llama3 = open_tokenizer(fixture("tokenizers/byte_level"));
  EXPECT_EQ(ChatWriter(ChatTemplate::kAuto, *llama3).described(), "llama3");
}

TEST(FolderTemplate, SaysTheDayOfTheRun) {
  EXPECT_EQ(test::text_of(written("{{ strftime_now('%d %b %Y') }}{% for m in messages %}"
                                  "{{ m.content }};{% endfor %}",
                                  chat({user("q"), assistant("x")}))
                              .ids),
            "05 Mar 2026q;x;");
  EXPECT_EQ(chat_day("2026-11-29"), "2026-11-29");
  EXPECT_THAT(chat_day("today"),
              testing::MatchesRegex("20[0-9][0-9]-[01][0-9]-[0-3][0-9]"));
}

TEST(FolderTemplate, IsDescribedForWhoeverCarriesIt) {
  const Folder folder(kPlain);
  const UsedTemplate used = ChatWriter(ChatTemplate::kAuto, folder, kDate).used();
  EXPECT_EQ(used.text, kPlain);
  EXPECT_EQ(used.source, "here");
  EXPECT_FALSE(used.built_in);
  EXPECT_EQ(used.end_of_turn, test::ByteTokenizer::kEos);
  const auto llama3 = open_tokenizer(fixture("tokenizers/byte_level"));
  const UsedTemplate built_in = ChatWriter(ChatTemplate::kLlama3, *llama3).used();
  EXPECT_TRUE(built_in.built_in);
  EXPECT_EQ(built_in.end_of_turn, llama3->id_of("<|eot_id|>"));
}

TEST(FolderTemplate, IsReadFromEachOfItsFiles) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "lowmem_chat_template";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(fixture("tokenizers/sentencepiece"), folder);
  const auto found = [&] {
    std::string all;
    const auto tokenizer = open_tokenizer(folder);
    for (const NamedTemplate& each : tokenizer->chat_templates())
      all += each.name + "=" + each.text + ";";
    return all;
  };
  EXPECT_EQ(found(), "");
  nlohmann::json config = read_json(folder / "tokenizer_config.json");
  const auto write = [&](const nlohmann::json& value) {
    config["chat_template"] = value;
    std::ofstream(folder / "tokenizer_config.json") << config;
  };
  write("one");
  EXPECT_EQ(found(), "default=one;");
  write({{{"name", "tool_use"}, {"template", "two"}},
         {{"name", "default"}, {"template", "three"}}});
  EXPECT_EQ(found(), "tool_use=two;default=three;");
  std::ofstream(folder / "chat_template.jinja") << "four";
  EXPECT_EQ(found(), "default=four;");
  std::filesystem::create_directory(folder / "additional_chat_templates");
  std::ofstream(folder / "additional_chat_templates" / "rag.jinja") << "five";
  EXPECT_EQ(found(), "default=four;rag=five;");
  std::filesystem::remove(folder / "chat_template.jinja");
  EXPECT_EQ(found(), "rag=five;");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace lowmem
