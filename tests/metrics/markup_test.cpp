#include "lowmem/metrics/markup.h"

#include <gtest/gtest.h>

namespace lowmem::metrics {
namespace {

TEST(HtmlEscaped, LeavesNoMarkupAndNoQuote) {
  EXPECT_EQ(html_escaped("<b a='1' c=\"2\">&"),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
  EXPECT_EQ(html_escaped("Grüße, 模型"), "Grüße, 模型");
}

TEST(MarkdownEscaped, LeavesNoEndOfACell) {
  EXPECT_EQ(markdown_escaped("a|b <i>"), "a\\|b \\<i>");
}

TEST(Escaped, ShowsControlCharactersAsQuestionMarks) {
  EXPECT_EQ(html_escaped("a\nb\x1b\x7f"), "a?b??");
  EXPECT_EQ(markdown_escaped("a\nb\r"), "a?b?");
  for (const auto& escaped : {html_escaped, markdown_escaped})
    EXPECT_EQ(escaped("\u009b \u202e \u2028 \xff \xc3"), "? ? ? ? ?");
}

}  // namespace
}  // namespace lowmem::metrics
