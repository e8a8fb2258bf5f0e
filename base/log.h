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

#include "base/printable.h"
#include "base/sizes.h"

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

// Whatever the message holds, it becomes one printable line of kMaxLogLine bytes at most.
inline constexpr size_t kMaxLogLine = 4 * kKiB;
void LogLine(LogLevel level, std::string_view component, std::string_view message);

// True if a line that a client causes may be written now: kClientLines (base/log_limiter.h) a
// component. Writes how many were not, when one may again.
bool AdmitClientLine(LogLevel level, std::string_view component);

// Lines written at these levels since the start, for system_counters.
uint64_t LoggedErrors();
uint64_t LoggedWarnings();

// Log(LogLevel::kInfo, "NRTD:RunServer", "Server listening on {}", address);
// Strings are escaped and cut as in Fail().
template <typename... Args>
void Log(LogLevel level, std::string_view component,
         fmt::format_string<internal::Printed<Args>...> format, Args&&... args) {
  if (LogEnabled(level))
    LogLine(level, component, FormatText<Args...>(format, std::forward<Args>(args)...));
}

// The same for a line that a client can cause as often as it likes: those of a component that come
// too fast are counted instead of written. Errors of the daemon itself are Log()'s.
template <typename... Args>
void LogForClient(LogLevel level, std::string_view component,
                  fmt::format_string<internal::Printed<Args>...> format, Args&&... args) {
  if (LogEnabled(level) && AdmitClientLine(level, component))
    LogLine(level, component, FormatText<Args...>(format, std::forward<Args>(args)...));
}

}  // namespace nrtd
