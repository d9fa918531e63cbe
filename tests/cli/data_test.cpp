// Texts, prompts and chats through the program: `data`, training on them, perplexity.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::Not;
namespace fs = std::filesystem;

class Data : public DemoProgram {
 protected:
  static std::string write(const std::string& name, const std::string& rows) {
    std::ofstream(folder() / name) << rows;
    return at(name);
  }
  static std::string text_rows() {
    return write("texts.jsonl",
                 "{\"text\": \"A man bakes the dough slowly.\"}\n"
                 "{\"text\": \"A woman slices the loaf.\\nThen she smiles.\"}\n");
  }
  static std::string prompt_rows() {
    return write("prompts.jsonl", R"({"prompt": "A man", "completion": " bakes."})");
  }
  static std::string chat_rows() {
    return write("chats.jsonl",
                 R"({"messages": [{"role": "user", "content": "A man </s>"},)"
                 R"( {"role": "assistant", "content": "bakes"}]})");
  }
  static Outcome show(const std::string& arguments) {
    return run_program("data --quiet model.path=" + at("model") + " " + arguments);
  }
  // Numbers of the lines "name number".
  static std::map<std::string, double> numbers(const std::string& output) {
    std::map<std::string, double> found;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);)
      if (const size_t space = line.find(' ');
          space != std::string::npos && std::islower(line.front()))
        found[line.substr(0, space)] = std::atof(line.c_str() + space);
    return found;
  }
};

TEST_F(Data, ShowsLearnedTokensInBrackets) {
  EXPECT_THAT(show("data.train=" + prompt_rows()).output,
              HasSubstr("<s>|A| man|[ bakes]|[.]|[</s>]\n"));
  const Outcome chat = show("data.train=" + chat_rows());
  EXPECT_THAT(chat.output, HasSubstr("<s>|\\[|I|N|S|T|\\]|"));
  EXPECT_THAT(chat.output, HasSubstr("]|[ ]|[</s>]\n"));
  EXPECT_THAT(chat.output, HasSubstr("|<|/|s|>|"));  // of the user's text
  const Outcome text = show("data.train=" + text_rows());
  EXPECT_THAT(text.output, HasSubstr("<s>|[A]|[ man]|[ bakes]"));
  EXPECT_THAT(text.output, HasSubstr("[\\n]"));
  EXPECT_THAT(text.output, Not(HasSubstr("\x1b")));
}

TEST_F(Data, ColoursThemOnATerminal) {
  const Outcome outcome = run_command("script -qec '" + std::string(LOWMEM_TRAIN) +
                                      " data model.path=" + at("model") +
                                      " data.train=" + prompt_rows() + "' /dev/null");
  if (outcome.status == 127) GTEST_SKIP() << "needs the program script";
  EXPECT_THAT(outcome.output, HasSubstr("\x1b[32m[ bakes]\x1b[0m"));
}

TEST_F(Data, ShowsAPieceWithTheTokenThatFollowsIt) {
  const Outcome outcome =
      show("data.train=" + text_rows() + " data.max_length=4 --show 1");
  EXPECT_THAT(outcome.output, HasSubstr("<s>|[A]|[ man]|[ bakes] -> [ the]\n"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("[ woman]")));
}

TEST_F(Data, CountsRowsOfSeveralFilesAndFormats) {
  const std::string files = "data.train=[" + text_rows() + "," + prompt_rows() + "," +
                            chat_rows() + "," + at("val.jsonl") + "]";
  const auto whole = numbers(show("--show 0 " + files).output);
  EXPECT_EQ(whole.at("rows"), 404);
  EXPECT_EQ(whole.at("sequences"), 404);
  EXPECT_EQ(whole.at("cut") + whole.at("split") + whole.at("dropped"), 0);
  EXPECT_LT(whole.at("labelled_tokens"), whole.at("tokens"));

  const auto cut = numbers(show("--show 0 data.max_length=6 " + files).output);
  EXPECT_EQ(cut.at("longest"), 6);
  EXPECT_EQ(cut.at("split"), 2);
  EXPECT_EQ(cut.at("cut"), 402 - 1);  // all but the prompt, which has six tokens
  EXPECT_GT(cut.at("dropped"), 300);

  const auto dropped =
      numbers(show("--show 0 data.max_length=6 data.long=drop " + files).output);
  EXPECT_EQ(dropped.at("sequences"), 1);
  EXPECT_EQ(dropped.at("dropped"), 403);
}

