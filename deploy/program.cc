// SPDX-License-Identifier: Apache-2.0
#include "deploy/program.h"

#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include "base/log.h"

namespace nrtd::deploy {

int RunProgram(CommandLine& line, int argc, const char* const* argv,
               const std::function<Result<void>()>& serve) {
  try {
    if (const auto exit_code = line.Parse(argc, argv)) return *exit_code;
    LogOptions log;
    log.console = true;
    log.syslog = false;
    InitLog(log);
    if (const auto served = serve(); !served) {
      fmt::print(stderr, "{}: {}\n", line.name(), served.error().text);
      return 1;
    }
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s: %s\n", line.name().c_str(), problem.what());
    return 1;
  }
}

}  // namespace nrtd::deploy
