// SPDX-License-Identifier: Apache-2.0
//
// What the daemon's latency is compared with: gRPC and nothing else. Answers every infer of nmgr_v1
// at once with one output of a fixed size, over the same messages.
#include <csignal>
#include <cstdio>

#include <grpcpp/grpcpp.h>

#include "base/end_signals.h"
#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "tools/client/address.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

class EchoService final : public nrt::nmgr_v1::Service {
 public:
  EchoService(std::string output_name, size_t output_bytes)
      : output_name_(std::move(output_name)), output_(output_bytes, '\0') {}

  grpc::Status infer(grpc::ServerContext* /*context*/, const nrt::infer_request* /*request*/,
                     nrt::infer_response* response) override {
    response->mutable_status()->set_code(0);
    nrt::infer_io& output = *response->add_ofmap();
    output.set_name(output_name_);
    output.set_buf(output_);
    return grpc::Status::OK;
  }

 private:
  const std::string output_name_;
  const std::string output_;
};

struct Arguments {
  std::string address;
  std::string output_name;
  size_t output_bytes = 0;
};

// Serves until SIGINT or SIGTERM.
Result<void> Serve(const Arguments& arguments) {
  const sigset_t signals = BlockEndSignals();
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  EchoService service(arguments.output_name, arguments.output_bytes);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return Fail(Nerr::kResource, "cannot listen on {}; is it in use?", address);
  fmt::print("Echo server listening on {}\n", address);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();
  return {};
}

}  // namespace
}  // namespace nrtd::bench

int main(int argc, char** argv) {
  nrtd::CommandLine app("Answers every infer at once: what infer-bench compares the daemon with.",
                        "nrtd-echo-server");
  nrtd::bench::Arguments arguments;
  app.AddOption("--listen", &arguments.address, "unix:/path or host:port").Required();
  app.AddOption("--output-name", &arguments.output_name, "The output's name").Required();
  app.AddOption("--output-bytes", &arguments.output_bytes, "The output's size").Required();
  return nrtd::client::RunTool(app, argc, argv, [&] { return nrtd::bench::Serve(arguments); });
}
