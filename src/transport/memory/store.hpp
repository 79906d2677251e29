// Everything that one memory engine holds, behind one lock. The verbs here are short and never wait.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <tidings/environment.hpp>

#include "transport/memory/pick.hpp"

namespace tidings::memory {

/// One stream with its groups.
struct Stream {
  std::shared_ptr<Log> log = std::make_shared<Log>();
  std::map<std::string, std::shared_ptr<Group>, std::less<>> groups{};
  std::string owner{};  ///< Of a command stream, once a service joined.
};

/// One subscription as the others see it. Dead once its lease ran out, until it fetches or renews again.
struct Member {
  transport::Interest interest{};
  Holder holder{};
  std::vector<Slot> slots{};
  bool live = true;
};

/// The state that handles of one name share. `mutex` guards everything but `changed`, which is waited on with it.
class Store {
 public:
  std::mutex mutex;
  std::condition_variable_any changed;

  /// Whoever changes what a fetch or read may wait for says so, then notifies `changed` without the lock.
  void touch() noexcept { ++changes_; }
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }

  [[nodiscard]] Stream& stream(std::string_view name);
  /// The stream, or nullptr when nothing was ever published to it or joined it.
  [[nodiscard]] Stream* find(std::string_view name);
  /// Throws Error{not_found}.
  [[nodiscard]] Group& group(transport::GroupRef ref);

  /// Joins the groups of `interest`; all of them or, when a command stream has another owner, none.
  [[nodiscard]] Member& join(const transport::Interest& interest, Now now);
  void leave(Member& member);
  /// The member fetches or renews: it lives, with a fresh lease.
  void revive(Member& member, Now now);
  /// Takes back what members hold whose lease ran out.
  void sweep(Now now);
  /// When the next lease ends.
  [[nodiscard]] Steady next_expiry() const;
  /// Puts `member` back into groups that were removed under it. Returns the names of those streams.
  [[nodiscard]] std::vector<std::string> rejoin(Member& member);
  /// The types that the live members of `service` handle.
  [[nodiscard]] std::shared_ptr<const std::vector<std::string>> types(const std::string& service);

  void change(transport::GroupRef ref, const transport::GroupChange& change);
  [[nodiscard]] transport::StreamInfo describe(const std::string& name, const Stream& stream, Now now) const;
  /// Trims up to `most` events; calls `missed` for each group that was passed. True when more is left to trim.
  bool trim(const transport::Retention& retention, Now now, std::size_t most,
            const std::function<void(transport::GroupRef, std::uint64_t)>& missed);

  std::map<std::string, Stream, std::less<>> streams;

 private:
  void create(transport::GroupRef ref, const transport::GroupChange& change);
  [[nodiscard]] std::shared_ptr<Group> make_group(std::uint64_t cursor);

  std::list<Member> members_;
  std::map<std::string, std::shared_ptr<const std::vector<std::string>>> types_;  ///< Emptied when membership changes.
  std::uint64_t next_key_ = 1;
  std::uint64_t changes_ = 0;
};

}  // namespace tidings::memory
