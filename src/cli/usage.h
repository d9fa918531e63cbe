#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

// What a command line may say, read from CLI11's description of it. --help, the man page
// and the shell completion are made of the same, so none can lack an option.
namespace lowmem::cli {

// An option or a command, and what it does with its default.
struct Entry {
  std::string term;  // "-c, --config FILE"
  std::string meaning;
};

struct Part {
  std::string title;
  std::vector<Entry> entries;
};

struct Usage {
  std::string about;
  std::vector<std::string> lines;  // "lowmem-train plan [OPTIONS] [KEY=VALUE...]"
  std::vector<Part> parts;         // commands, options by group, exit status, environment
  std::vector<std::string> examples;
};

// Of the program, or of one of its commands.
Usage usage_of(const CLI::App& command);

// Groups of options, in the order in which they are shown: a command's own, those of the
// configuration, and --help, --version and --quiet.
inline constexpr char kOwn[] = "Options", kConfiguration[] = "Configuration",
                      kGeneral[] = "General";

std::vector<const CLI::App*> commands_of(const CLI::App& program);
// Options with a name such as --config, or arguments, which have a place.
std::vector<const CLI::Option*> options_of(const CLI::App& command);
std::vector<const CLI::Option*> arguments_of(const CLI::App& command);

// "-c", "--config"
std::vector<std::string> names_of(const CLI::Option& option);
// The words it takes; empty for a text, a number and a switch.
std::vector<std::string> words_of(const CLI::Option& option);
// What stands for its value: "FILE", "fp32|bf16"; empty for a switch.
std::string value_of(const CLI::Option& option);

// The page of `lowmem-train [COMMAND] --help`, of at most 80 columns.
std::string help_page(const CLI::App& command);

// The man page of the program and all its commands, in roff.
std::string man_page(const CLI::App& program);

// The script that `lowmem-train completion bash` prints.
std::string bash_completion(const CLI::App& program);

}  // namespace lowmem::cli
