// SPDX-License-Identifier: Apache-2.0
//
// The calls of nmgr_v1 that read counters and metrics, and two that set what a simulated device
// has no use for.
#include <chrono>

#include "base/log.h"
#include "runtime/service/nmgr_service.h"
#include "runtime/service/status.h"

namespace nrtd::service {
namespace {

using runtime::Metrics;

// IST_UNKNOWN leaves a gap.
constexpr nrt::infer_status kStatuses[] = {nrt::IST_OK,
                                           nrt::IST_COMPLETED_WITH_NUM_ERR,
                                           nrt::IST_COMPLETED_WITH_ERR,
                                           nrt::IST_BAD_INPUT,
                                           nrt::IST_TIMEOUT,
                                           nrt::IST_UNKNOWN};
static_assert(std::size(kStatuses) == runtime::kInferStatuses);
static_assert(nrt::NMGR_METRIC_NUM == runtime::kMetrics);

// The engines' idle cycles are those in which neither they nor a wait for a semaphore went on while
// the core worked.
uint64_t IdleCycles(const CoreCounters& counters, const CoreCounters::PerEngine& engine) {
  const uint64_t all = counters.busy_ns * (kCoreClockHz / 1'000'000'000);
  const uint64_t used = engine.busy_cycles + engine.wait_cycles;
  return all > used ? all - used : 0;
}

void Describe(const CoreCounters& counters, uint32_t core, nrt::nc_counters* out) {
  const auto& [pe, act, pool] = counters.engine;
  out->set_virtual_nc_id(core);
  out->set_pe_num_idle_cycles(IdleCycles(counters, pe));
  out->set_pe_num_wait_event_cycles(pe.wait_cycles);
  out->set_pe_matmul_num_wait_event_cycles(pe.wait_cycles);
  out->set_pe_num_executed_instr(pe.instructions);
  out->set_pe_matmul_num_executed_instr(pe.tensor_instructions);
  out->set_pool_num_idle_cycles(IdleCycles(counters, pool));
  out->set_pool_num_wait_event_cycles(pool.wait_cycles);
  out->set_pool_num_executed_instr(pool.instructions);
  out->set_act_num_idle_cycles(IdleCycles(counters, act));
  out->set_act_num_wait_event_cycles(act.wait_cycles);
  out->set_act_num_executed_instr(act.instructions);
  out->set_macs_count(counters.macs);
}

void Describe(const Metrics& metrics, nrt::nmgr_counters* out) {
  const Metrics::Totals totals = metrics.totals();
  for (size_t i = 0; i < runtime::kInferErrorSubtypes; ++i) {
    auto* count = out->add_infer_error_subtype_count();
    count->set_error_subtype(static_cast<nrt::infer_error_subtype>(i));
    count->set_count(static_cast<uint32_t>(totals.by_subtype[i]));
  }
  for (size_t i = 0; i < runtime::kInferStatuses; ++i) {
    auto* count = out->add_infer_status_counts();
    count->set_infer_status(kStatuses[i]);
    count->set_count(static_cast<uint32_t>(totals.by_status[i]));
  }
  out->set_infer_queue_drop_count(totals.queue_drops);
  out->set_infer_count(totals.inferences);
  out->set_model_start_count(totals.starts);
  out->set_model_stop_count(totals.stops);
  out->set_model_load_count(totals.loads);
  out->set_model_unload_count(totals.unloads);
  const Metrics::Neffs neffs = metrics.neffs();
  out->set_neff_version_max_major(neffs.major_max);
  out->set_neff_version_max_minor(neffs.minor_max);
  out->set_neff_version_min_major(neffs.major_min);
  out->set_neff_version_min_minor(neffs.minor_min);
  out->set_neff_size_bytes_max(neffs.bytes_max);
  out->set_neff_num_ncs_max(neffs.cores_max);
}

void Describe(runtime::Machine& machine, nrt::system_counters* out) {
  out->set_num_logs_error(LoggedErrors());
  out->set_num_logs_warning(LoggedWarnings());
  for (const uint32_t device : machine.devices()) {
    const runtime::DeviceUnit& unit = machine.unit(device);
    auto* memory = out->add_memory_counters();
    memory->set_infa_id(device);
    // One pool of host memory serves all devices.
    memory->set_mem_used_host(machine.pool().Stats().used_bytes);
    memory->set_mem_used_infa_0(unit.used_bytes(0));
    memory->set_mem_used_infa_1(unit.used_bytes(1));
  }
}

void Describe(const Device& device, uint32_t index, uint32_t transfer_adjustment,
              nrt::hw_counters* out) {
  const EccCounters ecc = device.ecc();
  out->set_bdf(device.info().bdf);
  out->set_device_index(index);
  out->set_mem_ecc_corr(ecc.memory_corrected);
  out->set_mem_ecc_uncorr(ecc.memory_uncorrected);
  out->set_sram_ecc_corr(ecc.sram_corrected);
  out->set_sram_ecc_uncorr(ecc.sram_uncorrected);
  out->set_transfer_adjustment_cnt(transfer_adjustment);
}

Result<CoreCounters> CountersOf(runtime::Machine& machine, uint32_t core) {
  if (core >= machine.core_count())
    return Fail(Nerr::kInvalid, "NC {} does not exist: there are {}", core, machine.core_count());
  if (!machine.has_core(core)) {
    return Fail(Nerr::kInvalid, "NC {} is not in service: {}", core,
                fmt::join(machine.platform().unavailable(), "; "));
  }
  return machine.channel(core).core().counters();
}

}  // namespace

grpc::Status NmgrService::read_nc_time_in_use(Context*,
                                              const nrt::read_nc_time_in_use_request* request,
                                              nrt::read_nc_time_in_use_response* response) {
  const uint32_t core = request->vnc_id();
  const auto counters = CountersOf(runtime_.machine(), core);
  SetStatus(counters, response->mutable_status());
  if (!counters) return grpc::Status::OK;
  response->mutable_nc_time_in_use()->set_virtual_nc_id(core);
  response->mutable_nc_time_in_use()->set_time_in_use(counters->busy_ns);
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_nc_counters(Context*, const nrt::read_nc_counters_request* request,
                                           nrt::read_nc_counters_response* response) {
  const uint32_t core = request->vnc_id();
  const auto counters = CountersOf(runtime_.machine(), core);
  SetStatus(counters, response->mutable_status());
  if (!counters) return grpc::Status::OK;
  Describe(*counters, core, response->mutable_nc_counters());
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_inference_counters(Context*, const nrt::empty*,
                                                  nrt::read_inference_counters_response* response) {
  Describe(runtime_.metrics(), response->mutable_nmgr_counters());
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_all_counters(Context*, const nrt::read_all_counters_request*,
                                            nrt::read_all_counters_response* response) {
  runtime::Machine& machine = runtime_.machine();
  for (const uint32_t core : machine.cores())
    Describe(machine.channel(core).core().counters(), core, response->add_nc_counters());
  Describe(runtime_.metrics(), response->mutable_nmgr_counters());
  Describe(machine, response->mutable_system_counters());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::read_all_metrics(Context*, const nrt::read_all_metrics_request* request,
                                           nrt::read_all_metrics_response* response) {
  for (uint32_t i = 0; i < runtime::kMetrics; ++i) {
    const runtime::SampleRing& ring = runtime_.metrics().samples(static_cast<runtime::Metric>(i));
    nrt::metric* metric = response->add_nmgr_metrics();
    metric->set_metric_type(static_cast<nrt::metric_type>(i));
    metric->set_overflow(ring.overflowed());
    const std::vector<runtime::Sample> samples = ring.Read();
    if (request->summarize_period() == 0) {
      for (const runtime::Sample& sample : samples) {
        nrt::metric_data* data = metric->add_data();
        data->set_ts_nanos_since_epoch(sample.time_ns);
        data->set_value_double(sample.value);
      }
      continue;
    }
    for (const runtime::Summary& summary :
         runtime::Summarize(samples, std::chrono::seconds(request->summarize_period()))) {
      nrt::metric_data* data = metric->add_data();
      data->set_ts_nanos_since_epoch(summary.time_ns);
      nrt::aggregate* aggregate = data->mutable_value_agg();
      aggregate->set_min(summary.min);
      aggregate->set_max(summary.max);
      aggregate->set_count(static_cast<double>(summary.count));
      aggregate->set_sum(summary.sum);
      for (const double value : summary.values) aggregate->add_values(value);
      for (const uint32_t count : summary.counts) aggregate->add_counts(count);
    }
  }
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_hw_counters(Context*, const nrt::get_hw_counters_request* request,
                                          nrt::get_hw_counters_response* response) {
  runtime::Machine& machine = runtime_.machine();
  const bool by_bdf = request->device_case() == nrt::get_hw_counters_request::kBdf;
  for (const uint32_t device : machine.devices()) {
    const Device& found = *machine.unit(device).device;
    if (by_bdf ? found.info().bdf != request->bdf() : device != request->device_id()) continue;
    Describe(found, device, transfer_adjustment_.load(), response->mutable_counters());
    SetOk(response->mutable_status());
    return grpc::Status::OK;
  }
  SetStatus(
      Fail(Nerr::kInvalid, "device {} does not exist: there are {}",
           by_bdf ? request->bdf() : std::to_string(request->device_id()), machine.devices().size())
          .value(),
      response->mutable_status());
  return grpc::Status::OK;
}

grpc::Status NmgrService::get_all_hw_counters(Context*, const nrt::empty*,
                                              nrt::get_all_hw_counters_response* response) {
  runtime::Machine& machine = runtime_.machine();
  for (const uint32_t device : machine.devices())
    Describe(*machine.unit(device).device, device, transfer_adjustment_.load(),
             response->add_counters());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

// A simulated core draws no random numbers: the seed is checked and has no effect.
grpc::Status NmgrService::random_seed(Context*, const nrt::random_seed_request* request,
                                      nrt::random_seed_response* response) {
  const uint32_t group = request->h_eg().id();
  for (const auto& info : runtime_.ListGroups()) {
    if (info.id != group) continue;
    SetOk(response->mutable_status());
    return grpc::Status::OK;
  }
  SetStatus(Error{Nerr::kInvalidHandle, fmt::format("Failed to find NeuronCore group: {}", group)},
            response->mutable_status());
  return grpc::Status::OK;
}

// Of a link that a simulated device does not have: the number is kept and shown by the hardware
// counters.
grpc::Status NmgrService::set_static_transfer_adjustment(
    Context*, const nrt::set_static_transfer_adjustment_request* request,
    nrt::set_static_transfer_adjustment_response* response) {
  transfer_adjustment_.store(request->transfer_adjust_cnt());
  SetOk(response->mutable_status());
  return grpc::Status::OK;
}

}  // namespace nrtd::service
