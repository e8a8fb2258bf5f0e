// SPDX-License-Identifier: Apache-2.0
//
// neuron-cc: compiles networks for the simulated Inferentia.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/command_line.h"
#include "base/unique_fd.h"
#include "compiler/compile.h"
#include "compiler/neuron_cc/report_table.h"
#include "compiler/neuron_cc/saved_model.h"
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
  SavedModelTarget saved_model;  // none if it has no folder
  std::vector<std::string> input_keys;
  std::vector<std::string> output_keys;
  std::vector<uint32_t> batches;  // sizes; empty: as the model says
};

void AddFramework(CommandLine& command, Arguments& arguments) {
  command.AddOption("--framework", &arguments.framework, "the model's format")
      .OneOfInAnyCase({"ONNX"})
      .ShowDefault();
}

CommandLine& AddCompile(CommandLine& app, Arguments& arguments) {
  CommandLine& command = app.AddCommand("compile", "Compile a model into a NEFF");
  command.AddOption("model", &arguments.model, "the model's file").Required();
  AddFramework(command, arguments);
  command.AddOption("-o,--output", &arguments.output, "the NEFF to write").ShowDefault();
  command
      .AddOption("--neuroncore-pipeline-cores", &arguments.options.pipeline_cores,
                 "NeuronCores to spread the network over")
      .ShowDefault();
  command
      .AddOption("--batch-sizes", &arguments.batches,
                 "requests to compile for at once, instead of the first dimension of the model's "
                 "inputs; several, such as 1,4, make a SavedModel that has the network for each")
      .Separated(',')
      .Positive();
  command
      .AddOption("--fp32-cast", &arguments.cast,
                 "what may be computed in bfloat16: all, matmult (products and convolutions), none")
      .OneOf(kCasts)
      .ShowDefault();
  command.AddOption("--saved-model", &arguments.saved_model.folder,
                    "write a SavedModel with the NEFF instead of the NEFF: into DIR/<version>, as "
                    "tensorflow_model_server_neuron serves them");
  command.AddOption("--model-name", &arguments.saved_model.model_name,
                    "the SavedModel's name [the network's]");
  command.AddOption("--model-version", &arguments.saved_model.version, "the SavedModel's version")
      .NotNegative()
      .ShowDefault();
  command.AddOption(
      "--signature-input", &arguments.input_keys,
      "KEY=TENSOR: what the SavedModel's signature calls an input; may be given again");
  command.AddOption("--signature-output", &arguments.output_keys, "the same for an output");
  command
      .AddOption("--signature-method", &arguments.saved_model.method,
                 "what the SavedModel's signature is for; classify and regress take examples, a "
                 "feature for each input")
      .OneOf({"predict", "classify", "regress"})
      .ShowDefault();
  command.AddOption("--calibrate", &arguments.samples,
                    "a folder of sample inputs, DIR/<input>.npy or DIR/*/<input>.npy: biases are "
                    "corrected by what casts change on average");
  return command;
}

// In a folder that is made if it is not there; removed again.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    path_ = folder + "/.neuron-cc-XXXXXX";
    const UniqueFd file(::mkstemp(path_.data()));
    if (!file) made_ = Fail(Nerr::kInvalid, "cannot write into {}: {}", folder, ErrnoText(errno));
  }
  ~TemporaryFile() { (void)::unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const Result<void>& made() const { return made_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Result<void> made_;
};

// On one line of a terminal, which goes away at the end.
void ShowProgress(size_t done, size_t nodes) {
  fmt::print(stderr, "\rcorrecting biases: {} of {} nodes", done, nodes);
}
void ClearProgress() {
  fmt::print(stderr, "\r\033[K");
}

Result<void> ReadOptions(Arguments& arguments) {
  arguments.options.fp32_cast = kCasts.at(arguments.cast);
  if (!arguments.samples) return {};
  NRTD_ASSIGN(arguments.options.samples, ReadSamples(*arguments.samples));
  if (::isatty(STDERR_FILENO) != 0) arguments.options.correction_progress = ShowProgress;
  return {};
}

Result<CompileReport> CompileFor(std::optional<uint32_t> batch, const std::string& neff_path,
                                 Arguments& arguments) {
  arguments.options.batch = batch;
  auto report = CompileOnnx(arguments.model, neff_path, arguments.options);
  if (arguments.options.correction_progress) ClearProgress();
  return report;
}

// The batches to compile for, each once; nothing: as the model says.
Result<std::vector<std::optional<uint32_t>>> Batches(const Arguments& arguments) {
  const std::set<uint32_t> sizes(arguments.batches.begin(), arguments.batches.end());
  if (sizes.empty()) return std::vector<std::optional<uint32_t>>{std::nullopt};
  if (sizes.size() > 1 && !arguments.options.samples.empty()) {
    return Fail(Nerr::kInvalid,
                "--calibrate has samples for one batch, and there are {} --batch-sizes",
                sizes.size());
  }
  return std::vector<std::optional<uint32_t>>(sizes.begin(), sizes.end());
}

Result<CompileReport> CompileIntoNeff(Arguments& arguments) {
  NRTD_TRY(ReadOptions(arguments));
  NRTD_ASSIGN(const auto batches, Batches(arguments));
  if (batches.size() > 1) {
    return Fail(Nerr::kInvalid,
                "a NEFF has one size of the batch, and --batch-sizes names {}: add --saved-model",
                batches.size());
  }
  return CompileFor(batches.front(), arguments.output, arguments);
}

// Returns the report of the first one. The NEFFs are only on their way then.
Result<CompileReport> CompileIntoSavedModel(Arguments& arguments) {
  SavedModelTarget& target = arguments.saved_model;
  for (const std::string& key : arguments.input_keys) NRTD_TRY(AddKey(key, target.input_keys));
  for (const std::string& key : arguments.output_keys) NRTD_TRY(AddKey(key, target.output_keys));
  NRTD_TRY(ReadOptions(arguments));
  NRTD_ASSIGN(const auto batches, Batches(arguments));
  std::deque<TemporaryFile> neffs;
  std::vector<CompiledFile> compiled;
  for (const std::optional<uint32_t> batch : batches) {
    const TemporaryFile& neff = neffs.emplace_back(target.folder);
    NRTD_TRY(neff.made());
    NRTD_ASSIGN(CompileReport report, CompileFor(batch, neff.path(), arguments));
    compiled.push_back({std::move(report), neff.path()});
  }
  NRTD_ASSIGN(arguments.output, SaveAsSavedModel(compiled, target));
  return std::move(compiled.front().report);
}

int Compile(Arguments arguments) {
  const auto report = arguments.saved_model.folder.empty() ? CompileIntoNeff(arguments)
                                                           : CompileIntoSavedModel(arguments);
  if (!report) {
    fmt::print(stderr, "neuron-cc: {}\n", report.error().text);
    return kExitFailed;
  }
  fmt::print("{}", ReportTable(*report, arguments.output));
  return 0;
}

int Run(int argc, char** argv) {
  CommandLine app("Compiles networks for the simulated Inferentia", "neuron-cc");
  app.AddVersion("--version", "neuron-cc " NRTD_VERSION);
  app.RequireCommand();
  Arguments arguments;
  const CommandLine& compile = AddCompile(app, arguments);
  CommandLine& list = app.AddCommand("list-operators", "Print the operators that can be compiled");
  AddFramework(list, arguments);
  if (const auto exit_code = app.Parse(argc, argv)) return *exit_code;
  if (compile.is_given()) return Compile(arguments);
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
