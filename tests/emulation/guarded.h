#pragma once

// Memory between two zones that nobody may touch. The address sanitizer stops whoever
// does; without it, writes are found afterwards.

#include <cstddef>
#include <cstring>
#include <new>

#include "emulation/sanitizer.h"

namespace emulation {

class Guarded {
 public:
  // Begins `shift` bytes after a multiple of 64.
  explicit Guarded(size_t bytes, size_t shift = 0)
      : front_(kZone + shift),
        bytes_(bytes),
        memory_(static_cast<unsigned char*>(operator new(whole(), kAlignment))) {
    std::memset(memory_, kMark, whole());
    sanitizer::forbid(memory_, front_);
    sanitizer::forbid(begin() + bytes_, kZone);
  }
  ~Guarded() {
    sanitizer::allow(memory_, whole());
    operator delete(memory_, kAlignment);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  unsigned char* begin() const { return memory_ + front_; }
  size_t bytes() const { return bytes_; }

  bool is_whole() const {
    sanitizer::allow(memory_, whole());
    bool marked = true;
    for (size_t i = 0; i < front_; ++i) marked = marked && memory_[i] == kMark;
    for (size_t i = front_ + bytes_; i < whole(); ++i)
      marked = marked && memory_[i] == kMark;
    sanitizer::forbid(memory_, front_);
    sanitizer::forbid(begin() + bytes_, kZone);
    return marked;
  }

 private:
  static constexpr size_t kZone = 64;
  static constexpr std::align_val_t kAlignment{64};
  static constexpr unsigned char kMark = 0xa5;

  size_t whole() const { return front_ + bytes_ + kZone; }

  size_t front_, bytes_;
  unsigned char* memory_;
};

}  // namespace emulation
