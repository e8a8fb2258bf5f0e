// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory.h"

#include <cerrno>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/sizes.h"
#include "memory/pinned_mapping.h"

namespace nrtd::memory {
namespace {

constexpr const char* kPosixDirectory = "/dev/shm";  // where glibc's shm_open() puts its files

Result<void> CheckProtection(int prot) {
  if (prot == PROT_READ || prot == (PROT_READ | PROT_WRITE)) return {};
  return Fail(Nerr::kInvalid,
              "shared memory cannot be mapped with protection {:#x}: use PROT_READ or "
              "PROT_READ|PROT_WRITE",
              prot);
}

Result<void> CheckPosixName(const std::string& path) {
  const std::string_view name = std::string_view(path).substr(path.empty() ? 0 : 1);
  if (path.starts_with('/') && !name.empty() && name != "." && name != ".." &&
      name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos)
    return {};
  return Fail(Nerr::kInvalid,
              "'{}' is no name of shared memory: it is a slash and a name without slashes, as "
              "shm_open() takes it",
              path);
}

struct OpenFile {
  UniqueFd fd;
  struct stat info {};
};

bool MayOpen(const struct stat& info, const FileUser& user, int prot) {
  if (user.uid == 0) return true;
  const mode_t bits = info.st_uid == user.uid   ? info.st_mode >> 6
                      : info.st_gid == user.gid ? info.st_mode >> 3
                                                : info.st_mode;
  const mode_t wanted = (prot & PROT_WRITE) != 0 ? 06 : 04;
  return (bits & wanted) == wanted;
}

// Looks before it opens: to open a device or a FIFO that a client has put there could block or do
// harm, so the name is resolved without opening, judged, and only then opened through /proc.
Result<OpenFile> OpenRegular(int directory, const char* name, int prot,
                             const std::optional<FileUser>& user) {
  UniqueFd node(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!node) return Fail(Nerr::kInvalid, "cannot open it: {}", ErrnoText(errno));
  OpenFile file;
  if (::fstat(node.get(), &file.info) != 0)
    return Fail(Nerr::kFail, "cannot stat it: {}", ErrnoText(errno));
  if (S_ISLNK(file.info.st_mode)) return Fail(Nerr::kInvalid, "it is a symbolic link");
  if (!S_ISREG(file.info.st_mode)) return Fail(Nerr::kInvalid, "it is not a regular file");
  if (user && !MayOpen(file.info, *user, prot)) {
    return Fail(Nerr::kInvalid, "its mode {:o} does not let uid {} open it",
                file.info.st_mode & 0777, user->uid);
  }
  const std::string same = fmt::format("/proc/self/fd/{}", node.get());
  file.fd =
      UniqueFd(::open(same.c_str(), ((prot & PROT_WRITE) != 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (!file.fd) return Fail(Nerr::kInvalid, "cannot open it: {}", ErrnoText(errno));
  if (file.info.st_size <= 0)
    return Fail(Nerr::kInvalid, "it is empty; ftruncate() it before it is mapped");
  return file;
}

Result<OpenFile> OpenPosixFile(const std::string& path, int prot,
                               const std::optional<FileUser>& user) {
  UniqueFd directory(::open(kPosixDirectory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory)
    return Fail(Nerr::kInvalid, "there is no {}: {}", kPosixDirectory, ErrnoText(errno));
  return OpenRegular(directory.get(), path.c_str() + 1, prot, user);
}

Result<OpenFile> OpenHugetlbFile(const std::string& path, uint64_t size, int prot,
                                 const std::optional<FileUser>& user) {
  NRTD_TRY(CheckProtection(prot));
  if (!path.starts_with('/') || path.find('\0') != std::string::npos ||
      (path + "/").find("/../") != std::string::npos)
    return Fail(Nerr::kInvalid, "the path must be absolute and without '..'");
  NRTD_ASSIGN(OpenFile file, OpenRegular(AT_FDCWD, path.c_str(), prot, user));
  struct statfs filesystem {};
  if (::fstatfs(file.fd.get(), &filesystem) != 0)
    return Fail(Nerr::kFail, "cannot stat its filesystem: {}", ErrnoText(errno));
  if (static_cast<uint64_t>(filesystem.f_type) != HUGETLBFS_MAGIC)
    return Fail(Nerr::kInvalid, "it is not on a hugetlbfs mount");
  const auto page = static_cast<uint64_t>(filesystem.f_bsize);
  if (size == 0 || size % page != 0)
    return Fail(Nerr::kInvalid, "size {} is not a multiple of its huge page of {}", size, page);
  if (size > static_cast<uint64_t>(file.info.st_size))
    return Fail(Nerr::kInvalid, "size {} is more than the file's {}", size, file.info.st_size);
  return file;
}

}  // namespace

Result<SharedMemory> SharedMemory::OpenPosix(const std::string& path, int prot,
                                             const std::optional<FileUser>& user) {
  NRTD_TRY(CheckPosixName(path));
  NRTD_TRY(CheckProtection(prot));
  auto file = OpenPosixFile(path, prot, user);
  if (!file) {
    return Fail(file.error().code,
                "cannot map shared memory {}: {}; the client must share {} with the daemon, or "
                "send its data inline",
                path, AsIs(file.error().text), kPosixDirectory);
  }
  SharedMemory memory;
  auto region =
      MappedRegion::Map(static_cast<uint64_t>(file->info.st_size), prot, MAP_SHARED, &file->fd);
  if (!region) {
    return tl::unexpected<Error>(
        std::move(region.error()).In(FormatText("cannot map shared memory {}", path)));
  }
  memory.path_ = path;
  memory.region_ = std::move(*region);
  memory.identity_ = {file->info.st_dev, file->info.st_ino};
  memory.file_ = std::move(file->fd);
  memory.writable_ = (prot & PROT_WRITE) != 0;
  return memory;
}

Result<SharedMemory> SharedMemory::OpenHugetlb(const std::string& path, uint64_t size, int prot,
                                               const std::optional<FileUser>& user) {
  const auto failed = [&](Error reason) {
    return tl::unexpected<Error>(
        std::move(reason).In(FormatText("Failed to mmap with hugetlb: {}", path)));
  };
  auto file = OpenHugetlbFile(path, size, prot, user);
  if (!file) return failed(std::move(file.error()));
  auto region = MappedRegion::Map(size, prot, MAP_SHARED, &file->fd);
  if (!region) return failed(std::move(region.error()));
  const bool writable = (prot & PROT_WRITE) != 0;
  if (auto populated = Populate({region->data(), region->size()}, writable); !populated)
    return failed(std::move(populated.error()));
  SharedMemory memory;
  memory.path_ = path;
  memory.region_ = std::move(*region);
  memory.identity_ = {file->info.st_dev, file->info.st_ino};
  memory.file_ = std::move(file->fd);
  memory.writable_ = writable;
  memory.hugetlb_ = true;
  return memory;
}

Result<void> SharedMemory::CheckRange(uint64_t offset, uint64_t length) const {
  if (!RangeFits(offset, length, size())) {
    return Fail(Nerr::kInvalid, "bytes {}+{} are outside shared memory {} of {} bytes", offset,
                length, path_, size());
  }
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0)
    return Fail(Nerr::kFail, "cannot stat shared memory {}: {}", path_, ErrnoText(errno));
  if (!RangeFits(offset, length, static_cast<uint64_t>(info.st_size))) {
    return Fail(Nerr::kInvalid,
                "bytes {}+{} of shared memory {} are gone: its owner has truncated it from {} to "
                "{} bytes",
                offset, length, path_, size(), info.st_size);
  }
  return {};
}

Result<MutableByteSpan> SharedMemory::Range(uint64_t offset, uint64_t length) const {
  if (!writable_) {
    return Fail(Nerr::kInvalid, "shared memory {} is mapped read-only; map it with PROT_WRITE",
                path_);
  }
  NRTD_TRY(CheckRange(offset, length));
  return MutableByteSpan(data() + offset, length);
}

Result<ByteSpan> SharedMemory::ReadRange(uint64_t offset, uint64_t length) const {
  NRTD_TRY(CheckRange(offset, length));
  return ByteSpan(data() + offset, length);
}

}  // namespace nrtd::memory
