#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowmem {

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kGiB = 1024 * kMiB;

// "2.30 GiB", "512 B": binary units.
std::string format_bytes(int64_t bytes);

// "1h 02m", "3m 20s", "12.3 s".
std::string format_seconds(double seconds);

// "1,234,567".
std::string format_count(int64_t count);

}  // namespace lowmem
