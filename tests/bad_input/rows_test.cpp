// JSONL rows: the file and line are named, whether they are trained or evaluated on.
#include <filesystem>

#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

constexpr const char* kFile = "train.jsonl";
constexpr const char* kThird = "train.jsonl line 3";

// The training rows with the third one changed as bytes.
Damage third_line(const std::string& name, std::function<void(std::string&)> edit,
                  const std::string& thing, const std::string& problem) {
  const auto make = [edit](const Inputs& inputs) {
    std::string text = inputs.read(kFile);
    const size_t begin = text.find('\n', text.find('\n') + 1) + 1;
    const size_t end = text.find('\n', begin);
    std::string line = text.substr(begin, end - begin);
    edit(line);
    inputs.write(kFile, text.substr(0, begin) + line + text.substr(end));
    return Arguments();
  };
  return {name, make, thing, problem};
}

Damage third_row(const std::string& name, std::function<void(json&)> edit,
                 const std::string& key, const std::string& problem) {
  const auto on_line = [edit](std::string& line) {
    json row = json::parse(line);
    edit(row);
    line = row.dump();
  };
  return third_line(name, on_line, kThird + (key.empty() ? "" : " " + key), problem);
}

Damage third_key(const std::string& name, const std::string& key, const json& value,
                 const std::string& problem) {
  return third_row(
      name, [=](json& row) { row[key] = value; }, key, problem);
}

Damage evaluated(Damage damage, const std::string& name) {
  damage.name = name;
  damage.thing.replace(damage.thing.find("train"), 5, "val");
  const auto make = damage.make;
  damage.make = [make](const Inputs& inputs) {
    make(inputs);
    std::filesystem::rename(inputs.at(kFile), inputs.at("val.jsonl"));
    return Arguments();
  };
  damage.command = Damage::Command::kEvaluate;
  return damage;
}

std::vector<Damage> damaged_rows() {
  const std::string label = "is not a number from 0 to 3";
  const std::string endings = "is not a list of four strings";
  const std::string not_json = "is not valid JSON";
  const Damage text_as_label = third_key("LabelIsText", "label", "two", label);
  const Damage not_utf8 = third_line(
      "RowNotUtf8", [](auto& line) { line.insert(20, "\xC3\x28"); }, kThird,
      "is not UTF-8");
  return {
      text_as_label,
      not_utf8,
      evaluated(text_as_label, "EvaluatedLabelIsText"),
      evaluated(not_utf8, "EvaluatedRowNotUtf8"),
      third_line(
          "RowCutShort", [](auto& line) { line.resize(30); }, kThird, not_json),
      third_line(
          "RowHoldsNan", [](auto& line) { line = "{\"label\": NaN}"; }, kThird, not_json),
      third_line(
          "RowHoldsZeroByte", [](auto& line) { line += std::string("\0x", 2); }, kThird,
          "holds a NUL byte"),
      third_line(
          "NumberBeyondDoubleInRow", [](auto& line) { line.insert(1, "\"x\": 1e999, "); },
          kThird, "holds a number beyond 1e308"),
      third_line(
          "LoneSurrogate", [](auto& line) { line.insert(1, "\"x\": \"\\ud800\", "); },
          kThird, not_json),
      third_line(
          "RowIsAList", [](auto& line) { line = "[" + line + "]"; }, kThird,
          "is not a JSON object"),
      third_line(
          "RowOf17MiB", [](auto& line) { line.append(17 << 20, ' '); }, kThird,
          "is longer than 16.0 MiB"),
      third_line(
          "RowOfBrackets",
          [](auto& line) { line = "{\"ctx\":" + std::string(9'000'000, '['); }, kThird,
          "is nested deeper than 32"),
      third_row(
          "ContextMissing",
          [](json& row) {
            row.erase("ctx");
            row.erase("ctx_a");
          },
          "ctx", "is missing, and so is ctx_a"),
      third_key("ContextIsAList", "ctx", {"a", "b"}, "is not a string"),
      third_row(
          "EndingsMissing", [](json& row) { row.erase("endings"); }, "endings", endings),
      third_key("ThreeEndings", "endings", {"a", "b", "c"}, endings),
      third_row(
          "LabelMissing", [](json& row) { row.erase("label"); }, "label", "is missing"),
      third_key("LabelFour", "label", 4, label),
      third_key("LabelNegative", "label", -1, label),
      third_key("LabelIs2To64", "label", UINT64_MAX, label),
      evaluated(third_row(
                    "", [](json& row) { row.erase("activity_label"); }, "activity_label",
                    "is missing, which the question begins with"),
                "EvaluatedActivityLabelMissing"),
  };
}
LOWMEM_DAMAGES(Rows, damaged_rows());

