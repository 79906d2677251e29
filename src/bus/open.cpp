// The one place that knows which engine a URL names.
#include <curl/curl.h>
#include <openssl/crypto.h>
#include <simdjson.h>
#include <spdlog/version.h>
#include <sqlite3.h>

#include <fmt/core.h>
#include <algorithm>
#include <boost/version.hpp>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include <tidings/bus.hpp>
#include <tidings/url.hpp>

#include "runtime/bus_state.hpp"
#include "runtime/delivery.hpp"
#include "transport/aws/aws.hpp"
#include "transport/memory/memory.hpp"
#include "transport/redis/redis.hpp"
#include "transport/sqlite/sqlite.hpp"

namespace tidings {
namespace {

using Open = std::shared_ptr<transport::Transport> (*)(const Url&, const Environment&);

std::shared_ptr<transport::Transport> open_parsed(const Url& url, Environment environment);

// What stands beside SQS and SNS may be any other engine.
std::shared_ptr<transport::Transport> open_on_aws(const Url& url, const Environment& environment) {
  return open_aws(url, environment, [&](const std::string& other) {
    const Url parsed = Url::parse(other);
    if (parsed.scheme == "aws") {
      throw Error(ErrorCode::invalid,
                  "shelf= and archive= name another engine than AWS, say sqlite:shelf.db or redis://");
    }
    return open_parsed(parsed, environment);
  });
}

struct Scheme {
  std::string_view name;
  Open open;
  bool wants_level = false;  // It writes things beside what is published, at the level that is asked for.
};

constexpr Scheme schemes[] = {
    {"memory", &open_memory},
    {"sqlite", &transport::open_sqlite, true},
    {"redis", &open_redis, true},
    {"rediss", &open_redis, true},
    {"redis+unix", &open_redis, true},
    {"redis+sentinel", &open_redis, true},
    {"redis+cluster", &open_redis, true},
    {"aws", &open_on_aws},
};

/// What every transport's URL may say, and what only the bus acts on.
struct CommonOptions {
  std::optional<Level> durability{};
  transport::Retention retention{};
};

Level parse_level(std::string_view text) {
  for (Level level : {Level::memory, Level::process, Level::disk, Level::replicated}) {
    if (text == to_string(level)) return level;
  }
  throw Error(ErrorCode::invalid,
              "durability=" + std::string(text) + " is none of memory, process, disk and replicated; correct the URL");
}

std::vector<std::string> split_names(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view name = list.substr(0, comma);
    if (!name.empty()) names.emplace_back(name);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return names;
}

/// Takes the common options out of `url`, so that a transport sees its own ones only.
CommonOptions take_common(Url& url) {
  CommonOptions common;
  if (const auto level = url.option("durability")) common.durability = parse_level(*level);
  common.retention.age = url.duration("retention_age");
  common.retention.bytes = url.size("retention_bytes");
  if (const auto names = url.option("retention_pass")) common.retention.pass_groups = split_names(*names);
  std::erase_if(url.options, [](const auto& option) {
    return option.first == "durability" || option.first == "retention_age" || option.first == "retention_bytes" ||
           option.first == "retention_pass";
  });
  return common;
}

/// Tells the engine which level was chosen, where it wants to know. None of these offers less than `process`, and one
/// that offers too little is refused later, by what it can do.
void pass_level(Url& url, std::optional<Level> level) {
  if (!level || *level == Level::replicated) return;
  for (const Scheme& scheme : schemes) {
    if (scheme.wants_level && scheme.name == url.scheme)
      url.options.emplace_back("durability", to_string(std::max(*level, Level::process)));
  }
}

std::shared_ptr<transport::Transport> open_parsed(const Url& url, Environment environment) {
  // A log that nobody wants is none that may be called.
  if (!environment.log) environment.log = [](LogLevel, std::string_view) {};
  std::string known;
  for (const Scheme& scheme : schemes) {
    if (url.scheme == scheme.name) return scheme.open(url, environment);
    known += known.empty() ? "" : ", ";
    known += scheme.name;
    known += ':';
  }
  throw Error(ErrorCode::invalid, "no engine is known for \"" + url.scheme + ":\"; this build knows " + known +
                                      " (for example sqlite:events.db)");
}

std::string chosen_url(std::string_view url) {
  if (!url.empty()) return std::string(url);
  const char* const from_environment = std::getenv("TIDINGS_URL");
  if (from_environment != nullptr && *from_environment != '\0') return from_environment;
  throw Error(ErrorCode::invalid,
              "no transport URL: pass one to Bus::open, or set TIDINGS_URL (for example sqlite:events.db)");
}

std::shared_ptr<transport::Transport> connect(const Url& url, const BusOptions& options) {
  const Clock& clock = *options.environment.clock;
  const Steady start = clock.steady();
  Millis slept{};
  for (std::uint32_t failures = 1;; ++failures) {
    try {
      return open_parsed(url, options.environment);
    } catch (const Error& error) {
      // A try may itself take long. A clock that stands still must not make this endless, so sleep counts in any case.
      const Millis left = options.connect - std::max(std::chrono::duration_cast<Millis>(clock.steady() - start), slept);
      if (!error.retryable() || left <= Millis::zero()) throw;
      const Millis pause = std::min(runtime::reconnect_delay(failures, options.environment.random->next()), left);
      if (options.environment.log) {
        options.environment.log(LogLevel::warning, "cannot open " + url.redacted() + " yet, trying again in " +
                                                       format_duration(pause) + ": " + error.what());
      }
      std::this_thread::sleep_for(pause);
      slept += std::max(pause, Millis(1));
    }
  }
}

}  // namespace

Bus Bus::open(std::string_view url, BusOptions options) {
  Url parsed = Url::parse(chosen_url(url));
  CommonOptions common = take_common(parsed);
  if (!options.durability) options.durability = common.durability;
  if (!options.retention.age) options.retention.age = common.retention.age;
  if (!options.retention.bytes) options.retention.bytes = common.retention.bytes;
  for (std::string& group : common.retention.pass_groups) options.retention.pass_groups.push_back(std::move(group));
  pass_level(parsed, options.durability);
  auto transport = connect(parsed, options);
  return over(std::move(transport), std::move(options));
}

std::shared_ptr<transport::Transport> open_transport(std::string_view url, const Environment& environment) {
  Url parsed = Url::parse(chosen_url(url));
  pass_level(parsed, take_common(parsed).durability);
  return open_parsed(parsed, environment);
}

std::vector<std::string_view> transport_schemes() {
  std::vector<std::string_view> names;
  for (const Scheme& scheme : schemes) names.push_back(scheme.name);
  return names;
}

std::vector<std::pair<std::string, std::string>> library_versions() {
  const auto dotted = [](int number, int major_unit, int minor_unit) {
    return std::to_string(number / major_unit) + "." + std::to_string(number / minor_unit % (major_unit / minor_unit)) +
           "." + std::to_string(number % minor_unit);
  };
  return {{"boost", dotted(BOOST_VERSION, 100000, 100)},
          {"curl", curl_version_info(CURLVERSION_NOW)->version},
          {"fmt", dotted(FMT_VERSION, 10000, 100)},
          {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
          {"simdjson", std::to_string(simdjson::SIMDJSON_VERSION_MAJOR) + "." +
                           std::to_string(simdjson::SIMDJSON_VERSION_MINOR) + "." +
                           std::to_string(simdjson::SIMDJSON_VERSION_REVISION)},
          {"spdlog", dotted(SPDLOG_VERSION, 10000, 100)},
          {"sqlite", sqlite3_libversion()}};
}

}  // namespace tidings
