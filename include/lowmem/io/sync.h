#pragma once

#include <filesystem>

// Waiting until the disk holds what was written: only then is it there after the power
// fails, and only then has every error shown (a full disk, a quota, a broken disk may
// show no earlier).
//
// Each throws Error naming the path where the system says that it could not. A file
// system that has no such operation (EINVAL, ENOSYS, EOPNOTSUPP) is named in a warning,
// once in a process.
namespace lowmem {

// What a descriptor open on `path` has written.
void sync_descriptor(int descriptor, const std::filesystem::path& path);
// What the file holds, whoever wrote it.
void sync_file(const std::filesystem::path& path);
// A folder's list of names.
void sync_folder(const std::filesystem::path& path);

// Makes the folder and those above it that are not there, and syncs the list that each
// new name is in.
void make_folders(const std::filesystem::path& path);

}  // namespace lowmem
