// SPDX-License-Identifier: Apache-2.0
#include "test/hostile/resource_group.h"

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace nrtd::hostile {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup/";

std::string UniqueName() {
  static std::atomic<int> count{0};
  return fmt::format("nrtd-hostile-{}-{}", ::getpid(), count.fetch_add(1));
}

Result<void> Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (file) return {};
  return Fail(Nerr::kResource, "cannot write {} to {}", text, path);
}

uint64_t ReadNumber(const std::string& path) {
  const auto text = ReadTextFile(path);
  return text ? std::strtoull(text->c_str(), nullptr, 10) : 0;
}

bool IsUnified() {
  const auto controllers = ReadTextFile(std::string(kRoot) + "cgroup.controllers");
  return controllers && controllers->find("memory") != std::string::npos;
}

}  // namespace

Result<ResourceGroup> ResourceGroup::Create(uint64_t memory_bytes, uint64_t pids) {
  ResourceGroup group;
  group.unified_ = IsUnified();
  const std::string name = UniqueName();
  const auto make = [&](const std::string& parent) -> Result<std::string> {
    const std::string folder = kRoot + parent + name;
    if (::mkdir(folder.c_str(), 0755) != 0)
      return Fail(Nerr::kResource, "cannot make {}: {}", folder, ErrnoText(errno));
    group.folders_.push_back(folder);
    return folder;
  };
  if (group.unified_) {
    (void)Write(std::string(kRoot) + "cgroup.subtree_control", "+memory +pids");
    NRTD_ASSIGN(const std::string folder, make(""));
    NRTD_TRY(Write(folder + "/memory.max", fmt::to_string(memory_bytes)));
    (void)Write(folder + "/memory.swap.max", "0");
    NRTD_TRY(Write(folder + "/pids.max", fmt::to_string(pids)));
    return group;
  }
  NRTD_ASSIGN(const std::string memory, make("memory/"));
  NRTD_TRY(Write(memory + "/memory.limit_in_bytes", fmt::to_string(memory_bytes)));
  NRTD_ASSIGN(const std::string pids_folder, make("pids/"));
  NRTD_TRY(Write(pids_folder + "/pids.max", fmt::to_string(pids)));
  return group;
}

ResourceGroup::~ResourceGroup() {
  for (const std::string& folder : folders_) ::rmdir(folder.c_str());
}

std::vector<std::string> ResourceGroup::Launcher() const {
  std::string script;
  for (const std::string& folder : folders_) script += "echo $$ >" + folder + "/cgroup.procs && ";
  return {"/bin/sh", "-c", script + "exec \"$@\"", "sh"};
}

uint64_t ResourceGroup::MemoryBytes() const {
  return ReadNumber(folders_.front() + (unified_ ? "/memory.current" : "/memory.usage_in_bytes"));
}

uint64_t ResourceGroup::PeakMemoryBytes() const {
  return ReadNumber(folders_.front() + (unified_ ? "/memory.peak" : "/memory.max_usage_in_bytes"));
}

}  // namespace nrtd::hostile
