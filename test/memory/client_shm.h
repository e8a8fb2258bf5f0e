// SPDX-License-Identifier: Apache-2.0
//
// What a client does with shared memory: shm_open, ftruncate, mmap, and unlinking the name.
#pragma once

#include <atomic>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mapped_region.h"
#include "base/unique_fd.h"

namespace nrtd::memory {

inline constexpr int kReadWrite = PROT_READ | PROT_WRITE;

class ClientShm {
 public:
  static std::string FreshName() {
    static std::atomic<int> number{0};
    return fmt::format("/nrtd-test-{}-{}", ::getpid(), number++);
  }

  explicit ClientShm(uint64_t size, std::string name = FreshName()) : name_(std::move(name)) {
    file_ = UniqueFd(::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666));
    EXPECT_TRUE(file_) << name_;
    // Whatever the umask: as clients of 1.x make their files.
    EXPECT_EQ(::fchmod(file_.get(), 0666), 0);
    Truncate(size);
    if (size == 0) return;
    auto region = MappedRegion::Map(size, PROT_READ | PROT_WRITE, MAP_SHARED, &file_);
    EXPECT_TRUE(region);
    region_ = std::move(*region);
  }
  ~ClientShm() { Unlink(); }
  ClientShm(const ClientShm&) = delete;
  ClientShm& operator=(const ClientShm&) = delete;

  void Truncate(uint64_t size) { EXPECT_EQ(::ftruncate(file_.get(), static_cast<off_t>(size)), 0); }
  void Unlink() {
    if (!unlinked_) ::shm_unlink(name_.c_str());
    unlinked_ = true;
  }
  const std::string& name() const { return name_; }
  std::byte* data() { return region_.data(); }

 private:
  std::string name_;
  UniqueFd file_;
  MappedRegion region_;
  bool unlinked_ = false;
};

}  // namespace nrtd::memory
