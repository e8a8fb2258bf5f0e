// SPDX-License-Identifier: Apache-2.0
#include "test/memory/system_fixture.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/pagemap.h"

namespace nrtd::memory {
namespace {

void SetCapabilities(__user_cap_header_struct& header, __user_cap_data_struct* data) {
  if (::syscall(SYS_capset, &header, data) != 0) ADD_FAILURE() << "capset failed";
}

}  // namespace

uint64_t ProcessBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * kKiB;
  }
  ADD_FAILURE() << "no " << key << " in /proc/self/status";
  return 0;
}

bool HasFreeHugePages(uint64_t pages) {
  const auto counts = ReadHugePageCounts();
  return counts && counts->Available() >= pages;
}

bool SeesPhysicalAddresses() {
  const int on_stack = 0;
  const auto pagemap = Pagemap::Open();
  return pagemap && pagemap->PhysicalAddress(&on_stack).has_value();
}

bool MlockIsReal() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#elif defined(__has_feature)
  return !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
  return true;
#endif
}

WithoutCapability::WithoutCapability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) ADD_FAILURE() << "capget failed";
  for (int i : {0, 1}) effective_[i] = data[i].effective;
  data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
  SetCapabilities(header, data);
}

WithoutCapability::~WithoutCapability() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) ADD_FAILURE() << "capget failed";
  for (int i : {0, 1}) data[i].effective = effective_[i];
  SetCapabilities(header, data);
}

WithLimit::WithLimit(int resource, uint64_t limit) : resource_(resource) {
  rlimit value{};
  ::getrlimit(static_cast<__rlimit_resource>(resource_), &value);
  former_ = value.rlim_cur;
  value.rlim_cur = limit;
  if (::setrlimit(static_cast<__rlimit_resource>(resource_), &value) != 0)
    ADD_FAILURE() << "setrlimit failed";
}

WithLimit::~WithLimit() {
  rlimit value{};
  ::getrlimit(static_cast<__rlimit_resource>(resource_), &value);
  value.rlim_cur = former_;
  ::setrlimit(static_cast<__rlimit_resource>(resource_), &value);
}

PrivateMount::PrivateMount(const std::string& target, const char* type, const char* options)
    : target_(target) {
  mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
             ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
             ::mount("none", target.c_str(), type, 0, options) == 0;
}

PrivateMount::~PrivateMount() {
  if (mounted_) ::umount2(target_.c_str(), MNT_DETACH);
}

TemporaryDirectory::TemporaryDirectory() : path_(testing::TempDir() + "nrtd_memory_XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "cannot create " << path_;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) ADD_FAILURE() << "cannot write " << path;
}

}  // namespace nrtd::memory
