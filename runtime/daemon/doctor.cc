// SPDX-License-Identifier: Apache-2.0
#include "runtime/daemon/doctor.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <cap-ng.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sizes.h"
#include "base/unique_fd.h"
#include "driver_shim/device_lock.h"
#include "memory/hugepage_counts.h"
#include "memory/pagemap.h"

namespace nrtd::daemon {
namespace {

namespace fs = std::filesystem;

// Device numbers and buses without taking a device, which locks it.
Result<std::vector<std::string>> Devices(const Options& options) {
  PlatformOptions looking = options.machine.platform;
  looking.lock_directory.clear();
  NRTD_ASSIGN(const auto platform, OpenPlatform(looking));
  std::vector<std::string> bdfs;
  for (Device* device : platform->devices()) bdfs.push_back(device->info().bdf);
  return bdfs;
}

Result<std::string> CheckDevices(const Options& options) {
  NRTD_ASSIGN(const auto bdfs, Devices(options));
  return fmt::format("{}{}", fmt::join(bdfs, ", "),
                     options.machine.platform.simulate.empty() ? "" : " (simulated)");
}

Result<std::string> CheckLocks(const Options& options) {
  const std::string& directory = options.machine.platform.lock_directory;
  if (directory.empty()) return std::string("none: simulated devices are not locked");
  NRTD_ASSIGN(const auto bdfs, Devices(options));
  for (const std::string& bdf : bdfs) {
    NRTD_ASSIGN(const int holder, DeviceLock::Holder(directory, bdf));
    if (holder != 0) {
      return Fail(Nerr::kHwError,
                  "{} belongs to the daemon with pid {}; stop it: kill {}, or choose other devices "
                  "with -t",
                  bdf, holder, holder);
    }
  }
  return fmt::format("{} free in {}", bdfs.size(), directory);
}

// Of one device where there is none.
uint64_t WantedPages(const Options& options) {
  const auto bdfs = Devices(options);
  return options.machine.pages_per_device * (bdfs ? bdfs->size() : 1);
}

Result<std::string> CheckPages(const Options& options) {
  const uint64_t wanted = WantedPages(options);
  NRTD_ASSIGN(const auto counts, memory::ReadHugePageCounts());
  NRTD_TRY(memory::CheckHugePages(wanted, counts));
  return fmt::format("{} wanted, {} available", wanted, counts.Available());
}

// What a container may have: the file is where its own cgroup is mounted.
Result<std::string> CheckPageLimit(const Options& options) {
  const uint64_t wanted = WantedPages(options) * memory::kHugePageSize;
  const char* const file = "/sys/fs/cgroup/hugetlb.2MB.max";
  const auto text = ReadTextFile(file);
  if (!text || text->starts_with("max")) return std::string("none");
  const uint64_t limit = std::strtoull(text->c_str(), nullptr, 10);
  if (limit >= wanted) return HumanBytes(limit);
  return Fail(Nerr::kResource,
              "the cgroup allows {}, {} are wanted; in Kubernetes set the container's resource "
              "hugepages-2Mi: {}Mi",
              HumanBytes(limit), HumanBytes(wanted), wanted / kMiB);
}

bool Has(unsigned capability) {
  return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, capability) != 0;
}

Result<std::string> CheckCapability(unsigned capability, const char* name, const char* why) {
  if (Has(capability)) return std::string("there");
  return Fail(Nerr::kResource,
              "missing, which {}; docker run --cap-add {}, or in Kubernetes "
              "securityContext.capabilities.add: [\"{}\"]",
              why, name, name);
}

Result<std::string> CheckLockedMemory() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
    return Fail(Nerr::kFail, "getrlimit: {}", ErrnoText(errno));
  if (Has(CAP_IPC_LOCK)) return std::string("unlimited by IPC_LOCK");
  if (limit.rlim_cur == RLIM_INFINITY) return std::string("unlimited");
  if (limit.rlim_cur >= memory::kHugePageSize) return HumanBytes(limit.rlim_cur);
  return Fail(Nerr::kResource, "{}; run: ulimit -l unlimited (docker run --ulimit memlock=-1)",
              HumanBytes(limit.rlim_cur));
}

Result<std::string> CheckPagemap(const Options& options) {
  NRTD_ASSIGN(const memory::Pagemap pagemap, memory::Pagemap::Open());
  const int here = 0;
  const auto address = pagemap.PhysicalAddress(&here);
  if (address) return std::string("physical addresses are shown");
  if (options.machine.platform.simulate.empty()) return tl::unexpected<Error>(address.error());
  return std::string("hidden; simulated devices use virtual addresses");
}

Result<std::string> CheckSocket(const Options& options) {
  constexpr std::string_view kPrefix = "unix:";
  std::string path = options.server.address;
  if (path.starts_with(kPrefix)) path.erase(0, kPrefix.size());
  if (!path.starts_with('/')) return options.server.address;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path))
    return Fail(Nerr::kInvalid, "{} has {} bytes, at most {} are possible; choose another with -g",
                path, path.size(), sizeof(name.sun_path) - 1);
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return Fail(Nerr::kInvalid,
                "a daemon listens on {} already; stop it, or choose another address with -g", path);
  }
  const std::string folder = fs::path(path).parent_path().string();
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return Fail(Nerr::kInvalid, "cannot make a socket in {}: {}; run: mkdir -p {}", folder,
                ErrnoText(errno), folder);
  return path;
}

Result<std::string> CheckSharedMemory() {
  struct statvfs space {};
  struct statfs kind {};
  constexpr long kTmpfsMagic = 0x01021994;
  if (::statvfs("/dev/shm", &space) != 0 || ::statfs("/dev/shm", &kind) != 0)
    return Fail(Nerr::kResource, "/dev/shm: {}; run: mount -t tmpfs tmpfs /dev/shm",
                ErrnoText(errno));
  if (kind.f_type != kTmpfsMagic)
    return Fail(Nerr::kResource, "/dev/shm is no tmpfs; run: mount -t tmpfs tmpfs /dev/shm");
  return fmt::format("{} free in /dev/shm; clients of other containers must share it",
                     HumanBytes(space.f_bavail * space.f_frsize));
}

}  // namespace

std::vector<Finding> Findings(const Options& options) {
  std::vector<Finding> findings;
  findings.push_back({"devices", CheckDevices(options)});
  findings.push_back({"device locks", CheckLocks(options)});
  findings.push_back({"huge pages", CheckPages(options)});
  findings.push_back({"limit on huge pages", CheckPageLimit(options)});
  findings.push_back({"locked memory", CheckLockedMemory()});
  findings.push_back({"capability IPC_LOCK", CheckCapability(CAP_IPC_LOCK, "IPC_LOCK",
                                                             "may keep memory from being pinned")});
  findings.push_back({"capability SYS_ADMIN",
                      CheckCapability(CAP_SYS_ADMIN, "SYS_ADMIN", "hides physical addresses")});
  findings.push_back({"pagemap", CheckPagemap(options)});
  findings.push_back({"socket", CheckSocket(options)});
  findings.push_back({"shared memory", CheckSharedMemory()});
  return findings;
}

bool Examine(const Options& options, std::ostream& out) {
  bool all = true;
  for (const Finding& finding : Findings(options)) {
    all = all && finding.outcome.has_value();
    out << fmt::format("{:4}  {:22}{}\n", finding.outcome ? "ok" : "FAIL", finding.subject,
                       finding.outcome ? *finding.outcome : finding.outcome.error().text);
  }
  return all;
}

}  // namespace nrtd::daemon
