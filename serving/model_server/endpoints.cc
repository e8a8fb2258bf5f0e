// SPDX-License-Identifier: Apache-2.0
#include "serving/model_server/endpoints.h"

#include <charconv>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "base/log.h"
#include "base/usable_cpus.h"
#include "proto/tensorflow_serving/config.pb.h"
#include "serving/config/text_file.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

constexpr const char* kMetricsPath = "/monitoring/prometheus/metrics";

Result<std::shared_ptr<grpc::ServerCredentials>> Credentials(const std::string& ssl_config_file) {
  if (ssl_config_file.empty()) return grpc::InsecureServerCredentials();
  tfs::SSLConfig config;
  NRTD_TRY(ReadTextMessage(ssl_config_file, &config));
  if (config.server_key().empty() || config.server_cert().empty())
    return Fail(Nerr::kInvalid, "{}: server_key and server_cert are wanted", ssl_config_file);
  grpc::SslServerCredentialsOptions options(
      config.client_verify() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.pem_root_certs = config.custom_ca();
  options.pem_key_cert_pairs.push_back({config.server_key(), config.server_cert()});
  return grpc::SslServerCredentials(options);
}

Result<void> AddArguments(const std::string& text, grpc::ServerBuilder& builder) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string argument = text.substr(at, end - at);
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0)
      return Fail(Nerr::kInvalid, "--grpc_channel_arguments: '{}' is no name=value", argument);
    const std::string name = argument.substr(0, equals);
    const std::string value = argument.substr(equals + 1);
    int number = 0;
    const auto [parsed, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc() && parsed == value.data() + value.size()) {
      builder.AddChannelArgument(name, number);
    } else {
      builder.AddChannelArgument(name, value);
    }
    at = end + 1;
  }
  return {};
}

// Where the page for Prometheus is; empty: nowhere.
Result<std::string> MetricsPath(const std::string& monitoring_config_file) {
  if (monitoring_config_file.empty()) return "";
  tfs::MonitoringConfig config;
  NRTD_TRY(ReadTextMessage(monitoring_config_file, &config));
  if (!config.prometheus_config().enable()) return "";
  const std::string& path = config.prometheus_config().path();
  return path.empty() ? kMetricsPath : path;
}

std::vector<std::string> WithHealth(std::vector<std::string> services) {
  services.emplace_back("grpc.health.v1.Health");
  return services;
}

}  // namespace

Endpoints::Endpoints(rpc::CallQueue& queue, Calls& calls)
    : queue_(queue),
      services_(calls),
      health_(GrpcServices::Names()),
      reflection_(WithHealth(GrpcServices::Names())) {}

Result<void> Endpoints::OpenGrpc(const Flags& flags, grpc::ServerBuilder& builder) {
  NRTD_ASSIGN(const auto credentials, Credentials(flags.ssl_config_file));
  int port = 0;
  builder.AddListeningPort(fmt::format("0.0.0.0:{}", flags.port), credentials, &port);
  if (!flags.grpc_socket_path.empty()) {
    builder.AddListeningPort("unix:" + flags.grpc_socket_path, grpc::InsecureServerCredentials());
  }
  // Another server on the same port would take part of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(INT32_MAX);
  builder.SetMaxSendMessageSize(INT32_MAX);
  NRTD_TRY(AddArguments(flags.grpc_channel_arguments, builder));
  for (rpc::RawService* service :
       {&services_.prediction(), &services_.models(), &health_.service(), &reflection_.service()})
    builder.RegisterService(service);
  grpc_ = builder.BuildAndStart();
  if (grpc_ == nullptr || port == 0) {
    return Fail(Nerr::kInvalid, "Failed to BuildAndStart gRPC server: cannot listen on port {}",
                flags.port);
  }
  services_.Serve(queue_);
  health_.Serve(queue_);
  reflection_.Serve(queue_);
  Log(LogLevel::kInfo, "ModelServer", "Running gRPC ModelServer at 0.0.0.0:{} ...", port);
  if (!flags.grpc_socket_path.empty()) {
    Log(LogLevel::kInfo, "ModelServer", "Running gRPC ModelServer at UNIX socket {} ...",
        flags.grpc_socket_path);
  }
  return {};
}

Result<void> Endpoints::OpenRest(const Flags& flags, Calls& calls, const Metrics& metrics) {
  if (flags.rest_api_port == 0) return {};
  NRTD_ASSIGN(const std::string path, MetricsPath(flags.monitoring_config_file));
  rest_ = std::make_unique<RestApi>(
      calls, metrics,
      RestApi::Options{path, std::chrono::milliseconds(flags.rest_api_timeout_in_ms)});
  const unsigned threads = flags.rest_api_num_threads > 0
                               ? static_cast<unsigned>(flags.rest_api_num_threads)
                               : 4 * UsableCpus();
  NRTD_ASSIGN(http_, HttpServer::Start(
                         static_cast<uint16_t>(flags.rest_api_port), threads,
                         [this](const HttpRequest& request) { return rest_->Answer(request); }));
  Log(LogLevel::kInfo, "ModelServer", "Exporting HTTP/REST API at:localhost:{} ...", http_->port());
  return {};
}

Result<std::unique_ptr<Endpoints>> Endpoints::Open(const Flags& flags, grpc::ServerBuilder& builder,
                                                   rpc::CallQueue& queue, Calls& calls,
                                                   const Metrics& metrics) {
  std::unique_ptr<Endpoints> endpoints(new Endpoints(queue, calls));
  NRTD_TRY(endpoints->OpenGrpc(flags, builder));
  NRTD_TRY(endpoints->OpenRest(flags, calls, metrics));
  return endpoints;
}

void Endpoints::Close(std::chrono::seconds grace) {
  if (http_ != nullptr) http_->StopAccepting();
  if (const auto server = std::exchange(grpc_, nullptr)) {
    health_.ShutDown();
    queue_.ShutDown(*server, grace);
    queue_.AwaitCalls();
  }
  http_.reset();
}

Endpoints::~Endpoints() {
  Close(std::chrono::seconds(0));
}

}  // namespace nrtd::serving
