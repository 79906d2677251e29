// One service's queues, and its shelf beside them: receiving (receive.cpp), settling (settle.cpp), and renewing.
//
// A receive counts as an attempt, whatever became of it: SQS knows no other count. What this process gives back itself
// is taken off again; what others gave back is not, so `attempt` is an upper bound. Deaths are not seen at all, and
// instead what was received before runs alone for a while after a start.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/aws/store.hpp"

namespace tidings::transport::aws {

class AwsSubscription final : public Subscription {
 public:
  AwsSubscription(Store& store, const Interest& interest);
  ~AwsSubscription() override;
  Batch fetch(Millis wait, std::stop_token stop) override;
  void settle(std::span<const Settlement> items, std::span<Result> results) override;
  std::vector<AckToken> renew() override;

 private:
  // A group's queue, and how well it is doing.
  struct Source {
    std::string stream{}, group{};
    Queue queue{};
    std::size_t polls = 0;  // Under way.
    bool busy = false;      // The last receive brought all that it asked for.
    bool paused = false;
  };
  // A receive that is under way.
  struct Poll {
    std::uint32_t source = 0;
    unsigned most = 0;
    std::string body{};
    Reply reply{};
  };
  // What is handed out and not settled, or received and not handed out.
  struct Held {
    std::uint32_t source = 0;
    std::string receipt{}, message{};  // SQS's names of this receive, and of the message.
    std::optional<AckToken> shelf{};   // What it is called by the shelf that it came from.
    Steady received{}, until{};        // Hidden from others until then, as far as we know.
    bool alone = false, naming = false;
    Delivery delivery{};  // What a dead letter needs.
    std::string id{};
  };
  struct Verdicts;
  // What is to be hidden for longer.
  struct Renewal {
    std::uint64_t serial = 0;  // 0: not handed out yet.
    std::string receipt{};
    std::uint32_t source = 0;
    Steady until{};
    unsigned seconds = 0;
    bool done = false;
  };

  void join(Source& source);
  void know_types(const Source& source);
  void learn_type(std::uint32_t source, std::string_view type);
  [[nodiscard]] std::vector<Renewal> renewals_due(std::vector<AckToken>& lost) const;
  [[nodiscard]] std::optional<Error> hide_again(std::vector<Renewal>& renewals, std::vector<AckToken>& lost);
  bool forget(std::uint64_t serial);
  // receive.cpp
  void poll(Millis wait);
  void start_poll(std::uint32_t source, unsigned most, unsigned wait_seconds);
  void take(Poll& poll);
  void take_message(std::uint32_t source, sqs::Inbound& message, Steady now);
  void wait_for_turn(Held held);
  void take_shelf(const std::stop_token& stop);
  void look_for_pauses(bool paused);
  [[nodiscard]] bool await(WaitClock::time_point until, const std::stop_token& stop);
  void hand_out(Batch& batch);
  [[nodiscard]] std::size_t room() const;
  void drop_expired();
  void forget_polls();
  // settle.cpp
  void sort(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts);
  void store_outputs(std::span<const Settlement> items, std::span<Result> results, const Verdicts& verdicts);
  void bury(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts);
  void settle_on_shelf(std::span<const Settlement> items, std::span<Result> results, const Verdicts& verdicts);
  void tell_queues(std::span<Result> results, const Verdicts& verdicts);
  [[nodiscard]] ShelfItem shelf_item_of(const Held& held, const Settlement& item) const;
  void give_back();

  [[nodiscard]] Steady now() const { return store_.environment().clock->steady(); }
  [[nodiscard]] unsigned lease_seconds() const;

  Store& store_;
  const Interest interest_;
  std::deque<Source> sources_{};
  std::unique_ptr<Subscription> shelf_{};
  std::uint32_t epoch_ = 0;
  Steady started_{};

  // Fetch's own.
  std::stop_source halt_{};
  std::unique_ptr<Client::Flight> flight_{};
  std::vector<std::unique_ptr<Poll>> polls_{};
  std::size_t asked_ = 0;  // How many messages the polls under way may bring.
  std::size_t turn_ = 0;
  WaitClock::time_point shelf_look_{}, types_look_{};
  std::shared_ptr<const std::vector<std::string>> types_{};

  mutable std::mutex mutex_{};  // Never held across a call.
  std::condition_variable_any settled_{};
  std::deque<Held> ready_{}, alone_{};      // Received, and not handed out.
  std::map<std::uint64_t, Held> ledger_{};  // Handed out, by the token's lease.
  std::uint64_t next_serial_ = 1;
  std::size_t bytes_ = 0;
  bool running_alone_ = false;
  std::vector<AckToken> lost_{};
};

}  // namespace tidings::transport::aws
