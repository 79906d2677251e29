// What a URL of AWS says: `aws://eu-west-1?prefix=prod&shelf=redis://cache`. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <tidings/url.hpp>

#include "transport/aws/claim.hpp"
#include "transport/aws/client.hpp"
#include "transport/aws/names.hpp"

namespace tidings::transport::aws {

/// What is done about topics, queues and what binds them when a program starts.
enum class TopologyMode : std::uint8_t {
  create,  ///< What is missing is made, what differs is mended where nothing of others is lost, and told.
  check,   ///< Nothing is made or changed; what is missing or differs is an error that names it.
  none,    ///< Nothing is looked at: names are taken as they follow from the prefix.
};

struct Options {
  ClientOptions client{};
  std::string prefix = "tidings";
  TopologyMode topology = TopologyMode::create;
  std::string account{};    ///< Asked of AWS where it is empty and wanted.
  std::string shelf{};      ///< The URL of what holds aside what a queue cannot; empty without one.
  std::string archive{};    ///< The URL of what keeps every event; empty without one.
  PayloadPlace payloads{};  ///< Where what is too large for a message lies.
};

/// Throws Error{invalid} for a URL that names no region and cannot, and for options that do not exist.
[[nodiscard]] Options options_of(const Url& url);

}  // namespace tidings::transport::aws
