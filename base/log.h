// SPDX-License-Identifier: Apache-2.0
//
// Log lines in the form operators of neuron-rtd 1.x know: "nrtd[13388]: [TDRV:reset] Resetting
// 0000:00:1f.0", to syslog and, if asked, to the console. Threadsafe. Before InitLog() only
// warnings and errors are printed, to stderr.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace nrtd {

// syslog's numbers, which -l takes; kTrace is the daemon's own.
enum class LogLevel : int { kError = 3, kWarning = 4, kInfo = 5, kDebug = 6, kTrace = 7 };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  bool console = false;
  bool syslog = true;
};

void InitLog(const LogOptions& options);
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
void LogLine(LogLevel level, std::string_view component, std::string_view message);

// Lines written at these levels since the start, for system_counters.
uint64_t LoggedErrors();
uint64_t LoggedWarnings();

// Log(LogLevel::kInfo, "NRTD:RunServer", "Server listening on {}", address);
template <typename... Args>
void Log(LogLevel level, std::string_view component, fmt::format_string<Args...> format,
         Args&&... args) {
  if (LogEnabled(level))
    LogLine(level, component, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nrtd
