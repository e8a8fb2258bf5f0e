// SPDX-License-Identifier: Apache-2.0
#include "tools/client/tool.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "tools/client/address.h"

namespace nrtd::client {

void AddAddressOption(CLI::App& app, std::string& address) {
  app.add_option("-a,--address", address,
                 fmt::format("Where the daemon listens: unix:/path or host:port [{}, else {}]",
                             kAddressVariable, kDefaultAddress))
      ->type_name("ADDRESS");
}

int RunTool(CLI::App& app, int argc, const char* const* argv,
            const std::function<Result<void>()>& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 has a number of its own for each mistake; users of a shell expect 2.
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const Result<void> result = run();
  if (result) return 0;
  std::fflush(stdout);
  // One line, whatever the daemon has sent.
  fmt::print(stderr, "{}: {}\n", app.get_name(),
             PrintableText(result.error().text, kMaxDaemonText));
  return kExitFailed;
}

std::string JsonText(const nlohmann::json& value) {
  return value.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string JsonLine(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace nrtd::client
