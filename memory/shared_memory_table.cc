// SPDX-License-Identifier: Apache-2.0
#include "memory/shared_memory_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/open_as_user.h"

namespace nrtd::memory {
namespace {

// A mapping that is there already serves a new call as well.
bool Serves(const SharedMemory& old, const SharedMemory& wanted) {
  return old.identity() == wanted.identity() && old.size() == wanted.size() &&
         old.hugetlb() == wanted.hugetlb() && (old.writable() || !wanted.writable());
}

}  // namespace

Result<std::shared_ptr<SharedMemory>> SharedMemoryTable::MapPosix(const std::string& path, int prot,
                                                                  const Mapper& mapper) {
  NRTD_ASSIGN(SharedMemory memory, SharedMemory::OpenPosix(path, prot, mapper.user));
  return Insert(std::move(memory), mapper);
}

Result<std::shared_ptr<SharedMemory>> SharedMemoryTable::MapHugetlb(const std::string& path,
                                                                    uint64_t size, int prot,
                                                                    const Mapper& mapper) {
  NRTD_ASSIGN(SharedMemory memory, SharedMemory::OpenHugetlb(path, size, prot, mapper.user));
  return Insert(std::move(memory), mapper);
}

Result<std::shared_ptr<SharedMemory>> SharedMemoryTable::Insert(SharedMemory opened,
                                                                const Mapper& mapper) {
  const auto memory = std::make_shared<SharedMemory>(std::move(opened));
  MapCall call{mapper.owner, mapper.process, nullptr};
  if (mapper.admit) {
    NRTD_ASSIGN(call.kept, mapper.admit(*memory));
  }
  MutexLock lock(mutex_);
  Generations& generations = paths_[{mapper.realm, memory->path()}];
  const auto same = std::find_if(generations.begin(), generations.end(),
                                 [&](const Mapping& old) { return Serves(*old.memory, *memory); });
  if (same == generations.end()) {
    generations.push_back({memory, {}});
    generations.back().calls.push_back(std::move(call));
  } else {
    same->calls.push_back(std::move(call));
    std::rotate(same, std::next(same), generations.end());
  }
  return generations.back().memory;
}

Result<void> SharedMemoryTable::Unmap(const std::string& path, OwnerId owner, RealmId realm) {
  NRTD_TRY(CheckNoNul(path));
  std::shared_ptr<SharedMemory> last;  // unmaps, if so, after the lock is let go
  MapCall taken_back;
  MutexLock lock(mutex_);
  const auto entry = paths_.find(Name<std::string_view>{realm, path});
  if (entry != paths_.end()) {
    Generations& generations = entry->second;
    for (size_t i = generations.size(); i-- > 0;) {
      std::vector<MapCall>& calls = generations[i].calls;
      const auto call = owner == 0
                            ? std::prev(calls.end())
                            : std::find_if(calls.begin(), calls.end(),
                                           [&](const MapCall& c) { return c.owner == owner; });
      if (call == calls.end()) continue;
      taken_back = std::move(*call);
      calls.erase(call);
      if (calls.empty()) {
        last = std::move(generations[i].memory);
        generations.erase(generations.begin() + static_cast<ptrdiff_t>(i));
      }
      if (generations.empty()) paths_.erase(entry);
      return {};
    }
  }
  return Fail(Nerr::kInvalid, "shared memory {} is not mapped{}", path,
              owner == 0 ? "" : fmt::format(" by session {}", owner));
}

Result<std::shared_ptr<SharedMemory>> SharedMemoryTable::Lookup(std::string_view path,
                                                                RealmId realm) const {
  MutexLock lock(mutex_);
  const auto entry = paths_.find(Name<std::string_view>{realm, path});
  if (entry == paths_.end())
    return Fail(Nerr::kInvalid, "shared memory {} is not mapped; call shm_map first", path);
  return entry->second.back().memory;
}

template <typename Predicate>
uint64_t SharedMemoryTable::ReleaseIf(Predicate gone) {
  // Unmapped, and given back to their accounts, after the lock is let go.
  std::vector<std::shared_ptr<SharedMemory>> last;
  std::vector<MapCall> released;
  MutexLock lock(mutex_);
  for (auto& [name, generations] : paths_) {
    for (Mapping& mapping : generations) {
      const auto first = std::stable_partition(mapping.calls.begin(), mapping.calls.end(),
                                               [&](const MapCall& call) { return !gone(call); });
      std::move(first, mapping.calls.end(), std::back_inserter(released));
      mapping.calls.erase(first, mapping.calls.end());
      if (mapping.calls.empty()) last.push_back(mapping.memory);
    }
    std::erase_if(generations, [](const Mapping& mapping) { return mapping.calls.empty(); });
  }
  std::erase_if(paths_, [](const auto& entry) { return entry.second.empty(); });
  lock.Unlock();
  return released.size();
}

uint64_t SharedMemoryTable::ReleaseOwner(OwnerId owner) {
  if (owner == 0) return 0;
  return ReleaseIf([&](const MapCall& call) { return call.owner == owner; });
}

uint64_t SharedMemoryTable::ReleaseProcess(ProcessId process) {
  if (process == 0) return 0;
  return ReleaseIf([&](const MapCall& call) { return call.process == process; });
}

uint64_t SharedMemoryTable::ReleaseAll() {
  Paths all;
  {
    MutexLock lock(mutex_);
    all.swap(paths_);
  }
  uint64_t released = 0;
  for (const auto& [name, generations] : all) {
    for (const Mapping& mapping : generations) released += mapping.calls.size();
  }
  return released;
}

uint64_t SharedMemoryTable::MapCount(std::string_view path, RealmId realm) const {
  MutexLock lock(mutex_);
  const auto entry = paths_.find(Name<std::string_view>{realm, path});
  if (entry == paths_.end()) return 0;
  uint64_t count = 0;
  for (const Mapping& mapping : entry->second) count += mapping.calls.size();
  return count;
}

uint64_t SharedMemoryTable::size() const {
  MutexLock lock(mutex_);
  uint64_t count = 0;
  for (const auto& [name, generations] : paths_) count += generations.size();
  return count;
}

uint64_t SharedMemoryTable::bytes() const {
  MutexLock lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [name, generations] : paths_) {
    for (const Mapping& mapping : generations) bytes += mapping.memory->size();
  }
  return bytes;
}

template <typename Predicate>
std::vector<std::string> SharedMemoryTable::PathsIf(Predicate wanted) const {
  MutexLock lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [name, generations] : paths_) {
    const bool has = std::any_of(generations.begin(), generations.end(), [&](const Mapping& m) {
      return std::any_of(m.calls.begin(), m.calls.end(), wanted);
    });
    if (has) paths.push_back(name.path);
  }
  return paths;
}

std::vector<std::string> SharedMemoryTable::PathsOf(OwnerId owner) const {
  return PathsIf([&](const MapCall& call) { return call.owner == owner; });
}

std::vector<std::string> SharedMemoryTable::PathsOfProcess(ProcessId process) const {
  return PathsIf([&](const MapCall& call) { return call.process == process; });
}

}  // namespace nrtd::memory
