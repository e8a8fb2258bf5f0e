// SPDX-License-Identifier: Apache-2.0
//
// What an inference costs beside the arithmetic: the daemon against a bare gRPC echo of the same
// messages, in one run of alternating blocks.
#include <algorithm>
#include <chrono>
#include <optional>

#include <unistd.h>

#include "base/file.h"
#include "base/npy.h"
#include "bench/blocks.h"
#include "bench/idle_process.h"
#include "bench/report.h"
#include "tools/client/address.h"
#include "tools/client/shared_tensor.h"
#include "tools/client/tensors.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

constexpr size_t kClients = 4;
constexpr size_t kManyClients = 64;
// Short enough that the machine does not change between two, long enough for thousands of calls.
constexpr Duration kBlock = std::chrono::milliseconds(250);
constexpr Duration kWarmUp = std::chrono::milliseconds(250);

struct Arguments {
  std::string address;
  std::string echo_address;
  uint32_t model_id = 0;
  std::string input_file;
  std::string input_name;
  std::optional<uint64_t> output_bytes;
  double seconds = 10;
  std::string json_file;
  bool strict = false;
  std::optional<double> start_ms;
  std::optional<double> pool_ms;
  std::optional<uint32_t> shm_model_id;
  std::optional<int> daemon_pid;
  std::vector<std::string> reload_by_path;
  std::vector<std::string> reload_by_upload;
};

struct Bench {
  Side daemon;
  Side echo;
  std::vector<uint32_t> cores;  // virtual cores of the network
};

std::vector<uint32_t> CoresOf(const v1::Network& network) {
  std::vector<uint32_t> cores;
  for (const v1::Subgraph& subgraph : network.subgraphs()) {
    if (!subgraph.on_host()) cores.push_back(subgraph.virtual_core());
  }
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

// The file may hold many inputs, one after another: the first is used.
Result<nrt::infer_request> MakeRequest(const Arguments& arguments, const v1::Network& network) {
  NRTD_ASSIGN(const v1::Tensor tensor,
              client::PickTensor(network.inputs(), arguments.input_name, "input"));
  NRTD_ASSIGN(const NpyArray array, ReadNpyFile(arguments.input_file));
  const uint64_t bytes = std::min<uint64_t>(array.data.size(), tensor.bytes());
  NRTD_TRY(client::CheckArray(tensor, array.dtype, bytes, arguments.input_file));
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(arguments.model_id);
  nrt::infer_io& input = *request.add_ifmap();
  input.set_name(tensor.name());
  input.set_buf(array.data.data(), bytes);
  return request;
}

Result<Side> ConnectSide(const std::string& address) {
  Side side;
  for (size_t i = 0; i < kManyClients; ++i) {
    client::ConnectOptions options;
    options.own_connection = true;
    NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address, options));
    side.clients.push_back(std::move(daemon));
  }
  return side;
}

Result<uint64_t> OutputBytes(Side& side) {
  nrt::infer_response response;
  NRTD_TRY(side.clients.front().Infer(side.request, response));
  uint64_t bytes = 0;
  for (const nrt::infer_io& output : response.ofmap()) bytes += output.buf().size();
  return bytes;
}

// A comparison with an echo of another size would flatter one of the two.
Result<void> CheckSizes(Bench& bench, const Arguments& arguments) {
  NRTD_ASSIGN(const uint64_t daemon_bytes, OutputBytes(bench.daemon));
  NRTD_ASSIGN(const uint64_t echo_bytes, OutputBytes(bench.echo));
  if (daemon_bytes != echo_bytes) {
    return Fail(Nerr::kInvalid,
                "the model returns {} bytes, but the echo server {}; start it with "
                "--output-bytes {}",
                daemon_bytes, echo_bytes, daemon_bytes);
  }
  if (arguments.output_bytes && *arguments.output_bytes != daemon_bytes) {
    return Fail(Nerr::kInvalid, "the model returns {} bytes, but --output-size says {}",
                daemon_bytes, *arguments.output_bytes);
  }
  return {};
}

