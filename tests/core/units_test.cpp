#include "lowmem/core/units.h"

#include <gtest/gtest.h>

#include "lowmem/core/error.h"

namespace lowmem {
namespace {

TEST(Units, ReadAmountsOfMemory) {
  EXPECT_EQ(parse_bytes("4096"), 4096);
  EXPECT_EQ(parse_bytes("12GiB"), 12 * kGiB);
  EXPECT_EQ(parse_bytes("12G"), 12 * kGiB);
  EXPECT_EQ(parse_bytes("1.5 mib"), kMiB + kMiB / 2);
  EXPECT_EQ(parse_bytes("800MB"), 800'000'000);
  EXPECT_EQ(parse_bytes("2kB"), 2000);
  EXPECT_EQ(parse_bytes("7b"), 7);
  for (const char* text :
       {"", "GiB", "-1GiB", "12parsecs", "12GiBi", "1e40", "nan", "inf", "12 G i x"})
    EXPECT_THROW(parse_bytes(text), Error) << text;
}

TEST(Units, BytesAreInBinaryUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(kMiB + kMiB / 2), "1.5 MiB");
  EXPECT_EQ(format_bytes(2'469'606'195), "2.30 GiB");
  EXPECT_EQ(format_bytes(-kGiB), "-1.00 GiB");
}

TEST(Units, BytesRoundedUpAreEnough) {
  EXPECT_EQ(format_bytes_up(0), "0 B");
  EXPECT_EQ(format_bytes_up(kKiB), "1.0 KiB");
  EXPECT_EQ(format_bytes_up(kMiB), "1.0 MiB");
  EXPECT_EQ(format_bytes_up(kMiB + 1), "1.1 MiB");
  EXPECT_EQ(format_bytes_up(2'470'000'000), "2.31 GiB");
  for (int64_t bytes = 1; bytes < 100 * kGiB; bytes += bytes / 7 + 1)
    EXPECT_GE(parse_bytes(format_bytes_up(bytes)), bytes) << bytes;
}

TEST(Units, SecondsAreRoundedToWhatIsReadable) {
  EXPECT_EQ(format_seconds(0.04), "0.0 s");
  EXPECT_EQ(format_seconds(12.34), "12.3 s");
  EXPECT_EQ(format_seconds(200), "3m 20s");
  EXPECT_EQ(format_seconds(3599.6), "1h 00m");
  EXPECT_EQ(format_seconds(3720), "1h 02m");
  EXPECT_EQ(format_seconds(100 * 3600.0), "100h 00m");
}

TEST(Units, CountsAreGroupedByThousands) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
  EXPECT_EQ(format_count(-123), "-123");
  EXPECT_EQ(format_count(-123'456), "-123,456");
  EXPECT_EQ(format_count(0, "step"), "0 steps");
  EXPECT_EQ(format_count(1, "step"), "1 step");
  EXPECT_EQ(format_count(1000, "step"), "1,000 steps");
}

}  // namespace
}  // namespace lowmem
