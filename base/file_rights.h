// SPDX-License-Identifier: Apache-2.0
//
// What a user may do with a file, judged by its owner, mode and access list as the kernel judges a
// process of that user.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <sys/types.h>

#include "base/bytes.h"

namespace nrtd {

// In whose name a file is opened. By default no particular user: what is allowed is what the
// mode allows to all others, neither owner nor group.
struct FileUser {
  bool is_known = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};  // supplementary ones

  static FileUser Of(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}) {
    return {.is_known = true, .uid = uid, .gid = gid, .groups = std::move(groups)};
  }
  static FileUser OfThisProcess();
  bool IsRoot() const { return is_known && uid == 0; }
  bool IsIn(gid_t group) const;
  std::string Text() const;  // "uid 1000", "everyone"
};

// Bits of a mode, as those for others: what is wanted of a file or a folder.
inline constexpr mode_t kMayRead = 04;
inline constexpr mode_t kMayWrite = 02;
inline constexpr mode_t kMaySearch = 01;

// Whether the user may do all that is wanted. `acl` is the value of the file's attribute
// system.posix_acl_access as getxattr(2) answers it, empty for none; one that is malformed allows
// nothing. Root may do everything, as a process with CAP_DAC_OVERRIDE: a client that runs as root
// outside of a user namespace is trusted with the daemon's files.
bool MayAccess(const FileUser& user, const struct stat& info, ByteSpan acl, mode_t wanted);

}  // namespace nrtd
