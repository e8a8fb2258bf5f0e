// SPDX-License-Identifier: Apache-2.0
#include "base/command_line.h"

#include <iostream>
#include <utility>

#include <CLI/CLI.hpp>

namespace nrtd {

Option Option::Required() {
  option_->required();
  return *this;
}
Option Option::ShowDefault() {
  option_->capture_default_str();
  return *this;
}
Option Option::Environment(const std::string& name) {
  option_->envname(name);
  return *this;
}
Option Option::Type(const std::string& name) {
  option_->type_name(name);
  return *this;
}
Option Option::Range(int least, int most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
Option Option::Range(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
Option Option::Positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}
Option Option::NotNegative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}
Option Option::OneOf(const std::vector<std::string>& names) {
  option_->check(CLI::IsMember(names));
  return *this;
}
Option Option::OneOfInAnyCase(const std::vector<std::string>& names) {
  option_->check(CLI::IsMember(names, CLI::ignore_case));
  return *this;
}
Option Option::Separated(char separator) {
  option_->delimiter(separator)->allow_extra_args(false);
  return *this;
}
Option Option::Needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}
Option Option::Excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

CommandLine::CommandLine(const std::string& description, const std::string& name)
    : own_(std::make_unique<CLI::App>(description, name)), app_(own_.get()) {}
CommandLine::CommandLine(CLI::App* command) : app_(command) {}
CommandLine::~CommandLine() = default;

const std::string& CommandLine::name() const {
  return app_->get_name();
}

Option CommandLine::AddOption(const std::string& names, OptionValue value,
                              const std::string& help) {
  return std::visit([&](auto* to) { return Option(app_->add_option(names, *to, help)); }, value);
}

Option CommandLine::AddFlag(const std::string& names, bool* value, const std::string& help) {
  return Option(app_->add_flag(names, *value, help));
}

void CommandLine::AddVersion(const std::string& names, const std::string& text) {
  app_->set_version_flag(names, text);
}

CommandLine& CommandLine::AddCommand(const std::string& name, const std::string& description) {
  commands_.push_back(
      std::unique_ptr<CommandLine>(new CommandLine(app_->add_subcommand(name, description))));
  return *commands_.back();
}

bool CommandLine::is_given() const {
  return app_->parsed();
}

void CommandLine::OnGiven(std::function<void()> call) {
  app_->callback(std::move(call));
}

void CommandLine::RequireCommand() {
  app_->require_subcommand(1);
}

void CommandLine::AllowOptionsBehindCommands(const std::string& footer) {
  app_->fallthrough();
  for (const auto& command : commands_) {
    command->app_->fallthrough();
    command->app_->footer(footer);
  }
}

void CommandLine::AllowUnknown() {
  app_->allow_extras();
}

std::vector<std::string> CommandLine::unknown() const {
  return app_->remaining();
}

void CommandLine::ShowDefaults() {
  for (CLI::Option* option : app_->get_options())
    if (option->get_items_expected_max() != 0) option->capture_default_str();
}

std::optional<int> CommandLine::Parse(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    // CLI11 has a number of its own for each mistake; users of a shell expect 2.
    return app_->exit(error, std::cout, std::cerr) == 0 ? 0 : kExitUsage;
  }
}

}  // namespace nrtd
