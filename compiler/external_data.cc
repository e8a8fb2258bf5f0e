// SPDX-License-Identifier: Apache-2.0
#include "compiler/external_data.h"

#include <algorithm>

#include "base/sizes.h"

namespace nrtd::compiler {

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
    const std::filesystem::path whole = folder_ / path;
    std::error_code error;
    if (std::filesystem::is_symlink(whole, error))
      return Fail(Nerr::kInvalid, "external data in '{}': it is a symbolic link", location);
    NRTD_ASSIGN(MappedRegion region, MappedRegion::MapFile(whole.string()));
    file = files_.emplace(location, std::move(region)).first;
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
