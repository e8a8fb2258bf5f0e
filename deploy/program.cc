// SPDX-License-Identifier: Apache-2.0
#include "deploy/program.h"

#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/log.h"

namespace nrtd::deploy {

int RunProgram(CLI::App& app, int argc, const char* const* argv,
               const std::function<Result<void>()>& serve) {
  try {
    CLI11_PARSE(app, argc, argv);
    LogOptions log;
    log.console = true;
    log.syslog = false;
    InitLog(log);
    if (const auto served = serve(); !served) {
      fmt::print(stderr, "{}: {}\n", app.get_name(), served.error().text);
      return 1;
    }
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), problem.what());
    return 1;
  }
}

}  // namespace nrtd::deploy
