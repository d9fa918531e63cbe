#include "lowmem/io/descriptor.h"

#include <unistd.h>

#include <cerrno>

namespace lowmem {

int Descriptor::close() {
  if (!is_open()) return 0;
  return ::close(std::exchange(number_, -1)) == 0 ? 0 : errno;
}

}  // namespace lowmem
