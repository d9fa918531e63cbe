#include "../src/metrics/event_file.h"

#include <gtest/gtest.h>

namespace lowmem::metrics {
namespace {

std::string hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

// The vectors of RFC 3720, appendix B.4, and the usual check.
TEST(Crc32c, OfKnownBytes) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending;
  for (char i = 0; i < 32; ++i) ascending += i;
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
}

// Expected bytes are what TensorBoard 2.21's RecordWriter writes of the same messages.
TEST(EventFile, FramesRecordsAsTensorBoardDoes) {
  EXPECT_EQ(hexadecimal(tfrecord("")), "000000000000000029039807d8ea82a2");
}

TEST(EventFile, BeginsWithItsVersion) {
  EXPECT_EQ(hexadecimal(tfrecord(version_event(1700000000.25))),
            "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d"
            "2fe9");
}

TEST(EventFile, SaysFromWhichStepOnItGoesOn) {
  EXPECT_EQ(hexadecimal(tfrecord(restart_event(1700000000.5, 7))),
            "0f000000000000006d532b090900002040fc54d94110073a0208019beb06a7");
}

TEST(EventFile, HoldsScalarsAtTheirStep) {
  EXPECT_EQ(hexadecimal(tfrecord(scalars_event(
                1700000001.0, 300, {{"Train/loss", 2.5f}, {"val/acc", 0.375f}}))),
            "31000000000000009d8383e90900004040fc54d94110ac022a230a110a0a547261696e2f6c6f"
            "737315000020400a0e0a0776616c2f616363150000c03e146738cd");
}

}  // namespace
}  // namespace lowmem::metrics
