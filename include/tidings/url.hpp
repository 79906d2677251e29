// Transport URLs: `sqlite:app.db?durability=process`, `redis://user:secret@host:6379/0`, `memory:`.
//
//   tidings::Url url = tidings::Url::parse("sqlite:app.db?durability=process");
//   url.scheme   // "sqlite"
//   url.option("durability")  // "process"
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidings/time.hpp>

namespace tidings {

/// A parsed transport URL. Copyable; parts are percent-decoded but for the path of `sqlite:`, which is taken as it is up
/// to the first `?` (a `?` or `%` in a file's name is written `%3F` and `%25`, and those two are decoded).
struct Url {
  std::string scheme;                                         ///< `sqlite`, `memory`, `redis+cluster` …, lower case.
  std::string user;                                           ///< Empty without one.
  std::string password;                                       ///< Never printed; see redacted().
  std::vector<std::pair<std::string, std::uint16_t>> hosts;   ///< Host and port (0: the engine's default), in order.
  std::string path;                                           ///< Without its leading slash where there are hosts.
  std::vector<std::pair<std::string, std::string>> options;   ///< The query, in order.

  /// Parses `text`. Throws Error{invalid} that says what is wrong without repeating a password.
  [[nodiscard]] static Url parse(std::string_view text);

  /// The option's value, or nothing. Throws Error{invalid} when it stands twice.
  [[nodiscard]] std::optional<std::string> option(std::string_view name) const;
  /// The option as a duration. Throws Error{invalid} when it is not one.
  [[nodiscard]] std::optional<Millis> duration(std::string_view name) const;
  /// The option as a size in bytes (`1048576`, `64MiB`, `1GiB`, `500MB`). Throws Error{invalid} when it is not one.
  [[nodiscard]] std::optional<std::uint64_t> size(std::string_view name) const;
  /// Throws Error{invalid} naming the first option that is not in `known`, and the nearest that is.
  void check_options(const std::vector<std::string_view>& known) const;
  /// The URL without password and without any option whose name says password, secret or token; safe to print.
  [[nodiscard]] std::string redacted() const;
};

}  // namespace tidings
