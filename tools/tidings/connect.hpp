// From the command line's words to a bus: which URL, how long to wait, and what the words mean.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tidings/bus.hpp>
#include <tidings/time.hpp>

#include "commands.hpp"
#include "interrupt.hpp"

namespace tidings::cli {

/// --url, else $TIDINGS_URL, else `sqlite:tidings.db`, which is named on stderr. Throws UsageError for a bad one.
[[nodiscard]] std::string resolve_url(const Common& common);

/// Opens the engine, or gives up after 10 s.
[[nodiscard]] Bus open_bus(const Common& common, const std::string& source = "tidings-cli");

/// Waits with backoff for an engine that is down, saying so; nothing when interrupted meanwhile.
[[nodiscard]] std::optional<Bus> open_patiently(const Common& common, const Interrupt& interrupt,
                                                const std::string& source = "tidings-cli");

/// A duration such as `30s`. Throws UsageError that names `option`.
[[nodiscard]] Millis duration_value(std::string_view option, std::string_view text);
/// ISO 8601, or a duration ago; nothing for anything else.
[[nodiscard]] std::optional<Wall> time_value(std::string_view text);
/// The same, or a UsageError that names `option`.
[[nodiscard]] Wall time_value(std::string_view option, std::string_view text);
/// Throws UsageError unless `stream` and `group` are names; an empty one is not looked at.
void check_names(std::string_view stream, std::string_view group);
/// Throws UsageError unless `service` may name a service of its own.
void check_service(std::string_view service);
/// The text of `JSON`, `@FILE` or `-`. Throws UsageError that names `option` unless it is JSON.
[[nodiscard]] std::string json_value(std::string_view option, const std::string& text);

}  // namespace tidings::cli
