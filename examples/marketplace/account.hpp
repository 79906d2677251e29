// What the engine says of the marketplace's streams and groups, and what the services' stores say of their effects.
#pragma once

#include <tidings/tidings.hpp>

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cast.hpp"
#include "load.hpp"
#include "witness.hpp"

namespace market {

/// One group of one stream: `in` is what was published to it.
struct Row {
  std::string service{}, stream{};
  std::uint64_t in = 0, handled = 0, ignored = 0, dead = 0, retrying = 0, pending = 0, lag = 0;

  [[nodiscard]] std::uint64_t open() const { return retrying + pending + lag; }
  /// Neither settled for good nor waiting for anything: it went missing.
  [[nodiscard]] std::uint64_t missing() const;
  Row& operator+=(const Row& other);
};

/// Effects that should be there, are there, and happened more than once.
struct Effects {
  std::string name;
  std::uint64_t expected = 0, found = 0, repeated = 0, missing = 0;
};

/// Looks at the groups, counting from where they stood when it was made: what was open then counts as coming in.
class Account {
 public:
  explicit Account(tidings::Bus bus);
  /// Events that stood in the streams before.
  [[nodiscard]] std::uint64_t before() const;
  /// Every group now, in the order of parts(); streams without a group yet count as lag.
  [[nodiscard]] std::vector<Row> rows() const;
  /// Whether one look at the groups sees all work; else work may move from a queue not looked at yet to one behind.
  [[nodiscard]] bool sees_all_at_once() const { return witness_ == nullptr; }
  /// Messages published since.
  [[nodiscard]] std::uint64_t published() const;
  /// The dead letters of each service by reason, with an example. Returns how many are of no reason that the demo
  /// provokes.
  std::uint64_t print_dead_letters(std::ostream& out) const;
  /// Events that stand in their stream a second time, under the same id: published again after a death.
  [[nodiscard]] std::uint64_t copies() const;
  /// How often the ledger refused a second charge.
  [[nodiscard]] static std::uint64_t refused_charges(const std::filesystem::path& directory);
  /// What was published to `stream` since.
  [[nodiscard]] std::uint64_t published(const std::string& stream) const;
  /// Answered events that stand in no stream.
  [[nodiscard]] std::uint64_t forgotten(const std::vector<Answered>& answered) const;
  /// Mails, charges and counts held against the streams. `directory` holds the stores.
  [[nodiscard]] std::vector<Effects> effects(const std::filesystem::path& directory) const;

 private:
  struct Message {
    std::string id, type, data;
  };
  [[nodiscard]] std::vector<Row> look() const;
  void add_what_is_not_counted(Row& row) const;
  [[nodiscard]] Effects mails_by_number(const std::map<std::string, std::uint64_t>& found) const;
  void add_projects(std::set<std::string>& indexed) const;
  [[nodiscard]] std::vector<Message> read(const std::string& stream) const;
  [[nodiscard]] std::vector<tidings::transport::ShelfItem> dead_items(const std::string& stream,
                                                                      const std::string& service) const;
  [[nodiscard]] std::set<std::string> dead(const std::string& stream, const std::string& service) const;

  tidings::Bus bus_;
  std::unique_ptr<Witness> witness_{};  // Where the engine keeps no history.
  std::vector<Row> start_{};
  std::map<std::string, tidings::Position> ends_{};  // Of the streams, when it was made.
};

}  // namespace market
