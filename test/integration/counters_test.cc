// SPDX-License-Identifier: Apache-2.0
//
// Counters and metrics over the socket: they tell what really happened, also while it happens.
#include <atomic>
#include <limits>
#include <thread>

#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

class CountersTest : public DaemonTest {
 protected:
  uint64_t Status(nrt::infer_status status) {
    const nrt::nmgr_counters counters = client().InferenceCounters();
    for (const auto& count : counters.infer_status_counts()) {
      if (count.infer_status() == status) return count.count();
    }
    ADD_FAILURE() << "no count of status " << status;
    return 0;
  }
  uint64_t Subtype(nrt::infer_error_subtype subtype) {
    const nrt::nmgr_counters counters = client().InferenceCounters();
    for (const auto& count : counters.infer_error_subtype_count()) {
      if (count.error_subtype() == subtype) return count.count();
    }
    ADD_FAILURE() << "no count of subtype " << subtype;
    return 0;
  }
  static const nrt::metric& Find(const nrt::read_all_metrics_response& response,
                                 nrt::metric_type type) {
    for (const nrt::metric& metric : response.nmgr_metrics()) {
      if (metric.metric_type() == type) return metric;
    }
    throw std::runtime_error("no such metric");
  }
};

TEST_F(CountersTest, InferencesAreCountedByHowTheyEnded) {
  const uint32_t network = Load({.neff = digits_neff()});
  for (size_t i = 0; i < 3; ++i) ExpectReads(network, i);
  EXPECT_THAT(client().Infer(InferRequest(network, {})), HasStatus(2, "ifmaps"));
  nrt::infer_request unmapped = InferRequest(network, {});
  *unmapped.add_ifmap() = SharedTensor("input:0", "/nothing");
  EXPECT_THAT(client().Infer(unmapped), HasStatus(1002, "/nothing"));
  // A posted one counts when it is collected.
  const auto posted = client().Post(InferRequest(network, digits().Input(0)));
  EXPECT_EQ(client().InferenceCounters().infer_count(), 5U);
  EXPECT_THAT(client().Wait(posted.cookie()), IsOk());

  const nrt::nmgr_counters counters = client().InferenceCounters();
  EXPECT_EQ(counters.infer_count(), 6U);
  EXPECT_EQ(counters.infer_queue_drop_count(), 0U);
  EXPECT_EQ(Status(nrt::IST_OK), 4U);
  EXPECT_EQ(Status(nrt::IST_BAD_INPUT), 2U);
  EXPECT_EQ(Status(nrt::IST_TIMEOUT), 0U);
  EXPECT_EQ(Status(nrt::IST_UNKNOWN), 0U);
  EXPECT_EQ(Subtype(nrt::INFER_ERROR_SUBTYPE_NONE), 6U);
}

TEST_F(CountersTest, NumericalErrorsAndDropsHaveTheirOwnCounts) {
  const compiler::Case pair = compiler::LoadCase("add_same_shape");
  const uint32_t network = Load({.neff = CompileCase("add_same_shape"), .ninfer = 1});
  std::vector<float> a(pair.inputs.at("a").data.size() / sizeof(float), 1);
  const std::string b = BytesOf(a);
  a[0] = std::numeric_limits<float>::quiet_NaN();
  const auto request = InferRequest(network, {{"a", BytesOf(a)}, {"b", b}});
  const auto posted = client().Post(request);
  ASSERT_THAT(posted, IsOk());
  EXPECT_THAT(client().Infer(request), HasStatus(7, "in flight"));
  EXPECT_THAT(client().Wait(posted.cookie()), HasStatus(1003, "NUMERICAL"));
  EXPECT_EQ(Status(nrt::IST_COMPLETED_WITH_NUM_ERR), 1U);
  EXPECT_EQ(Subtype(nrt::INFER_ERROR_SUBTYPE_NUMERICAL), 1U);
  EXPECT_EQ(Subtype(nrt::INFER_ERROR_SUBTYPE_TRANSIENT), 1U);
  EXPECT_EQ(client().InferenceCounters().infer_queue_drop_count(), 1U);
  EXPECT_EQ(client().InferenceCounters().infer_count(), 1U);
}

