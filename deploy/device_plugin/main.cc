// SPDX-License-Identifier: Apache-2.0
//
// k8s-neuron-device-plugin: tells the kubelet which Inferentia devices the node has.
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "base/end_signals.h"
#include "base/log.h"
#include "deploy/device_plugin/device_plugin.h"
#include "deploy/program.h"
#include "http/http_server.h"

namespace nrtd::deploy {
namespace {

struct Flags {
  NodeDevices::Options devices;
  DevicePlugin::Options plugin;
  bool extender = false;
  std::string node;
  ApiServer::Options api;
  uint16_t http_port = 0;
};

void Declare(CLI::App& app, Flags& flags) {
  app.add_option("--simulate", flags.devices.simulate,
                 "Advertise the devices of an instance that daemons simulate: inf1.xlarge, "
                 "inf1.2xlarge, inf1.6xlarge or inf1.24xlarge; otherwise those of /dev");
  app.add_option("--resource", flags.plugin.resource, "The resource's name")->capture_default_str();
  app.add_option("--socket-folder", flags.plugin.socket_folder, "Where the kubelet's socket is")
      ->capture_default_str();
  app.add_option("--device-folder", flags.devices.device_folder, "Where the node's /dev is")
      ->capture_default_str();
  app.add_option("--unhealthy-file", flags.devices.unhealthy_file,
                 "File with numbers of devices that get no more containers; it may come and go");
  auto* const extender = app.add_flag(
      "--scheduler-extender", flags.extender,
      "k8s-neuron-scheduler chooses the devices: give pods what their annotations say");
  app.add_option("--node-name", flags.node, "This node's name, for --scheduler-extender")
      ->envname("NODE_NAME");
  app.add_option("--api-server", flags.api.url,
                 "The API server's URL, for --scheduler-extender; otherwise as in every pod")
      ->needs(extender);
  app.add_option("--service-account", flags.api.account, "Folder with token and ca.crt")
      ->capture_default_str()
      ->needs(extender);
  app.add_option("--http-port", flags.http_port, "TCP port of /metrics and /healthz; 0: none")
      ->capture_default_str();
  app.set_version_flag("--version", "k8s-neuron-device-plugin (neuron-rtd " NRTD_VERSION ")");
}

HttpAnswer AnswerPage(const HttpRequest& request, const DevicePlugin& plugin,
                      const Metrics& metrics) {
  if (request.method != "GET") return ErrorPage(405, "Method Not Allowed");
  if (request.target == "/metrics") return {200, "text/plain; version=0.0.4", metrics.Page()};
  if (request.target != "/healthz") return ErrorPage(404, "Not Found");
  if (plugin.is_registered()) return {200, "text/plain", "ok\n"};
  return {503, "text/plain", "not registered with the kubelet\n"};
}

// Until SIGTERM or SIGINT.
void Tend(DevicePlugin& plugin, const sigset_t& signals) {
  constexpr timespec kLook{1, 0};
  do {
    plugin.Tend();
  } while (sigtimedwait(&signals, nullptr, &kLook) < 0);
}

Result<void> Serve(const Flags& flags) {
  const sigset_t signals = BlockEndSignals();
  NRTD_ASSIGN(NodeDevices devices, NodeDevices::Find(flags.devices));
  Metrics metrics;
  std::unique_ptr<ApiServer> api;
  std::optional<PodChoices> choices;
  if (flags.extender) {
    if (flags.node.empty())
      return Fail(Nerr::kInvalid, "--scheduler-extender wants --node-name, or NODE_NAME");
    NRTD_ASSIGN(api, ApiServer::Make(flags.api));
    choices.emplace(*api, flags.node, flags.plugin.resource);
  }
  DevicePlugin plugin(flags.plugin, devices, metrics, choices ? &*choices : nullptr);
  std::unique_ptr<HttpServer> http;
  if (flags.http_port != 0) {
    NRTD_ASSIGN(http, HttpServer::Start(flags.http_port, 1, [&](const HttpRequest& request) {
                  return AnswerPage(request, plugin, metrics);
                }));
  }
  Tend(plugin, signals);
  Log(LogLevel::kInfo, "DevicePlugin", "ending");
  return {};
}

}  // namespace
}  // namespace nrtd::deploy

int main(int argc, char** argv) {
  CLI::App app("Tells the kubelet which Inferentia devices the node has.",
               "k8s-neuron-device-plugin");
  nrtd::deploy::Flags flags;
  nrtd::deploy::Declare(app, flags);
  return nrtd::deploy::RunProgram(app, argc, argv, [&] { return nrtd::deploy::Serve(flags); });
}
