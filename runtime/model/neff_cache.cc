// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/neff_cache.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <sys/stat.h>

#include "neff/validator.h"

namespace nrtd::runtime {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

Result<FileIdentity> IdentityOf(const UniqueFd& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return Fail(Nerr::kFail, "cannot stat {}: {}", path, ErrnoText(errno));
  return FileIdentity{info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size),
                      Nanoseconds(info.st_mtim), Nanoseconds(info.st_ctim)};
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

Result<std::shared_ptr<const neff::Neff>> NeffCache::Read(neff::NeffSource source,
                                                          const std::stop_token& stop) {
  neff::Limits limits;
  limits.stop = stop;
  Entry entry;
  if (const auto* path = std::get_if<std::filesystem::path>(&source)) {
    const std::string name = path->string();
    NRTD_ASSIGN(const UniqueFd file, OpenRegularFile(name));
    NRTD_ASSIGN(const FileIdentity before, IdentityOf(file, name));
    if (auto known = Find([&](const Entry& e) { return e.file == before; })) return known;
    const bool settled = SinceChange(before) > settled_after_;
    NRTD_ASSIGN(source, SealedMemory::CopyOf(file, name, limits.max_neff_bytes, stop));
    NRTD_ASSIGN(const FileIdentity after, IdentityOf(file, name));
    if (settled && before == after) entry.file = before;
  }
  if (!entry.file) {
    NRTD_ASSIGN(entry.content, Sha256(neff::BytesOf(source), stop));
    if (auto known = Find([&](const Entry& e) { return e.content == entry.content; })) return known;
  }
  ++misses_;
  NRTD_ASSIGN(neff::Neff neff, neff::ReadExecutable(std::move(source), neff::kSimTarget, limits));
  NRTD_TRY(neff.Condense(stop));
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
  while (entries_.size() > capacity_ || bytes > kMostBytes) {
    bytes -= entries_.back().neff->sealed_weights().bytes().size();
    dropped.splice(dropped.end(), entries_, std::prev(entries_.end()));
  }
}

}  // namespace nrtd::runtime
