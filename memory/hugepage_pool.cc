// SPDX-License-Identifier: Apache-2.0
#include "memory/hugepage_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/sizes.h"
#include "memory/pool_state.h"

namespace nrtd::memory {
namespace {

using SharedState = std::shared_ptr<PoolState>;

// A pool whose first page has come: the others most likely will.
Result<SharedState> Begin(Result<PinnedMapping> mapping, BusAddressing addressing,
                          const PoolOptions& options) {
  if (!mapping) return tl::unexpected<Error>(std::move(mapping.error()));
  NRTD_ASSIGN(SharedState state,
              PoolState::Create(std::move(*mapping), addressing, options.pagemap, options.on_page));
  NRTD_TRY(state->AddPage());
  return state;
}

Result<SharedState> BeginWithSmallPages(uint64_t pages, const PoolOptions& options) {
  // The kernel may move a small page although it is locked (it compacts memory).
  return Begin(PinnedMapping::MapSmallPages(pages, options.numa_node), BusAddressing::kVirtual,
               options);
}

Result<SharedState> BeginWithEitherPages(uint64_t pages, const PoolOptions& options) {
  if (options.only_small_pages) return BeginWithSmallPages(pages, options);
  auto huge =
      Begin(PinnedMapping::MapHugePages(pages, options.numa_node), options.addressing, options);
  if (huge || !options.allow_small_pages) return huge;
  auto small = BeginWithSmallPages(pages, options);
  if (!small) {
    return Fail(small.error().code, "{}; and instead of huge pages: {}", AsIs(huge.error().text),
                AsIs(small.error().text));
  }
  Log(LogLevel::kWarning, "NRTD:HugePagePool", "using ordinary pages: {}", AsIs(huge.error().text));
  return small;
}

void AddPages(PoolState& state) {
  auto added = state.AddPage();
  while (added && *added) added = state.AddPage();
  if (!added) Log(LogLevel::kError, "NRTD:HugePagePool", "{}", AsIs(added.error().text));
}

void LogWhenComplete(PoolState& state) {
  const size_t pages = state.pages().size();
  if (state.complete())
    Log(LogLevel::kInfo, "NRTD:HugePagePool", "All {} pages of 2 MiB are faulted in", pages);
}

// Beyond a few threads the memory itself is the bound.
constexpr unsigned kMostAdders = 8;

}  // namespace

Result<std::unique_ptr<HugePagePool>> HugePagePool::Create(const PoolOptions& options) {
  const auto pages = CheckedMultiply(options.pages_per_device, options.devices);
  // One page more is added where small pages are aligned.
  const auto bytes = pages ? CheckedMultiply(*pages, 2 * kHugePageSize) : std::nullopt;
  if (!bytes || *bytes == 0) {
    return Fail(Nerr::kInvalid, "a pool of {} pages for each of {} devices is impossible",
                options.pages_per_device, options.devices);
  }
  NRTD_ASSIGN(SharedState state, BeginWithEitherPages(*pages, options));
  return std::unique_ptr<HugePagePool>(new HugePagePool(std::move(state)));
}

HugePagePool::~HugePagePool() {
  state_->StopAdding();
}

void HugePagePool::AddRemainingBehind() {
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, kMostAdders);
  try {
    while (adders_.size() < threads) {
      adders_.emplace_back([state = state_, first = adders_.empty()] {
        AddPages(*state);
        if (first) LogWhenComplete(*state);
      });
    }
  } catch (const std::system_error& error) {  // a limit on processes; pages come when they are used
    Log(LogLevel::kWarning, "NRTD:HugePagePool", "no thread to fault pages in: {}", error.what());
  }
}

Result<DmaBuffer> HugePagePool::Allocate(uint64_t size, uint64_t alignment) {
  if (size == 0) return Fail(Nerr::kInvalid, "a DMA buffer of 0 bytes was asked for");
  if (!IsPowerOfTwo(alignment) || alignment > kHugePageSize) {
    return Fail(Nerr::kInvalid, "a DMA buffer cannot be aligned to {}: use a power of two up to {}",
                alignment, kHugePageSize);
  }
  NRTD_ASSIGN(const uint64_t offset, state_->Take(size, alignment));
  return DmaBuffer(state_, offset, size);
}

std::span<const PoolPage> HugePagePool::pages() const {
  return state_->pages();
}
bool HugePagePool::uses_huge_pages() const {
  return state_->huge();
}
BusAddressing HugePagePool::addressing() const {
  return state_->addressing();
}
PoolStats HugePagePool::Stats() const {
  return state_->Stats();
}

}  // namespace nrtd::memory