TEST_F(CountersTest, NetworksAreCountedAndMeasured) {
  const uint32_t group = client().CreateGroup(1).h_eg().id();
  const uint32_t network = Load({.neff = digits_neff(), .group = group});
  EXPECT_THAT(client().Start(network), IsOk());
  EXPECT_THAT(client().Stop(network), IsOk());
  EXPECT_THAT(client().Unload(network), IsOk());
  Load({.neff = digits_neff()});

  const nrt::nmgr_counters counters = client().InferenceCounters();
  EXPECT_EQ(counters.model_load_count(), 2U);
  EXPECT_EQ(counters.model_unload_count(), 1U);
  EXPECT_EQ(counters.model_start_count(), 1U);
  EXPECT_EQ(counters.model_stop_count(), 1U);
  EXPECT_EQ(counters.neff_version_max_major(), 1U);
  EXPECT_EQ(counters.neff_version_min_major(), 1U);
  EXPECT_EQ(counters.neff_size_bytes_max(), digits_neff().size());
  EXPECT_EQ(counters.neff_num_ncs_max(), 1U);

  const auto metrics = client().Metrics(0);
  ASSERT_THAT(metrics, IsOk());
  EXPECT_EQ(metrics.nmgr_metrics_size(), nrt::NMGR_METRIC_NUM);
  const nrt::metric& loads = Find(metrics, nrt::NMGR_METRIC_MODEL_LOAD_LATENCY);
  ASSERT_EQ(loads.data_size(), 2);
  EXPECT_GT(loads.data(0).value_double(), 0);
  EXPECT_LE(loads.data(0).ts_nanos_since_epoch(), loads.data(1).ts_nanos_since_epoch());
  EXPECT_EQ(Find(metrics, nrt::NMGR_METRIC_MODEL_SIZE).data(1).value_double(),
            static_cast<double>(digits_neff().size()));
  EXPECT_EQ(Find(metrics, nrt::NMGR_METRIC_MODEL_START_LATENCY).data_size(), 1);
  EXPECT_EQ(Find(metrics, nrt::NMGR_METRIC_MODEL_STOP_LATENCY).data_size(), 1);
  EXPECT_EQ(Find(metrics, nrt::NMGR_METRIC_MODEL_UNLOAD_LATENCY).data_size(), 1);
}

TEST_F(CountersTest, LatenciesAreSummarizedWithPercentiles) {
  constexpr int kInferences = 50;
  const uint32_t network = Load({.neff = digits_neff()});
  for (int i = 0; i < kInferences; ++i) ExpectReads(network, static_cast<size_t>(i));
  // A period of years: everything in one, unless it ends right now.
  const auto metrics = client().Metrics(1U << 30);
  ASSERT_THAT(metrics, IsOk());
  const nrt::metric& latencies = Find(metrics, nrt::NMGR_METRIC_INFER_LATENCY);
  EXPECT_FALSE(latencies.overflow());
  ASSERT_EQ(latencies.data_size(), 1);
  const nrt::aggregate& all = latencies.data(0).value_agg();
  EXPECT_EQ(all.count(), kInferences);
  EXPECT_GT(all.min(), 0);
  EXPECT_GE(all.sum(), all.min() * kInferences);
  EXPECT_LE(all.sum(), all.max() * kInferences);
  ASSERT_EQ(all.values_size(), all.counts_size());
  EXPECT_TRUE(std::is_sorted(all.values().begin(), all.values().end()));
  EXPECT_EQ(all.values(0), all.min());
  EXPECT_EQ(all.values(all.values_size() - 1), all.max());
  EXPECT_EQ(all.counts(all.counts_size() - 1), static_cast<uint32_t>(kInferences));
  // The cores' part of it.
  const nrt::metric& device = Find(metrics, nrt::NMGR_METRIC_INFER_ON_INFA_LATENCY);
  ASSERT_EQ(device.data_size(), 1);
  EXPECT_GT(device.data(0).value_agg().sum(), 0);
  EXPECT_LT(device.data(0).value_agg().sum(), all.sum());
}

