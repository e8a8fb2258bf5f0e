// SPDX-License-Identifier: Apache-2.0
//
// One inference for every line on stdin, and how many milliseconds it took for the client on
// stdout, until stdin ends: for whoever measures something else in turn with it. A line that names
// a folder infers its NAME.npy files, one an input, and leaves answer.npy there. Inputs go through
// shared memory if asked, as with the TensorFlow plugin; what copying them there takes counts.
#include <chrono>
#include <iostream>

#include "base/file.h"
#include "base/npy.h"
#include "tools/client/address.h"
#include "tools/client/daemon.h"
#include "tools/client/shared_tensor.h"
#include "tools/client/tensors.h"
#include "tools/client/tool.h"

namespace nrtd::bench {
namespace {

struct Arguments {
  std::string address;
  uint32_t model_id = 0;
  std::vector<std::string> inputs;  // name=file.npy
  std::string output;               // the first one is written here when stdin ends
  bool shared_memory = false;
};

// The inputs of a request, as the client has them and as they go to the daemon.
class Inputs {
 public:
  Inputs(client::Daemon& daemon, bool shared_memory)
      : daemon_(daemon), shared_memory_(shared_memory) {}

  Result<void> Read(const std::string& name, const std::string& path) {
    NRTD_ASSIGN(arrays_[name], ReadNpyFile(path));
    if (!shared_memory_ || shared_.contains(name)) return {};
    NRTD_ASSIGN(client::SharedTensor tensor,
                client::SharedTensor::Create(daemon_, arrays_[name].data.size()));
    shared_.emplace(name, std::move(tensor));
    return {};
  }

  void FillIn(nrt::infer_request& request) {
    request.clear_ifmap();
    for (const auto& [name, array] : arrays_) {
      nrt::infer_io& io = *request.add_ifmap();
      io.set_name(name);
      const auto shared = shared_.find(name);
      if (shared == shared_.end()) {
        io.set_buf(array.data.data(), array.data.size());
        continue;
      }
      const MutableByteSpan to = shared->second.bytes();
      std::copy_n(array.data.begin(), std::min(array.data.size(), to.size()), to.begin());
      io.mutable_buf_shm()->set_path(shared->second.path());
    }
  }

 private:
  client::Daemon& daemon_;
  const bool shared_memory_;
  std::map<std::string, NpyArray> arrays_;
  std::map<std::string, client::SharedTensor> shared_;
};

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
  Inputs inputs(daemon, arguments.shared_memory);
  for (const std::string& argument : arguments.inputs) {
    const size_t at = argument.find('=');
    if (at == std::string::npos)
      return Fail(Nerr::kInvalid, "--input '{}' is not of the form name=file.npy", argument);
    NRTD_TRY(inputs.Read(argument.substr(0, at), argument.substr(at + 1)));
  }
  nrt::infer_response response;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty()) {
      for (const v1::Tensor& input : network.inputs())
        NRTD_TRY(inputs.Read(input.name(), fmt::format("{}/{}.npy", line, input.name())));
    }
    const auto start = std::chrono::steady_clock::now();
    inputs.FillIn(request);
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
  CommandLine app("Infers once for every line on stdin", "infer-loop");
  Arguments arguments;
  app.AddOption("-a,--address", &arguments.address, "The daemon's, as unix:/path");
  app.AddOption("--model-id", &arguments.model_id, "A loaded network").Required();
  app.AddOption("--input", &arguments.inputs, "An input tensor; once for each")
      .Type("NAME=FILE.npy");
  app.AddOption("--output", &arguments.output, "Where to write the first output");
  app.AddFlag("--shared-memory", &arguments.shared_memory, "Send inputs through shared memory");
  if (const auto exit_code = app.Parse(argc, argv)) return *exit_code;
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
