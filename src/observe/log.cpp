#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include <tidings/environment.hpp>

namespace tidings {
namespace {

spdlog::level::level_enum wanted_level() {
  const char* const value = std::getenv("TIDINGS_LOG");
  const std::string_view text = value == nullptr ? "" : value;
  if (text == "debug") return spdlog::level::debug;
  if (text == "info") return spdlog::level::info;
  if (text == "error") return spdlog::level::err;
  if (text == "off") return spdlog::level::off;
  return spdlog::level::warn;
}

spdlog::level::level_enum level_of(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

const Log& stderr_log() {
  // Never destroyed: threads may still write a line while the process exits.
  static const Log* const log = [] {
    auto* const logger = new spdlog::logger("tidings", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l: %v", spdlog::pattern_time_type::utc);
    logger->set_level(wanted_level());
    logger->flush_on(spdlog::level::debug);
    return new Log(
        [logger](LogLevel level, std::string_view line) { logger->log(level_of(level), "tidings: {}", line); });
  }();
  return *log;
}

}  // namespace tidings