TEST_F(CountersTest, EnginesAreCountedOnTheCoreThatWorks) {
  const uint32_t network = Load({.neff = digits_neff()});
  ExpectReads(network);
  const auto before = client().CoreCounters(0);
  ASSERT_THAT(before, IsOk());
  ExpectReads(network);
  const auto after = client().CoreCounters(0);
  // 25,408 in each inference of this network, 4 instructions of which are PE's.
  EXPECT_EQ(after.nc_counters().macs_count() - before.nc_counters().macs_count(), 25408U);
  EXPECT_EQ(after.nc_counters().pe_matmul_num_executed_instr() -
                before.nc_counters().pe_matmul_num_executed_instr(),
            4U);
  EXPECT_GT(after.nc_counters().pe_num_executed_instr(),
            before.nc_counters().pe_num_executed_instr() + 4);
  EXPECT_GT(after.nc_counters().act_num_executed_instr(),
            before.nc_counters().act_num_executed_instr());
  EXPECT_EQ(client().CoreCounters(3).nc_counters().macs_count(), 0U);
  EXPECT_THAT(client().CoreCounters(4), HasStatus(2, "NC 4 does not exist: there are 4"));
}

TEST_F(CountersTest, AllCountersCoverCoresDevicesAndLogs) {
  Load({.neff = digits_neff()});
  const auto all = client().AllCounters();
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all.nc_counters_size(), 4);
  EXPECT_EQ(all.nc_counters(3).virtual_nc_id(), 3U);
  EXPECT_EQ(all.nmgr_counters().model_load_count(), 1U);
  ASSERT_EQ(all.system_counters().memory_counters_size(), 1);
  const auto& memory = all.system_counters().memory_counters(0);
  const Usage usage = ReadUsage(client());
  EXPECT_EQ(memory.mem_used_host(), usage.pool_bytes);
  EXPECT_EQ(memory.mem_used_infa_0() + memory.mem_used_infa_1(), usage.dram_bytes);
}

TEST_F(CountersTest, HardwareCountersAreFoundByNumberAndByAddress) {
  nrt::get_hw_counters_request request;
  request.set_device_id(0);
  const auto by_id = client().HardwareCounters(request);
  ASSERT_THAT(by_id, IsOk());
  request.set_bdf(by_id.counters().bdf());
  EXPECT_THAT(client().HardwareCounters(request), IsOk());
  request.set_bdf("0000:00:00.0");
  EXPECT_THAT(client().HardwareCounters(request), HasStatus(2, "0000:00:00.0 does not exist"));
  request.set_device_id(1);
  EXPECT_THAT(client().HardwareCounters(request), HasStatus(2, "device 1 does not exist"));

  EXPECT_THAT(client().SetTransferAdjustment(17), IsOk());
  const auto all = client().AllHardwareCounters();
  ASSERT_THAT(all, IsOk());
  ASSERT_EQ(all.counters_size(), 1);
  EXPECT_EQ(all.counters(0).bdf(), by_id.counters().bdf());
  EXPECT_EQ(all.counters(0).transfer_adjustment_cnt(), 17U);
  EXPECT_EQ(all.counters(0).mem_ecc_uncorr(), 0U);
}

TEST_F(CountersTest, ASeedNeedsAGroup) {
  EXPECT_THAT(client().RandomSeed(1, 5), HasStatus(3, "Failed to find NeuronCore group: 1"));
  const uint32_t group = client().CreateGroup(1).h_eg().id();
  EXPECT_THAT(client().RandomSeed(group, 5), IsOk());
}

// The original crashed when statistics were read during a load or an unload.
TEST_F(CountersTest, TheyAreReadWhileNetworksComeAndGo) {
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    RtdClient own(address());
    while (!stop) {
      EXPECT_THAT(own.AllCounters(), IsOk());
      EXPECT_THAT(own.Metrics(1), IsOk());
      EXPECT_THAT(own.AllHardwareCounters(), IsOk());
    }
  });
  for (int round = 0; round < 50; ++round) {
    const uint32_t network = Load({.neff = digits_neff()});
    ExpectReads(network);
    EXPECT_THAT(client().Unload(network), IsOk());
  }
  stop = true;
  reader.join();
  EXPECT_EQ(client().InferenceCounters().model_unload_count(), 50U);
}

}  // namespace
}  // namespace nrtd::integration