Result<Bench> Prepare(const Arguments& arguments) {
  Bench bench;
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(const std::string echo_address, client::ResolveAddress(arguments.echo_address));
  NRTD_ASSIGN(bench.daemon, ConnectSide(address));
  NRTD_ASSIGN(bench.echo, ConnectSide(echo_address));
  NRTD_ASSIGN(const v1::Network network,
              bench.daemon.clients.front().FindNetwork(arguments.model_id));
  bench.cores = CoresOf(network);
  NRTD_ASSIGN(bench.daemon.request, MakeRequest(arguments, network));
  bench.echo.request = bench.daemon.request;
  NRTD_TRY(CheckSizes(bench, arguments));
  return bench;
}

Result<uint64_t> BusyNs(Bench& bench, const std::vector<uint32_t>& cores) {
  uint64_t sum = 0;
  for (uint32_t core : cores) {
    NRTD_ASSIGN(const uint64_t busy, bench.daemon.clients.front().CoreBusyNs(core));
    sum += busy;
  }
  return sum;
}

// Inferences of one kind in alternating blocks.
struct LargeMeasurement {
  client::Latencies latencies;
  uint64_t busy_ns = 0;  // of the network's cores, all inferences together
  double BusyUs() const {
    return static_cast<double>(busy_ns) / 1000 / static_cast<double>(latencies.count());
  }
};

int BlockPairs(double seconds) {
  const double pair = 2 * std::chrono::duration<double>(kBlock).count();
  return std::max(2, static_cast<int>(seconds / pair));
}

Result<void> MeasureLatency(Bench& bench, double seconds, Measurements& measurements) {
  client::Latencies echo;
  client::Latencies daemon;
  uint64_t busy_ns = 0;
  for (int pair = 0; pair < BlockPairs(seconds); ++pair) {
    NRTD_TRY(LatencyBlock(bench.echo, kBlock, echo));
    NRTD_ASSIGN(const uint64_t busy_before, BusyNs(bench, bench.cores));
    NRTD_TRY(LatencyBlock(bench.daemon, kBlock, daemon));
    NRTD_ASSIGN(const uint64_t busy_after, BusyNs(bench, bench.cores));
    busy_ns += busy_after - busy_before;
  }
  measurements.infer_p50_us = daemon.PercentileUs(50);
  measurements.infer_p99_us = daemon.PercentileUs(99);
  measurements.echo_p50_us = echo.PercentileUs(50);
  measurements.echo_p99_us = echo.PercentileUs(99);
  measurements.infer_samples = daemon.count();
  measurements.echo_samples = echo.count();
  measurements.core_busy_us =
      static_cast<double>(busy_ns) / 1000 / static_cast<double>(daemon.count());
  return {};
}

Result<void> MeasurePostWait(Bench& bench, double seconds, Measurements& measurements) {
  client::Latencies echo;
  client::Latencies daemon;
  for (int pair = 0; pair < BlockPairs(seconds); ++pair) {
    NRTD_TRY(LatencyBlock(bench.echo, kBlock, echo));
    NRTD_TRY(PostWaitBlock(bench.daemon, kBlock, daemon));
  }
  measurements.post_wait_p50_us = daemon.PercentileUs(50);
  measurements.post_wait_echo_p50_us = echo.PercentileUs(50);
  return {};
}

// The requests of the shared-memory comparison: the same inputs in the message and in memory.
struct LargeRequests {
  nrt::infer_request by_message;
  nrt::infer_request by_memory;
  std::vector<client::SharedTensor> inputs;  // what by_memory names
  std::vector<uint32_t> cores;
};

