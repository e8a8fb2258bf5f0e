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
  return Insert(std::make_shared<SharedMemory>(std::move(memory)), mapper);
}

Result<std::shared_ptr<SharedMemory>> SharedMemoryTable::MapHugetlb(const std::string& path,
                                                                    uint64_t size, int prot,
                                                                    const Mapper& mapper) {
  NRTD_ASSIGN(SharedMemory memory, SharedMemory::OpenHugetlb(path, size, prot, mapper.user));
  return Insert(std::make_shared<SharedMemory>(std::move(memory)), mapper);
}

std::shared_ptr<SharedMemory> SharedMemoryTable::Insert(const std::shared_ptr<SharedMemory>& memory,
                                                        const Mapper& mapper) {
  MutexLock lock(mutex_);
  Generations& generations = paths_[{mapper.realm, memory->path()}];
  const auto same = std::find_if(generations.begin(), generations.end(),
                                 [&](const Mapping& old) { return Serves(*old.memory, *memory); });
  if (same == generations.end()) {
    generations.push_back({memory, {mapper.owner}});
  } else {
    same->owners.push_back(mapper.owner);
    std::rotate(same, std::next(same), generations.end());
  }
  return generations.back().memory;
}

Result<void> SharedMemoryTable::Unmap(const std::string& path, OwnerId owner, RealmId realm) {
  NRTD_TRY(CheckNoNul(path));
  std::shared_ptr<SharedMemory> last;  // unmaps, if so, after the lock is let go
  MutexLock lock(mutex_);
  const auto entry = paths_.find(Name<std::string_view>{realm, path});
  if (entry != paths_.end()) {
    Generations& generations = entry->second;
    for (size_t i = generations.size(); i-- > 0;) {
      std::vector<OwnerId>& owners = generations[i].owners;
      const auto call =
          owner == 0 ? std::prev(owners.end()) : std::find(owners.begin(), owners.end(), owner);
      if (call == owners.end()) continue;
      owners.erase(call);
      if (owners.empty()) {
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

uint64_t SharedMemoryTable::ReleaseOwner(OwnerId owner) {
  if (owner == 0) return 0;
  std::vector<std::shared_ptr<SharedMemory>> last;
  uint64_t released = 0;
  MutexLock lock(mutex_);
  for (auto& [name, generations] : paths_) {
    for (Mapping& mapping : generations) {
      released += std::erase(mapping.owners, owner);
      if (mapping.owners.empty()) last.push_back(mapping.memory);
    }
    std::erase_if(generations, [](const Mapping& mapping) { return mapping.owners.empty(); });
  }
  std::erase_if(paths_, [](const auto& entry) { return entry.second.empty(); });
  return released;
}

uint64_t SharedMemoryTable::ReleaseAll() {
  Paths all;
  {
    MutexLock lock(mutex_);
    all.swap(paths_);
  }
  uint64_t released = 0;
  for (const auto& [name, generations] : all) {
    for (const Mapping& mapping : generations) released += mapping.owners.size();
  }
  return released;
}

uint64_t SharedMemoryTable::MapCount(std::string_view path, RealmId realm) const {
  MutexLock lock(mutex_);
  const auto entry = paths_.find(Name<std::string_view>{realm, path});
  if (entry == paths_.end()) return 0;
  uint64_t count = 0;
  for (const Mapping& mapping : entry->second) count += mapping.owners.size();
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

std::vector<std::string> SharedMemoryTable::PathsOf(OwnerId owner) const {
  MutexLock lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [name, generations] : paths_) {
    const bool has = std::any_of(generations.begin(), generations.end(), [&](const Mapping& m) {
      return std::find(m.owners.begin(), m.owners.end(), owner) != m.owners.end();
    });
    if (has) paths.push_back(name.path);
  }
  return paths;
}

}  // namespace nrtd::memory
