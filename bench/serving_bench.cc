// SPDX-License-Identifier: Apache-2.0
//
// The overhead of tensorflow_model_server_neuron on top of the daemon's inferences. Each comparison
// alternates short blocks. Inputs are zeros in the shapes of the model's signature.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <future>
#include <iostream>

#include <boost/asio/ip/tcp.hpp>
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "bench/idle_process.h"
#include "bench/report.h"
#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "proto/tensorflow_serving/services.grpc.pb.h"
#include "serving/tensor/tensor_proto.h"
#include "tools/client/latency.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

namespace tfs = ::tensorflow::serving;
using SteadyTime = std::chrono::steady_clock;

constexpr auto kBlock = std::chrono::milliseconds(250);
constexpr auto kDeadline = std::chrono::seconds(120);
// "Predict less infer" may take that much of a bare echo of the same bytes, and the server's CPU
// time that much of the echo server's: it is a server and a client at once.
constexpr double kOverheadLimit = 1.3;
constexpr double kCpuLimit = 2.5;

// A connection of its own.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("ipv4:" + address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

Result<void> Check(const grpc::Status& status, const std::string& what) {
  if (status.ok()) return {};
  return Fail(Nerr::kFail, "{}: {} {}", what, static_cast<int>(status.error_code()),
              status.error_message());
}

class Client {
 public:
  explicit Client(const std::string& address)
      : stub_(tfs::PredictionService::NewStub(ConnectTo(address))) {}

  // As large as the model's signature says, `rows` of it.
  Result<tfs::PredictRequest> MakeRequest(const std::string& model, int64_t rows) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    tfs::GetModelMetadataRequest asked;
    asked.mutable_model_spec()->set_name(model);
    asked.add_metadata_field("signature_def");
    tfs::GetModelMetadataResponse told;
    NRTD_TRY(Check(stub_->GetModelMetadata(&context, asked, &told), "GetModelMetadata"));
    tfs::SignatureDefMap signatures;
    if (!told.metadata().at("signature_def").UnpackTo(&signatures))
      return Fail(Nerr::kInvalid, "the metadata of '{}' are no signatures", model);
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name(model);
    for (const auto& [name, info] : signatures.signature_def().at("serving_default").inputs()) {
      Shape shape;
      for (const auto& dim : info.tensor_shape().dim())
        shape.push_back(dim.size() < 0 ? rows : dim.size());
      const auto dtype = serving::DTypeOf(info.dtype());
      if (!dtype) return Fail(Nerr::kInvalid, "input '{}' has another type", name);
      tensorflow::TensorProto& tensor = (*request.mutable_inputs())[name];
      tensor.set_dtype(info.dtype());
      serving::SetShape(shape, tensor.mutable_tensor_shape());
      tensor.set_tensor_content(
          std::string(ElementCount(shape).value_or(0) * DTypeSize(*dtype), '\0'));
    }
    return request;
  }

  Result<void> Predict(const tfs::PredictRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    tfs::PredictResponse response;
    return Check(stub_->Predict(&context, request, &response), "Predict");
  }

 private:
  std::unique_ptr<tfs::PredictionService::Stub> stub_;
};

class EchoClient {
 public:
  // Sends the same tensors as `like`.
  EchoClient(const std::string& address, const tfs::PredictRequest& like)
      : stub_(nrt::nmgr_v1::NewStub(ConnectTo(address))) {
    for (const auto& [name, tensor] : like.inputs()) {
      nrt::infer_io& io = *request_.add_ifmap();
      io.set_name(name);
      io.set_buf(tensor.tensor_content());
    }
  }
  Result<void> Call() {
    grpc::ClientContext context;
    nrt::infer_response response;
    return Check(stub_->infer(&context, request_, &response), "the echo");
  }

 private:
  std::unique_ptr<nrt::nmgr_v1::Stub> stub_;
  nrt::infer_request request_;
};

struct Total {
  uint64_t count = 0;
  double seconds = 0;  // of all calls
  client::Latencies latencies;
  double MeanUs() const { return count == 0 ? 0 : seconds * 1e6 / static_cast<double>(count); }
};

template <typename Call>
Result<void> RunBlock(const Call& call, Total& total) {
  const auto start = SteadyTime::now();
  auto before = start;
  while (before - start < kBlock) {
    NRTD_TRY(call());
    const auto after = SteadyTime::now();
    total.latencies.Add(after - before);
    total.seconds += std::chrono::duration<double>(after - before).count();
    ++total.count;
    before = after;
  }
  return {};
}

