// SPDX-License-Identifier: Apache-2.0
//
// The clients' mappings by path, as shm_map, shm_unmap and infer name them.
//
// A path is mapped as often as it was asked for, and stays until it was unmapped as often. A client
// unlinks its file right after mapping, so another may create a new one of the same name: that is a
// mapping of its own, the newest one answers Lookup(), and who holds the older one keeps it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "memory/shared_memory.h"

namespace nrtd::memory {

// The session for which a mapping was made; 0 for a client without one.
using OwnerId = uint64_t;
// A name space of paths: what was mapped in one is not seen from another.
using RealmId = uint64_t;

// The process that asked for a mapping; 0 where that is not known.
using ProcessId = uint64_t;

// Says whether a file that was opened may be mapped, and returns what is kept as long as it is.
using Admit = std::function<Result<std::shared_ptr<void>>(const SharedMemory& memory)>;

// Who asks for a mapping.
struct Mapper {
  OwnerId owner = 0;
  RealmId realm = 0;
  ProcessId process = 0;
  FileUser user = {};
  Admit admit = {};  // none: always
};

// Threadsafe. Files are opened, faulted in and unmapped outside its lock, so that Lookup(), which
// inference calls, never waits for them.
class SharedMemoryTable {
 public:
  // The errors of SharedMemory's factories.
  Result<std::shared_ptr<SharedMemory>> MapPosix(const std::string& path, int prot,
                                                 const Mapper& mapper = {});
  Result<std::shared_ptr<SharedMemory>> MapHugetlb(const std::string& path, uint64_t size, int prot,
                                                   const Mapper& mapper = {});

  // Takes back one map call of this owner, the newest mapping first; owner 0 stands for a caller
  // who does not say, and takes back anyone's. kInvalid with the path when there is none, and for a
  // path that has a NUL.
  Result<void> Unmap(const std::string& path, OwnerId owner = 0, RealmId realm = 0);

  // The newest mapping of the path; kInvalid with the path when there is none. The mapping lives as
  // long as the pointer, whatever happens to the table.
  Result<std::shared_ptr<SharedMemory>> Lookup(std::string_view path, RealmId realm = 0) const;

  // Takes back everything that was mapped for this owner and returns how many map calls that were.
  // Owner 0 is nobody: nothing happens.
  uint64_t ReleaseOwner(OwnerId owner);
  // The same for everything that a process has mapped, with an owner or without.
  uint64_t ReleaseProcess(ProcessId process);
  // Takes back everything.
  uint64_t ReleaseAll();

  // The paths that this owner has mapped, sorted, each once.
  std::vector<std::string> PathsOf(OwnerId owner) const;
  // The same for a process.
  std::vector<std::string> PathsOfProcess(ProcessId process) const;
  // Map calls of the path that were not taken back.
  uint64_t MapCount(std::string_view path, RealmId realm = 0) const;
  // Mappings held, and their bytes.
  uint64_t size() const;
  uint64_t bytes() const;

 private:
  struct MapCall {
    OwnerId owner;
    ProcessId process;
    std::shared_ptr<void> kept;  // Mapper::admit
  };
  struct Mapping {
    std::shared_ptr<SharedMemory> memory;
    std::vector<MapCall> calls;
  };
  using Generations = std::vector<Mapping>;  // newest last

  // A path in a realm; `Text` is a std::string or a view of one.
  template <typename Text>
  struct Name {
    RealmId realm;
    Text path;
  };
  struct Less {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const {
      return std::tuple(a.realm, std::string_view(a.path)) <
             std::tuple(b.realm, std::string_view(b.path));
    }
  };
  using Paths = std::map<Name<std::string>, Generations, Less>;

  Result<std::shared_ptr<SharedMemory>> Insert(SharedMemory opened, const Mapper& mapper);
  template <typename Predicate>
  uint64_t ReleaseIf(Predicate gone) NRTD_EXCLUDES(mutex_);
  template <typename Predicate>
  std::vector<std::string> PathsIf(Predicate wanted) const NRTD_EXCLUDES(mutex_);

  mutable Mutex mutex_;
  Paths paths_ NRTD_GUARDED_BY(mutex_);
};

}  // namespace nrtd::memory
