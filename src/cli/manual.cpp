// The manual as the program knows it, for those who read it elsewhere than in --help.
#include <cstdio>

#include "commands.h"
#include "lowmem/config/help.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

}  // namespace

void add_completion(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("completion", "print a script that completes command lines");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "the shell it is for")
      ->required()
      ->check(CLI::IsMember({"bash"}));
  command->callback([&app, shell] { print(bash_completion(app)); });
}

void add_manual(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "manual", "print the man page, or the tables of configuration keys in Markdown");
  auto form = std::make_shared<std::string>();
  command->add_option("FORM", *form, "what to print")
      ->required()
      ->check(CLI::IsMember({"man", "keys"}));
  command->callback(
      [&app, form] { print(*form == "man" ? man_page(app) : config_markdown()); });
}

}  // namespace lowmem::cli
