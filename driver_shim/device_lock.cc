// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/device_lock.h"

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"

namespace nrtd {
namespace {

std::string LockPath(const std::string& directory, const std::string& bdf) {
  return fmt::format("{}/infa-{}.json", directory, bdf);
}

tl::unexpected<Error> CannotLock(const std::string& path) {
  return Fail(Nerr::kResource,
              "cannot lock a device with {}: {}; neuron-rtd needs write access to its folder", path,
              ErrnoText(errno));
}

constexpr std::string_view kPidKey = "\"pid\": ";

int PidIn(const std::string& path) {
  const std::string text = ReadTextFile(path).value_or("");
  const size_t at = text.find(kPidKey);
  int pid = 0;
  if (at != std::string::npos)
    std::from_chars(text.data() + at + kPidKey.size(), text.data() + text.size(), pid);
  return pid;
}

// The holder removes the file before it lets go: what was locked may be a file of the past.
bool IsStillAt(const UniqueFd& file, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(file.get(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

Result<DeviceLock> DeviceLock::Take(const std::string& directory, const std::string& bdf) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  const std::string path = LockPath(directory, bdf);
  while (true) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    // Whoever may open it may lock it.
    if (!file || ::fchmod(file.get(), 0600) != 0) return CannotLock(path);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return CannotLock(path);
      const int holder = PidIn(path);
      return Fail(Nerr::kHwError, "Failed to lock MLA. File {} is locked{}", path,
                  holder != 0 ? fmt::format(" by pid {}", holder) : "");
    }
    if (!IsStillAt(file, path)) continue;
    const std::string content =
        fmt::format("{{{}{}, \"bdf\": \"{}\"}}\n", kPidKey, ::getpid(), bdf);
    if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), content.data(), content.size(),
                                                    0) != static_cast<ssize_t>(content.size()))
      return CannotLock(path);
    return DeviceLock(std::move(file), path);
  }
}

Result<int> DeviceLock::Holder(const std::string& directory, const std::string& bdf) {
  const std::string path = LockPath(directory, bdf);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return 0;
  if (!file) return CannotLock(path);
  if (::flock(file.get(), LOCK_SH | LOCK_NB) == 0) return 0;
  return PidIn(path);
}

DeviceLock::~DeviceLock() {
  if (file_) ::unlink(path_.c_str());
}

}  // namespace nrtd
