#pragma once

// What the fake GPU has counted, for tests in the same process.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace lowmem::test {

inline bool on_fake_gpu() { return dlsym(RTLD_DEFAULT, "fake_gpu_report") != nullptr; }

inline nlohmann::json fake_gpu_report() {
  const auto report =
      reinterpret_cast<const char* (*)()>(dlsym(RTLD_DEFAULT, "fake_gpu_report"));
  return nlohmann::json::parse(report());
}

// How much a number of the report grows while `body` runs. `path` is a JSON pointer.
template <class Body>
int64_t counted(const std::string& path, Body&& body) {
  const nlohmann::json::json_pointer where(path);
  const auto before = fake_gpu_report().value(where, int64_t{0});
  body();
  return fake_gpu_report().value(where, int64_t{0}) - before;
}

// Calls refused so far.
inline size_t refusals() { return fake_gpu_report()["refused"].size(); }

}  // namespace lowmem::test

// At the head of a test that makes no sense on a real GPU, or without one.
#define LOWMEM_NEEDS_FAKE_GPU()       \
  if (!::lowmem::test::on_fake_gpu()) \
  GTEST_SKIP() << "run it through ctest, on the fake GPU"
