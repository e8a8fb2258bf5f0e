// SPDX-License-Identifier: Apache-2.0
//
// Opens the files that clients name: NEFFs, shared memory. The daemon's rights are not the
// client's, so the path is walked one name at a time, and each thing on the way is judged by its
// descriptor before it is used: nothing that a client moves, replaces or links meanwhile gets it
// further than it could go by itself.
//
// - Every folder on the way must be one that the user may search, and the file one that the user
//   may read (and write, for kReadWrite). The daemon must be able to as well.
// - Symbolic links are followed under the same rules, 40 at most; in a folder that is sticky and
//   that everyone may write only those of the user's own and of the folder's owner, as with
//   fs.protected_symlinks.
// - ".." is the parent of the folder that it stands in, by its descriptor.
// - procfs, with its magic links into other processes, is not there, and neither are sysfs and the
//   kernel's other windows (kKernelFilesystems).
// - FIFOs, devices, sockets and folders are never opened, and nothing here waits for a writer or
//   for the holder of a lease.
// - The path is one of the daemon's mount namespace.
//
// A file server, a security module or a FUSE file system may refuse a user more than owner, mode
// and access list do; that is not known here.
#pragma once

#include <string>
#include <string_view>

#include <sys/stat.h>

#include "base/error.h"
#include "base/file_rights.h"
#include "base/unique_fd.h"

namespace nrtd {

enum class FileAccess { kRead, kReadWrite };
enum class LastLink { kFollow, kRefuse };  // a symbolic link in the place of the file

struct OpenedFile {
  UniqueFd fd;
  struct stat info {};  // when it was opened
};

// kInvalid for a path with a NUL, which the system would cut there.
Result<void> CheckNoNul(std::string_view path);
// kInvalid for a path that cannot name a file of a client: relative, with a NUL, or longer than
// PATH_MAX. Texts do not repeat the path.
Result<void> CheckClientPath(std::string_view path);

// A regular file. The errors' texts do not name the path; the caller puts it in front.
// kInvalid: errors of CheckClientPath(). "it does not exist, or uid 1000 or the daemon may not read
// it", whatever is there that the user may not read: nobody learns by this what exists where he
// may not look. Only for a file that the user may read the text says more: that it is no regular
// file, that somebody holds a lease on it, or what else the system says.
// kResource: no descriptors or memory are left.
Result<OpenedFile> OpenAsUser(const std::string& path, FileAccess access, const FileUser& user,
                              LastLink last_link = LastLink::kFollow);

}  // namespace nrtd