Result<LargeRequests> MakeLargeRequests(client::Daemon& daemon, uint32_t model_id) {
  LargeRequests requests;
  NRTD_ASSIGN(const v1::Network network, daemon.FindNetwork(model_id));
  requests.by_message.mutable_h_nn()->set_id(model_id);
  requests.by_memory.mutable_h_nn()->set_id(model_id);
  for (const v1::Tensor& tensor : network.inputs()) {
    nrt::infer_io& message = *requests.by_message.add_ifmap();
    message.set_name(tensor.name());
    message.set_buf(std::string(tensor.bytes(), '\0'));
    NRTD_ASSIGN(client::SharedTensor shared, client::SharedTensor::Create(daemon, tensor.bytes()));
    nrt::infer_io& memory = *requests.by_memory.add_ifmap();
    memory.set_name(tensor.name());
    memory.mutable_buf_shm()->set_path(shared.path());
    requests.inputs.push_back(std::move(shared));
  }
  requests.cores = CoresOf(network);
  return requests;
}

// One block of `side` with this request; adds the time that `cores` were busy.
Result<void> LargeBlock(Bench& bench, Side& side, nrt::infer_request& request,
                        const std::vector<uint32_t>& cores, LargeMeasurement& measured) {
  NRTD_ASSIGN(const uint64_t busy_before, BusyNs(bench, cores));
  std::swap(side.request, request);
  auto done = LatencyBlock(side, kBlock, measured.latencies);
  std::swap(side.request, request);
  if (!done) return tl::unexpected<Error>(std::move(done.error()));
  NRTD_ASSIGN(const uint64_t busy_after, BusyNs(bench, cores));
  measured.busy_ns += busy_after - busy_before;
  return {};
}

// A bare echo of three large inputs, the daemon with the same inputs in the message, and by shared
// memory, in turn.
Result<void> MeasureSharedMemory(const Arguments& arguments, Bench& bench, double seconds,
                                 Measurements& measurements) {
  if (!arguments.shm_model_id) return {};
  NRTD_ASSIGN(LargeRequests requests,
              MakeLargeRequests(bench.daemon.clients.front(), *arguments.shm_model_id));
  LargeMeasurement echo;
  LargeMeasurement message;
  LargeMeasurement memory;
  for (int pair = 0; pair < BlockPairs(seconds); ++pair) {
    NRTD_TRY(LargeBlock(bench, bench.echo, requests.by_message, requests.cores, echo));
    NRTD_TRY(LargeBlock(bench, bench.daemon, requests.by_message, requests.cores, message));
    NRTD_TRY(LargeBlock(bench, bench.daemon, requests.by_memory, requests.cores, memory));
  }
  measurements.images_echo_p50_us = echo.latencies.PercentileUs(50);
  measurements.images_inline_p50_us = message.latencies.PercentileUs(50);
  measurements.images_inline_busy_us = message.BusyUs();
  measurements.images_shm_p50_us = memory.latencies.PercentileUs(50);
  measurements.images_shm_busy_us = memory.BusyUs();
  return {};
}

// Both sides with so many clients at once, on average.
struct ThroughputPair {
  double infer_per_s = 0;
  double echo_per_s = 0;
  uint64_t queue_full = 0;
};

Result<ThroughputPair> MeasureThroughput(Bench& bench, size_t clients, double seconds) {
  ThroughputPair measured;
  const int pairs = BlockPairs(seconds);
  for (int pair = 0; pair < pairs; ++pair) {
    NRTD_ASSIGN(const Throughput echo, ThroughputBlock(bench.echo, clients, kBlock));
    NRTD_ASSIGN(const Throughput daemon, ThroughputBlock(bench.daemon, clients, kBlock));
    measured.echo_per_s += echo.per_second / pairs;
    measured.infer_per_s += daemon.per_second / pairs;
    measured.queue_full += daemon.queue_full;
  }
  return measured;
}

