// SPDX-License-Identifier: Apache-2.0
//
// Reads handwritten digits with a network that a daemon serves, as an application would: one
// inference an image, over the public contract.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "tools/client/address.h"
#include "tools/client/daemon.h"
#include "tools/client/latency.h"
#include "tools/client/tensors.h"
#include "tools/client/tool.h"
#include "tools/digits_demo/dataset.h"
#include "tools/digits_demo/picture.h"

namespace nrtd::digits {
namespace {

// The network reads 98 of 100 held-out images; far fewer means that something is broken, not that
// bfloat16 rounds.
constexpr double kLeastCorrectPercent = 95;

struct Arguments {
  std::string address;
  uint32_t model_id = 0;
  std::string images;
  std::string labels;
  std::string input;
  std::string output;
  size_t pictures = 4;
};

// Fills in the tensor names that the user has left out.
Result<void> FindTensorNames(client::Daemon& daemon, Arguments& arguments) {
  if (!arguments.input.empty() && !arguments.output.empty()) return {};
  NRTD_ASSIGN(const v1::Network network, daemon.FindNetwork(arguments.model_id));
  NRTD_ASSIGN(const v1::Tensor input,
              client::PickTensor(network.inputs(), arguments.input, "input"));
  NRTD_ASSIGN(const v1::Tensor output,
              client::PickTensor(network.outputs(), arguments.output, "output"));
  arguments.input = input.name();
  arguments.output = output.name();
  return {};
}

Result<size_t> ReadAnswer(const nrt::infer_response& response, const std::string& output) {
  const auto& all = response.ofmap();
  const auto io =
      std::find_if(all.begin(), all.end(), [&](const auto& o) { return o.name() == output; });
  if (io == all.end()) return Fail(Nerr::kInvalid, "the answer has no output '{}'", output);
  std::vector<float> scores(io->buf().size() / sizeof(float));
  if (scores.empty() || scores.size() * sizeof(float) != io->buf().size()) {
    return Fail(Nerr::kInvalid, "output '{}' is {} bytes; float32 scores are expected", output,
                io->buf().size());
  }
  std::memcpy(scores.data(), io->buf().data(), io->buf().size());
  return ArgMax(scores);
}

// One inference an image. The time of an inference is that of the call, as the client sees it.
Result<std::vector<size_t>> Classify(client::Daemon& daemon, const Arguments& arguments,
                                     const Dataset& dataset, client::Latencies& latencies) {
  std::vector<size_t> answers;
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(arguments.model_id);
  nrt::infer_io& input = *request.add_ifmap();
  input.set_name(arguments.input);
  for (size_t i = 0; i < dataset.size(); ++i) {
    const auto image = dataset.image(i);
    input.set_buf(image.data(), image.size_bytes());
    nrt::infer_response response;
    const auto start = std::chrono::steady_clock::now();
    NRTD_TRY(daemon.Infer(request, response));
    latencies.Add(std::chrono::steady_clock::now() - start);
    NRTD_ASSIGN(const size_t answer, ReadAnswer(response, arguments.output));
    answers.push_back(answer);
  }
  return answers;
}

void ShowFirst(const Dataset& dataset, const std::vector<size_t>& answers, size_t count) {
  std::vector<Picture> pictures;
  for (size_t i = 0; i < std::min(count, dataset.size()); ++i) {
    pictures.push_back({dataset.image(i), dataset.height, dataset.width,
                        fmt::format("reads {}, is {}", answers[i], dataset.labels[i])});
  }
  if (!pictures.empty()) fmt::print("{}\n", RenderPictures(pictures, dataset.brightest));
}

Result<void> Run(Arguments arguments) {
  NRTD_ASSIGN(const Dataset dataset, ReadDataset(arguments.images, arguments.labels));
  NRTD_ASSIGN(const std::string address, client::ResolveAddress(arguments.address));
  NRTD_ASSIGN(client::Daemon daemon, client::Daemon::Connect(address));
  NRTD_TRY(FindTensorNames(daemon, arguments));
  client::Latencies latencies;
  NRTD_ASSIGN(const auto answers, Classify(daemon, arguments, dataset, latencies));
  size_t correct = 0;
  for (size_t i = 0; i < dataset.size(); ++i)
    correct += static_cast<int64_t>(answers[i]) == dataset.labels[i] ? 1 : 0;
  const double percent = 100.0 * static_cast<double>(correct) / static_cast<double>(dataset.size());
  ShowFirst(dataset, answers, arguments.pictures);
  fmt::print("digits: {}/{} correct ({:.1f}%), p50 {:.0f} us, p99 {:.0f} us\n", correct,
             dataset.size(), percent, latencies.PercentileUs(50), latencies.PercentileUs(99));
  if (percent < kLeastCorrectPercent) {
    return Fail(Nerr::kFail, "only {:.1f}% of the digits are read correctly, {}% are expected",
                percent, kLeastCorrectPercent);
  }
  return {};
}

}  // namespace
}  // namespace nrtd::digits

int main(int argc, char** argv) {
  nrtd::CommandLine app("Reads handwritten digits with a network that a neuron-rtd daemon serves.",
                        "digits-demo");
  nrtd::digits::Arguments arguments;
  nrtd::client::AddAddressOption(app, arguments.address);
  app.AddOption("--model-id", &arguments.model_id, "As in neuron-cli list-model").Required();
  app.AddOption("--images", &arguments.images, "float32 [N,1,height,width], as .npy").Required();
  app.AddOption("--labels", &arguments.labels, "int64 or int32 [N], as .npy").Required();
  app.AddOption("--input", &arguments.input, "Name of the input tensor [the model's only one]");
  app.AddOption("--output", &arguments.output, "Name of the output tensor [the model's only one]");
  app.AddOption("--pictures", &arguments.pictures, "How many images to show").ShowDefault();
  return nrtd::client::RunTool(app, argc, argv, [&] { return nrtd::digits::Run(arguments); });
}
