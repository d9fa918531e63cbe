#include "io/system_error.h"

#include <cerrno>
#include <system_error>

namespace lowmem {
namespace {

std::string remedy(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "Free space on that disk, or choose a folder on another one";
    case EFBIG:
      return "Raise the largest file size allowed (ulimit -f), or choose a folder on a "
             "disk that takes larger files";
    case EACCES:
    case EPERM:
      return "Check who may read and write the file and its folder";
    case EROFS:
      return "Choose a folder on a disk that can be written to";
    case ENOENT:
      return "Check the path; its folder must exist";
    case ENOTDIR:
      return "Check the path; a part of it is not a folder";
    case EIO:
      return "Check the disk: the system's log (dmesg) may say more";
    case ENAMETOOLONG:
      return "Choose a shorter name";
    case EMFILE:
    case ENFILE:
      return "Raise the number of files that may be open (ulimit -n)";
    default:
      return "Check the path and the disk";
  }
}

}  // namespace

Error system_error(const std::filesystem::path& path, const std::string& problem,
                   int code) {
  return Error(path.string(),
               problem + " (" + std::generic_category().message(code) + ")",
               remedy(code));
}

}  // namespace lowmem
