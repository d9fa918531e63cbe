#include "lowmem/io/checksum.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "io/system_error.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {

struct Checksum::State {
  XXH3_state_t xxh;
};

Checksum::Checksum() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh);
}
Checksum::~Checksum() = default;
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;

void Checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}

uint64_t Checksum::value() const { return XXH3_64bits_digest(&state_->xxh); }

uint64_t file_checksum(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) throw system_error(path, "cannot be read", errno);
  Checksum checksum;
  std::vector<std::byte> piece(size_t{1} << 20);
  while (true) {
    const ssize_t bytes = ::read(file.get(), piece.data(), piece.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) throw system_error(path, "cannot be read", errno);
    if (bytes == 0) return checksum.value();
    checksum.add(std::span(piece).first(static_cast<size_t>(bytes)));
  }
}

std::string hexadecimal(uint64_t checksum) {
  std::string text(17, '\0');
  std::snprintf(text.data(), text.size(), "%016llx",
                static_cast<unsigned long long>(checksum));
  text.pop_back();
  return text;
}

}  // namespace lowmem