Result<double> CpuSeconds(int pid) {
  clockid_t clock = 0;
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
    return Fail(Nerr::kInvalid, "there is no process {}", pid);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// "_sum" and "_count" of the server's own measurement of infer.
struct InferTimes {
  double sum_us = 0;
  double count = 0;
};
Result<InferTimes> ReadInferTimes(const std::string& address) {
  const size_t colon = address.rfind(':');
  boost::asio::ip::tcp::iostream page(address.substr(0, colon), address.substr(colon + 1));
  page << "GET /monitoring/prometheus/metrics HTTP/1.0\r\n\r\n" << std::flush;
  InferTimes times;
  for (std::string line; std::getline(page, line);) {
    const size_t value = line.rfind(' ');
    if (!line.starts_with(":neuron:serving:infer_latency_") || value == std::string::npos) continue;
    if (line.find("_sum") != std::string::npos) times.sum_us = std::stod(line.substr(value));
    if (line.find("_count") != std::string::npos) times.count = std::stod(line.substr(value));
  }
  if (times.count == 0)
    return Fail(Nerr::kInvalid, "{} has no page with :neuron:serving:infer_latency", address);
  return times;
}

struct Arguments {
  std::vector<std::string> servers;
  std::vector<std::string> models;
  std::vector<int64_t> rows{1};
  std::string metrics;
  std::string echo;
  int server_pid = 0;
  int echo_pid = 0;
  double seconds = 10;
  size_t clients = 1;
  uint64_t count = 1'000'000;
};

int Pairs(double seconds) {
  return std::max(1,
                  static_cast<int>(seconds / (2 * std::chrono::duration<double>(kBlock).count())));
}

void Print(const std::vector<Metric>& metrics) {
  std::cout << ReportText(metrics);
}

// Predict and a bare echo of the same bytes, in turn.
Result<void> MeasureOverhead(const Arguments& arguments) {
  Client server(arguments.servers.at(0));
  NRTD_ASSIGN(const auto request, server.MakeRequest(arguments.models.at(0), arguments.rows.at(0)));
  EchoClient echo(arguments.echo, request);
  const auto predict = [&] { return server.Predict(request); };
  const auto call = [&] { return echo.Call(); };
  Total ignored;
  NRTD_TRY(RunBlock(predict, ignored));
  NRTD_TRY(RunBlock(call, ignored));
  NRTD_ASSIGN(const InferTimes before, ReadInferTimes(arguments.metrics));
  NRTD_ASSIGN(const double server_cpu, CpuSeconds(arguments.server_pid));
  NRTD_ASSIGN(const double echo_cpu, CpuSeconds(arguments.echo_pid));
  Total predicted;
  Total echoed;
  for (int i = 0; i < Pairs(arguments.seconds); ++i) {
    NRTD_TRY(RunBlock(predict, predicted));
    NRTD_TRY(RunBlock(call, echoed));
  }
  NRTD_ASSIGN(const InferTimes after, ReadInferTimes(arguments.metrics));
  NRTD_ASSIGN(const double server_cpu_after, CpuSeconds(arguments.server_pid));
  NRTD_ASSIGN(const double echo_cpu_after, CpuSeconds(arguments.echo_pid));
  const double infer_us = (after.sum_us - before.sum_us) / (after.count - before.count);
  const double cpu_us =
      (server_cpu_after - server_cpu) * 1e6 / static_cast<double>(predicted.count);
  const double echo_cpu_us = (echo_cpu_after - echo_cpu) * 1e6 / static_cast<double>(echoed.count);
  Print({{"request_bytes", static_cast<double>(request.ByteSizeLong()), 0},
         {"predict_p50_us", predicted.latencies.PercentileUs(50)},
         {"predict_mean_us", predicted.MeanUs()},
         {"infer_mean_us", infer_us},
         {"echo_p50_us", echoed.latencies.PercentileUs(50)},
         {"echo_mean_us", echoed.MeanUs()},
         {"overhead_ratio", (predicted.MeanUs() - infer_us) / echoed.MeanUs(), 3, Bound::kAtMost,
          kOverheadLimit},
         {"predict_cpu_us", cpu_us},
         {"echo_cpu_us", echo_cpu_us},
         {"cpu_ratio", cpu_us / echo_cpu_us, 3, Bound::kAtMost, kCpuLimit}});
  return {};
}

// So many clients at once, each with a connection of its own.
class Crowd {
 public:
  Crowd(const std::string& address, size_t clients) {
    for (size_t i = 0; i < clients; ++i) clients_.push_back(std::make_unique<Client>(address));
  }
  Client& first() { return *clients_.front(); }
  Result<void> Block(const tfs::PredictRequest& request, Total& total, double* seconds) {
    std::vector<std::future<Result<Total>>> running;
    const auto start = SteadyTime::now();
    for (const auto& client : clients_) {
      running.push_back(std::async(std::launch::async, [&client, &request]() -> Result<Total> {
        Total mine;
        NRTD_TRY(RunBlock([&] { return client->Predict(request); }, mine));
        return mine;
      }));
    }
    std::vector<Result<Total>> all;
    for (auto& one : running) all.push_back(one.get());
    *seconds += std::chrono::duration<double>(SteadyTime::now() - start).count();
    for (auto& one : all) {
      NRTD_ASSIGN(Total mine, std::move(one));
      total.count += mine.count;
      total.seconds += mine.seconds;
      total.latencies.Add(mine.latencies);
    }
    return {};
  }

 private:
  std::vector<std::unique_ptr<Client>> clients_;
};

// Two servers, or two models, in turn.
Result<void> Compare(const Arguments& arguments) {
  std::vector<Metric> metrics;
  std::vector<std::unique_ptr<Crowd>> crowds;
  std::vector<tfs::PredictRequest> requests;
  std::vector<Total> totals(2);
  std::vector<double> seconds(2, 0.0);
  const auto at = [](const auto& list, size_t i) { return list.at(std::min(i, list.size() - 1)); };
  for (size_t i = 0; i < 2; ++i) {
    crowds.push_back(std::make_unique<Crowd>(at(arguments.servers, i), arguments.clients));
    NRTD_ASSIGN(auto request,
                crowds[i]->first().MakeRequest(at(arguments.models, i), at(arguments.rows, i)));
    requests.push_back(std::move(request));
    Total ignored;
    double unused = 0;
    NRTD_TRY(crowds[i]->Block(requests[i], ignored, &unused));
  }
  for (int pair = 0; pair < Pairs(arguments.seconds); ++pair)
    for (size_t i = 0; i < 2; ++i) NRTD_TRY(crowds[i]->Block(requests[i], totals[i], &seconds[i]));
  const double first = static_cast<double>(totals[0].count) / seconds[0];
  const double second = static_cast<double>(totals[1].count) / seconds[1];
  Print({{"first_per_s", first},
         {"second_per_s", second},
         {"second_to_first_per_s", second / first, 3},
         {"first_p50_us", totals[0].latencies.PercentileUs(50)},
         {"second_p50_us", totals[1].latencies.PercentileUs(50)},
         {"second_to_first_p50",
          totals[1].latencies.PercentileUs(50) / totals[0].latencies.PercentileUs(50), 3}});
  return {};
}

// A great many requests, and the server's resident memory on the way.
Result<void> WatchMemory(const Arguments& arguments) {
  Crowd crowd(arguments.servers.at(0), arguments.clients);
  NRTD_ASSIGN(const auto request,
              crowd.first().MakeRequest(arguments.models.at(0), arguments.rows.at(0)));
  Total total;
  double seconds = 0;
  uint64_t told = 0;
  while (total.count < arguments.count) {
    total.latencies = {};
    NRTD_TRY(crowd.Block(request, total, &seconds));
    if (total.count - told < arguments.count / 10 && total.count < arguments.count) continue;
    told = total.count;
    NRTD_ASSIGN(const double resident, ResidentMib(arguments.server_pid));
    std::cout << fmt::format("{:>9} requests, {:5.0f} s: {:.1f} MiB resident\n", total.count,
                             seconds, resident)
              << std::flush;
  }
  return {};
}

int Main(int argc, char** argv) {
  CommandLine app("Measures tensorflow_model_server_neuron", "serving-bench");
  Arguments arguments;
  app.RequireCommand();
  CommandLine& overhead =
      app.AddCommand("overhead", "Predict less infer, against a bare echo of the same bytes");
  CommandLine& compare = app.AddCommand("compare", "Two servers or two models in turn");
  CommandLine& memory = app.AddCommand("memory", "Resident memory over many requests");
  for (CommandLine* const command : {&overhead, &compare, &memory}) {
    command->AddOption("--server", &arguments.servers, "HOST:PORT of gRPC; two to compare")
        .Required();
    command->AddOption("--model", &arguments.models, "the model's name; two to compare").Required();
    command->AddOption("--rows", &arguments.rows, "of a request").ShowDefault();
  }
  for (CommandLine* const command : {&overhead, &compare})
    command->AddOption("--seconds", &arguments.seconds, "how long").ShowDefault();
  for (CommandLine* const command : {&compare, &memory})
    command->AddOption("--clients", &arguments.clients, "at once").ShowDefault();
  for (CommandLine* const command : {&overhead, &memory})
    command->AddOption("--server-pid", &arguments.server_pid, "the server's process").Required();
  overhead.AddOption("--metrics", &arguments.metrics, "HOST:PORT of the server's REST API")
      .Required();
  overhead.AddOption("--echo", &arguments.echo, "HOST:PORT of nrtd-echo-server").Required();
  overhead.AddOption("--echo-pid", &arguments.echo_pid, "its process").Required();
  memory.AddOption("--count", &arguments.count, "requests").ShowDefault();
  return client::RunTool(app, argc, argv, [&] {
    if (overhead.is_given()) return MeasureOverhead(arguments);
    return compare.is_given() ? Compare(arguments) : WatchMemory(arguments);
  });
}

}  // namespace
}  // namespace nrtd::bench

int main(int argc, char** argv) {
  return nrtd::bench::Main(argc, argv);
}
