// SPDX-License-Identifier: Apache-2.0
#include "base/file_rights.h"

#include <algorithm>

#include <fmt/format.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <unistd.h>

namespace nrtd {
namespace {

struct AclEntry {
  uint16_t tag;
  mode_t bits;
  uint32_t id;
};

constexpr uint64_t kAclHeaderSize = 4;
constexpr uint64_t kAclEntrySize = 8;

// Empty when it is malformed.
std::vector<AclEntry> ParseAcl(ByteSpan acl) {
  std::vector<AclEntry> entries;
  if (acl.size() < kAclHeaderSize || (acl.size() - kAclHeaderSize) % kAclEntrySize != 0 ||
      LoadAt<uint32_t>(acl, 0) != POSIX_ACL_XATTR_VERSION)
    return entries;
  for (uint64_t at = kAclHeaderSize; at < acl.size(); at += kAclEntrySize) {
    entries.push_back({LoadAt<uint16_t>(acl, at), LoadAt<uint16_t>(acl, at + 2) & mode_t{07},
                       LoadAt<uint32_t>(acl, at + 4)});
  }
  return entries;
}

// The access check algorithm of acl(5), for a user who is not the owner.
bool AclAllows(const FileUser& user, gid_t file_group, const std::vector<AclEntry>& acl,
               mode_t wanted) {
  mode_t mask = 07;
  for (const AclEntry& entry : acl)
    if (entry.tag == ACL_MASK) mask = entry.bits;
  const auto allows = [&](mode_t bits) { return (bits & wanted) == wanted; };
  for (const AclEntry& entry : acl)
    if (user.is_known && entry.tag == ACL_USER && entry.id == user.uid)
      return allows(entry.bits & mask);
  bool is_member = false;
  for (const AclEntry& entry : acl) {
    const bool applies = (entry.tag == ACL_GROUP_OBJ && user.IsIn(file_group)) ||
                         (entry.tag == ACL_GROUP && user.IsIn(entry.id));
    if (!applies) continue;
    if (allows(entry.bits)) return allows(entry.bits & mask);
    is_member = true;
  }
  if (is_member) return false;
  return std::any_of(acl.begin(), acl.end(), [&](const AclEntry& entry) {
    return entry.tag == ACL_OTHER && allows(entry.bits);
  });
}

}  // namespace

FileUser FileUser::OfThisProcess() {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(0, ::getgroups(0, nullptr))));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(0, count)));
  return Of(::geteuid(), ::getegid(), std::move(groups));
}

bool FileUser::IsIn(gid_t group) const {
  return is_known &&
         (group == gid || std::find(groups.begin(), groups.end(), group) != groups.end());
}

std::string FileUser::Text() const {
  return is_known ? fmt::format("uid {}", uid) : "everyone";
}

bool MayAccess(const FileUser& user, const struct stat& info, ByteSpan acl, mode_t wanted) {
  if (user.IsRoot()) return true;
  const auto allows = [&](mode_t bits) { return (bits & wanted) == wanted; };
  if (user.is_known && user.uid == info.st_uid) return allows(info.st_mode >> 6);
  // The bits of the group are the list's mask; with none of them the kernel does not look at it.
  if (!acl.empty() && (info.st_mode & S_IRWXG) != 0)
    return AclAllows(user, info.st_gid, ParseAcl(acl), wanted);
  return allows(user.IsIn(info.st_gid) ? info.st_mode >> 3 : info.st_mode);
}

}  // namespace nrtd
