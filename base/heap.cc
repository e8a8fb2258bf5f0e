// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include <cstdlib>
#include <string_view>

#include <malloc.h>

namespace nrtd {
namespace {

bool IsSet(const char* variable) {
  return std::getenv(variable) != nullptr;
}

bool TunesMalloc() {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  return tunables != nullptr &&
         std::string_view(tunables).find("glibc.malloc") != std::string_view::npos;
}

}  // namespace

void LimitHeap() {
  if (TunesMalloc()) return;
  if (!IsSet("MALLOC_ARENA_MAX")) {
    (void)::mallopt(M_ARENA_MAX, kArenas);
  }
  if (!IsSet("MALLOC_TRIM_THRESHOLD_") && !IsSet("MALLOC_MMAP_THRESHOLD_")) {
    (void)::mallopt(M_MMAP_THRESHOLD, kMinMappedBlock);
    (void)::mallopt(M_TRIM_THRESHOLD, kMaxFreeAtEnd);
  }
}

void ReturnFreeMemory() {
  (void)::malloc_trim(0);
}

uint64_t HeapBytesInUse() {
  return ::mallinfo2().uordblks;
}

}  // namespace nrtd
