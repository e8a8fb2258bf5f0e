// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/unique_fd.h"

namespace nrtd {
namespace {

template <typename Container>
Result<Container> ReadInto(const std::string& path, uint64_t limit) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Fail(Nerr::kInvalid, "cannot open {}: {}", path, ErrnoText(errno));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return Fail(Nerr::kFail, "cannot stat {}: {}", path, ErrnoText(errno));
  if (S_ISDIR(info.st_mode)) return Fail(Nerr::kInvalid, "{} is a directory", path);
  Container content;
  content.resize(std::min<uint64_t>(limit, std::max<int64_t>(info.st_size, 4096)) + 1);
  size_t filled = 0;
  while (true) {
    if (filled == content.size()) content.resize(std::min<uint64_t>(limit + 1, content.size() * 2));
    const ssize_t count = ::read(file.get(), content.data() + filled, content.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kInvalid, "cannot read {}: {}", path, ErrnoText(errno));
    if (count == 0) break;
    filled += static_cast<size_t>(count);
    if (filled > limit) return Fail(Nerr::kInvalid, "{} is larger than {} bytes", path, limit);
  }
  content.resize(filled);
  return content;
}

}  // namespace

Result<ByteVector> ReadFile(const std::string& path, uint64_t limit) {
  return ReadInto<ByteVector>(path, limit);
}

Result<std::string> ReadTextFile(const std::string& path, uint64_t limit) {
  return ReadInto<std::string>(path, limit);
}

Result<void> WriteFileAtomically(const std::string& path, ByteSpan content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return Fail(Nerr::kInvalid, "cannot create {}: {}", temporary, ErrnoText(errno));
  size_t written = 0;
  while (written < content.size()) {
    const ssize_t count = ::write(file.get(), content.data() + written, content.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error_number = errno;
      ::unlink(temporary.c_str());
      return Fail(Nerr::kResource, "cannot write {}: {}", path, ErrnoText(error_number));
    }
    written += static_cast<size_t>(count);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(temporary.c_str());
    return Fail(Nerr::kInvalid, "cannot rename {} to {}: {}", temporary, path,
                ErrnoText(error_number));
  }
  return {};
}

}  // namespace nrtd
