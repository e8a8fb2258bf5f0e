// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "test/hostile/resource_group.h"
#include "test/integration/daemon_test.h"

namespace nrtd::hostile {

using integration::DaemonProcess;
using integration::DaemonTest;
using integration::HasStatus;
using integration::IsOk;
using integration::LoadParts;
using integration::RtdClient;

// A daemon with a simulated inf1.xlarge inside the limits of a small pod, and one honest client.
// Skipped by name where there are no huge pages or no control groups. The daemon must survive every
// test, stop on SIGTERM with exit code 0, and never have been near its memory limit's end.
class HostileTest : public DaemonTest {
 protected:
  void SetUp() override {
    NRTD_REQUIRE_HUGE_PAGES(integration::kTestHugePages);
    auto made = ResourceGroup::Create();
    if (!made) GTEST_SKIP() << made.error().text;
    group_.emplace(std::move(*made));
    StartLimited();
  }
  void TearDown() override {
    DaemonTest::TearDown();
    daemon_.reset();
    group_.reset();
  }

  // Starts the daemon inside the group, with these arguments after the usual ones.
  void StartLimited(const std::vector<std::string>& arguments = {}) {
    daemon_ = std::make_unique<DaemonProcess>(Arguments(arguments), group_->Launcher());
    ASSERT_TRUE(daemon_->AwaitListening()) << daemon_->Log();
    client_ = std::make_unique<RtdClient>(address());
  }

  ResourceGroup& group() { return *group_; }

 private:
  std::optional<ResourceGroup> group_;
};

}  // namespace nrtd::hostile
