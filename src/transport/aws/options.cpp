#include "transport/aws/options.hpp"

#include <algorithm>
#include <cstdint>

#include "core/json_text.hpp"

namespace tidings::transport::aws {
namespace {

TopologyMode mode_of(const std::string& text) {
  if (text == "create") return TopologyMode::create;
  if (text == "check") return TopologyMode::check;
  if (text == "none") return TopologyMode::none;
  throw Error(ErrorCode::invalid, "topology=" + text +
                                      " is none of create (make what is missing), check (only look) and none; correct "
                                      "the URL");
}

// It becomes part of a host's name, and so decides who is asked.
void check_region(const std::string& region, std::uint16_t port) {
  const bool plain = std::all_of(region.begin(), region.end(),
                                 [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (plain && port == 0) return;
  throw Error(ErrorCode::invalid, "\"" + core::for_message(region, 80) +
                                      "\" is no region; write aws://REGION?prefix=NAME, for example "
                                      "aws://eu-west-1?prefix=prod, and another address as endpoint=URL");
}

void check_account(const std::string& account) {
  if (account.empty() || (account.size() == 12 && account.find_first_not_of("0123456789") == std::string::npos)) return;
  throw Error(ErrorCode::invalid, "account=" + core::for_message(account, 80) + " is none: it has twelve digits");
}

}  // namespace

Options options_of(const Url& url) {
  url.check_options(
      {"prefix", "endpoint", "topology", "account", "shelf", "archive", "payloads", "profile", "ca", "connections"});
  if (!url.user.empty() || !url.password.empty()) {
    throw Error(
        ErrorCode::invalid,
        "the URL of AWS holds no keys: they come from the environment, a profile (profile=NAME) or a role; take "
        "them out of it");
  }
  if (url.hosts.size() > 1 || !url.path.empty()) {
    throw Error(ErrorCode::invalid, "write aws://REGION?prefix=NAME, for example aws://eu-west-1?prefix=prod");
  }
  Options options;
  if (!url.hosts.empty()) {
    options.client.region = url.hosts.front().first;
    check_region(url.hosts.front().first, url.hosts.front().second);
  }
  const auto text = [&](std::string_view name, std::string& into) {
    if (auto value = url.option(name)) into = *value;
  };
  text("prefix", options.prefix);
  text("endpoint", options.client.endpoint);
  text("profile", options.client.profile);
  text("ca", options.client.ca);
  text("account", options.account);
  check_account(options.account);
  text("shelf", options.shelf);
  text("archive", options.archive);
  if (options.shelf.starts_with("memory:")) {
    throw Error(ErrorCode::invalid,
                "shelf=memory: would lose the dead letters with its process; name an engine that keeps them: "
                "shelf=redis://cache or shelf=sqlite:shelf.db");
  }
  if (const auto payloads = url.option("payloads")) options.payloads = payload_place(*payloads);
  options.client.bucket = options.payloads.bucket;
  if (const auto mode = url.option("topology")) options.topology = mode_of(*mode);
  if (const auto connections = url.size("connections")) {
    options.client.connections = std::clamp<std::size_t>(*connections, 1, 1'000);
  }
  (void)Names(options.prefix);
  return options;
}

}  // namespace tidings::transport::aws
