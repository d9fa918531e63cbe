#include "../src/template/python_text.h"

#include <gtest/gtest.h>

// Expected values are what CPython 3.11 answers.
namespace lowmem::text {
namespace {

using namespace std::string_literals;

TEST(Text, CapitalizesTheFirstLetterAndLowersTheRest) {
  EXPECT_EQ(capitalize(""), "");
  EXPECT_EQ(capitalize("the DOG in the tub"), "The dog in the tub");
  EXPECT_EQ(capitalize(" she RUNS"), " she runs");
  EXPECT_EQ(capitalize("élan VITAL ÀÉ"), "Élan vital àé");
  EXPECT_EQ(capitalize("ПРИВЕТ Мир"), "Привет мир");
  EXPECT_EQ(capitalize("東京 😀A"), "東京 😀a");
  EXPECT_EQ(capitalize("𐐨𐐀"), "𐐀𐐨");  // outside the first plane
}

TEST(Text, CapitalizesInTitleCase) {
  EXPECT_EQ(capitalize("ǆ"), "ǅ");
  EXPECT_EQ(capitalize("ßA"), "Ssa");
  EXPECT_EQ(capitalize("ﬁN"), "Fin");
  EXPECT_EQ(capitalize("ŉ"), "ʼN");
  EXPECT_EQ(capitalize("և"), "Եւ");
}

TEST(Text, LowersWhatBecomesSeveralCharacters) { EXPECT_EQ(capitalize("aİB"), "Ai̇b"); }

TEST(Text, LowersTheLastSigmaOfAWordToItsFinalForm) {
  EXPECT_EQ(capitalize("ΟΔΟΣ ΣΟΦΟΣ"), "Οδος σοφος");
  EXPECT_EQ(capitalize("ΟΣ'Α Σ ΑΣ."), "Οσ'α σ ας.");
}

TEST(Text, StripsWhatPythonCallsSpace) {
  EXPECT_EQ(strip(" \t\r\n\v\f a b \x1C\x1F"), "a b");
  EXPECT_EQ(strip("\u00A0\u2003\u3000x\u0085\u2028"), "x");
  EXPECT_EQ(strip("\u200Bx\u200B"), "\u200Bx\u200B");  // zero width space
  EXPECT_EQ(strip("\u180Ex"), "\u180Ex");
  EXPECT_EQ(strip(" \u00A0 "), "");
  EXPECT_EQ(strip("\0 x \0"s), "\0 x \0"s);
}

TEST(Text, FindsTheSpaceAtTheEnd) {
  EXPECT_EQ(trailing_space("a b \u00A0"), " \u00A0");
  EXPECT_EQ(trailing_space("a b"), "");
  EXPECT_EQ(trailing_space("  "), "  ");
}

TEST(Text, ReplacesOnceFromLeftToRight) {
  EXPECT_EQ(replace("a     b", "  ", " "), "a   b");
  EXPECT_EQ(replace("abc", "  ", " "), "abc");
  EXPECT_EQ(replace("aXXbXX", "XX", ""), "ab");
}

TEST(Text, ReplacesInLinearTime) {
  const std::string text(16 << 20, ' ');
  EXPECT_EQ(replace(text, "  ", " ").size(), text.size() / 2);
}

TEST(Text, CountsCharactersNotBytes) {
  EXPECT_EQ(length(""), 0);
  EXPECT_EQ(length("été 東京 😀"), 8);
}

}  // namespace
}  // namespace lowmem::text
