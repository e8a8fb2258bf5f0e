// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/npy.h"
#include "tools/client/tensors.h"
#include "tools/client/tool.h"
#include "tools/neuron_cli/command.h"

namespace nrtd::cli {
namespace {

using NamedFile = std::pair<std::string, std::string>;  // tensor, .npy file

struct InferArguments {
  uint32_t model_id = 0;
  std::vector<std::string> inputs;   // name=file.npy
  std::vector<std::string> outputs;  // name=file.npy
  std::string output_dir;
};

// Tensor names may hold anything but '=' here, also ':' and '/'.
Result<std::vector<NamedFile>> SplitAll(const std::vector<std::string>& arguments,
                                        std::string_view option) {
  std::vector<NamedFile> files;
  for (const std::string& argument : arguments) {
    const size_t at = argument.find('=');
    if (at == std::string::npos || at == 0 || at + 1 == argument.size())
      return Fail(Nerr::kInvalid, "{} '{}' is not of the form name=file.npy", option, argument);
    files.emplace_back(argument.substr(0, at), argument.substr(at + 1));
  }
  return files;
}

// What the daemon says about the network; nothing if it has no control service.
Result<std::optional<v1::Network>> Describe(client::Daemon& daemon, uint32_t model_id) {
  auto network = daemon.FindNetwork(model_id);
  if (network) return std::optional<v1::Network>(std::move(*network));
  if (network.error().code == Nerr::kUnsupportedVersion) return std::optional<v1::Network>();
  // Let the call itself answer for an unknown model, in the words that its users search for.
  if (network.error().code == Nerr::kInvalidHandle) return std::optional<v1::Network>();
  return tl::unexpected<Error>(std::move(network).error());
}

Result<void> AddInputs(const std::vector<NamedFile>& inputs,
                       const std::optional<v1::Network>& network, nrt::infer_request& request) {
  for (const auto& [name, path] : inputs) {
    NRTD_ASSIGN(const NpyArray array, ReadNpyFile(path));
    if (network) {
      if (const v1::Tensor* tensor = client::FindTensor(network->inputs(), name))
        NRTD_TRY(client::CheckArray(*tensor, array.dtype, array.data.size(), path));
    }
    nrt::infer_io& io = *request.add_ifmap();
    io.set_name(name);
    io.set_buf(array.data.data(), array.data.size());
  }
  return {};
}

// Where an output goes; empty if nobody asked for it.
std::string OutputPath(const std::string& name, const std::vector<NamedFile>& outputs,
                       const std::string& output_dir) {
  for (const auto& [wanted, path] : outputs) {
    if (wanted == name) return path;
  }
  if (output_dir.empty()) return {};
  return (std::filesystem::path(output_dir) / (NpyStem(name) + ".npy")).string();
}

Result<void> WriteOutput(const nrt::infer_io& io, const std::optional<v1::Network>& network,
                         const std::string& path) {
  const ByteSpan bytes = AsBytes(io.buf());
  const v1::Tensor* tensor = network ? client::FindTensor(network->outputs(), io.name()) : nullptr;
  const client::TensorForm form = client::FormOf(tensor, bytes.size());
  std::string note;
  if (!path.empty()) {
    NRTD_TRY(WriteFileAtomically(path, SerializeNpy(form.dtype, form.shape, bytes)));
    note = fmt::format(" -> {}", path);
  }
  fmt::print("{} {} {} {} bytes{}\n", Printable(io.name()), DTypeName(form.dtype),
             ShapeText(form.shape), bytes.size(), note);
  return {};
}

Result<void> WriteOutputs(const nrt::infer_response& response, const std::vector<NamedFile>& wanted,
                          const std::optional<v1::Network>& network,
                          const std::string& output_dir) {
  for (const NamedFile& file : wanted) {
    const auto& all = response.ofmap();
    const auto is_wanted = [&](const nrt::infer_io& io) { return io.name() == file.first; };
    if (std::none_of(all.begin(), all.end(), is_wanted))
      return Fail(Nerr::kInvalid, "the model has no output '{}', which --output names", file.first);
  }
  if (!output_dir.empty()) {
    std::error_code error;
    std::filesystem::create_directories(output_dir, error);
    if (error) return Fail(Nerr::kInvalid, "cannot create {}: {}", output_dir, error.message());
  }
  for (const nrt::infer_io& io : response.ofmap())
    NRTD_TRY(WriteOutput(io, network, OutputPath(io.name(), wanted, output_dir)));
  return {};
}

Result<void> Infer(const Invocation& invocation, const InferArguments& arguments) {
  NRTD_ASSIGN(const auto inputs, SplitAll(arguments.inputs, "--input"));
  NRTD_ASSIGN(const auto outputs, SplitAll(arguments.outputs, "--output"));
  NRTD_ASSIGN(client::Daemon daemon, ConnectTo(invocation));
  NRTD_ASSIGN(const std::optional<v1::Network> network, Describe(daemon, arguments.model_id));
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(arguments.model_id);
  NRTD_TRY(AddInputs(inputs, network, request));
  nrt::infer_response response;
  const Result<void> outcome = daemon.Infer(request, response);
  // Outputs with NaN among them come together with their error; both are worth having.
  if (outcome || outcome.error().code == Nerr::kInferCompletedWithNumErr)
    NRTD_TRY(WriteOutputs(response, outputs, network, arguments.output_dir));
  return outcome;
}

}  // namespace

void AddInferCommand(CommandLine& app, Invocation& invocation) {
  CommandLine& command = app.AddCommand("infer", "Run one inference on .npy files");
  const auto arguments = std::make_shared<InferArguments>();
  command.AddOption("MODEL_ID", &arguments->model_id, "As in list-model").Required();
  command.AddOption("--input", &arguments->inputs, "An input tensor; once for each")
      .Type("NAME=FILE.npy");
  command.AddOption("--output", &arguments->outputs, "Where to write an output; once for each")
      .Type("NAME=FILE.npy");
  command
      .AddOption("--output-dir", &arguments->output_dir,
                 "Write all other outputs here, as NAME.npy")
      .Type("DIR");
  command.OnGiven([&invocation, arguments] {
    invocation.run = [&invocation, arguments] { return Infer(invocation, *arguments); };
  });
}

}  // namespace nrtd::cli
