// The program on a terminal: one line that is rewritten, below a log that stays whole.
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <sstream>

#include "cli/program.h"
#include "support/terminal.h"

namespace lowmem::test {
namespace {

using testing::AllOf, testing::Contains, testing::Each, testing::HasSubstr, testing::Lt;
using testing::MatchesRegex, testing::Not, testing::SizeIs, testing::StartsWith;

// The program as the foreground job of a terminal of its own.
class Session {
 public:
  explicit Session(const std::string& arguments, unsigned short columns = 140,
                   const char* terminal = "xterm") {
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    const Argv words(arguments);
    pid_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      ::setenv("TERM", terminal, 1);
      ::execv(LOWMEM_TRAIN, words.argv());
      _exit(127);
    }
  }
  ~Session() {
    if (!ended_) {
      send(SIGKILL);
      end();
    }
    ::close(master_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }
  void type(char key) const { ASSERT_EQ(::write(master_, &key, 1), 1); }

  // Reads on until a live line that `wanted` accepts, or until the program has ended.
  bool wait_for(const std::function<bool(const std::string&)>& wanted) {
    while (read_on())
      if (!live_.empty() && wanted(live_.back())) return true;
    return false;
  }

  // Reads on to the end. The exit status, or 128 + signal.
  int end() {
    while (read_on()) {
    }
    int status = 0;
    if (!ended_) ended_ = ::waitpid(pid_, &status, 0) == pid_;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  const std::string& bytes() const { return bytes_; }
  const Screen& screen() const { return screen_; }
  // Every text of the live line that stood on the screen: what was erased later.
  const std::vector<std::string>& live() const { return live_; }

 private:
  bool read_on() {
    std::array<char, 4096> piece{};
    pollfd waiting{master_, POLLIN, 0};
    if (::poll(&waiting, 1, 300'000) != 1) {
      ADD_FAILURE() << "hangs after\n" << bytes_;
      send(SIGKILL);
      return false;
    }
    const ssize_t n = ::read(master_, piece.data(), piece.size());
    if (n <= 0) return false;  // nobody has the terminal open any more
    for (const char byte : std::string(piece.data(), static_cast<size_t>(n))) {
      if (byte == '\x1b' && !bytes_.ends_with("\x1b[A"))
        live_.push_back(screen_.lines().empty() ? "" : screen_.lines().back());
      bytes_ += byte;
      screen_.write(std::string(1, byte));
    }
    return true;
  }

  pid_t pid_ = -1;
  int master_ = -1;
  bool ended_ = false;
  std::string bytes_;
  Screen screen_{1000};  // where no line of the log wraps, to find it as it was written
  std::vector<std::string> live_;
};

class Live : public DemoProgram {
 protected:
  // A second or more of steps, with evaluations and checkpoints in between.
  static std::string run(const std::string& name, const std::string& more = "") {
    return quick(name) + "train.max_steps=300 train.log_every=100 train.save_every=100 " +
           "eval.data=" + at("val.jsonl") + " eval.limit=32 eval.every=100 " + more;
  }
  static bool is_step(const std::string& line) {
    static const testing::Matcher<std::string> kStep = MatchesRegex(
        "step [0-9]+/300  epoch [0-9.]+  loss [0-9.]+  [0-9,]+ tokens/s  "
        "memory [0-9.]+ MiB, peak [0-9.]+ MiB  .* left");
    return testing::Value(line, kStep);
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(Live, LineSaysWhereTheRunIsAndIsGoneAtItsEnd) {
  const auto start = std::chrono::steady_clock::now();
  Session session(run("terminal"));
  ASSERT_EQ(session.end(), 0) << session.bytes();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  EXPECT_GE(std::count_if(session.live().begin(), session.live().end(), is_step), 3)
      << session.bytes();
  const auto lines = session.screen().lines();
  EXPECT_TRUE(session.screen().cursor_on_a_fresh_line());
  EXPECT_THAT(lines.back(), StartsWith("wrote "));
  EXPECT_THAT(lines, Contains(StartsWith("step    100/300")));
  EXPECT_THAT(lines, Contains(StartsWith("step    300/300")));
  EXPECT_THAT(lines, Contains(StartsWith("evaluated after step 300:")));
  EXPECT_THAT(lines, Each(Not(StartsWith("saving"))));
  EXPECT_THAT(lines, Each(AllOf(Not(HasSubstr(" left")), Not(HasSubstr("step 0/")))));
  // One erasure an update, and one a line of the log.
  EXPECT_LE(static_cast<double>(session.live().size()),
            10 * seconds + static_cast<double>(lines.size()) + 10);
}

TEST_F(Live, LinesOfTheLogAreThoseOfAFile) {
  const std::string steps = "train.max_steps=40 train.log_every=10";
  Session session(run("first", steps));
  ASSERT_EQ(session.end(), 0);
  const Outcome outcome = run_program(run("other", steps));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const auto beginnings = [](const std::vector<std::string>& lines) {
    std::vector<std::string> found;
    for (const std::string& line : lines) found.push_back(line.substr(0, 11));
    return found;
  };
  EXPECT_EQ(beginnings(session.screen().lines()), beginnings(lines_of(outcome.output)));
}

TEST_F(Live, LineIsNarrowerThanTheTerminal) {
  for (const unsigned short columns : {80, 40}) {
    Session session(run("narrow" + std::to_string(columns), "train.max_steps=50"),
                    columns);
    ASSERT_EQ(session.end(), 0) << session.bytes();
    EXPECT_THAT(session.live(), Contains(MatchesRegex("[0-9]+/50 .* loss .*")));
    EXPECT_THAT(session.live(), Each(SizeIs(Lt(columns))));
  }
}

TEST_F(Live, LineGivesWayToAnError) {
  Session session(run("diverges", "optimizer.lr=1e30 optimizer.name=sgd"));
  EXPECT_EQ(session.end(), 1);
  const auto lines = session.screen().lines();
  EXPECT_THAT(lines, Contains(HasSubstr("error: step ")));
  EXPECT_THAT(lines.back(), Not(HasSubstr(" left")));
  EXPECT_THAT(lines, Each(Not(StartsWith("step 0/"))));
  EXPECT_TRUE(session.screen().cursor_on_a_fresh_line());
}

TEST_F(Live, LineGivesWayToCtrlC) {
  Session session(run("interrupted", "train.max_steps=3000"));
  ASSERT_TRUE(session.wait_for([](const std::string& line) {
    return line.find("tokens/s") != std::string::npos;
  }));
  session.type('\x03');
  EXPECT_EQ(session.end(), 128 + SIGINT);
  const auto lines = session.screen().lines();
  EXPECT_THAT(lines.back(), HasSubstr("Interrupt: stopped after step"));
  EXPECT_THAT(lines, Contains(StartsWith("stopping as soon as what is done is saved")));
  EXPECT_THAT(lines, Each(Not(HasSubstr("^C"))));
  EXPECT_THAT(lines, Each(Not(HasSubstr(" left"))));
  EXPECT_TRUE(session.screen().cursor_on_a_fresh_line());
}

TEST_F(Live, LineLeavesACleanPromptEvenAfterAKill) {
  Session session(run("killed", "train.max_steps=3000"));
  ASSERT_TRUE(session.wait_for([](const std::string& line) {
    return line.find("tokens/s") != std::string::npos;
  }));
  session.send(SIGKILL);
  EXPECT_EQ(session.end(), 128 + SIGKILL);
  EXPECT_TRUE(session.screen().cursor_on_a_fresh_line());
}

// 25 million weights: what is too short for a tenth of a second need not be seen.
TEST_F(Live, LineNamesLoadingAndSaving) {
  nlohmann::json config = read_json(folder() / "model" / "config.json");
  config["intermediate_size"] = 43690;
  std::filesystem::copy(folder() / "model", folder() / "shape");
  write_file_atomically(folder() / "shape" / "config.json", config.dump());
  const Outcome init =
      run_program("init --dtype fp32 " + at("shape/config.json") + " " + at("large"));
  ASSERT_EQ(init.status, 0) << init.output;

  Session session(run("stages", "model.path=" + at("large") +
                                    " train.batch_size=1 train.max_steps=2"
                                    " train.save_every=1 eval.data=[]"));
  ASSERT_EQ(session.end(), 0) << session.bytes();
  EXPECT_THAT(session.live(), Contains(StartsWith("loading " + at("large"))));
  EXPECT_THAT(session.live(),
              Contains(MatchesRegex(
                  "saving a checkpoint  [0-9.]+ MiB of [0-9.]+ MiB  [0-9]+%.*")));
}

// The log is the terminal's own, with the line ends that it adds.
TEST_F(Live, LineIsNotForDumbTerminalsNorWithQuiet) {
  Session dumb(run("dumb", "train.max_steps=20"), 80, "dumb");
  EXPECT_EQ(dumb.end(), 0);
  EXPECT_THAT(dumb.bytes(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(dumb.bytes(), HasSubstr("wrote "));
  Session quiet(run("quiet", "train.max_steps=20 --quiet"));
  EXPECT_EQ(quiet.end(), 0);
  EXPECT_EQ(quiet.bytes(), "");
}

TEST_F(Live, LineIsNotForFilesAndPipes) {
  const Outcome outcome =
      run_program(run("piped", "train.max_steps=20 train.save_every=5"));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.output, Not(HasSubstr("\r")));
  EXPECT_THAT(outcome.output, Not(HasSubstr("saving")));
}

}  // namespace
}  // namespace lowmem::test
