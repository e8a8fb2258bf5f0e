// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/base/scratch_directory.h"
#include "test/integration/daemon_process.h"
#include "test/integration/networks.h"
#include "test/integration/rtd_client.h"
#include "test/memory/system_fixture.h"

namespace nrtd::integration {

// What the daemons of most tests take: the fewest that do.
inline constexpr uint64_t kTestHugePages = 16;

// Everything that a load could leave behind, as the daemon itself counts it.
struct Usage {
  uint64_t dram_bytes = 0;
  uint64_t pool_bytes = 0;
  int networks = 0;
  int groups = 0;
  uint64_t slots_in_use = 0;

  bool operator==(const Usage&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Usage& usage);
Usage ReadUsage(RtdClient& client);

// HasStatus(2, "Wrong NEFF file size") of an nrt.status, or of a response that has one: its code,
// and words of its details.
MATCHER_P2(HasStatus, code, words, "") {
  nrt::status status;
  if constexpr (std::is_same_v<std::decay_t<arg_type>, nrt::status>) {
    status = arg;
  } else {
    status = arg.status();
  }
  *result_listener << "code " << status.code() << ": " << status.details();
  return status.code() == code && status.details().find(words) != std::string::npos;
}
inline auto IsOk() {
  return HasStatus(0, "");
}

// A daemon with a simulated inf1.xlarge (4 cores) on a socket of its own, and one client. Skipped
// by name where there are no huge pages. At the end the daemon must stop on SIGTERM with exit code
// 0; its log is shown if the test failed.
class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts another one with the test's socket and these arguments behind the usual ones.
  void StartDaemon(const std::vector<std::string>& arguments = {});
  // The same after the one that runs has stopped.
  void RestartDaemon(const std::vector<std::string>& arguments);
  std::vector<std::string> Arguments(const std::vector<std::string>& more = {}) const;

  std::string SocketPath() const { return folder_.File("nrtd.sock"); }
  std::string address() const { return "unix:" + SocketPath(); }
  std::string File(const std::string& name) const { return folder_.File(name); }
  RtdClient& client() { return *client_; }
  DaemonProcess& daemon() { return *daemon_; }

  // Loads and returns the id; a test failure and 0 if that is refused.
  uint32_t Load(const LoadParts& parts);
  // Fails the test unless the network answers the digits' image as the reference does.
  void ExpectReads(uint32_t network, size_t image = 0);

  const Digits& digits();
  const std::string& digits_neff();  // compiled once, without casts

  // Until `condition` holds, asking again and again; a test failure after kPatience.
  void Await(const std::string& what, const std::function<bool()>& condition);

  ScratchDirectory folder_;
  std::unique_ptr<DaemonProcess> daemon_;
  std::unique_ptr<RtdClient> client_;

 private:
  std::unique_ptr<Digits> digits_;
  std::string digits_neff_;
};

}  // namespace nrtd::integration
