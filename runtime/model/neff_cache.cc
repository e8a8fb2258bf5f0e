// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/neff_cache.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "base/open_as_user.h"
#include "neff/validator.h"

namespace nrtd::runtime {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

FileIdentity IdentityOf(const struct stat& info) {
  return {info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size), Nanoseconds(info.st_mtim),
          Nanoseconds(info.st_ctim)};
}

Result<FileIdentity> IdentityOf(const UniqueFd& file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return Fail(Nerr::kFail, "fstat: {}", ErrnoText(errno));
  return IdentityOf(info);
}

// Is a file of this size a NEFF, by its first bytes? Nothing of them stands in the errors.
Result<void> CheckHeaderOf(const UniqueFd& file, const std::string& path, uint64_t size) {
  std::array<std::byte, neff::kHeaderSize> bytes;
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count = ::pread(file.get(), bytes.data() + filled, bytes.size() - filled,
                                  static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kInvalid, "cannot read {}: {}", path, ErrnoText(errno));
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  if (filled < bytes.size()) {
    return Fail(Nerr::kInvalid,
                "Wrong NEFF file size: {} has {} bytes, less than the {} of a header", path, size,
                bytes.size());
  }
  const auto header = neff::ParseHeader(bytes);
  if (!header) return Fail(Nerr::kInvalid, "not a NEFF: {}", path);
  if (neff::CheckFileSize(*header, size)) return {};
  return Fail(Nerr::kInvalid, "Wrong NEFF file size: {} has {} bytes, {} than its header declares",
              path, size, header->data_size > size - bytes.size() ? "less" : "more");
}

std::chrono::nanoseconds SinceChange(const FileIdentity& file) {
  return std::chrono::system_clock::now().time_since_epoch() -
         std::chrono::nanoseconds(file.changed_ns);
}

}  // namespace

void NeffCache::SetCapacity(uint32_t count) {
  Entries dropped;  // freed without the lock: that may take a while
  MutexLock lock(mutex_);
  capacity_ = count;
  Shrink(dropped);
}

uint32_t NeffCache::size() const {
  MutexLock lock(mutex_);
  return static_cast<uint32_t>(entries_.size());
}

// The copy of a file, or what is kept of it.
struct NeffCache::FromFile {
  std::shared_ptr<const neff::Neff> known;
  SealedMemory content;
  std::optional<FileIdentity> identity;  // if the content may be known by it from now on
};

Result<NeffCache::FromFile> NeffCache::ReadFile(const std::string& path,
                                                const NeffReading& reading) {
  auto file = OpenAsUser(path, FileAccess::kRead, reading.user);
  if (!file) {
    return tl::unexpected<Error>(std::move(file.error()).In(fmt::format("cannot open {}", path)));
  }
  const FileIdentity before = IdentityOf(file->info);
  FromFile read;
  read.known = Find([&](const Entry& e) { return e.file == before; });
  if (read.known) return read;
  const bool settled = SinceChange(before) > settled_after_;
  if (before.size > max_neff_bytes_) {
    return Fail(Nerr::kInvalid, "NEFF {} of {} bytes is larger than the limit of {}", path,
                before.size, max_neff_bytes_);
  }
  NRTD_TRY(CheckHeaderOf(file->fd, path, before.size));
  if (reading.reserve) NRTD_TRY(reading.reserve(before.size));
  // No more than there is room for, if it grows now.
  NRTD_ASSIGN(read.content, SealedMemory::CopyOf(file->fd, path, before.size, reading.stop));
  NRTD_ASSIGN(const FileIdentity after, IdentityOf(file->fd));
  if (settled && before == after) read.identity = before;
  return read;
}

Result<std::shared_ptr<const neff::Neff>> NeffCache::Read(neff::NeffSource source,
                                                          const NeffReading& reading) {
  neff::Limits limits;
  limits.max_neff_bytes = max_neff_bytes_;
  limits.max_unpacked_bytes = std::min(limits.max_unpacked_bytes, 2 * max_neff_bytes_);
  // A value takes some 100 bytes while its file is read.
  constexpr uint64_t kBytesOfAValue = 100;
  const uint64_t parsed = std::max(max_neff_bytes_ / 8, kMiB);
  limits.max_json_bytes = std::min(limits.max_json_bytes, parsed);
  limits.max_json_values = std::min<size_t>(limits.max_json_values, parsed / kBytesOfAValue);
  limits.stop = reading.stop;
  Entry entry;
  if (const auto* path = std::get_if<std::filesystem::path>(&source)) {
    NRTD_ASSIGN(FromFile file, ReadFile(path->string(), reading));
    if (file.known) return std::move(file.known);
    entry.file = file.identity;
    source = std::move(file.content);
  }
  if (!entry.file) {
    NRTD_ASSIGN(entry.content, Sha256(neff::BytesOf(source), reading.stop));
    if (auto known = Find([&](const Entry& e) { return e.content == entry.content; })) return known;
  }
  ++misses_;
  NRTD_ASSIGN(neff::Neff neff, neff::ReadExecutable(std::move(source), neff::kSimTarget, limits));
  NRTD_TRY(neff.Condense(reading.stop));
  entry.neff = std::make_shared<const neff::Neff>(std::move(neff));
  auto read = entry.neff;
  Keep(std::move(entry));
  return read;
}

template <typename Predicate>
std::shared_ptr<const neff::Neff> NeffCache::Find(Predicate matches) {
  MutexLock lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), matches);
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  ++hits_;
  return found->neff;
}

void NeffCache::Keep(Entry entry) {
  Entries dropped;
  MutexLock lock(mutex_);
  entries_.push_front(std::move(entry));
  Shrink(dropped);
}

void NeffCache::Shrink(Entries& dropped) {
  uint64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.neff->sealed_weights().bytes().size();
  while (entries_.size() > capacity_ || bytes > max_bytes_) {
    bytes -= entries_.back().neff->sealed_weights().bytes().size();
    dropped.splice(dropped.end(), entries_, std::prev(entries_.end()));
  }
}

}  // namespace nrtd::runtime
