#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "commands.h"
#include "lowmem/core/error.h"
#include "lowmem/core/last_resort.h"
#include "lowmem/core/log.h"
#include "lowmem/core/version.h"
#include "lowmem/memory/meter.h"
#include "usage.h"

namespace lowmem::cli {
namespace {

// What stands before a command belongs to training, and would be lost.
void refuse_what_precedes(const CLI::App& app) {
  if (app.get_subcommands().empty()) return;
  const CLI::App* command = app.get_subcommands().front();
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0 && option->get_group() != kGeneral)
      throw Error(
          option->get_positional() ? option->results().front() : option->get_name(),
          "stands before the command " + command->get_name(),
          command->get_option_no_throw(option->get_name()) != nullptr
              ? "Write it after the command's name"
              : "Leave it out: " + command->get_name() + " has no such argument");
}

// The page that lists what the failed command line could have had.
std::string help_of(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return app.get_name() + (commands.empty() ? "" : " " + commands.front()->get_name()) +
         " --help";
}

int run(int argc, char** argv) {
  CLI::App app(
      "Fine-tunes all weights of a Llama in little more memory than the weights.",
      "lowmem-train");
  app.set_version_flag("--version", version(), "print the version");
  app.set_help_flag("--help,-h", "print this page");
  // Commands take help flag and formatter from here.
  app.formatter_fn([](const CLI::App* command, const std::string&, CLI::AppFormatMode) {
    return help_page(*command);
  });
  bool quiet = false;
  app.parse_complete_callback([&] {
    log::set_up(quiet);
    refuse_what_precedes(app);
  });
  app.require_subcommand(0, 1);
  add_train(app);
  add_plan(app);
  add_evaluate(app);
  add_data(app);
  add_report(app);
  add_merge(app);
  add_quantize(app);
  add_init(app);
  add_demo(app);
  add_completion(app);
  add_manual(app);
  std::vector<CLI::App*> commands = app.get_subcommands([](CLI::App*) { return true; });
  commands.push_back(&app);
  for (CLI::App* command : commands) {
    command->add_flag("--quiet,-q", quiet, "print warnings and errors only")
        ->group(kGeneral);
    command->get_help_ptr()->group(kGeneral);
  }
  app.get_version_ptr()->group(kGeneral);
  // What an unset variable of a shell leaves.
  const CLI::Validator not_empty(
      [](std::string& text) { return std::string(text.empty() ? "is empty" : ""); }, "");
  for (CLI::App* command : commands)
    for (CLI::Option* option : command->get_options())
      if (option->get_items_expected_max() > 0) option->check(not_empty);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& interrupted) {
    return interrupted.get_exit_code();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    log::error(std::string(error.what()) + "\n       See " + help_of(app) + ".");
    return 1;
  }
}

// Whoever closes a pipe has read enough.
bool nobody_reads() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

// What was printed is a command's result.
void check_standard_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  // No reason is left where an earlier piece failed.
  const std::string reason = errno != 0 ? std::strerror(errno) : "a write failed";
  if (nobody_reads()) return;
  throw Error("standard output", "cannot be written (" + reason + ")",
              "Free space where it goes, or let it go elsewhere");
}

// A closed standard stream is opened on nothing: its number would go to the next file
// that is opened, and that file would get the log.
void open_standard_streams() {
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) == -1 && errno == EBADF)
      // The lowest number that is free is this one: those before it are open by now.
      static_cast<void>(
          ::open("/dev/null", stream == STDIN_FILENO ? O_RDONLY : O_WRONLY));
}

}  // namespace
}  // namespace lowmem::cli

int main(int argc, char** argv) {
  lowmem::last_resort::set_up();
  lowmem::cli::open_standard_streams();
  lowmem::log::set_up(false);
  std::signal(SIGPIPE, SIG_IGN);  // a log that nobody reads must not end a run
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an Error, not a signal
  lowmem::memory::install();
  try {
    const int status = lowmem::cli::run(argc, argv);
    lowmem::cli::check_standard_output();
    return status;
  } catch (const lowmem::Error& error) {
    lowmem::log::error(error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    lowmem::log::error(lowmem::Error(error.path1().string(),
                                     "cannot be used (" + error.code().message() + ")",
                                     "Check the path and its permissions")
                           .what());
  } catch (const std::exception& error) {
    if (!lowmem::memory::asked_of(error).empty()) {
      lowmem::log::error(
          lowmem::Error(
              "memory", "is exhausted",
              "Lift the limit on the process (ulimit -v, a container's), or use a "
              "smaller train.batch_size")
              .what());
      return 1;
    }
    // A bug, or a failure inside LibTorch: its first line says which.
    const std::string text = error.what();
    lowmem::log::error("unexpected failure: " + text.substr(0, text.find('\n')) +
                       "\n       Please report this with the command that caused it.");
  }
  return 1;
}
