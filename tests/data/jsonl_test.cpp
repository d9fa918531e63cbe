#include "lowmem/data/jsonl.h"

#include <nlohmann/json.hpp>

#include "data/support.h"
#include "lowmem/core/units.h"

namespace lowmem {
namespace {

using test::error_of;
using test::TemporaryFile;

// The lines of the objects that a file of `text` has.
std::vector<int64_t> lines(const std::string& text) {
  const TemporaryFile file(text);
  JsonlReader reader(file.path());
  std::vector<int64_t> lines;
  while (reader.next_line()) {
    reader.object();
    lines.push_back(reader.line());
  }
  return lines;
}

// The error of reading it, without the file's name.
std::string error(const std::string& text) {
  const std::string what = error_of([&] { lines(text); });
  const size_t at = what.find(" line ");
  return at == std::string::npos ? what : what.substr(at + 1);
}

TEST(Jsonl, SkipsBlankLines) {
  EXPECT_EQ(lines("\n{}\n \t\r\n{}\r\n\n"), (std::vector<int64_t>{2, 4}));
  EXPECT_TRUE(lines("").empty());
  EXPECT_TRUE(lines("\n\n").empty());
}

TEST(Jsonl, ReadsALastLineWithoutItsEnd) {
  EXPECT_EQ(lines("{}\n{}"), (std::vector<int64_t>{1, 2}));
}

TEST(Jsonl, SkipsAByteOrderMark) { EXPECT_EQ(lines("\xEF\xBB\xBF{}\n").size(), 1u); }

TEST(Jsonl, NamesTheLineThatIsNotJson) {
  EXPECT_EQ(error("{}\n{\"a\": }\n"), "line 2: is not valid JSON at byte 7");
  EXPECT_EQ(error("{}{}\n"), "line 1: is not valid JSON at byte 3");
  EXPECT_EQ(error("{\"a\": 1e999}\n"), "line 1: holds a number beyond 1e308");
  EXPECT_EQ(error("{\"a\": \"\\ud800\"}\n"), "line 1: is not valid JSON at byte 14");
  EXPECT_EQ(error("\n\n[1]\n"), "line 3: is not a JSON object");
}

TEST(Jsonl, NamesAKeyThatAnObjectHasTwice) {
  EXPECT_EQ(error(R"({"prompt": "a", "prompt": "b"})"),
            "line 1: has \"prompt\" twice in one object");
  EXPECT_EQ(error(R"({"a": [{"b": 1}, {"c": {"d": 1, "e": 2, "d": 1}}]})"),
            "line 1: has \"d\" twice in one object");
  EXPECT_EQ(error(R"({"": 1, "": 1})"), "line 1: has \"\" twice in one object");
  EXPECT_EQ(error(R"({"a": 1, "\u0061": 1})"), "line 1: has \"a\" twice in one object");
  const TemporaryFile file(R"({"a": 1, "a": 2})");
  JsonlReader reader(file.path());
  ASSERT_TRUE(reader.next_line());
  EXPECT_NE(error_of([&] { reader.ordered_object(); }), "nothing");
}

// Colons and quotes in texts, and equal keys of different objects.
TEST(Jsonl, TakesKeysThatOnlyLookAlike) {
  for (const char* text :
       {R"({"a": "b: \"a\": \\", "c": ":", "a\"": 1})",
        R"({"a": {"a": [{"a": 1}, {"a": 2}]}})", R"({"a\\": "\\\"", "a": "\\"})",
        R"({"a:": ":a", ":": "\\:\":"})", R"({"a": "a"})"})
    EXPECT_EQ(lines(text).size(), 1u) << text;
}

TEST(Jsonl, RefusesANulByte) {
  EXPECT_EQ(error(std::string("{}\0{}\n", 6)),
            "line 1: holds a NUL byte, which JSON cannot");
}

TEST(Jsonl, GoesOnBehindABadLine) {
  const TemporaryFile file(std::string(17 * kMiB, 'x') + "\nnot json\n{\"a\": 1}\n");
  JsonlReader reader(file.path());
  for (int line = 1; line <= 2; ++line) {
    EXPECT_TRUE(reader.next_line());
    EXPECT_THROW(reader.object(), Error) << line;
  }
  EXPECT_TRUE(reader.next_line());
  EXPECT_EQ(reader.line(), 3);
  EXPECT_EQ(reader.object()["a"], 1);
  EXPECT_FALSE(reader.next_line());
}

TEST(Jsonl, NamesTheLineThatIsNotUtf8) {
  EXPECT_EQ(error("{\"a\": \"caf\xE9\"}\n"), "line 1: is not UTF-8");
  EXPECT_EQ(error("{}\n\xFF\n"), "line 2: is not UTF-8");
}

TEST(Jsonl, RefusesDeepNesting) {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(lines(nested(31)).size(), 1u);
  EXPECT_EQ(error(nested(32)), "line 1: is nested deeper than 32");
  EXPECT_EQ(error(std::string(8'000'000, '[')), "line 1: is nested deeper than 32");
  EXPECT_EQ(lines("{\"a\": \"" + std::string(100, '[') + "\\\"[\"}").size(), 1u);
}

TEST(Jsonl, RefusesALineOfMoreThan16MiB) {
  const std::string open = "{\"a\": \"", close = "\"}";
  const std::string most(16 * kMiB - open.size() - close.size(), 'x');
  EXPECT_EQ(lines(open + most + close + "\n").size(), 1u);
  EXPECT_EQ(error("{}\n" + open + most + "x" + close + "\n"),
            "line 2: is longer than 16.0 MiB");
}

TEST(Jsonl, RefusesAFolderAndAMissingFile) {
  EXPECT_EQ(error_of([] { JsonlReader("/"); }),
            "/: is a folder, where a file is expected");
  EXPECT_EQ(error_of([] { JsonlReader("/none/there.jsonl"); }),
            "/none/there.jsonl: cannot be read (No such file or directory)");
}

TEST(Jsonl, TurnsAFailingReadIntoAnError) {
  // Its first page is not mapped, so that the first read fails.
  const std::filesystem::path path = "/proc/self/mem";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs " << path;
  const auto read = [&] {
    JsonlReader reader(path);
    reader.next_line();
  };
  EXPECT_EQ(error_of(read), "/proc/self/mem line 1: cannot be read");
}

}  // namespace
}  // namespace lowmem
