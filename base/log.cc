// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <atomic>
#include <memory>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/log_limiter.h"

namespace nrtd {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kWarning};
std::atomic<uint64_t> g_errors{0};
std::atomic<uint64_t> g_warnings{0};
std::atomic<spdlog::logger*> g_logger{nullptr};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kTrace:
      return spdlog::level::trace;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger> MakeLogger(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  if (options.console) {
    auto console = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    console->set_pattern("%b %d %H:%M:%S.%e nrtd[%P]: %v");
    sinks.push_back(std::move(console));
  }
  if (options.syslog) {
    auto syslog =
        std::make_shared<spdlog::sinks::syslog_sink_mt>("nrtd", LOG_PID, LOG_DAEMON, true);
    syslog->set_pattern("%v");
    sinks.push_back(std::move(syslog));
  }
  auto logger = std::make_shared<spdlog::logger>("nrtd", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

spdlog::logger& Logger() {
  if (spdlog::logger* logger = g_logger.load(std::memory_order_acquire)) return *logger;
  static const std::shared_ptr<spdlog::logger> early =
      MakeLogger({.console = true, .syslog = false});
  return *early;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}

void InitLog(const LogOptions& options) {
  // Kept for the life of the process: another thread may be inside a logger that a second call
  // replaces.
  static std::vector<std::shared_ptr<spdlog::logger>> loggers;
  loggers.push_back(MakeLogger(options));
  g_level.store(options.level, std::memory_order_relaxed);
  g_logger.store(loggers.back().get(), std::memory_order_release);
}

bool LogEnabled(LogLevel level) {
  return level <= g_level.load(std::memory_order_relaxed);
}

void LogLine(LogLevel level, std::string_view component, std::string_view message) {
  if (level == LogLevel::kError) g_errors.fetch_add(1, std::memory_order_relaxed);
  if (level == LogLevel::kWarning) g_warnings.fetch_add(1, std::memory_order_relaxed);
  Logger().log(ToSpdlog(level), "[{}] {}", component, PrintableText(message, kMaxLogLine));
}

bool AdmitClientLine(LogLevel level, std::string_view component) {
  static SteadyClock clock;
  static LogLimiter limiter(clock, kClientLines);
  const auto admitted = limiter.Admit(component);
  if (!admitted) return false;
  if (*admitted > 0) {
    LogLine(level, component,
            fmt::format("{} lines about clients were not written: more than {} a second", *admitted,
                        kClientLines.per_second));
  }
  return true;
}

uint64_t LoggedErrors() {
  return g_errors.load(std::memory_order_relaxed);
}
uint64_t LoggedWarnings() {
  return g_warnings.load(std::memory_order_relaxed);
}

}  // namespace nrtd
