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
// Rounded up: parse_bytes() of it is not less. `bytes` are not negative.
std::string format_bytes_up(int64_t bytes);

// The bytes of "12GiB", "1.5 MiB", "800MB", "12G" or "4096": KiB, MiB, GiB and TiB are
// binary, and so are K, M, G and T; kB, MB, GB and TB are decimal. Any case. Throws Error
// naming a text that is none of these.
int64_t parse_bytes(std::string_view text);

// "1h 02m", "3m 20s", "12.3 s".
std::string format_seconds(double seconds);

// "1,234,567".
std::string format_count(int64_t count);

// "1 step", "1,234 steps": of a noun whose plural ends in s.
std::string format_count(int64_t count, std::string_view noun);

}  // namespace lowmem
