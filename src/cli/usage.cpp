#include "usage.h"

#include <algorithm>

namespace lowmem::cli {
namespace {

// Command lines that work as they are, with files of one's own.
struct Example {
  std::string_view command;
  std::string_view line;
};

constexpr Example kExamples[] = {
    {"", "lowmem-train --config configs/lowmem.yaml model.path=models/Llama-3.2-1B"},
    {"", "lowmem-train --config runs/lowmem/config.yaml --resume"},
    {"plan", "lowmem-train plan --config configs/lowmem.yaml --fit 12GiB"},
    {"evaluate",
     "lowmem-train evaluate --config configs/lowmem.yaml --model runs/lowmem/model"},
    {"evaluate", "lowmem-train evaluate --model models/TinyLlama eval.data=val.jsonl"},
    {"data",
     "lowmem-train data --model models/TinyLlama data.train=chats.jsonl --show 1"},
    {"report", "lowmem-train report runs"},
    {"merge",
     "lowmem-train merge runs/lowmem/adapter --model models/TinyLlama --into merged"},
    {"quantize", "lowmem-train quantize models/TinyLlama --as nf4 --into models/nf4"},
    {"init", "lowmem-train init config.json models/random --dtype fp32"},
    {"demo", "lowmem-train demo demo"},
    {"completion", "source <(lowmem-train completion bash)"},
    {"manual", "lowmem-train manual man | man -l -"},
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (const std::string& part : parts) (text += text.empty() ? "" : between) += part;
  return text;
}

std::string sentence(std::string text) {
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text.ends_with('.') ? text : text + ".";
}

bool is_program(const CLI::App& command) { return command.get_parent() == nullptr; }

// As a usage line has it: "DIR", "[KEY=VALUE...]".
std::string argument(const CLI::Option& option) {
  const std::string value = value_of(option);
  std::string name = value.find('=') == std::string::npos ? option.get_name(true) : value;
  if (option.get_items_expected_max() > 1) name += "...";
  return option.get_required() ? name : "[" + name + "]";
}

std::string usage_line(const CLI::App& command) {
  std::string line = "lowmem-train ";
  if (!is_program(command)) line += command.get_name() + " ";
  line += "[OPTIONS]";
  for (const CLI::Option* option : arguments_of(command)) line += " " + argument(*option);
  return line;
}

std::string meaning_of(const CLI::Option& option) {
  const std::string& text = option.get_description();
  const std::string value = option.get_default_str();
  if (value.empty() || text.find("default") != std::string::npos) return text;
  return text + " (default " + value + ")";
}

Part arguments_part(const CLI::App& command) {
  Part part{"Arguments", {}};
  for (const CLI::Option* option : arguments_of(command)) {
    const std::vector<std::string> words = words_of(*option);
    part.entries.push_back(
        {argument(*option),
         meaning_of(*option) + (words.empty() ? "" : ": " + joined(words, ", "))});
  }
  return part;
}

std::vector<Part> option_parts(const CLI::App& command) {
  std::vector<Part> parts;
  for (const CLI::Option* option : options_of(command)) {
    const std::string& group = option->get_group();
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const Part& p) { return p.title == group; });
    if (part == parts.end()) part = parts.insert(parts.end(), Part{group, {}});
    const std::string value = value_of(*option);
    part->entries.push_back(
        {joined(names_of(*option), ", ") + (value.empty() ? "" : " " + value),
         meaning_of(*option)});
  }
  const auto rank = [](const Part& part) {
    return part.title == kGeneral ? 2 : part.title == kConfiguration ? 1 : 0;
  };
  std::stable_sort(parts.begin(), parts.end(),
                   [&](const Part& a, const Part& b) { return rank(a) < rank(b); });
  return parts;
}

Part exit_status(bool trains) {
  Part part{
      "Exit status",
      {{"0", "done"}, {"1", "not done: a line \"error: ...\" names cause and remedy"}}};
  if (trains)
    part.entries.push_back({"129, 130, 138, 140, 143, 152",
                            "stopped by SIGHUP, Ctrl-C, SIGUSR1, SIGUSR2, SIGTERM or "
                            "SIGXCPU; from the first step on, after a checkpoint was "
                            "written for --resume"});
  return part;
}

Part environment() {
  return {"Environment",
          {{"OMP_NUM_THREADS", "threads to compute with (default: one a core)"},
           {"OMP_WAIT_POLICY",
            "passive: threads sleep while they wait, which is better "
            "where the machine does other work"},
           {"LOWMEM_TORCH", "folder of LibTorch, for the installed program"}}};
}

}  // namespace

std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  return command.get_options(
      [](const CLI::Option* option) { return option->nonpositional(); });
}

std::vector<const CLI::Option*> arguments_of(const CLI::App& command) {
  return command.get_options(
      [](const CLI::Option* option) { return option->get_positional(); });
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<std::string> words_of(const CLI::Option& option) {
  std::string type = option.get_type_name();
  const size_t open = type.find('{');  // "TEXT:{fp32,bf16}" of CLI::IsMember
  if (open != std::string::npos)
    return split(type.substr(open + 1, type.find('}') - open - 1), ',');
  if (type.find('|') != std::string::npos) return split(type, '|');
  return {};
}

std::string value_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  const std::vector<std::string> words = words_of(option);
  if (!words.empty()) return joined(words, "|");
  std::string type = option.get_type_name();
  type.resize(std::min(type.find(':'), type.size()));  // a check's name follows
  return type == "INT" || type == "UINT" ? "N" : type;
}

Usage usage_of(const CLI::App& command) {
  Usage usage{sentence(command.get_description()), {usage_line(command)}, {}, {}};
  const bool program = is_program(command);
  if (program) {
    usage.lines.emplace_back("lowmem-train COMMAND [OPTIONS] ...");
    Part commands{"Commands", {}};
    for (const CLI::App* each : commands_of(command))
      commands.entries.push_back({each->get_name(), each->get_description()});
    usage.parts.push_back(std::move(commands));
  }
  usage.parts.push_back(arguments_part(command));
  for (Part& part : option_parts(command)) usage.parts.push_back(std::move(part));
  usage.parts.push_back(exit_status(program));
  if (program) usage.parts.push_back(environment());
  std::erase_if(usage.parts, [](const Part& part) { return part.entries.empty(); });
  for (const Example& example : kExamples)
    if (example.command == (program ? "" : command.get_name()))
      usage.examples.emplace_back(example.line);
  return usage;
}

}  // namespace lowmem::cli
