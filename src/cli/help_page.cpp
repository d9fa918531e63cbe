#include "lowmem/config/help.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

constexpr size_t kMeaningColumn = 30;

std::string line_of(const Entry& entry) {
  std::string line = "  " + entry.term;
  if (line.size() + 2 > kMeaningColumn)
    line += "\n" + std::string(kMeaningColumn, ' ');
  else
    line.resize(kMeaningColumn, ' ');
  return line + wrapped(entry.meaning, kMeaningColumn, kMeaningColumn) + "\n";
}

}  // namespace

std::string help_page(const CLI::App& command) {
  const Usage usage = usage_of(command);
  std::string page = wrapped(usage.about, 0, 0) + "\n\n";
  for (size_t i = 0; i < usage.lines.size(); ++i)
    page += (i == 0 ? "Usage: " : "       ") + usage.lines[i] + "\n";
  for (const Part& part : usage.parts) {
    page += "\n" + part.title + ":\n";
    for (const Entry& entry : part.entries) page += line_of(entry);
  }
  page += usage.examples.size() == 1 ? "\nExample:\n" : "\nExamples:\n";
  for (const std::string& example : usage.examples) page += "  " + example + "\n";
  if (command.get_parent() != nullptr) return page;
  return page +
         "\nConfiguration keys with their defaults, for the YAML file and as "
         "KEY=VALUE:\n\n" +
         config_help();
}

}  // namespace lowmem::cli
