// Preloaded into the program: system calls by which data reaches a disk fail where
// FAULTY_CALL says so, as "CALL NUMBER END": CALL one of fsync, close, write, rename,
// with this error number, for files and folders whose path ends in END. What it names has
// happened all the same, but for write and rename.
#include <dlfcn.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace {

bool fails(const std::string& call, const std::string& path) {
  const char* set = getenv("FAULTY_CALL");
  if (set == nullptr) return false;
  std::istringstream words(set);
  std::string name, end;
  int number = 0;
  words >> name >> number >> end;
  if (name != call || !path.ends_with(end)) return false;
  errno = number;
  return true;
}

std::string path_of(int descriptor) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t bytes = readlink(link.c_str(), path, sizeof path);
  return bytes > 0 ? std::string(path, static_cast<size_t>(bytes)) : "";
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int fsync(int descriptor) {
  static auto* const call = real<int(int)>("fsync");
  const int result = call(descriptor);
  return fails("fsync", path_of(descriptor)) ? -1 : result;
}

int close(int descriptor) {
  static auto* const call = real<int(int)>("close");
  const std::string path = getenv("FAULTY_CALL") != nullptr ? path_of(descriptor) : "";
  const int result = call(descriptor);
  return fails("close", path) ? -1 : result;
}

ssize_t write(int descriptor, const void* bytes, size_t count) {
  static auto* const call = real<ssize_t(int, const void*, size_t)>("write");
  if (fails("write", path_of(descriptor))) return -1;
  return call(descriptor, bytes, count);
}

int rename(const char* from, const char* to) {
  static auto* const call = real<int(const char*, const char*)>("rename");
  return fails("rename", from) ? -1 : call(from, to);
}
}
