// SPDX-License-Identifier: Apache-2.0
//
// A device belongs to one daemon at a time: who has it holds a lock on a file of its name.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace nrtd {

// Where neuron-rtd 1.x kept them.
inline constexpr const char* kDeviceLockDirectory = "/run/infa";

// Move-only; the destructor gives the device back and removes the file. A process that dies gives
// it back too.
class DeviceLock {
 public:
  // <directory>/infa-<bdf>.json, which is made with the directory and then holds this process's
  // pid. kHwError: "Failed to lock MLA. File ... is locked by pid N" when another process has it.
  // kResource with the reason when the file cannot be made.
  static Result<DeviceLock> Take(const std::string& directory, const std::string& bdf);
  // Who holds it, 0 for nobody; kResource when that cannot be found out.
  static Result<int> Holder(const std::string& directory, const std::string& bdf);

  DeviceLock(DeviceLock&&) noexcept = default;
  DeviceLock& operator=(DeviceLock&&) = delete;
  ~DeviceLock();

 private:
  DeviceLock(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  UniqueFd file_;
  std::string path_;
};

}  // namespace nrtd
