// SPDX-License-Identifier: Apache-2.0
//
// A simulated machine of four cores whose clock stands still unless a test moves it.
#pragma once

#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "driver_shim/sim/sim_platform.h"
#include "runtime/machine.h"
#include "runtime/model/loader.h"
#include "runtime/model/network.h"
#include "runtime/runtime.h"
#include "test/driver_shim/sim_fixture.h"
#include "test/must.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::runtime {

// How long a test that fails takes to notice that nothing happens.
inline constexpr auto kPatience = std::chrono::seconds(10);

inline std::unique_ptr<Machine> OpenMachine(Clock& clock, const std::string& instance) {
  MachineOptions options;
  options.platform.simulate = instance;
  options.pages_per_device = 16;
  options.allow_small_pages = true;
  return Must(Machine::Open(options, clock));
}

inline sim::SimCore& SimCoreOf(Machine& machine, uint32_t core) {
  return dynamic_cast<sim::SimCore&>(machine.channel(core).core());
}

// What a network that was not loaded leaves as it was.
struct Usage {
  uint64_t dram = 0;
  uint64_t host = 0;
  bool operator==(const Usage&) const = default;
};
inline void PrintTo(const Usage& usage, std::ostream* out) {
  *out << usage.dram << " bytes of DRAM, " << usage.host << " of host memory";
}
inline Usage UsageOf(Machine& machine) {
  Usage usage;
  for (uint32_t d = 0; d < machine.device_count(); ++d) {
    for (uint32_t c = 0; c < kDramChannels; ++c) usage.dram += machine.unit(d).used_bytes(c);
  }
  usage.host = machine.pool().Stats().used_bytes;
  return usage;
}

inline std::span<float> InputOf(Inference& inference) {
  const MutableByteSpan bytes = inference.input(0);
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}
inline std::span<const float> OutputOf(const Inference& inference) {
  const ByteSpan bytes = inference.output(0);
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}
inline void Fill(Inference& inference, float value) {
  std::ranges::fill(InputOf(inference), value);
}

// Is `future` ready without anybody's help? A test that finds it is not must free it itself.
template <typename T>
bool Ends(const std::future<T>& future) {
  return future.wait_for(kPatience) == std::future_status::ready;
}

// One inference of `value`, as a client makes it: the first element of the output.
struct Answer {
  Nerr code = Nerr::kOk;
  std::string text;
  float value = 0;
};
inline Answer Infer(Network& network, float value) {
  auto inference = network.Begin();
  if (!inference) return {inference.error().code, inference.error().text, 0};
  Fill(*inference, value);
  if (auto submitted = inference->Submit(Completion::kPolled); !submitted)
    return {submitted.error().code, submitted.error().text, 0};
  const scheduler::InferenceOutcome outcome = inference->Wait();
  return {outcome.code, outcome.detail, OutputOf(*inference)[0]};
}

// Networks by hand, without a Runtime.
class NetworkFixture : public ::testing::Test {
 protected:
  std::shared_ptr<Network> Load(const PipelineSpec& spec, GroupId group, uint32_t ninfer = 2,
                                Duration timeout = std::chrono::seconds(2)) {
    return Load(PipelineContents(spec), group, ninfer, timeout);
  }
  std::shared_ptr<Network> Load(const neff::NeffContents& contents, GroupId group,
                                uint32_t ninfer = 2, Duration timeout = std::chrono::seconds(2)) {
    auto neff = std::make_shared<const neff::Neff>(Executable(contents));
    NetworkInfo info;
    info.id = next_id_++;
    info.name = contents.header.name;
    info.group = group;
    info.params = {.timeout = timeout, .ninfer = ninfer};
    auto parts = Must(PlaceNetwork(std::move(neff), groups_.Find(group)->cores, ninfer, *machine_));
    auto network = std::make_shared<Network>(info, std::move(parts), *machine_, groups_);
    // Who drops the last pointer retires it, as a network that runs must be.
    return {network.get(), [network](Network*) { (void)network->Retire(); }};
  }
  GroupId Group(uint32_t cores) { return Must(groups_.Create(cores, false)).id; }
  sim::Faults& FaultsOf(uint32_t core) { return SimCoreOf(*machine_, core).faults(); }

  ManualClock time_;
  std::unique_ptr<Machine> machine_ = OpenMachine(time_, "inf1.xlarge");
  scheduler::GroupTable groups_{4};
  NetworkId next_id_ = 10'001;
};

class RuntimeFixture : public ::testing::Test {
 protected:
  NetworkId Load(const ByteVector& neff, GroupId group = 0, SessionId session = 0) {
    return Must(TryLoad(neff, group, session));
  }
  Result<NetworkId> TryLoad(const ByteVector& neff, GroupId group = 0, SessionId session = 0) {
    LoadRequest request;
    request.neff = neff;
    request.group = group;
    request.owner.session = session;
    return runtime_.Load(std::move(request));
  }
  sim::Faults& FaultsOf(uint32_t core) { return SimCoreOf(runtime_.machine(), core).faults(); }
  // The cores that a new group could have.
  uint32_t FreeRun() {
    auto group = runtime_.CreateGroup(0);
    if (!group) return 0;
    Must(runtime_.DestroyGroup(group->id));
    return group->cores.count;
  }

  ManualClock time_;
  Runtime runtime_{OpenMachine(time_, "inf1.xlarge")};
  const Usage idle_ = UsageOf(runtime_.machine());
  const ByteVector doubling_ = PipelineNeff(DoublingSpec(1));
};

}  // namespace nrtd::runtime