// Rows like `good` in the place of the training rows, the third of them damaged.
Damage third_of(const std::string& name, const json& good, const std::string& bad,
                const std::string& key, const std::string& problem) {
  const std::string line = good.dump() + "\n";
  return damaged_file(name, kFile, line + line + bad + "\n" + line,
                      kThird + (key.empty() ? "" : " " + key), problem);
}

json turn(const json& role, const json& content) {
  return {{"role", role}, {"content", content}};
}

std::vector<Damage> damaged_rows_of_other_formats() {
  const json text = {{"text", "one two"}};
  const json pair = {{"prompt", "one "}, {"completion", "two"}};
  const json chat = {{"messages", {turn("user", "one"), turn("assistant", "two")}}};
  const auto chat_of = [](const std::vector<json>& turns) {
    return json{{"messages", turns}}.dump();
  };
  return {
      third_of("TextMissing", text, R"({"txt": "one"})", "text", "is missing"),
      third_of("TextNull", text, R"({"text": null})", "text", "is missing"),
      third_of("TextEmpty", text, R"({"text": ""})", "text", "is empty"),
      third_of("TextIsAList", text, R"({"text": ["one"]})", "text", "is not a string"),
      third_of("PromptMissing", pair, R"({"completion": "two"})", "prompt", "is missing"),
      third_of("PromptIsANumber", pair, R"({"prompt": 1, "completion": "two"})", "prompt",
               "is not a string"),
      third_of("PromptTwice", pair,
               R"({"prompt": "one", "question": "one", "completion": "two"})", "",
               "has two prompts, prompt and question"),
      third_of("CompletionMissing", pair, R"({"prompt": "one"})", "completion",
               "is missing"),
      third_of("CompletionEmpty", pair, R"({"prompt": "one", "completion": ""})",
               "completion", "is empty"),
      third_of("AnswerOfAnInstructionMissing", pair,
               R"({"instruction": "one", "input": "", "completion": "two"})", "output",
               "is missing"),
      third_of("MessagesMissing", chat, R"({"turns": []})", "messages", "is missing"),
      third_of("MessagesEmpty", chat, chat_of({}), "messages", "is not a list of turns"),
      third_of("MessagesAreAnObject", chat,
               json{{"messages", turn("user", "one")}}.dump(), "messages",
               "is not a list of turns"),
      third_of("MessageIsText", chat, chat_of({"one"}), "messages[0]",
               "is not an object"),
      third_of("RoleUnknown", chat, chat_of({turn("robot", "one")}),
               "messages[0] role = \"robot\"",
               "is none of system, user, assistant and tool"),
      third_of("RoleIsANumber", chat, chat_of({turn(1, "one")}), "messages[0] role",
               "is not a string"),
      third_of("ContentMissing", chat, R"({"messages": [{"role": "user"}]})",
               "messages[0] content", "is missing"),
      third_of("ContentIsAList", chat, chat_of({turn("user", {"one"})}),
               "messages[0] content", "is not a string"),
      third_of("NoTurnOfTheAssistant", chat, chat_of({turn("user", "one")}), "messages",
               "has no turn of the assistant to learn"),
      third_of("TurnOfTheUserToLearn", chat,
               R"({"messages": [{"role": "user", "content": "one", "train": true},)"
               R"({"role": "assistant", "content": "two"}]})",
               "messages[0] train", "asks to learn a turn of the user"),
      third_of("EmptyAnswer", chat, chat_of({turn("user", "one"), turn("assistant", "")}),
               "messages[1] content", "is empty, and an empty answer would be learned"),
      third_of("TwoListsOfTurns", chat,
               json{{"messages", chat["messages"]}, {"conversations", chat["messages"]}}
                   .dump(),
               "", "has two lists of turns, messages and conversations"),
      third_of("PromptOfTurnsAndATextToComplete", chat,
               json{{"prompt", {turn("user", "one")}}, {"completion", "two"}}.dump(),
               "completion", "is a text, and the other of the two is a list of turns"),
      third_of(
          "TwoTurnsOfTheUser", chat,
          chat_of({turn("user", "one"), turn("user", "one"), turn("assistant", "two")}),
          "", "turn 2 is the user's, where the template llama2 has the assistant's"),
      third_of("LateSystemTurn", chat,
               chat_of({turn("user", "one"), turn("system", "two"),
                        turn("assistant", "three")}),
               "", "turn 2 is the system's, where"),
      damaged_file("RowsOfNoFormat", kFile, "{\"body\": \"one\"}\n", "train.jsonl line 1",
                   "has keys of no format (its keys: \"body\")"),
      damaged_file("RowsOfTwoFormats", kFile, "{\"text\": \"one\", \"messages\": []}\n",
                   "train.jsonl line 1",
                   "has keys of two formats, text of text and messages of chat"),
      {"ChatsOfATokenizerWithoutTheTokens",
       [=](const Inputs& inputs) {
         inputs.write(kFile, chat.dump() + "\n");
         return Arguments{"data.chat_template=llama3"};
       },
       "the tokenizer", "has no token <|start_header_id|>, which data.chat_template"},
      {"ChatsOfAFolderWhoseTemplateIsNone",
       [=](const Inputs& inputs) {
         json tokenizer = inputs.json("model/tokenizer_config.json");
         tokenizer["chat_template"] = "{{ '<|im_start|>' }}\n{% if x";
         inputs.write("model/tokenizer_config.json", tokenizer.dump());
         inputs.write(kFile, chat.dump() + "\n");
         return Arguments();
       },
       "tokenizer_config.json chat_template line 2", "has a block without an end"},
      damaged_json(
          "ChatTemplateIsANumber", "model/tokenizer_config.json",
          [](json& file) { file["chat_template"] = 1; },
          "tokenizer_config.json chat_template", "is not a string"),
      evaluated(third_of("", text, R"({"text": 1})", "text", "is not a string"),
                "EvaluatedTextIsANumber"),
  };
}
LOWMEM_DAMAGES(RowsOfOtherFormats, damaged_rows_of_other_formats());

