// SPDX-License-Identifier: Apache-2.0
#include "memory/hugepage_counts.h"

#include <charconv>

#include "base/file.h"

namespace nrtd::memory {
namespace {

constexpr std::string_view kSizeDirectory = "hugepages-2048kB";

std::string Directory(const std::string& sysfs, int node) {
  if (node < 0) return fmt::format("{}/kernel/mm/hugepages/{}", sysfs, kSizeDirectory);
  return fmt::format("{}/devices/system/node/node{}/hugepages/{}", sysfs, node, kSizeDirectory);
}

Result<uint64_t> ReadCount(const std::string& path) {
  NRTD_ASSIGN(const std::string text, ReadTextFile(path, kKiB));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return Fail(Nerr::kFail, "{} holds no number: '{}'", path, text);
  return value;
}

Result<HugePageCounts> ReadDirectory(const std::string& directory, int node) {
  HugePageCounts counts{.node = node};
  NRTD_ASSIGN(counts.total, ReadCount(directory + "/nr_hugepages"));
  NRTD_ASSIGN(counts.free, ReadCount(directory + "/free_hugepages"));
  NRTD_ASSIGN(counts.surplus, ReadCount(directory + "/surplus_hugepages"));
  if (node >= 0) return counts;
  NRTD_ASSIGN(counts.reserved, ReadCount(directory + "/resv_hugepages"));
  NRTD_ASSIGN(counts.overcommit, ReadCount(directory + "/nr_overcommit_hugepages"));
  return counts;
}

}  // namespace

uint64_t HugePageCounts::Available() const {
  const uint64_t unpromised = free > reserved ? free - reserved : 0;
  const uint64_t growth = overcommit > surplus ? overcommit - surplus : 0;
  return unpromised + growth;
}

Result<HugePageCounts> ReadHugePageCounts(int node, const std::string& sysfs) {
  auto counts = ReadDirectory(Directory(sysfs, node), node);
  if (counts) return counts;
  return Fail(Nerr::kResource,
              "this kernel offers no huge pages of 2 MiB ({}); it needs CONFIG_HUGETLBFS and a "
              "processor with the flag 'pse'",
              AsIs(counts.error().text));
}

Result<void> CheckHugePages(uint64_t wanted, const HugePageCounts& counts) {
  const uint64_t available = counts.Available();
  if (available >= wanted) return {};
  // nr_hugepages sets the pool without its surplus.
  const uint64_t pool = counts.total - counts.surplus + (wanted - available);
  const std::string command = counts.node < 0 ? fmt::format("sysctl -w vm.nr_hugepages={}", pool)
                                              : fmt::format("echo {} > {}/nr_hugepages", pool,
                                                            Directory("/sys", counts.node));
  return Fail(Nerr::kResource,
              "Attempt to preallocate {} hugetlb pages failed! Wanted {} huge pages of 2 MiB, free "
              "{} of {}{}{}; run: {}",
              wanted, wanted, counts.free, counts.total,
              counts.reserved != 0
                  ? fmt::format(", {} of the free ones are promised to others", counts.reserved)
                  : "",
              counts.node >= 0 ? fmt::format(" on NUMA node {}", counts.node) : "", command);
}

}  // namespace nrtd::memory
