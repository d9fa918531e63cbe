#include "lowmem/core/units.h"

#include <gtest/gtest.h>

namespace lowmem {
namespace {

TEST(Units, BytesAreInBinaryUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(kMiB + kMiB / 2), "1.5 MiB");
  EXPECT_EQ(format_bytes(2'469'606'195), "2.30 GiB");
  EXPECT_EQ(format_bytes(-kGiB), "-1.00 GiB");
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
}

}  // namespace
}  // namespace lowmem
