// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/id_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/sizes.h"

namespace nrtd::runtime {
namespace {

constexpr const char* kName = "ids";
constexpr const char* kNewName = "ids.new";
constexpr std::string_view kTitle = "neuron-rtd ids 1";

tl::unexpected<Error> CannotUse(const std::string& directory, int reason) {
  return Fail(Nerr::kInvalid,
              "cannot use the state directory {}: {}; it must belong to the daemon's user",
              directory, ErrnoText(reason));
}

// Consumes "name NUMBER\n".
template <typename T>
bool Read(std::string_view& text, std::string_view name, T* value) {
  if (!text.starts_with(name)) return false;
  text.remove_prefix(name.size());
  if (!text.starts_with(' ')) return false;
  const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), *value);
  if (error != std::errc() || end == text.data() + text.size() || *end != '\n') return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return true;
}

Result<void> WriteAll(const UniqueFd& file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = ::write(file.get(), content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Fail(Nerr::kResource, "{}", ErrnoText(errno));
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace

std::string IdFile::Format(const Counts& counts) {
  return fmt::format("{}\nrun {}\nnetworks {}\ngroups {}\n", kTitle, counts.run, counts.networks,
                     counts.groups);
}

Result<IdFile::Counts> IdFile::Parse(const std::string& text) {
  std::string_view rest = text;
  Counts counts;
  const bool title = rest.starts_with(kTitle) && rest.substr(kTitle.size()).starts_with('\n');
  if (title) rest.remove_prefix(kTitle.size() + 1);
  if (title && Read(rest, "run", &counts.run) && Read(rest, "networks", &counts.networks) &&
      Read(rest, "groups", &counts.groups) && Format(counts) == text)
    return counts;
  return Fail(Nerr::kInvalid, "is damaged");
}

Result<std::shared_ptr<IdFile>> IdFile::Open(const std::string& directory, const Counts& initial) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), ignored);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return CannotUse(directory, errno);
  UniqueFd folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return CannotUse(directory, errno);
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return CannotUse(directory, errno);
    return Fail(Nerr::kInvalid,
                "the state directory {} is in use by another daemon: give each its own "
                "--state-directory",
                directory);
  }
  std::shared_ptr<IdFile> file(new IdFile(directory, std::move(folder)));
  MutexLock lock(file->mutex_);
  NRTD_TRY(file->Load(initial));
  return file;
}

Result<void> IdFile::Load(const Counts& initial) {
  const std::string path = directory_ + "/" + kName;
  struct stat info {};
  const bool there = ::fstatat(folder_.get(), kName, &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && errno != ENOENT) return CannotUse(directory_, errno);
  if (there && !S_ISREG(info.st_mode)) return CannotUse(path, EINVAL);
  begin_ = initial;
  if (there) {
    const auto text = ReadTextFile(path, kKiB);
    const auto counts = text ? Parse(*text) : tl::unexpected<Error>(text.error());
    if (!counts) {
      return Fail(
          Nerr::kInvalid,
          "{}: {}; which ids clients may still have is not known any more. Remove the file: "
          "ids then begin at random numbers",
          path, counts.error().text);
    }
    begin_ = *counts;
  }
  ++begin_.run;
  NRTD_TRY(Store(begin_));
  counts_ = begin_;
  return {};
}

Result<void> IdFile::Store(const Counts& counts) const {
  const auto failed = [&](const std::string& reason) {
    ::unlinkat(folder_.get(), kNewName, 0);
    return Fail(Nerr::kResource, "cannot reserve ids in {}/{}: {}", directory_, kName, reason);
  };
  {
    const UniqueFd file(::openat(folder_.get(), kNewName,
                                 O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return failed(ErrnoText(errno));
    if (const auto written = WriteAll(file, Format(counts)); !written)
      return failed(written.error().text);
    if (::fsync(file.get()) != 0) return failed(ErrnoText(errno));
  }
  if (::renameat(folder_.get(), kNewName, folder_.get(), kName) != 0)
    return failed(ErrnoText(errno));
  // The name must be on the disk, too, before an id is handed out.
  if (::fsync(folder_.get()) != 0) return failed(ErrnoText(errno));
  return {};
}

Result<uint32_t> IdFile::Reserve(uint32_t Counts::*member, uint32_t next) {
  MutexLock lock(mutex_);
  Counts counts = counts_;
  counts.*member = next > UINT32_MAX - kBlock ? UINT32_MAX : next + kBlock;
  NRTD_TRY(Store(counts));
  counts_ = counts;
  return counts.*member;
}

}  // namespace nrtd::runtime