TEST_F(Data, NeedsNoWeights) {
  const fs::path bare = folder() / "bare";
  fs::create_directories(bare);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy(fs::path(at("model")) / name, bare / name,
             fs::copy_options::overwrite_existing);
  const Outcome outcome =
      run_program("data model.path=" + bare.string() + " data.train=" + text_rows());
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

// A folder's own template, whatever marks its text holds.
TEST_F(Data, WritesChatsByTheFoldersOwnTemplate) {
  const auto folder_with = [&](const std::string& name, const std::string& jinja) {
    const fs::path model = folder() / name;
    fs::create_directories(model);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
      fs::copy(fs::path(at("model")) / file, model / file,
               fs::copy_options::overwrite_existing);
    std::ofstream(model / "chat_template.jinja") << jinja;
    return model.string();
  };
  const auto shown = [&](const std::string& model) {
    return run_program(
        "data model.path=" + model + " data.chat_date=2026-03-05 data.train=" +
        write("one.jsonl", R"({"messages": [{"role": "user", "content": "A man"},)"
                           R"( {"role": "assistant", "content": "bakes"}]})"));
  };
  // Always a system turn with two dates, as Llama 3.1 has it.
  const Outcome dated =
      shown(folder_with("dated",
                        "{{ bos_token }}<|start_header_id|>Knowledge Date: then\nToday: "
                        "{{ strftime_now('%d %b %Y') }}<|eot_id|>{% for m in messages %}"
                        "{{ m.role + ':' + m.content + eos_token }}{% endfor %}"));
  EXPECT_EQ(dated.status, 0) << dated.output;
  std::string text = dated.output;
  text.erase(std::remove(text.begin(), text.end(), '|'), text.end());
  EXPECT_THAT(text, HasSubstr("Knowledge Date: then\\nToday: 05 Mar 2026"));
  EXPECT_THAT(dated.output, HasSubstr("one.jsonl holds chat rows, written as "));
  EXPECT_THAT(dated.output, HasSubstr("dated/chat_template.jinja"));
  // One for a judge of chats: it prompts behind the whole chat, and so learns nothing of
  // it.
  const Outcome guard = shown(folder_with(
      "guard",
      "<|start_header_id|>user<|end_header_id|>[INST] <<SYS>> Decide whether it is "
      "safe.{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>"));
  EXPECT_EQ(guard.status, 1);
  EXPECT_THAT(guard.output,
              HasSubstr("messages[1]: is written in another way by the chat "
                        "template"));
}

TEST_F(Data, RefusesATemplateWhereNoFileHoldsChats) {
  const Outcome outcome =
      show("data.format=text data.chat_template=llama3 data.train=" + text_rows());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output,
              HasSubstr("data.chat_template = llama3: is for chats, and no file may"));
}

TEST_F(Data, NamesARowOfNoFormat) {
  const Outcome outcome =
      show("data.train=" + write("other.jsonl", "{\"title\": 1, \"body\": 2}"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("other.jsonl line 1: has keys of no format"));
  EXPECT_THAT(outcome.output, HasSubstr("\"body\", \"title\""));
  EXPECT_THAT(outcome.output, HasSubstr("hellaswag (ctx, endings, label)"));
}

TEST_F(Data, NamesARowOfAnotherFormatThanItsFile) {
  const std::string file = write(
      "mixed.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n{\"text\": \"t\"}\n");
  const Outcome outcome = show("data.train=" + file);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("mixed.jsonl line 2: is a row of text, and the "
                                        "file is read as prompt_completion"));
  EXPECT_THAT(show("data.on_bad_row=skip data.train=" + file).output,
              HasSubstr("line 2 is a row of text"));
}

class OtherData : public Data {};

TEST_F(OtherData, IsTrainedOnAndItsPerplexityFalls) {
  const Outcome run = run_program(
      quick("texts") + "data.train=[" + text_rows() + "," + prompt_rows() + "," +
      chat_rows() + "] train.epochs=10 train.max_steps=20 eval.every=10 " +
      "eval.data=[" + at("texts.jsonl") + "," + at("val.jsonl") + "] eval.limit=20");
  ASSERT_EQ(run.status, 0) << run.output;
  const json found = results("texts");
  const json& perplexity = found["perplexity"];
  EXPECT_LT(perplexity["after"]["perplexity"].get<double>(),
            0.5 * perplexity["before"]["perplexity"].get<double>());
  EXPECT_EQ(perplexity["epochs"].size(), 1u);
  for (const char* when : {"before", "after"}) {
    EXPECT_EQ(perplexity[when]["tokens"], perplexity["before"]["tokens"]);
    EXPECT_NEAR(perplexity[when]["perplexity"].get<double>(),
                std::exp(perplexity[when]["loss"].get<double>()), 1e-6);
    EXPECT_EQ(found["accuracy"][when]["count"], 20);
  }
  EXPECT_THAT(run.output, HasSubstr("chats.jsonl holds chat rows, written as llama2"));

  const Outcome evaluated = run_program(
      "evaluate --quiet model.path=" + (folder_of("texts") / "model").string() +
      " model.dtype=fp32 model.compute_dtype=fp32 eval.data=" + at("texts.jsonl"));
  ASSERT_EQ(evaluated.status, 0) << evaluated.output;
  const auto said = numbers(evaluated.output);
  EXPECT_NEAR(said.at("loss"), perplexity["after"]["loss"].get<double>(), 1e-4);
  EXPECT_EQ(said.at("tokens"), perplexity["after"]["tokens"].get<double>());
  EXPECT_GT(said.at("perplexity"), 1);
  EXPECT_EQ(said.count("acc"), 0u);
}

