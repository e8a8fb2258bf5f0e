// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory.h"

#include <cerrno>

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/open_as_user.h"
#include "base/sizes.h"
#include "memory/pinned_mapping.h"

namespace nrtd::memory {
namespace {

const std::string kPosixDirectory = "/dev/shm";  // where glibc's shm_open() puts its files

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
      name.find('/') == std::string_view::npos)
    return CheckClientPath(path);
  return Fail(Nerr::kInvalid,
              "'{}' is no name of shared memory: it is a slash and a name without slashes, as "
              "shm_open() takes it",
              path);
}

FileAccess AccessFor(int prot) {
  return (prot & PROT_WRITE) != 0 ? FileAccess::kReadWrite : FileAccess::kRead;
}

Result<OpenedFile> OpenPosixFile(const std::string& path, int prot, const FileUser& user) {
  // As shm_open(), which does not follow a link either.
  NRTD_ASSIGN(OpenedFile file,
              OpenAsUser(kPosixDirectory + path, AccessFor(prot), user, LastLink::kRefuse));
  if (file.info.st_size <= 0)
    return Fail(Nerr::kInvalid, "it is empty; ftruncate() it before it is mapped");
  return file;
}

Result<OpenedFile> OpenHugetlbFile(const std::string& path, uint64_t size, int prot,
                                   const FileUser& user) {
  NRTD_TRY(CheckProtection(prot));
  NRTD_ASSIGN(OpenedFile file, OpenAsUser(path, AccessFor(prot), user));
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
                                             const FileUser& user) {
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
                                               const FileUser& user) {
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
