// SPDX-License-Identifier: Apache-2.0
#include "tools/client/tool.h"

#include <cstdio>

#include "tools/client/address.h"

namespace nrtd::client {

void AddAddressOption(CommandLine& line, std::string& address) {
  line.AddOption("-a,--address", &address,
                 fmt::format("Where the daemon listens: unix:/path or host:port [{}, else {}]",
                             kAddressVariable, kDefaultAddress))
      .Type("ADDRESS");
}

int RunTool(CommandLine& line, int argc, const char* const* argv,
            const std::function<Result<void>()>& run) {
  if (const auto exit_code = line.Parse(argc, argv)) return *exit_code;
  const Result<void> result = run();
  if (result) return 0;
  std::fflush(stdout);
  // One line, whatever the daemon has sent.
  fmt::print(stderr, "{}: {}\n", line.name(), PrintableText(result.error().text, kMaxDaemonText));
  return kExitFailed;
}

std::string JsonText(const nlohmann::json& value) {
  return value.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string JsonLine(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace nrtd::client
