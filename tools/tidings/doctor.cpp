// tidings doctor: is this set-up sound?
#include <chrono>
#include <tidings/url.hpp>

#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace tidings::cli {

namespace {

using transport::Check;

/// A clock before this version was written would date every event wrongly.
Check check_clock() {
  const Wall now = system_clock().wall();
  const bool sane = now > Wall(std::chrono::sys_days(std::chrono::year(2024) / 1 / 1)) &&
                    now < Wall(std::chrono::sys_days(std::chrono::year(2200) / 1 / 1));
  return {"clock", sane, format_time(now), sane ? "" : "set the machine's clock: events would carry a wrong timestamp"};
}

Check check_version() { return {"version", true, "tidings " TIDINGS_VERSION, ""}; }

std::vector<Check> check_engine(const std::string& url) {
  std::vector<Check> checks;
  try {
    BusOptions options;
    options.source = "tidings-cli";
    const Bus bus = Bus::open(url, options);
    checks.push_back({"reachable", true, std::string(bus.transport().capabilities().engine), ""});
    for (Check& check : bus.transport().diagnose()) checks.push_back(std::move(check));
  } catch (const Error& error) {
    checks.push_back({"reachable", false, error.what(), "see what the message says, then run this again"});
  }
  return checks;
}

}  // namespace

int run_doctor(const Common& common) {
  const std::string url = resolve_url(common);
  std::vector<Check> checks{check_version(), {"url", true, Url::parse(url).redacted(), ""}, check_clock()};
  for (Check& check : check_engine(url)) checks.push_back(std::move(check));
  bool sound = true;
  Listing listing(common.format_or(Format::table), {"CHECK", "OK", "DETAIL", "ADVICE"});
  for (const Check& check : checks) {
    sound = sound && check.ok;
    listing.add(JsonObject()
                    .text("check", check.check)
                    .flag("ok", check.ok)
                    .text("detail", check.detail)
                    .text_or_null("advice", check.advice)
                    .str(),
                {check.check, check.ok ? "ok" : "NO", check.detail, check.advice});
  }
  listing.finish();
  return sound ? exit_ok : exit_found;
}

}  // namespace tidings::cli
