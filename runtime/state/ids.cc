// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/ids.h"

#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/random.h>

#include "base/unique_fd.h"
#include "runtime/state/id_file.h"

namespace nrtd::runtime {
namespace {

// Above those that count from 10001; and 2^24 ids follow that are below 2^31, for clients that keep
// them in an int.
constexpr uint32_t kFirstRandom = 1U << 20;
constexpr uint32_t kLastRandom = (1U << 31) - (1U << 24);
constexpr int kRunShift = 40;  // ids of sessions and cookies in one run
constexpr uint64_t kMaxRun = (uint64_t{1} << (62 - kRunShift)) - 1;
constexpr uint64_t kMaxFirstRun = kMaxRun / 2;

// From `first` to `last`, evenly but for 2^-32.
Result<uint64_t> Random(uint64_t first, uint64_t last) {
  uint64_t bits = 0;
  ssize_t count = 0;
  do {
    count = ::getrandom(&bits, sizeof(bits), 0);
  } while (count < 0 && errno == EINTR);
  if (count != sizeof(bits)) return Fail(Nerr::kFail, "getrandom: {}", ErrnoText(errno));
  return first + bits % (last - first + 1);
}

// False where the folder cannot be written to: its next daemon could not tell.
bool Mark(const std::string& folder) {
  const std::string path = folder + "/" + kFolderMark;
  const UniqueFd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return false;
  constexpr std::string_view kText =
      "A neuron-rtd has served here. Ids of the next one begin at random numbers.\n";
  (void)!::write(file.get(), kText.data(), kText.size());
  return true;
}

Result<IdFile::Counts> Initial(const std::string& fresh_folder, bool mark) {
  IdFile::Counts counts{.networks = kFirstNetwork, .groups = kFirstGroup};
  NRTD_ASSIGN(counts.run, Random(1, kMaxFirstRun));
  if (!fresh_folder.empty() && (!mark || Mark(fresh_folder))) return counts;
  NRTD_ASSIGN(const uint64_t networks, Random(kFirstRandom, kLastRandom));
  NRTD_ASSIGN(const uint64_t groups, Random(kFirstRandom, kLastRandom));
  counts.networks = static_cast<uint32_t>(networks);
  counts.groups = static_cast<uint32_t>(groups);
  return counts;
}

}  // namespace

Result<IdBases> ChooseIds(const IdOptions& options) {
  const bool has_state = !options.state_directory.empty();
  // The directory's own file tells the next daemon.
  NRTD_ASSIGN(const IdFile::Counts initial, Initial(options.fresh_folder, /*mark=*/!has_state));
  IdBases bases;
  if (!has_state) {
    bases.networks.first = initial.networks;
    bases.groups.first = initial.groups;
    NRTD_ASSIGN(bases.first_session, Random(uint64_t{1} << kRunShift, (uint64_t{1} << 62) - 1));
    NRTD_ASSIGN(bases.first_cookie, Random(uint64_t{1} << kRunShift, (uint64_t{1} << 62) - 1));
    return bases;
  }
  NRTD_ASSIGN(const auto file, IdFile::Open(options.state_directory, initial));
  const IdFile::Counts& begin = file->begin();
  if (begin.run > kMaxRun) {
    return Fail(Nerr::kInvalid, "{}/ids: run {} is impossible; remove the file",
                options.state_directory, begin.run);
  }
  bases.networks = {begin.networks, [file](uint32_t next) { return file->ReserveNetworks(next); }};
  bases.groups = {begin.groups, [file](uint32_t next) { return file->ReserveGroups(next); }};
  bases.first_session = (begin.run << kRunShift) + 1;
  bases.first_cookie = bases.first_session;
  return bases;
}

}  // namespace nrtd::runtime
