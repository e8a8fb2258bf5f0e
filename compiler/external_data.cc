// SPDX-License-Identifier: Apache-2.0
#include "compiler/external_data.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sizes.h"
#include "base/unique_fd.h"

namespace nrtd::compiler {
namespace {

// One step down; a symbolic link may lead anywhere.
Result<UniqueFd> OpenIn(const UniqueFd& folder, const std::string& name, int flags) {
  struct stat info {};
  if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISLNK(info.st_mode))
    return Fail(Nerr::kInvalid, "'{}' is a symbolic link; put the file itself there", name);
  UniqueFd opened(::openat(folder.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  if (!opened) return Fail(Nerr::kInvalid, "cannot open '{}': {}", name, ErrnoText(errno));
  return opened;
}

// Component by component, so that each of them is looked at, and what was looked at is opened.
Result<MappedRegion> MapBeneath(const std::filesystem::path& folder,
                                const std::filesystem::path& path) {
  const std::string top = folder.empty() ? "." : folder.string();
  UniqueFd at(::open(top.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return Fail(Nerr::kInvalid, "cannot open {}: {}", top, ErrnoText(errno));
  for (const auto& name : path.parent_path()) {
    NRTD_ASSIGN(at, OpenIn(at, name.string(), O_PATH | O_DIRECTORY));
  }
  // Without O_NONBLOCK the open of a FIFO waits for its writer.
  NRTD_ASSIGN(const UniqueFd file, OpenIn(at, path.filename().string(), O_RDONLY | O_NONBLOCK));
  NRTD_ASSIGN(const uint64_t size, SizeOfRegularFile(file, path.string()));
  return MappedRegion::Map(size, PROT_READ, MAP_PRIVATE, &file);
}

}  // namespace

Result<ByteSpan> ExternalData::Read(const std::string& location, uint64_t offset, uint64_t length) {
  const std::filesystem::path path(location);
  const bool leads_out =
      std::any_of(path.begin(), path.end(), [](const auto& p) { return p == ".."; });
  if (location.empty() || path.is_absolute() || leads_out) {
    return Fail(Nerr::kInvalid, "external data in '{}': the path must lie beside the model",
                location);
  }
  auto file = files_.find(location);
  if (file == files_.end()) {
    auto region = MapBeneath(folder_, path);
    if (!region)
      return tl::unexpected<Error>(
          std::move(region.error()).In(fmt::format("external data in '{}'", location)));
    file = files_.emplace(location, std::move(*region)).first;
  }
  const ByteSpan bytes = file->second.bytes();
  const uint64_t wanted = length != 0 || offset > bytes.size() ? length : bytes.size() - offset;
  if (!RangeFits(offset, wanted, bytes.size())) {
    return Fail(Nerr::kInvalid, "external data in '{}': {} bytes from {} on, but it has {}",
                location, wanted, offset, bytes.size());
  }
  return bytes.subspan(offset, wanted);
}

}  // namespace nrtd::compiler
