// tidings doctor: is this set-up sound?
#include <algorithm>
#include <chrono>
#include <iostream>
#include <tidings/aws_documents.hpp>
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
    checks = bus.transport().diagnose();
    checks.insert(checks.begin(), {"reachable", true, std::string(bus.transport().capabilities().engine), ""});
  } catch (const Error& error) {
    checks.push_back({"reachable", false, error.what(), "see what the message says, then run this again"});
  }
  return checks;
}

AwsPlan plan_of(const Url& url, const DoctorArguments& arguments) {
  AwsPlan plan;
  plan.prefix = url.option("prefix").value_or(plan.prefix);
  plan.account = url.option("account").value_or("");
  if (!url.hosts.empty()) plan.region = url.hosts.front().first;
  plan.payloads = url.option("payloads").value_or("");
  plan.service = arguments.service;
  // A template may not hold one part twice.
  for (const std::string& stream : arguments.streams) {
    if (std::find(plan.streams.begin(), plan.streams.end(), stream) == plan.streams.end())
      plan.streams.push_back(stream);
  }
  return plan;
}

int print_document(const std::string& url, const DoctorArguments& arguments) {
  const Url parsed = Url::parse(url);
  if (parsed.scheme != "aws") {
    throw UsageError("--print writes documents for AWS; name it: -u aws://eu-west-1?prefix=prod");
  }
  const bool iam = arguments.print == "iam";
  if (!iam && !arguments.role.empty()) throw UsageError("--role is for --print iam; a template has no roles");
  if (arguments.role == "consumer" && arguments.service.empty()) {
    throw UsageError("a consumer consumes as a service: name it, --service search");
  }
  const AwsPlan plan = plan_of(parsed, arguments);
  try {
    std::cout << (iam ? aws_iam_policy(plan, arguments.role.empty() ? "operator" : arguments.role)
                      : aws_cloudformation(plan))
              << '\n';
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid) throw UsageError(error.what());
    throw;
  }
  return exit_ok;
}

}  // namespace

int run_doctor(const Common& common, const DoctorArguments& arguments) {
  const std::string url = resolve_url(common);
  if (!arguments.print.empty()) return print_document(url, arguments);
  if (!arguments.role.empty() || !arguments.service.empty() || !arguments.streams.empty()) {
    throw UsageError(
        "--role, --service and --stream say what --print writes; add --print iam or --print cloudformation");
  }
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
