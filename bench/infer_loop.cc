// SPDX-License-Identifier: Apache-2.0
//
// One inference for every line on stdin, and how many milliseconds it took for the client on
// stdout, until stdin ends: for whoever measures something else in turn with it. A line that names
// a folder infers its NAME.npy files, one an input, and leaves answer.npy there.
#include <chrono>
#include <iostream>

#include <CLI/CLI.hpp>

#include "base/file.h"
#include "base/npy.h"
#include "tools/client/address.h"
#include "tools/client/daemon.h"
#include "tools/client/tensors.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

struct Arguments {
  std::string address;
  uint32_t model_id = 0;
  std::vector<std::string> inputs;  // name=file.npy
  std::string output;               // the first one is written here when stdin ends
};

Result<void> AddInput(const std::string& name, const std::string& path,
                      nrt::infer_request& request) {
  NRTD_ASSIGN(const NpyArray array, ReadNpyFile(path));
  nrt::infer_io& io = *request.add_ifmap();
  io.set_name(name);
  io.set_buf(array.data.data(), array.data.size());
  return {};
}

// The first output.
Result<void> WriteAnswer(const v1::Network& network, const nrt::infer_response& response,
                         const std::string& path) {
  if (response.ofmap().empty()) return {};
  const nrt::infer_io& first = response.ofmap(0);
  const client::TensorForm form =
      client::FormOf(client::FindTensor(network.outputs(), first.name()), first.buf().size());
  return WriteFileAtomically(path, SerializeNpy(form.dtype, form.shape, AsBytes(first.buf())));
}

Result<void> Run(const Arguments& arguments) {
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address));
  NRTD_ASSIGN(const v1::Network network, daemon.FindNetwork(arguments.model_id));
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(arguments.model_id);
  for (const std::string& argument : arguments.inputs) {
    const size_t at = argument.find('=');
    if (at == std::string::npos)
      return Fail(Nerr::kInvalid, "--input '{}' is not of the form name=file.npy", argument);
    NRTD_TRY(AddInput(argument.substr(0, at), argument.substr(at + 1), request));
  }
  nrt::infer_response response;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty()) {
      request.clear_ifmap();
      for (const v1::Tensor& input : network.inputs())
        NRTD_TRY(AddInput(input.name(), fmt::format("{}/{}.npy", line, input.name()), request));
    }
    const auto start = std::chrono::steady_clock::now();
    response.Clear();
    NRTD_TRY(daemon.Infer(request, response));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (!line.empty()) NRTD_TRY(WriteAnswer(network, response, line + "/answer.npy"));
    std::cout << took.count() << std::endl;
  }
  if (arguments.output.empty()) return {};
  return WriteAnswer(network, response, arguments.output);
}

int Main(int argc, char** argv) {
  CLI::App app("Infers once for every line on stdin", "infer-loop");
  Arguments arguments;
  app.add_option("-a,--address", arguments.address, "The daemon's, as unix:/path");
  app.add_option("--model-id", arguments.model_id, "A loaded network")->required();
  app.add_option("--input", arguments.inputs, "An input tensor; once for each")
      ->type_name("NAME=FILE.npy");
  app.add_option("--output", arguments.output, "Where to write the first output");
  CLI11_PARSE(app, argc, argv);
  const auto done = Run(arguments);
  if (done) return 0;
  fmt::print(stderr, "infer-loop: {}\n", done.error().text);
  return 1;
}

}  // namespace
}  // namespace nrtd::bench

int main(int argc, char** argv) {
  return nrtd::bench::Main(argc, argv);
}
