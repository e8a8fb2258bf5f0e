// SPDX-License-Identifier: Apache-2.0
//
// A pipeline of two simulated cores: stage 1 computes 2 x + 1, stage 2 reads what stage 1 wrote to
// the slot's memory and computes 3 x. Its clock stands still, its cores can be held.
#pragma once

#include <memory>
#include <vector>

#include "scheduler/slot_pool.h"
#include "test/driver_shim/gated_core.h"
#include "test/driver_shim/sim_fixture.h"
#include "test/must.h"

namespace nrtd::scheduler {

class PipelineFixture : public sim::SimFixture {
 protected:
  static constexpr uint32_t kCount = 4;  // floats of a tensor
  static constexpr uint32_t kBytes = kCount * sizeof(float);
  static constexpr uint64_t kInput = 0;  // offsets in a slot
  static constexpr uint64_t kMiddle = 64;
  static constexpr uint64_t kOutput = 128;
  static constexpr uint64_t kSlotBytes = 192;

  PipelineFixture() {
    for (uint32_t c = 0; c < 2; ++c) {
      gated_.push_back(std::make_unique<GatedCore>(device().core(c)));
      channels_.push_back(Must(CoreChannel::Create(*gated_[c], *pool_, time_)));
      StartStage(c, c == 0 ? sim::Activation{{}, {}, sim::Function::kLinear, 2, 1}
                           : sim::Activation{{}, {}, sim::Function::kLinear, 3, 0});
    }
  }
  ~PipelineFixture() override { OpenGates(); }

  void OpenGates() {
    for (const auto& core : gated_) {
      core->before_poll.Open();
      core->after_poll.Open();
    }
  }

  void StopStage(uint32_t core) {
    if (programs_[core]) channels_[core]->Stop(*programs_[core]);
  }

  // Makes `activation` what the stage computes.
  void StartStage(uint32_t core, sim::Activation activation) {
    using namespace sim;
    const Operand x = DenseOperand(0, DType::kFloat32, 0, {kCount});
    activation.input = activation.output = x;
    const Stream streams[] = {
        {Engine::kPe, {End{}}},
        {Engine::kAct, {SemaphoreWait{0, 1}, activation, SemaphoreSignal{2}, End{}}},
        {Engine::kPool,
         {DmaTrigger{0}, SemaphoreWait{2, 1}, DmaTrigger{1}, SemaphoreWait{1, 1}, End{}}}};
    ProgramImage image;
    ByteVector encoded[kCoreEngines];
    for (size_t e = 0; e < kCoreEngines; ++e) {
      encoded[e] = EncodeStream(streams[e]);
      image.instructions[e] = encoded[e];
    }
    image.variables = {{0, kBytes, Dram(core), true, true}};
    image.triggers = {{CoreEngine::kPool, 0, 0, 1}, {CoreEngine::kPool, 1, 1, 1}};
    image.output_var_ids = {0};
    StopStage(core);
    programs_[core] = std::make_unique<ProgramRings>(Must(device().core(core).LoadProgram(image)));
    const uint32_t capacities[] = {16, 16};
    Must(channels_[core]->Start(*programs_[core], capacities));
  }

  // A host stage in front of stage two alone, which reads what the input is.
  std::unique_ptr<Slot> MakeHostedSlot(HostPool& pool, HostFunction host) {
    memory::DmaBuffer memory = Must(pool_->Allocate(kSlotBytes));
    const Descriptor in{.source = memory.BusAddress(kInput),
                        .destination = Dram(1),
                        .length = kBytes,
                        .semaphore = 0};
    const Descriptor out{.source = Dram(1),
                         .destination = memory.BusAddress(kOutput),
                         .length = kBytes,
                         .semaphore = 1};
    std::vector<StagePlan> plans(2);
    plans[0].pool = &pool;
    plans[0].host = std::move(host);
    plans[1].core = {channels_[1].get(), programs_[1].get(), {{0, {in}}, {1, {out}}}};
    return std::make_unique<Slot>(std::move(memory), std::move(plans));
  }

  // Its first stage reads from `source`, if given.
  std::unique_ptr<Slot> MakeSlot(BusAddress source = 0) {
    memory::DmaBuffer memory = Must(pool_->Allocate(kSlotBytes));
    const uint64_t from[] = {kInput, kMiddle};
    const uint64_t to[] = {kMiddle, kOutput};
    std::vector<StagePlan> plans;
    for (uint32_t c = 0; c < 2; ++c) {
      const Descriptor in{.source = c == 0 && source != 0 ? source : memory.BusAddress(from[c]),
                          .destination = Dram(c),
                          .length = kBytes,
                          .semaphore = 0};
      const Descriptor out{.source = Dram(c),
                           .destination = memory.BusAddress(to[c]),
                           .length = kBytes,
                           .semaphore = 1};
      plans.push_back({.core = {channels_[c].get(), programs_[c].get(), {{0, {in}}, {1, {out}}}}});
    }
    return std::make_unique<Slot>(std::move(memory), std::move(plans));
  }
  std::vector<std::unique_ptr<Slot>> MakeSlots(int count) {
    std::vector<std::unique_ptr<Slot>> slots;
    for (int i = 0; i < count; ++i) slots.push_back(MakeSlot());
    return slots;
  }

  static float* Floats(const Slot& slot, uint64_t offset) {
    return reinterpret_cast<float*>(slot.data() + offset);
  }
  static void Fill(const Slot& slot, float value) {
    std::fill_n(Floats(slot, kInput), kCount, value);
    std::fill_n(Floats(slot, kOutput), kCount, 0.0F);
  }
  static float Expected(float value) { return 3 * (2 * value + 1); }

  uint64_t Executions(uint32_t core) { return device().core(core).counters().executions; }
  TimePoint Soon() { return time_.Now() + std::chrono::seconds(2); }

  ManualClock time_;
  std::vector<std::unique_ptr<GatedCore>> gated_;
  std::vector<std::unique_ptr<CoreChannel>> channels_;
  std::unique_ptr<ProgramRings> programs_[2];

 private:
  static BusAddress Dram(uint32_t core) { return DramAddress(0, 0, core * 4096); }
};

}  // namespace nrtd::scheduler
