// SPDX-License-Identifier: Apache-2.0
#include "neff/validator.h"

#include <algorithm>
#include <utility>

namespace nrtd::neff {
namespace {

constexpr std::pair<uint64_t, uint64_t> kVersions[] = {{0, 6}, {1, 0}, {1, 1}};

class ExecutableChecker {
 public:
  ExecutableChecker(const Kelf& kelf, const Subgraph& subgraph)
      : kelf_(kelf), subgraph_(subgraph) {}

  Result<void> Check() const {
    for (const Variable& variable : subgraph_.variables) {
      if (variable.type == VariableType::kOther) {
        return Invalid("the variable \"{}\" has the type \"{}\", which is not known", variable.name,
                       variable.type_name);
      }
    }
    for (const QueueSet& queue : subgraph_.queues) {
      if (queue.num_queues != 1) {
        return Invalid("the queue set \"{}\" has {} queues, expected 1", queue.name,
                       queue.num_queues);
      }
      NRTD_TRY(CheckNumber(queue.semaphore, kCoreSemaphores, "semaphore"));
      for (const uint32_t semaphore : queue.semaphore_set)
        NRTD_TRY(CheckNumber(semaphore, kCoreSemaphores, "semaphore"));
    }
    for (const EngineProgram& engine : subgraph_.engines) {
      for (const DmaTrigger& trigger : engine.dma) NRTD_TRY(CheckTrigger(trigger));
    }
    return {};
  }

 private:
  template <typename... Args>
  tl::unexpected<Error> Invalid(fmt::format_string<internal::Printed<Args>...> format,
                                Args&&... args) const {
    return Fail(Nerr::kInvalid, "{}: {} (target '{}'); compile the network again with neuron-cc",
                subgraph_.definition,
                AsIs(FormatText<Args...>(format, std::forward<Args>(args)...)), kelf_.target);
  }

  Result<void> CheckNumber(std::optional<uint32_t> number, uint32_t count,
                           std::string_view what) const {
    if (number && *number >= count)
      return Invalid("{} {} does not exist, a core has {}", what, *number, count);
    return {};
  }

  Result<void> CheckTrigger(const DmaTrigger& trigger) const {
    NRTD_TRY(CheckNumber(trigger.semaphore, kCoreSemaphores, "semaphore"));
    NRTD_TRY(CheckNumber(trigger.event, kCoreEvents, "event"));
    if (trigger.by_instance || trigger.desc.op != "copy" || !trigger.desc.from_array.empty()) {
      return Invalid("descriptor {} is more than a plain copy, which this target cannot do",
                     trigger.id);
    }
    for (const AccessPattern* side : {&trigger.desc.from, &trigger.desc.to}) {
      const Variable& variable = subgraph_.variables[side->variable];
      if (!variable.size) {
        return Invalid("descriptor {} needs the variable \"{}\", whose size is not declared",
                       trigger.id, variable.name);
      }
    }
    return {};
  }

  const Kelf& kelf_;
  const Subgraph& subgraph_;
};

}  // namespace

Result<void> CheckVersion(const Header& header) {
  const auto version = std::pair(header.version_major, header.version_minor);
  if (std::ranges::find(kVersions, version) != std::end(kVersions)) return {};
  const auto& newest = *std::rbegin(kVersions);
  return Fail(
      Nerr::kUnsupportedVersion,
      "NEFF version mismatch supported: {}.{} received: {}.{}; compile the network again with "
      "the neuron-cc of this release",
      newest.first, newest.second, version.first, version.second);
}

Result<void> CheckExecutable(const Neff& neff, std::string_view target) {
  NRTD_TRY(CheckVersion(neff.header()));
  for (const auto& [name, kelf] : neff.kelfs()) {
    if (kelf.target != target) {
      return Fail(Nerr::kUnsupportedVersion,
                  "NEFF target mismatch supported: {} received: {} (in {}); compile the network "
                  "for {} with neuron-cc",
                  target, kelf.target.empty() ? "none" : kelf.target, name, target);
    }
  }
  if (neff.header().feature_bits != 0) {
    return Fail(Nerr::kUnsupportedVersion,
                "NEFF needs the features {:#x}, of which {} has none; compile without them",
                neff.header().feature_bits, target);
  }
  if (neff.header().lnc_size > 1) {
    return Fail(Nerr::kUnsupportedVersion,
                "NEFF needs logical cores of {} cores, {} has only single ones; compile for 1",
                neff.header().lnc_size, target);
  }
  for (const auto& [name, kelf] : neff.kelfs()) {
    for (const Subgraph& subgraph : kelf.subgraphs)
      NRTD_TRY(ExecutableChecker(kelf, subgraph).Check());
  }
  return {};
}

Result<Neff> ReadExecutable(NeffSource source, std::string_view target, const Limits& limits) {
  if (auto* path = std::get_if<std::filesystem::path>(&source)) {
    NRTD_ASSIGN(MappedRegion file, MappedRegion::CopyFile(path->string(), limits.max_neff_bytes));
    source = std::move(file);
  }
  NRTD_ASSIGN(const Header header, ParseHeader(BytesOf(source)));
  NRTD_TRY(CheckFileSize(header, BytesOf(source).size()));
  NRTD_TRY(CheckVersion(header));
  NRTD_ASSIGN(Neff neff, ReadNeff(std::move(source), limits));
  NRTD_TRY(CheckExecutable(neff, target));
  return neff;
}

}  // namespace nrtd::neff
