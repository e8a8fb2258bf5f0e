// SPDX-License-Identifier: Apache-2.0
#include "test/integration/daemon_test.h"

#include <iostream>
#include <thread>

namespace nrtd::integration {

std::ostream& operator<<(std::ostream& out, const Usage& usage) {
  return out << "DRAM " << usage.dram_bytes << " B, host pool " << usage.pool_bytes << " B, "
             << usage.networks << " networks, " << usage.groups << " groups, " << usage.slots_in_use
             << " slots";
}

Usage ReadUsage(RtdClient& client) {
  Usage usage;
  const v1::ListDevicesResponse devices = client.ListDevices();
  usage.pool_bytes = devices.host_pool_used_bytes();
  for (const v1::Device& device : devices.devices()) {
    for (const v1::DramChannel& channel : device.channels())
      usage.dram_bytes += channel.used_bytes();
  }
  const v1::ListNetworksResponse networks = client.ListNetworks();
  usage.networks = networks.networks_size();
  for (const v1::Network& network : networks.networks())
    usage.slots_in_use += network.slots_in_use();
  usage.groups = client.ListGroups().eg_info_size();
  return usage;
}

void DaemonTest::SetUp() {
  NRTD_REQUIRE_HUGE_PAGES(kTestHugePages);
  StartDaemon();
}

void DaemonTest::RestartDaemon(const std::vector<std::string>& arguments) {
  client_.reset();
  ASSERT_EQ(daemon_->Stop(), 0);
  StartDaemon(arguments);
}

void DaemonTest::TearDown() {
  client_.reset();
  if (daemon_ == nullptr) return;
  EXPECT_EQ(daemon_->Stop(), 0);
  if (HasFailure()) std::cerr << "The daemon's log:\n" << daemon_->Log() << '\n';
}

std::vector<std::string> DaemonTest::Arguments(const std::vector<std::string>& more) const {
  std::vector<std::string> all = {
      "--sim", "inf1.xlarge", "-g", address(), "-x", "--hugepages", fmt::to_string(kTestHugePages)};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void DaemonTest::StartDaemon(const std::vector<std::string>& arguments) {
  daemon_ = std::make_unique<DaemonProcess>(Arguments(arguments));
  ASSERT_TRUE(daemon_->AwaitListening()) << daemon_->Log();
  client_ = std::make_unique<RtdClient>(address());
}

uint32_t DaemonTest::Load(const LoadParts& parts) {
  const auto response = client().Load(LoadMessages(parts));
  EXPECT_THAT(response, IsOk());
  return response.h_nn().id();
}

void DaemonTest::ExpectReads(uint32_t network, size_t image) {
  const auto response = client().Infer(InferRequest(network, digits().Input(image)));
  ASSERT_THAT(response, IsOk());
  ASSERT_EQ(response.ofmap_size(), 1);
  EXPECT_LE(RelativeError(FloatsOf(response.ofmap(0).buf()), digits().references[image]), 1e-5);
}

const Digits& DaemonTest::digits() {
  if (digits_ == nullptr) digits_ = std::make_unique<Digits>();
  return *digits_;
}

const std::string& DaemonTest::digits_neff() {
  if (digits_neff_.empty()) digits_neff_ = CompileDigits();
  return digits_neff_;
}

void DaemonTest::Await(const std::string& what, const std::function<bool()>& condition) {
  SteadyClock clock;
  const TimePoint deadline = clock.Now() + kPatience;
  while (!condition()) {
    if (clock.Now() >= deadline) {
      ADD_FAILURE() << "waited in vain: " << what;
      return;
    }
    std::this_thread::yield();
  }
}

}  // namespace nrtd::integration