Result<void> Run(const Arguments& arguments) {
  Measurements measurements;
  measurements.start_ms = arguments.start_ms;
  measurements.pool_ms = arguments.pool_ms;
  if (arguments.daemon_pid) {
    NRTD_ASSIGN(const IdleProcess idle, WatchIdle(*arguments.daemon_pid));
    measurements.idle_rss_mib = idle.rss_mib;
    measurements.idle_cpu_ms = idle.cpu_ms;
  }
  NRTD_ASSIGN(Bench bench, Prepare(arguments));
  client::Latencies ignored;
  NRTD_TRY(LatencyBlock(bench.echo, kWarmUp, ignored));
  NRTD_TRY(LatencyBlock(bench.daemon, kWarmUp, ignored));
  NRTD_TRY(MeasureLatency(bench, arguments.seconds / 4, measurements));
  NRTD_TRY(MeasurePostWait(bench, arguments.seconds / 4, measurements));
  NRTD_ASSIGN(const ThroughputPair few, MeasureThroughput(bench, kClients, arguments.seconds / 4));
  measurements.infer_per_s = few.infer_per_s;
  measurements.echo_per_s = few.echo_per_s;
  measurements.queue_full = few.queue_full;
  NRTD_ASSIGN(const ThroughputPair many,
              MeasureThroughput(bench, kManyClients, arguments.seconds / 8));
  measurements.many_infer_per_s = many.infer_per_s;
  measurements.many_echo_per_s = many.echo_per_s;
  measurements.many_queue_full = many.queue_full;
  NRTD_TRY(MeasureSharedMemory(arguments, bench, arguments.seconds / 8, measurements));
  client::Daemon& daemon = bench.daemon.clients.front();
  if (!arguments.reload_by_path.empty()) {
    NRTD_ASSIGN(measurements.reload_by_path,
                MeasureReload(daemon, arguments.reload_by_path, /*by_path=*/true));
  }
  if (!arguments.reload_by_upload.empty()) {
    NRTD_ASSIGN(measurements.reload_by_upload,
                MeasureReload(daemon, arguments.reload_by_upload, /*by_path=*/false));
  }
  const auto metrics = MetricsOf(measurements);
  fmt::print("{}", ReportText(metrics));
  if (!arguments.json_file.empty())
    NRTD_TRY(
        WriteFileAtomically(arguments.json_file, AsBytes(client::JsonText(ReportJson(metrics)))));
  if (AllHold(metrics)) return {};
  fmt::print("MISSED: a bound of the table above does not hold\n");
  if (arguments.strict) return Fail(Nerr::kFail, "a bound is missed");
  return {};
}

}  // namespace
}  // namespace nrtd::bench

int main(int argc, char** argv) {
  nrtd::CommandLine app("Measures a daemon's inferences against nrtd-echo-server.", "infer-bench");
  nrtd::bench::Arguments arguments;
  nrtd::client::AddAddressOption(app, arguments.address);
  app.AddOption("--echo", &arguments.echo_address, "Where nrtd-echo-server listens").Required();
  app.AddOption("--model-id", &arguments.model_id, "A running model of the daemon").Required();
  app.AddOption("--input", &arguments.input_file, "The input as .npy; more than one: the first")
      .Required();
  app.AddOption("--input-name", &arguments.input_name, "The input's name [the model's only one]");
  app.AddOption("--output-size", &arguments.output_bytes, "Fail unless outputs have these bytes");
  app.AddOption("--seconds", &arguments.seconds, "How long to measure, at least 2")
      .Range(2.0, 3600.0)
      .ShowDefault();
  app.AddOption("--json", &arguments.json_file, "Write the table here too, as JSON").Type("FILE");
  app.AddOption("--daemon-pid", &arguments.daemon_pid,
                "Also watch this process for a second before anything is sent to it");
  app.AddOption("--start-ms", &arguments.start_ms, "How long it took to start, for the table");
  app.AddOption("--shm-model-id", &arguments.shm_model_id,
                "A running model whose inputs are sent in messages and by shared memory in turn");
  app.AddOption("--pool-ms", &arguments.pool_ms,
                "How long until all its huge pages were faulted in, for the table");
  app.AddOption("--reload", &arguments.reload_by_path,
                "NEFFs that the daemon does not know: loaded by path, and again");
  app.AddOption("--reload-upload", &arguments.reload_by_upload, "The same, sent in chunks");
  app.AddFlag("--strict", &arguments.strict, "Exit with 1 if a bound is missed");
  return nrtd::client::RunTool(app, argc, argv, [&] { return nrtd::bench::Run(arguments); });
}
