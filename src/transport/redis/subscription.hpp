// One subscription: joining, fetching and renewing (subscription.cpp), reading (read.cpp), settling (settle.cpp).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "transport/redis/ledger.hpp"
#include "transport/redis/store.hpp"

namespace tidings::transport::redis {

class RedisSubscription final : public Subscription {
 public:
  RedisSubscription(Store& store, const Interest& interest);
  ~RedisSubscription() override;
  Batch fetch(Millis wait, std::stop_token stop) override;
  void settle(std::span<const Settlement> items, std::span<Result> results) override;
  std::vector<AckToken> renew() override;

 private:
  struct Joined {
    std::string stream{}, group{};  // A stream, or one of its partitions.
    std::uint32_t index = 0;        // Of the stream in the interest.
    std::uint32_t partition = 0;
    bool member = false;
    bool made = false;                // The group was made by the joining that is under way.
    std::string began{};              // Where the group began, as the server knows.
    std::vector<std::string> told{};  // Gaps that a batch tells of, which the next look removes.
    EntryId seen{};             // The last id of S that came: where the group is made again if somebody removes it.
    std::string types{};        // What the last look found.
    std::uint32_t returns = 0;  // Reads in a row that left new events to wait behind what comes back.
    // One of several servers could not be reached, and is not asked again before that; the other streams go on.
    WaitClock::time_point away{};
    WaitClock::time_point renewed{};  // Its lease; under the ledger's mutex.
    bool missed = false;              // That was so the last time it was asked; under the ledger's mutex.
  };
  // What one group's look found.
  struct Look {
    bool away = false;  // Its server cannot be reached, or was not asked.
    bool paused = false, alone = false, orphans = false;
    std::size_t retry = 0;  // How much waits to be handed out again.
    std::int64_t next_due = -1, now = 0;
    std::string types{};
  };
  // What one XREADGROUP can read: the groups of one name, and in a cluster one slot.
  struct Reader {
    std::string group{};
    std::vector<std::uint32_t> streams{};  // Indexes into joined_.
    std::unique_ptr<Connection> connection{};
    std::size_t turn = 0;  // Which key comes first where there is not room for all.
  };