TEST_F(OtherData, WithoutHellaSwagHasNoAccuracy) {
  const Outcome run = run_program(quick("alone") + "data.train=" + text_rows() +
                                  " eval.data=" + at("texts.jsonl"));
  ASSERT_EQ(run.status, 0) << run.output;
  EXPECT_TRUE(results("alone")["accuracy"]["before"].is_null());
  EXPECT_TRUE(results("alone")["accuracy"]["epochs"].empty());
  EXPECT_FALSE(results("alone")["perplexity"]["after"].is_null());
  EXPECT_FALSE(fs::exists(folder_of("alone") / "evaluation-0.jsonl"));
}

// All tokens of long texts are labelled: the most that a token can ask for.
TEST_F(OtherData, IsEvaluatedBelowTheTrainingPeak) {
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    std::string text;
    for (int k = 0; k < 40; ++k) text += " the man bakes the dough " + std::to_string(i);
    rows += json{{"text", text}}.dump() + "\n";
  }
  const std::string file = write("long.jsonl", rows);
  for (const std::string settings :
       {"model.dtype=bf16 model.compute_dtype=bf16 optimizer.name=adafactor "
        "memory.activations=recompute memory.gradients=update",
        "memory.activations=keep memory.gradients=accumulate"}) {
    const Outcome run =
        run_program(quick("peaks") + "run.overwrite=true train.batch_size=16 " +
                    settings + " data.train=" + file + " eval.data=" + file);
    ASSERT_EQ(run.status, 0) << run.output;
    const json peaks = results("peaks")["peak_bytes"];
    const int64_t training = training_peak(peaks);
    EXPECT_LT(peaks["evaluate"].get<int64_t>(), training) << settings;
  }
}

TEST_F(OtherData, HasNoRowsForTheRowsOption) {
  const Outcome outcome = run_program("evaluate model.path=" + at("model") +
                                      " eval.data=" + text_rows() + " --rows rows.jsonl");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("is for HellaSwag rows, and eval.data has none"));
}

TEST_F(OtherData, IsCutWithAWord) {
  const std::string words = "evaluate model.path=" + at("model") + " ";
  EXPECT_THAT(run_program(words + "data.max_length=3 eval.data=" + text_rows()).output,
              HasSubstr("read 2 evaluation rows, 2 split at every 3: 8 sequences\n"));
  std::string ending;
  for (int i = 0; i < 300; ++i) ending += "dough ";
  const std::string long_row =
      write("long.jsonl", R"({"activity_label": "Baking", "ctx": "A man", "label": 0, )"
                          R"("endings": ["bakes.", ")" +
                              ending + R"(", "is.", "has."]})" + "\n");
  EXPECT_THAT(run_program(words + "eval.data=" + long_row).output,
              HasSubstr("cut the beginning of 1 HellaSwag row with more than"));
}

TEST_F(OtherData, IsCutWhereTheModelEnds) {
  const std::string row = write("ends.jsonl", R"({"prompt": ")" + std::string(900, 'x') +
                                                  R"(", "completion": "bakes"})"
                                                  "\n" +
                                                  R"({"prompt": "A", "completion": ")" +
                                                  std::string(900, 'x') + "\"}\n");
  const Outcome outcome = run_program("data model.path=" + at("model") +
                                      " data.max_length=1024 data.train=" + row);
  EXPECT_THAT(outcome.output, HasSubstr("cut at 256 tokens (the model has no more"));
  EXPECT_THAT(outcome.output, HasSubstr("256 tokens; the model has no more positions"));
}

TEST_F(OtherData, OfAnotherFormIsToldSo) {
  for (const std::string text : {"prompt,completion\nA,B\n", "{\n  \"text\": \"A\"\n}\n",
                                 "\n  {\n  \"text\": \"A\"\n}\n"}) {
    const Outcome outcome = run_program("data model.path=" + at("model") +
                                        " data.train=" + write("table.jsonl", text));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.output, HasSubstr("Write JSONL: one object a line"));
  }
  for (const std::string text :
       {"\xEF\xBB\xBF{\"text\": \"A\" \"B\"}\n", " {\"text\": }\n"}) {
    const Outcome outcome = run_program("data model.path=" + at("model") +
                                        " data.train=" + write("table.jsonl", text));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.output, HasSubstr("Repair or remove the line"));
  }
}

TEST_F(OtherData, IsNotReplacedByTheRowsOption) {
  const std::string before = read_file(at("val.jsonl"));
  const Outcome outcome =
      run_program("evaluate model.path=" + at("model") + " eval.data=" + at("val.jsonl") +
                  " eval.limit=2 --rows " + at("val.jsonl"));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("is there, and is not what --rows writes"));
  EXPECT_EQ(read_file(at("val.jsonl")), before);
}

}  // namespace
}  // namespace lowmem::test