std::vector<Damage> damaged_row_files() {
  const std::string device = "is a pipe, device or socket";
  const auto in_evaluation = [](Damage damage) {
    damage.command = Damage::Command::kEvaluate;
    return damage;
  };
  return {
      damaged_file("RowsEmpty", kFile, "", kFile, "has no rows"),
      damaged_file("RowsBlank", kFile, "\n \t\r\n\n", kFile, "has no rows"),
      damaged_file("RowsAreAJsonList", kFile, "[\n{}\n]\n", "train.jsonl line 1",
                   "is not valid JSON"),
      damaged_file("RowsAreGzip", kFile, std::string("\x1F\x8B\x08\0\0", 5),
                   "train.jsonl line 1", "is not UTF-8"),
      wrong_arguments("RowsMissing", {"data.train=/nowhere.jsonl"}, "/nowhere.jsonl",
                      "cannot be read (No such file or directory)"),
      wrong_arguments("RowsNotGiven", {"data.train=[]"}, "data.train", "is empty"),
      wrong_arguments("RowsAreAFolder", {"data.train=/tmp"}, "/tmp", "is a folder"),
      wrong_arguments("RowsAreEndlessZeros", {"data.train=/dev/zero"}, "/dev/zero",
                      device),
      {"RowsAreAPipe",
       [](const Inputs& inputs) {
         inputs.make_pipe(kFile);
         return Arguments();
       },
       kFile, device},
      in_evaluation(wrong_arguments("EvaluatedRowsAreEndless", {"eval.data=/dev/zero"},
                                    "/dev/zero", device)),
      {"AllRowsBadWhereBadOnesAreSkipped",
       [](const Inputs& inputs) {
         inputs.write(kFile, "{}\nnot json\n");
         return Arguments{"data.on_bad_row=skip"};
       },
       kFile, "has no row that can be read; of 2 bad ones the first"},
      wrong_arguments("RowsOfTwoTokens", {"data.max_length=2"}, "data.train",
                      "has no row to train on"),
  };
}
LOWMEM_DAMAGES(RowFiles, damaged_row_files());

}  // namespace
}  // namespace lowmem::test
