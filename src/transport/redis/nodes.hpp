// The servers of an engine: the one of a URL, the one that sentinels name, or those of a cluster. Commands are sent to
// whoever owns their key, and follow it when it moves.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "transport/redis/client.hpp"
#include "transport/redis/cluster.hpp"

namespace tidings::transport::redis {

/// What runs on a server in one step. The values index Nodes' list of digests.
enum class Script : std::uint8_t {
  join,
  look,
  settle,
  holds,
  renew,
  orphans,
  leave,
  move,
  shelve,
  remove,
  trim,
  partition
};
inline constexpr std::size_t script_count = 12;

/// The text of a script.
[[nodiscard]] std::string script_text(Script script);

/// Replies, some of which another server may have given.
class Replies {
 public:
  Replies() = default;
  explicit Replies(Received main) : main_(std::move(main)) {}
  [[nodiscard]] std::size_t count() const noexcept { return main_.count(); }
  [[nodiscard]] bool sent() const noexcept { return main_.sent(); }
  [[nodiscard]] Reply reply(std::size_t index = 0) const noexcept {
    if (others_.empty()) return main_.reply(index);
    const auto other = others_.find(index);
    return other == others_.end() ? main_.reply(index) : other->second.first.reply(other->second.second);
  }
  /// Whether there may be an error among them.
  [[nodiscard]] bool errors() const noexcept { return main_.errors() || !others_.empty(); }
  /// Whether the command was sent to another server too, which did not answer: nobody knows then what became of it.
  [[nodiscard]] bool lost(std::size_t index) const noexcept { return !lost_.empty() && lost_.contains(index); }

  /// Over which connection the first server gave its own.
  [[nodiscard]] std::uint64_t connection() const noexcept { return main_.connection; }
  /// Whether another server than the first gave some of them.
  [[nodiscard]] bool redirected() const noexcept { return !others_.empty() || !lost_.empty(); }

  void replace(std::size_t index, const Received& other, std::size_t at) { others_[index] = {other, at}; }
  void lose(std::size_t index) { lost_.insert(index); }

 private:
  Received main_{};
  std::map<std::size_t, std::pair<Received, std::size_t>> others_{};
  std::set<std::size_t> lost_{};
};

/// Any thread. Every failure is an Error; one that passes is retryable, and the next call looks for the servers anew
/// where that may help.
class Nodes {
 public:
  /// Connects at once, so that a wrong URL shows.
  Nodes(Endpoint endpoint, WaitClock::time_point deadline);

  /// Which of a server's connections carries commands: `waiting` is for those that hold up what comes behind them.
  enum class Lane : std::uint8_t { shared, waiting };

  /// Sends the commands to the server that owns `key`, which all of them are about, and returns their replies, errors
  /// among them. When a connection fails in between, returns those that came, and `failure`. `only_on`: see
  /// Client::run.
  Replies run(std::string_view key, const Commands& commands, WaitClock::time_point deadline,
              std::optional<Error>& failure, Lane lane = Lane::shared, std::uint64_t only_on = 0);
  /// The same for commands that `fill` adds while others are under way: see Client::run.
  Replies run(std::string_view key, Commands& commands, const Client::Fill& fill, WaitClock::time_point deadline,
              std::optional<Error>& failure, Lane lane);
  /// The same; a failure is thrown.
  Replies run(std::string_view key, const Commands& commands, WaitClock::time_point deadline);
  /// One command about `key`; an error reply is thrown.
  Replies call(std::string_view key, std::initializer_list<std::string_view> words, WaitClock::time_point deadline);
  /// Runs a script that names `keys`, which share a slot; an error reply is thrown.
  Replies eval(Script script, const std::vector<std::string>& keys, const std::vector<std::string>& arguments,
               WaitClock::time_point deadline);
  /// The command that runs a script which the server knows.
  [[nodiscard]] Commands script_command(Script script, const std::vector<std::string>& keys,
                                        const std::vector<std::string>& arguments) const;
  /// A connection of one's own to the server that owns `key`.
  [[nodiscard]] std::unique_ptr<Connection> connect(std::string_view key, WaitClock::time_point deadline);
  /// Sends commands that are about no key to the server that `connection` is with.
  Replies run_beside(const Connection& connection, const Commands& commands, WaitClock::time_point deadline);
  /// Tells of an error that came over such a connection, so that the next one goes where it should.
  void learn(std::string_view error, const Address& from);
  /// The same of a connection that failed.
  void doubt();

  /// Keys with the same number are, for now, on the same server.
  [[nodiscard]] std::size_t place_of(std::string_view key);
  /// One key for each server that owns something: what is asked about it is asked of that server.
  [[nodiscard]] std::vector<std::string> key_of_each();
  /// Calls `ask` with a key of each server, and how long it may take. One of several that cannot be reached is passed
  /// over, and the last such failure returned; throws it where none could be.
  std::optional<Error> ask_each(const std::function<void(const std::string& key, Millis within)>& ask);
  [[nodiscard]] bool clustered() const noexcept { return endpoint_.kind == Endpoint::Kind::cluster; }
  [[nodiscard]] const Endpoint& endpoint() const noexcept { return endpoint_; }

 private:
  [[nodiscard]] std::unique_ptr<Connection> open(const Address& address, bool scripts,
                                                 WaitClock::time_point deadline) const;
  [[nodiscard]] std::unique_ptr<Connection> open_master(bool scripts, WaitClock::time_point deadline);
  [[nodiscard]] Address owner_of(std::string_view key, WaitClock::time_point deadline);
  void refresh(WaitClock::time_point deadline);
  [[nodiscard]] SlotMap slots_told_by(const Address& address, WaitClock::time_point deadline) const;
  [[nodiscard]] Client& client_at(const Address& address, Lane lane);
  template <class Send>
  Replies run_with(std::string_view key, const Commands& commands, WaitClock::time_point deadline,
                   std::optional<Error>& failure, Lane lane, const Send& send);
  void watch(const Replies& replies, Client& client, std::optional<Error>& failure);
  bool follow(Replies& replies, const Commands& commands, const Address& from, WaitClock::time_point deadline,
              std::optional<Error>& failure, Lane lane);

  const Endpoint endpoint_;
  std::array<std::string, script_count> digests_{};
  std::mutex mutex_{};  // Never held across I/O.
  SlotMap slots_{};
  bool stale_ = true;             // The map is to be read anew.
  std::vector<Address> seeds_{};  // Who is asked first where the servers are: whoever knew it last.
  std::map<std::pair<Address, Lane>, std::unique_ptr<Client>> clients_{};  // Never removed: threads hold on to them.
};

}  // namespace tidings::transport::redis
