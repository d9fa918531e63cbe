#pragma once

#include <utility>

namespace lowmem {

// An open file, closed with the object. -1 stands for none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }

  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  // Closes now. Returns 0, or the error number of what the system could not finish.
  int close();

 private:
  int number_ = -1;
};

}  // namespace lowmem
