// SPDX-License-Identifier: Apache-2.0
//
// A simulated inf1.xlarge with a small host pool mapped, and a builder of programs: what the tests
// of this room share.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "driver_shim/core_channel.h"
#include "driver_shim/memory_copier.h"
#include "driver_shim/sim/isa.h"
#include "driver_shim/sim/sim_platform.h"
#include "memory/hugepage_pool.h"
#include "test/must.h"

namespace nrtd::sim {

class SimFixture : public ::testing::Test {
 protected:
  SimFixture() {
    memory::PoolOptions options;
    options.pages_per_device = 4;
    options.only_small_pages =
        true;  // huge pages are memory/'s business; the device sees bus addresses either way
    pool_ = Must(memory::HugePagePool::Create(options));
    platform_ = Must(SimPlatform::Create("inf1.xlarge"));
    for (const memory::PoolPage& page : pool_->pages()) {
      Must(device().MapHostMemory(page.bus_address, page.data, page.length));
    }
  }

  SimDevice& device() { return platform_->device(0); }
  SimCore& core() { return device().core(0); }

  SteadyClock clock_;
  std::unique_ptr<memory::HugePagePool> pool_;
  std::unique_ptr<SimPlatform> platform_;
};

// Puts a program together the way neuron-cc and the loader do: variables in DRAM from offset 0 on,
// one queue in (0), one out (1), POOL triggers both.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(SimDevice& device) : device_(device) {}

  static constexpr uint32_t kIn = 0;   // DMA id, queue and semaphore of the input
  static constexpr uint32_t kOut = 1;  // the same of the output

  uint32_t Variable(uint64_t bytes, bool writable) {
    const auto id = static_cast<uint32_t>(image_.variables.size());
    image_.variables.push_back({id, bytes, DramAddress(0, 0, next_), true, writable});
    next_ += (bytes + 63) / 64 * 64;
    return id;
  }
  uint32_t Constant(MemoryCopier& copier, const std::vector<float>& values) {
    const uint32_t id = Variable(values.size() * sizeof(float), false);
    Must(copier.Write(Address(id), std::as_bytes(std::span(values))));
    return id;
  }
  BusAddress Address(uint32_t var_id) const { return image_.variables[var_id].address; }

  template <typename I>
  ProgramBuilder& Add(Engine engine, I instruction) {
    streams_[static_cast<size_t>(engine)].push_back(std::move(instruction));
    return *this;
  }

  // With one descriptor in and one out, triggered by POOL in this order.
  ProgramId Load() {
    image_.triggers = {{CoreEngine::kPool, kIn, kIn, 1}, {CoreEngine::kPool, kOut, kOut, 1}};
    return LoadWithoutTransfers();
  }
  ProgramId LoadWithoutTransfers() {
    for (size_t e = 0; e < kEngines; ++e) {
      streams_[e].push_back(End{});
      encoded_[e] = EncodeStream({static_cast<Engine>(e), streams_[e]});
      image_.instructions[e] = encoded_[e];
    }
    return Must(device_.core(0).LoadProgram(image_));
  }

  ProgramImage image_;

 private:
  SimDevice& device_;
  uint64_t next_ = 0;
  std::array<std::vector<Instruction>, kEngines> streams_;
  std::array<ByteVector, kEngines> encoded_;
};

// in -> function -> out over `count` floats, and the host buffers of its inferences.
class FunctionProgram {
 public:
  FunctionProgram(SimDevice& device, memory::HugePagePool& pool, uint32_t count,
                  Function function = Function::kRelu)
      : builder_(device), bytes_(count * sizeof(float)) {
    const uint32_t var = builder_.Variable(bytes_, true);
    const Operand x = DenseOperand(var, DType::kFloat32, 0, {count});
    builder_.image_.output_var_ids = {var};
    builder_.Add(Engine::kPool, DmaTrigger{ProgramBuilder::kIn})
        .Add(Engine::kAct, SemaphoreWait{ProgramBuilder::kIn, 1})
        .Add(Engine::kAct, Activation{x, x, function, 0, 0})
        .Add(Engine::kAct, SemaphoreSignal{2})
        .Add(Engine::kPool, SemaphoreWait{2, 1})
        .Add(Engine::kPool, DmaTrigger{ProgramBuilder::kOut})
        .Add(Engine::kPool, SemaphoreWait{ProgramBuilder::kOut, 1});
    id_ = builder_.Load();
    rings_.emplace(id_);
    in_ = Must(pool.Allocate(bytes_));
    out_ = Must(pool.Allocate(bytes_));
    descriptors_[0] = {.source = in_.BusAddress(0),
                       .destination = builder_.Address(var),
                       .length = static_cast<uint32_t>(bytes_),
                       .semaphore = ProgramBuilder::kIn};
    descriptors_[1] = {.source = builder_.Address(var),
                       .destination = out_.BusAddress(0),
                       .length = static_cast<uint32_t>(bytes_),
                       .semaphore = ProgramBuilder::kOut};
    for (uint32_t q = 0; q < 2; ++q) work_[q] = {q, {&descriptors_[q], 1}};
  }

  ProgramId id() const { return id_; }
  ProgramRings& rings() { return rings_.value(); }
  std::span<const QueueWork> work() const { return work_; }
  Descriptor& descriptor(uint32_t queue) { return descriptors_[queue]; }
  float* in() { return reinterpret_cast<float*>(in_.data()); }
  float* out() { return reinterpret_cast<float*>(out_.data()); }

 private:
  ProgramBuilder builder_;
  uint64_t bytes_;
  ProgramId id_ = 0;
  std::optional<ProgramRings> rings_;
  memory::DmaBuffer in_;
  memory::DmaBuffer out_;
  Descriptor descriptors_[2];
  QueueWork work_[2];
};

}  // namespace nrtd::sim
