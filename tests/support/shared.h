#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace lowmem::test {

// Small files committed beside the tests, or where LOWMEM_FIXTURES_DIR says they are.
inline std::filesystem::path fixture(const std::string& name) {
  const char* elsewhere = std::getenv("LOWMEM_FIXTURES_DIR");
  return std::filesystem::path(elsewhere != nullptr ? elsewhere : LOWMEM_FIXTURES) / name;
}

// Real models and data that a clone may lack.
inline std::filesystem::path shared(const std::string& name) {
  return std::filesystem::path(LOWMEM_SHARED) / name;
}

}  // namespace lowmem::test

// Skips the test, with a line that says why, where ../shared lacks `name`.
#define LOWMEM_NEEDS_SHARED(name)                             \
  if (!std::filesystem::exists(::lowmem::test::shared(name))) \
  GTEST_SKIP() << "needs ../shared/" << (name) << ", which this clone does not have"
