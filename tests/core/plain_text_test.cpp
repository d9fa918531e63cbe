#include "lowmem/core/plain_text.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>

namespace lowmem {
namespace {

TEST(PlainText, LegalTextIsAsItWas) {
  for (const std::string text :
       {"", "a line.", "Größe, naïve", "模型 モデル 모델", "שלום سلام",
        "👍🏽 👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "\u00a0\u00ad\u200b\u200d\u200e\ufeff\uffff", "\U0010ffff", "{} %s \\n"}) {
    EXPECT_EQ(plain(text), text);
    EXPECT_EQ(plain_lines(text), text);
    EXPECT_TRUE(is_plain(text)) << text;
  }
}

TEST(PlainText, WhatATerminalWouldObeyIsAQuestionMark) {
  for (int c = 0; c < 0x20; ++c) EXPECT_EQ(plain(std::string(1, char(c))), "?") << c;
  EXPECT_EQ(plain("\x7f"), "?");
  for (int c = 0x80; c < 0xa0; ++c)
    EXPECT_EQ(plain(std::string{'\xc2', char(c)}), "?") << c;
  EXPECT_EQ(plain("a\x1b]0;title\x07z\u009b2J"), "a?]0;title?z?2J");
}

TEST(PlainText, WhatWouldShowTheRestElsewhereIsAQuestionMark) {
  for (const char* c : {"\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d",
                        "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"})
    EXPECT_EQ(plain("a" + std::string(c) + "b"), "a?b");
  for (const char* c : {"\u2027", "\u202f", "\u2065", "\u206a"}) EXPECT_EQ(plain(c), c);
}

TEST(PlainText, EachByteOfNoCharacterIsAQuestionMark) {
  EXPECT_EQ(plain("a\xff"
                  "b"),
            "a?b");
  EXPECT_EQ(plain("\xc3"), "?");
  EXPECT_EQ(plain("\x9b"), "?");
  EXPECT_EQ(plain("\xc0\x8a"), "??");             // an overlong line feed
  EXPECT_EQ(plain("\xe0\x82\x9b"), "???");        // an overlong C1
  EXPECT_EQ(plain("\xed\xa0\x80"), "???");        // a surrogate
  EXPECT_EQ(plain("\xf4\x90\x80\x80"), "????");   // beyond the last
  EXPECT_EQ(plain("\xe2\x82"), "??");             // cut short
  EXPECT_EQ(plain("\xe2\x82\x1b[2J"), "???[2J");  // by an escape
}

TEST(PlainText, ALineEndStaysOnlyBeforeAnIndentedLine) {
  EXPECT_EQ(plain("a\n  b"), "a?  b");
  EXPECT_EQ(plain_lines("a\n  b\n       c."), "a\n  b\n       c.");
  EXPECT_EQ(plain_lines("a\nerror: b\n c\n\n  d\r\n  e\n"), "a?error: b? c?\n  d?\n  e?");
}

TEST(PlainText, IsCutAtTheEndOfACharacter) {
  EXPECT_EQ(first_bytes("abc", 3), "abc");
  EXPECT_EQ(first_bytes("abcd", 3), "abc");
  EXPECT_EQ(first_bytes("aäb", 2), "a");
  EXPECT_EQ(first_bytes("aäb", 3), "aä");
  EXPECT_EQ(first_bytes("👍x", 3), "");
}

TEST(ShellWord, IsTheSameWordToAShell) {
  EXPECT_EQ(shell_word("runs/a-b_1.2/config.yaml"), "runs/a-b_1.2/config.yaml");
  for (const std::string word : {"", "a b", "it's", "$HOME;rm -rf x", "`x`", "a\\b", "~",
                                 "#x", "Größe", "a\nb'c\\",
                                 "\x1b]0;x\x07"
                                 "7",
                                 "\xff",
                                 "\u202e"
                                 "9"}) {
    const std::string shown = shell_word(word);
    EXPECT_TRUE(is_plain(shown)) << shown;
    const std::string script = "printf '%s' " + shown;
    const std::string command = "bash -c " + shell_word(script);
    FILE* pipe = ::popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string back;
    std::array<char, 256> piece{};
    for (size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;)
      back.append(piece.data(), n);
    ::pclose(pipe);
    EXPECT_EQ(back, word) << shown;
  }
}

}  // namespace
}  // namespace lowmem
