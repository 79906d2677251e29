// One queue: what lies in it, who holds it, and when it comes back. Knows no wire.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "json.hpp"
#include "world.hpp"

namespace tidings::support::aws {

using MessageAttributes = std::map<std::string, AwsAttribute>;

/// A message as it is sent.
struct Parcel {
  std::string id{}, body{};
  MessageAttributes attributes{}, system{};
  std::string group{}, deduplication{};
  std::optional<Millis> delay{};
};

/// A message in a queue.
struct Stored {
  std::string id{}, body{};
  MessageAttributes attributes{}, system{};
  std::string group{}, deduplication{}, sequence{}, dead_letter_source{};
  std::string sender{};
  Wall sent{}, available{}, received{}, first_received{};
  int receives = 0;
  bool in_flight = false;
};

class Queue {
 public:
  Queue(World& world, std::string name, std::map<std::string, std::string> attributes);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& arn() const { return arn_; }
  [[nodiscard]] bool fifo() const { return name_.ends_with(".fifo"); }
  /// A number of seconds, or of bytes, among its attributes.
  [[nodiscard]] std::int64_t number(const std::string& attribute) const { return std::stoll(attributes.at(attribute)); }
  [[nodiscard]] Millis duration(const std::string& attribute) const { return std::chrono::seconds(number(attribute)); }
  [[nodiscard]] bool flag(const std::string& attribute) const {
    const auto found = attributes.find(attribute);
    return found != attributes.end() && found->second == "true";
  }
  /// Where messages go that were received too often; empty when nowhere.
  [[nodiscard]] std::string dead_letter_arn() const;
  [[nodiscard]] std::int64_t most_receives() const;

  /// What was stored: its id, and the sequence number in a FIFO queue. A repeated deduplication id stores nothing and
  /// says what the first one said.
  struct Receipt {
    std::string id{}, sequence{};
  };
  Receipt send(Parcel parcel, const std::string& sender);
  /// Puts in what another queue gave up.
  void put(Stored message);

  /// Hands out up to `most` messages, hidden for so long; what was received too often goes to `dead` instead.
  struct Received {
    Stored message{};
    std::string handle{};
  };
  [[nodiscard]] std::vector<Received> receive(std::size_t most, Millis visibility, Queue* dead);
  /// Refuses a handle that was never given by this queue.
  void remove(const std::string& handle);
  void change_visibility(const std::string& handle, Millis timeout);
  /// Takes out the oldest message that is visible; nothing without one.
  [[nodiscard]] std::optional<Stored> take_visible();
  void purge();

  /// Ends visibility timeouts, delays and retention that are over.
  void refresh();
  /// When that is to be looked at again.
  [[nodiscard]] Wall next_due() const { return waiting_.empty() ? Wall::max() : waiting_.begin()->first; }
  /// Whether a receive might find something.
  [[nodiscard]] bool has_something() const { return !ready_.empty() || !again_.empty(); }
  [[nodiscard]] std::size_t visible() const { return ready_.size(); }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] std::size_t delayed() const { return waiting_.size() - in_flight_; }
  [[nodiscard]] AwsMessage view(const Stored& message) const;
  [[nodiscard]] std::vector<AwsMessage> contents() const;

  std::map<std::string, std::string> attributes;  ///< As they were set, over the defaults.
  std::map<std::string, std::string> tags{};
  Wall created{}, modified{};
  std::optional<Wall> purged{};
  std::vector<AwsMessage> history{};

 private:
  struct Handle {
    std::int64_t serial = 0;
    int receive = 0;
  };
  [[nodiscard]] std::string handle_of(std::int64_t serial, int receive) const;
  [[nodiscard]] Handle parse(const std::string& handle) const;
  std::int64_t store(Stored message);
  void wait(std::int64_t serial, Stored& message, Wall until, bool in_flight);
  void unwait(std::int64_t serial, Stored& message);
  void erase(std::int64_t serial);
  [[nodiscard]] std::set<std::string> locked_groups() const;
  [[nodiscard]] std::optional<std::int64_t> next_ready(std::optional<std::int64_t> last, bool newest_first) const;
  Received hand_out(std::int64_t serial, Millis visibility);

  World& world_;
  std::string name_, arn_, secret_;
  std::int64_t last_serial_ = 0;
  std::size_t in_flight_ = 0;
  std::map<std::int64_t, Stored> messages_{};
  std::set<std::int64_t> ready_{};
  std::set<std::pair<Wall, std::int64_t>> waiting_{};  // In flight, and delayed.
  std::set<std::pair<Wall, std::int64_t>> ages_{};
  std::vector<std::int64_t> again_{};  // In flight, and handed out once more.
  struct Once {
    Wall until{};
    Receipt receipt{};
  };
  std::map<std::string, Once> seen_{};
};

}  // namespace tidings::support::aws