  // What was read and not handed out, oldest first.
  struct Ready {
    std::vector<Delivery> deliveries{};
    std::vector<Ledger::Held> held{};  // Beside `deliveries`.
    [[nodiscard]] bool empty() const noexcept { return held.empty(); }
    void clear() noexcept;
    void move_front(std::size_t count, std::vector<Delivery>& out);
    /// Forgets those that `which` picks; they stay pending on the server.
    template <class Which>
    void drop(const Which& which) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < held.size(); ++i) {
        if (which(held[i])) continue;
        if (kept != i) {
          held[kept] = held[i];
          deliveries[kept] = std::move(deliveries[i]);
        }
        ++kept;
      }
      held.resize(kept);
      deliveries.resize(kept);
    }
  };

  // What one try of a fetch found.
  struct Round {
    bool complete = false;  // Otherwise it is to be tried again at once.
    bool alone = false;
    bool calm = false;                  // There is nothing but new events.
    std::size_t events = 0, bytes = 0;  // What there was room for.
  };

  struct Part;
  static void add(Part& part, const Ledger::Held& held, const Settlement& item, std::size_t index,
                  std::span<const Outgoing> outputs);
  void refuse_lost(std::span<const Settlement> items, const std::string& member, std::span<Result> results);
  void store_outputs(std::span<const Settlement> items, const std::string& member, std::span<Result> results);
  [[nodiscard]] std::optional<bool> acknowledge(const Part& part, const Joined& joined, const std::string& member);
  [[nodiscard]] Replies settle_by_script(Part& part, const Joined& joined, const std::string& member);
  void send(Part& part, const Joined& joined, const std::string& member, std::span<const Settlement> items,
            std::span<Result> results);

  void send_each(std::vector<Part>& parts, const std::string& member, std::span<const Settlement> items,
                 std::span<Result> results);

  void join(WaitClock::time_point deadline);
  void join(Joined& joined, const std::string& member, WaitClock::time_point deadline);
  void add_held(const Joined& joined, std::vector<std::string>& words);
  void join_each(const std::string& member, WaitClock::time_point deadline);
  void add(std::uint32_t stream, std::uint32_t partition, const std::string& name);
  void grow(WaitClock::time_point deadline);
  void lose_all();
  void give_up_expired(std::uint32_t index, WaitClock::time_point now, std::vector<AckToken>& lost);
  [[nodiscard]] std::vector<std::string> look_arguments(const Joined& joined) const;
  [[nodiscard]] bool take_look(const Reply& reply, std::uint32_t index, Batch& batch, std::vector<Look>& looks);
  void act_on(std::vector<Look>& looks, WaitClock::time_point deadline);
  [[nodiscard]] bool look(Batch& batch, std::vector<Look>& looks, WaitClock::time_point deadline);
  [[nodiscard]] bool look_at_each(Batch& batch, std::vector<Look>& looks);
  [[nodiscard]] bool is_away(const Joined& joined) const;
  void set_away(Joined& joined, const Error& error, Millis spent);
  void set_reached(Joined& joined);
  [[nodiscard]] bool one_of_several() const;
  [[nodiscard]] WaitClock::time_point settling_deadline(const Joined& joined);
  [[nodiscard]] std::size_t room(std::size_t& bytes);
  [[nodiscard]] Round read(Batch& batch, Millis wait, const std::stop_token& stop);
  void hand_out(Batch& batch, std::size_t events, std::size_t bytes);
  void give_back(WaitClock::time_point deadline);
  using Known = std::set<std::tuple<std::uint32_t, char, EntryId>>;  // Entries: index in joined_, source, id.
  void give_back_unseen(WaitClock::time_point deadline);
  void give_back_unseen(std::uint32_t index, const Known& known, WaitClock::time_point deadline);
  void read_alone(const std::vector<Look>& looks, WaitClock::time_point deadline);
  void read_new(const std::vector<Look>& looks, std::size_t events, Millis block, const std::stop_token& stop);
  [[nodiscard]] Commands read_command(const Reader& reader, const std::vector<std::string>& keys, std::size_t each,
                                      Millis block) const;
  void read_turns(const std::vector<Look>& looks, std::size_t events, Millis block, const std::stop_token& stop);
  void send_read(Reader& reader, const std::vector<Look>& looks, std::size_t events, Millis block);
  [[nodiscard]] bool may_send_read(Reader& reader, const std::vector<Look>& looks, std::size_t events, Millis block);
  [[nodiscard]] bool passes_over(const Reader& reader, const Error& error);
  void connect(Reader& reader);
  void drop(Reader& reader);
  [[nodiscard]] bool end_dropped(WaitClock::time_point deadline);
  void send_ahead();
  [[nodiscard]] bool receive_ahead(Batch& batch, std::vector<Look>& looks);
  void forget_ahead();
  [[nodiscard]] std::size_t share() const noexcept;
  [[nodiscard]] std::size_t fitting(std::size_t bytes) const noexcept;
  void unblock(const std::vector<Reader*>& readers);
  void await_any(const std::vector<Reader*>& readers, Millis wait);
  void receive(Reader& reader, WaitClock::time_point deadline, bool alone);
  void take(Reader& reader, const Received& received, bool alone);
  [[nodiscard]] std::uint32_t epoch() const noexcept { return epoch_.load(); }

  static constexpr std::size_t least_ahead = 64,
                               worth_a_look = 256;  // Fewer events are not worth a read ahead; a look.
  static constexpr std::uint32_t most_returns = 16;
  static constexpr Millis longest_review_pause{60'000}, turn_pause{20};
  Store& store_;
  const Interest interest_;
  std::string instance_{};
  std::deque<Joined> joined_{};  // Grows under both mutexes, when a stream is given more partitions; fetch's otherwise.
  std::vector<Reader> readers_{};
  WaitClock::time_point grown_{};  // When it is looked whether it has to.
  Ready ready_{};                  // Read and not handed out; fetch's own.
  std::shared_ptr<const std::vector<std::string>> types_{};
  std::string types_text_{};
  std::vector<std::pair<std::string, Commands>> dropped_{};  // How to end connections that had a read, by stream.
  bool ended_ = true;                                        // All reads that were dropped are known to have ended.
  bool unsure_ = false;             // A read failed, and its answer may hold entries that are ours now.
  WaitClock::time_point review_{};  // When it is looked, all the same, for entries that are ours and never came.
  Millis review_pause_{500};
  std::atomic<bool> may_unblock_{true};           // Until the server refuses it.
  std::size_t asked_ = 0;                         // How many events the last read asked for.
  bool full_ = false;                             // The last read brought all that it asked for.
  bool ahead_ = false;                            // A look and a read are under way over the first reader's connection.
  std::size_t turn_ = 0;                          // Which reader comes first where there is not room for all.
  bool narrow_ = false;                           // There was not room for all.
  std::size_t average_ = std::size_t{64} << 10U;  // Bytes of an event, as seen lately.

  std::mutex settling_{};      // Outer: one settlement at a time.
  std::mutex ledger_mutex_{};  // Inner: never held across I/O.
  std::condition_variable_any settled_{};
  Ledger ledger_{};
  std::size_t ready_events_ = 0;  // Of ready_, for others to see.
  std::string member_{};          // Our consumer's name; a new one with each joining.
  std::atomic<std::uint32_t> epoch_{0};
  std::vector<AckToken> lost_{};
};

}  // namespace tidings::transport::redis
