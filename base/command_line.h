// SPDX-License-Identifier: Apache-2.0
//
// A program's command line, on CLI11. Its headers take a compiler longer than most programs here,
// so only command_line.cc includes them; what it prints and accepts is CLI11's.
//
//   CommandLine line("Shows how busy the NeuronCores are.", "neuron-top");
//   line.AddOption("-i,--interval", &interval_s, "Seconds between samples")
//       .Range(0.01, 3600.0);
//   line.AddFlag("--once", &once, "Print one snapshot and exit");
//   if (const auto exit_code = line.Parse(argc, argv)) return *exit_code;
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace nrtd {

inline constexpr int kExitUsage = 2;

// Where an option's value goes when the command line is parsed; untouched if it is not given. A
// number that the type does not hold is wrong usage. A vector's option may be given several times.
using OptionValue =
    std::variant<std::string*, int*, int64_t*, uint16_t*, uint32_t*, uint64_t*, double*,
                 std::optional<std::string>*, std::optional<int>*, std::optional<uint32_t>*,
                 std::optional<uint64_t>*, std::optional<double>*, std::vector<std::string>*,
                 std::vector<int64_t>*, std::vector<uint32_t>*>;

// One option of a command line, as long as that lives. A handle, to be copied; functions return the
// same option.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option Required();
  Option ShowDefault();                         // the value before parsing, in --help
  Option Environment(const std::string& name);  // the value where the option is not given
  Option Type(const std::string& name);         // what --help calls a value
  // Values outside are wrong usage.
  Option Range(int least, int most);
  Option Range(double least, double most);
  Option Positive();
  Option NotNegative();
  Option OneOf(const std::vector<std::string>& names);
  // The keys.
  template <typename T>
  Option OneOf(const std::map<std::string, T>& values) {
    std::vector<std::string> names;
    for (const auto& [name, value] : values) names.push_back(name);
    return OneOf(names);
  }
  Option OneOfInAnyCase(const std::vector<std::string>& names);
  // Takes several values as one argument, such as "1,4"; a second argument is not part of it.
  Option Separated(char separator);
  Option Needs(const Option& other);
  Option Excludes(const Option& other);

 private:
  CLI::Option* option_;
};

// Declared and parsed by one thread. Values outlive it.
class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& name);
  ~CommandLine();

  const std::string& name() const;

  // `names`: "-i,--interval" for an option, or a name without dashes for a positional argument.
  Option AddOption(const std::string& names, OptionValue value, const std::string& help = "");
  Option AddFlag(const std::string& names, bool* value, const std::string& help);
  // Prints the text and ends.
  void AddVersion(const std::string& names, const std::string& text);

  // A subcommand, with options of its own. It lives as long as this.
  CommandLine& AddCommand(const std::string& name, const std::string& description);
  // Whether it was the one that was given.
  bool is_given() const;
  // Called by Parse() if it was.
  void OnGiven(std::function<void()> call);
  // One of the subcommands has to be given.
  void RequireCommand();
  // Lets the subcommands added so far accept this command line's options after their own name, and
  // adds `footer`, which says so, to their --help.
  void AllowOptionsBehindCommands(const std::string& footer);

  // What is not known is no wrong usage but returned here after Parse().
  void AllowUnknown();
  std::vector<std::string> unknown() const;
  // Option::ShowDefault() for all options added so far that take a value.
  void ShowDefaults();

  // Nothing: go on. Otherwise the exit code: 0 after --help or a version, kExitUsage for what is
  // wrong, which has been printed to stderr. Throws what values' types throw: std::bad_alloc.
  [[nodiscard]] std::optional<int> Parse(int argc, const char* const* argv);

 private:
  explicit CommandLine(CLI::App* command);

  std::unique_ptr<CLI::App> own_;  // null for a subcommand
  CLI::App* app_;
  std::vector<std::unique_ptr<CommandLine>> commands_;
};

}  // namespace nrtd
