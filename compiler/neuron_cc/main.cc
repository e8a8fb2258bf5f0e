// SPDX-License-Identifier: Apache-2.0
//
// neuron-cc: compiles networks for the simulated Inferentia.
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "compiler/compile.h"
#include "compiler/neuron_cc/report_table.h"
#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

constexpr int kExitFailed = 1;

const std::map<std::string, Fp32Cast> kCasts = {
    {"all", Fp32Cast::kAll}, {"matmult", Fp32Cast::kMatMult}, {"none", Fp32Cast::kNone}};

struct Arguments {
  std::string model;
  std::string framework = "ONNX";
  std::string output = "out.neff";
  std::string cast = "all";
  std::optional<std::string> samples;  // folder
  CompileOptions options;
};

void AddFramework(CLI::App* command, Arguments& arguments) {
  command->add_option("--framework", arguments.framework, "the model's format")
      ->check(CLI::IsMember({"ONNX"}, CLI::ignore_case))
      ->capture_default_str();
}

CLI::App* AddCompile(CLI::App& app, Arguments& arguments) {
  CLI::App* command = app.add_subcommand("compile", "Compile a model into a NEFF");
  command->add_option("model", arguments.model, "the model's file")->required();
  AddFramework(command, arguments);
  command->add_option("-o,--output", arguments.output, "the NEFF to write")->capture_default_str();
  command
      ->add_option("--neuroncore-pipeline-cores", arguments.options.pipeline_cores,
                   "NeuronCores to spread the network over")
      ->capture_default_str();
  command
      ->add_option(
          "--fp32-cast", arguments.cast,
          "what may be computed in bfloat16: all, matmult (products and convolutions), none")
      ->check(CLI::IsMember(kCasts))
      ->capture_default_str();
  command->add_option("--calibrate", arguments.samples,
                      "a folder of sample inputs, DIR/<input>.npy or DIR/*/<input>.npy: biases are "
                      "corrected by what casts change on average");
  return command;
}

// On one line of a terminal, which goes away at the end.
void ShowProgress(size_t done, size_t nodes) {
  fmt::print(stderr, "\rcorrecting biases: {} of {} nodes", done, nodes);
}
void ClearProgress() {
  fmt::print(stderr, "\r\033[K");
}

Result<CompileReport> CompileAsAsked(Arguments& arguments) {
  arguments.options.fp32_cast = kCasts.at(arguments.cast);
  if (arguments.samples) {
    NRTD_ASSIGN(arguments.options.samples, ReadSamples(*arguments.samples));
    if (::isatty(STDERR_FILENO) != 0) arguments.options.correction_progress = ShowProgress;
  }
  auto report = CompileOnnx(arguments.model, arguments.output, arguments.options);
  if (arguments.options.correction_progress) ClearProgress();
  return report;
}

int Compile(Arguments arguments) {
  const auto report = CompileAsAsked(arguments);
  if (!report) {
    fmt::print(stderr, "neuron-cc: {}\n", report.error().text);
    return kExitFailed;
  }
  fmt::print("{}", ReportTable(*report, arguments.output));
  return 0;
}

int Run(int argc, char** argv) {
  CLI::App app("Compiles networks for the simulated Inferentia", "neuron-cc");
  app.set_version_flag("--version", "neuron-cc " NRTD_VERSION);
  app.require_subcommand(1);
  Arguments arguments;
  const CLI::App* compile = AddCompile(app, arguments);
  CLI::App* list = app.add_subcommand("list-operators", "Print the operators that can be compiled");
  AddFramework(list, arguments);
  CLI11_PARSE(app, argc, argv);
  if (compile->parsed()) return Compile(arguments);
  for (std::string_view name : SupportedOperators()) fmt::print("{}\n", name);
  return 0;
}

}  // namespace
}  // namespace nrtd::compiler

int main(int argc, char** argv) {
  try {
    return nrtd::compiler::Run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "neuron-cc: %s\n", problem.what());
    return 1;
  }
}
