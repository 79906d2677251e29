// What the engine says of the demo's stream, and the account over it.
#pragma once

#include <tidings/tidings.hpp>

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace demo {

inline constexpr const char* user_stream = "events:user";

/// The state of one service's group.
struct Row {
  std::string group{};
  std::uint64_t published = 0, handled = 0, ignored = 0, dead = 0, retrying = 0, pending = 0, lag = 0;

  /// Neither settled for good nor waiting for anything: it went missing.
  [[nodiscard]] std::int64_t lost() const {
    return static_cast<std::int64_t>(published) -
           static_cast<std::int64_t>(handled + ignored + dead + retrying + pending + lag);
  }
  [[nodiscard]] bool open() const { return retrying + pending + lag > 0; }
  [[nodiscard]] std::uint64_t settled() const { return handled + ignored + dead; }
};

/// Looks at the groups of the demo, counting from where they stood when it was made.
class Account {
 public:
  Account(tidings::Bus bus, std::vector<std::string> groups);
  /// How many events stood in the stream before.
  [[nodiscard]] std::uint64_t before() const { return before_; }
  /// The groups now, in the given order.
  [[nodiscard]] std::vector<Row> rows() const;
  /// Prints the dead letters of each group by reason, with an example.
  void print_dead_letters(std::ostream& out) const;

 private:
  [[nodiscard]] std::vector<Row> look() const;

  tidings::Bus bus_;
  std::vector<std::string> groups_;
  std::uint64_t before_ = 0;
  std::map<std::string, Row> start_{};
};

}  // namespace demo
