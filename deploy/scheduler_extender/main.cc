// SPDX-License-Identifier: Apache-2.0
//
// k8s-neuron-scheduler: Kubernetes' scheduler asks it where pods that want devices may run.
#include <csignal>
#include <string>

#include "base/end_signals.h"
#include "base/log.h"
#include "deploy/cluster/fields.h"
#include "deploy/program.h"
#include "deploy/scheduler_extender/extender.h"
#include "http/http_server.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;

struct Flags {
  uint16_t port = 12345;
  std::string resource = "aws.amazon.com/neuron";
  ApiServer::Options api;
};

void Declare(CommandLine& app, Flags& flags) {
  app.AddOption("--port", &flags.port,
                "TCP port of /filter, /prioritize, /bind, /healthz, /metrics")
      .Environment("PORT")
      .ShowDefault();
  app.AddOption("--resource", &flags.resource, "The resource's name").ShowDefault();
  app.AddOption("--api-server", &flags.api.url, "The API server's URL; otherwise as in every pod");
  app.AddOption("--service-account", &flags.api.account, "Folder with token and ca.crt")
      .ShowDefault();
  app.AddVersion("--version", "k8s-neuron-scheduler (neuron-rtd " NRTD_VERSION ")");
}

HttpAnswer AnswerCall(const HttpRequest& request, Extender& extender) {
  const auto arguments = ParseObject(request.body);
  if (!arguments) return ErrorPage(400, "Bad Request");
  json answer;
  if (request.target == "/filter") {
    answer = extender.Filter(*arguments);
  } else if (request.target == "/prioritize") {
    answer = extender.Prioritize(*arguments);
  } else {
    answer = extender.Bind(*arguments);
  }
  return {200, "application/json", answer.dump(-1, ' ', false, json::error_handler_t::replace)};
}

HttpAnswer Answer(const HttpRequest& request, Extender& extender, const Metrics& metrics) {
  const bool is_call =
      request.target == "/filter" || request.target == "/prioritize" || request.target == "/bind";
  if (is_call && request.method == "POST") return AnswerCall(request, extender);
  if (is_call || request.method != "GET") return ErrorPage(405, "Method Not Allowed");
  if (request.target == "/metrics") return {200, "text/plain; version=0.0.4", metrics.Page()};
  if (request.target == "/healthz") return {200, "text/plain", "ok\n"};
  return ErrorPage(404, "Not Found");
}

Result<void> Serve(const Flags& flags) {
  const sigset_t signals = BlockEndSignals();
  NRTD_ASSIGN(const std::unique_ptr<ApiServer> api, ApiServer::Make(flags.api));
  Metrics metrics;
  Extender extender(*api, flags.resource, metrics);
  // Most of them wait for the API server; some are left for /healthz.
  constexpr unsigned kThreads = 16;
  NRTD_ASSIGN(const auto http,
              HttpServer::Start(flags.port, kThreads, [&](const HttpRequest& request) {
                return Answer(request, extender, metrics);
              }));
  Log(LogLevel::kInfo, "Scheduler", "answering the scheduler at port {}", http->port());
  int signal = 0;
  sigwait(&signals, &signal);
  Log(LogLevel::kInfo, "Scheduler", "ending");
  return {};
}

}  // namespace
}  // namespace nrtd::deploy

int main(int argc, char** argv) {
  nrtd::CommandLine app("Tells Kubernetes' scheduler which nodes have devices next to each other.",
                        "k8s-neuron-scheduler");
  nrtd::deploy::Flags flags;
  nrtd::deploy::Declare(app, flags);
  return nrtd::deploy::RunProgram(app, argc, argv, [&] { return nrtd::deploy::Serve(flags); });
}
