#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lowmem::cli {

// What the command line says of a configuration: a file, short flags and overrides,
// applied in that order.
struct ConfigOptions {
  std::string file;
  std::vector<std::pair<std::string, std::string>> flags;  // key and value
  std::vector<std::string> overrides;                      // section.key=value
};

// Each adds its options to `app` and returns nothing: the command runs when CLI11 has
// parsed the line, and throws lowmem::Error for what a user can mend. One file a command.
void add_train(CLI::App& app);  // the default command
void add_plan(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_data(CLI::App& app);
void add_init(CLI::App& app);
void add_demo(CLI::App& app);
void add_merge(CLI::App& app);
void add_quantize(CLI::App& app);
void add_report(CLI::App& app);
void add_completion(CLI::App& app);
void add_manual(CLI::App& app);

}  // namespace lowmem::cli
