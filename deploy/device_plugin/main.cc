// SPDX-License-Identifier: Apache-2.0
//
// k8s-neuron-device-plugin: tells the kubelet which Inferentia devices the node has.
#include <algorithm>
#include <csignal>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

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
  bool cores = false;
  DeviceUse::Options use;
  bool extender = false;
  std::string node;
  ApiServer::Options api;
  uint16_t http_port = 0;
};

void Declare(CommandLine& app, Flags& flags) {
  app.AddOption("--simulate", &flags.devices.simulate,
                "Advertise the devices of an instance that daemons simulate: inf1.xlarge, "
                "inf1.2xlarge, inf1.6xlarge or inf1.24xlarge; otherwise those of /dev");
  app.AddOption("--resource", &flags.plugin.resource, "The resource's name").ShowDefault();
  app.AddOption("--socket-folder", &flags.plugin.socket_folder, "Where the kubelet's socket is")
      .ShowDefault();
  app.AddOption("--device-folder", &flags.devices.device_folder, "Where the node's /dev is")
      .ShowDefault();
  app.AddOption("--unhealthy-file", &flags.devices.unhealthy_file,
                "File with numbers of devices that get no more containers; it may come and go");
  Option cores =
      app.AddFlag("--cores", &flags.cores,
                  "Also advertise NeuronCores; a container that asks for cores gets exclusive use "
                  "of their devices");
  app.AddOption("--core-resource", &flags.use.cores, "The name of that resource")
      .ShowDefault()
      .Needs(cores);
  app.AddOption("--pod-resources-socket", &flags.use.socket,
                "Where the kubelet tells who has which devices, for --cores")
      .ShowDefault()
      .Needs(cores);
  Option extender =
      app.AddFlag("--scheduler-extender", &flags.extender,
                  "k8s-neuron-scheduler chooses the devices: give pods what their annotations say");
  extender.Excludes(cores);
  app.AddOption("--node-name", &flags.node, "This node's name, for --scheduler-extender")
      .Environment("NODE_NAME");
  app.AddOption("--api-server", &flags.api.url,
                "The API server's URL, for --scheduler-extender; otherwise as in every pod")
      .Needs(extender);
  app.AddOption("--service-account", &flags.api.account, "Folder with token and ca.crt")
      .ShowDefault()
      .Needs(extender);
  app.AddOption("--http-port", &flags.http_port, "TCP port of /metrics and /healthz; 0: none")
      .ShowDefault();
  app.AddVersion("--version", "k8s-neuron-device-plugin (neuron-rtd " NRTD_VERSION ")");
}

// The plugins of one node's resources.
class Plugins {
 public:
  Plugins(const Flags& flags, NodeDevices& devices, Metrics& metrics, PodChoices* choices) {
    if (flags.cores) {
      DeviceUse::Options options = flags.use;
      options.devices = flags.plugin.resource;
      use_.emplace(options);
    }
    DeviceUse* const use = use_ ? &*use_ : nullptr;
    plugins_.emplace_back(flags.plugin, devices, metrics, choices, use);
    if (use == nullptr) return;
    DevicePlugin::Options cores = flags.plugin;
    cores.resource = flags.use.cores;
    cores.unit = ResourceUnit::kCore;
    plugins_.emplace_back(cores, devices, metrics, nullptr, use);
  }
  void Tend() {
    if (use_ && !Ask()) return;
    for (DevicePlugin& plugin : plugins_) plugin.Tend();
  }
  bool is_registered() const {
    return std::all_of(plugins_.begin(), plugins_.end(),
                       [](const DevicePlugin& plugin) { return plugin.is_registered(); });
  }

 private:
  // What the kubelet says of devices in use; false: it never said anything yet.
  bool Ask() {
    const auto asked = use_->Refresh();
    const std::string problem = asked ? "" : asked.error().text;
    if (std::exchange(problem_, problem) != problem && !asked)
      Log(LogLevel::kWarning, "DevicePlugin", "{}", AsIs(problem));
    return use_->is_known();
  }

  std::optional<DeviceUse> use_;
  std::deque<DevicePlugin> plugins_;
  std::string problem_;  // that was logged
};

HttpAnswer AnswerPage(const HttpRequest& request, const Plugins& plugins, const Metrics& metrics) {
  if (request.method != "GET") return ErrorPage(405, "Method Not Allowed");
  if (request.target == "/metrics") return {200, "text/plain; version=0.0.4", metrics.Page()};
  if (request.target != "/healthz") return ErrorPage(404, "Not Found");
  if (plugins.is_registered()) return {200, "text/plain", "ok\n"};
  return {503, "text/plain", "not registered with the kubelet\n"};
}

// Until SIGTERM or SIGINT.
void Tend(Plugins& plugins, const sigset_t& signals) {
  constexpr timespec kLook{1, 0};
  do {
    plugins.Tend();
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
  Plugins plugins(flags, devices, metrics, choices ? &*choices : nullptr);
  std::unique_ptr<HttpServer> http;
  if (flags.http_port != 0) {
    NRTD_ASSIGN(http, HttpServer::Start(flags.http_port, 1, [&](const HttpRequest& request) {
                  return AnswerPage(request, plugins, metrics);
                }));
  }
  Tend(plugins, signals);
  Log(LogLevel::kInfo, "DevicePlugin", "ending");
  return {};
}

}  // namespace
}  // namespace nrtd::deploy

int main(int argc, char** argv) {
  nrtd::CommandLine app("Tells the kubelet which Inferentia devices the node has.",
                        "k8s-neuron-device-plugin");
  nrtd::deploy::Flags flags;
  nrtd::deploy::Declare(app, flags);
  return nrtd::deploy::RunProgram(app, argc, argv, [&] { return nrtd::deploy::Serve(flags); });
}
