// One service's queues, and its shelf beside them: receiving (receive.cpp), settling (settle.cpp), and renewing.
//
// A receive counts as an attempt, whatever became of it: SQS knows no other count. What this process gives back itself
// is taken off again; what others gave back is not, so `attempt` is an upper bound. Deaths are not seen at all, and
// instead what was received before runs alone for a while after a start, and is received singly.
#pragma once

#include <atomic>
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
#include <unordered_set>
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
    // Set once, for any thread; a queue that is made again has the same name, and so the same URL.
    std::string name{}, url{}, dead_url{};
    Queue queue{};          // Fetch's own.
    std::size_t polls = 0;  // Under way.
    bool busy = false;      // The last receive brought all that it asked for.
    bool paused = false;
    bool gone = false;  // Somebody removed the queue, and it could not be made again yet.
  };
  // A receive that is under way.
  struct Poll {
    std::uint32_t source = 0;
    unsigned most = 0;
    bool patient = false;  // It waits until something comes.
    Steady started{};
    WaitClock::time_point asked{};
    std::string body{};
    Reply reply{};
  };
  // What is handed out and not settled, or received and not handed out.
  struct Held {
    std::uint32_t source = 0;
    std::string receipt{}, message{};  // SQS's names of this receive, and of the message.
    std::optional<AckToken> shelf{};   // What it is called by the shelf that it came from.
    Steady received{}, until{};        // Hidden from others until then, as far as we know.
    std::uint32_t receives = 0;
    bool alone = false, naming = false;
    bool leaving = false;  // It is being given another time than a renewal's.
    bool buried = false;   // It lies where its settlement wants it, and is only to be deleted.
    Delivery delivery{};   // What a dead letter needs.
    std::string id{};
    std::string pointer{};    // The message's body, where that only points to the event.
    std::string told_size{};  // The attribute beside it.
    // What it carries beside the body, and what of that counts: attempts of messages that it stands for, how often it
    // was handed on to other instances, and how often its payload could not be fetched.
    std::vector<MessageAttribute> attributes{};
    std::uint32_t carried = 0, handed = 0, postponed = 0;
    Wall first_received{};
  };
  // A message whose payload is to be fetched, or is under way.
  struct Claim {
    Held held{};
    Pointer pointer{};
    std::size_t size = 0;
    bool started = false;
    bool late = false;  // Its time passed once while nobody waited here.
    Payloads::Work work{};
  };
  // What is done with each item of a settlement.
  struct Verdicts {
    struct Verdict {
      std::size_t item = 0;  // Index into the items of the call.
      std::uint64_t serial = 0;
      Held held{};                     // A copy, which nobody else changes.
      bool aside = false;              // It goes to the shelf, and then from the queue.
      bool nobodys = false;            // It was handed on for so long that nobody is expected to take it.
      std::optional<unsigned> hide{};  // For how many seconds; nothing: it is deleted.
    };
    std::vector<Verdict> all{};
  };
  // What the queues are still to be told: by source, and whether it is hidden.
  using Open = std::map<std::pair<std::uint32_t, bool>, std::vector<const Verdicts::Verdict*>>;
  // What is to be sent once more in place of what is held.
  struct Anew {
    const Held* held = nullptr;
    unsigned seconds = 0;  // Until it can be received.
    bool sent = false;
  };
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
  void renew_on_shelf(std::vector<AckToken>& lost);
  [[nodiscard]] std::vector<Renewal> renewals_due(std::vector<AckToken>& lost) const;
  [[nodiscard]] std::optional<Error> hide_again(std::vector<Renewal>& renewals, std::vector<AckToken>& lost);
  bool forget(std::uint64_t serial);
  // receive.cpp
  void poll(Millis wait);
  void start_poll(std::uint32_t source, unsigned most, unsigned wait_seconds);
  void start_polls(unsigned wait_seconds);
  void take(Poll& poll, Steady at);
  void take_message(std::uint32_t source, sqs::Inbound& message, Steady now);
  void keep_one_suspect();
  [[nodiscard]] bool is_suspect(const Held& held, std::uint32_t given_back) const;
  void wait_for_turn(Held held);
  void take_shelf(const std::stop_token& stop);
  void take_off_shelf(std::vector<Delivery> deliveries);
  void look_for_pauses(bool paused);
  [[nodiscard]] bool await(WaitClock::time_point until, const std::stop_token& stop);
  [[nodiscard]] bool take_next(WaitClock::time_point until, bool just_now, const std::stop_token& stop = {});
  void idle(WaitClock::time_point until, std::uint64_t settlements, const std::stop_token& stop);
  [[nodiscard]] bool look(Batch& batch, const std::stop_token& stop);
  [[nodiscard]] Batch fetch_now(const std::stop_token& stop);
  [[nodiscard]] bool waits_for_turn() const;
  [[nodiscard]] bool answers_at_once() const;
  void give_back_paused();
  void look_at_filters();
  void hand_out(Batch& batch);
  [[nodiscard]] std::size_t room() const;
  void drop_expired();
  void end_polls();
  // claims.cpp
  static void fill(Held& held, std::string_view bytes, std::string_view damage = {});
  void take_claim(Held held, std::string pointer);
  void refuse_claim(Held held, const std::string& why);
  [[nodiscard]] bool has_room_for(const Claim& claim) const;
  void start_claims();
  [[nodiscard]] bool take_payload(const Reply& reply, bool waited_for);
  void await_late_claims(const std::stop_token& stop);
  [[nodiscard]] Held take_out(Claim& claim);
  void finish_claim(Claim& claim, Payloads::Outcome outcome, bool waited_for);
  void postpone(Held held);
  void release_on_shelf();
  void give_back_claims();
  // hand_on.cpp
  [[nodiscard]] static std::chrono::seconds pause_before(std::uint32_t times, Random& random);
  static void take_attributes(Held& held, sqs::Inbound& message, bool points);
  void send_anew(std::uint32_t source, std::span<Anew> all);
  void hand_on(std::span<const Settlement> items, std::span<const Result> results, Verdicts& verdicts);
  [[nodiscard]] bool is_nobodys(const Held& held, const Settlement& item) const;
  void tell_postponed();
  void remove(std::uint32_t source, std::span<const std::string_view> receipts);
  // settle.cpp
  void sort(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts);
  void store_outputs(std::span<const Settlement> items, std::span<Result> results, const Verdicts& verdicts);
  void bury(std::span<const Settlement> items, std::span<Result> results, Verdicts& verdicts);
  void make_dead_queue(const Source& source, std::span<Result> stored);
  void settle_on_shelf(std::span<const Settlement> items, std::span<Result> results, const Verdicts& verdicts);
  void tell_queues(std::span<Result> results, const Verdicts& verdicts);
  [[nodiscard]] Open tell_once(std::span<Result> results, const Open& open, bool last);
  [[nodiscard]] ShelfItem shelf_item_of(const Held& held, const Settlement& item) const;
  void leave(const Verdicts& verdicts);
  void note_returned(const Held& held);
  void conclude(std::span<const Settlement> items, std::span<const Result> results, const Verdicts& verdicts);
  void give_back(bool all);
  void give_back(std::vector<std::vector<std::string>> receipts);

  [[nodiscard]] Steady now() const { return store_.environment().clock->steady(); }
  // Whether what a process before us held may still come.
  [[nodiscard]] bool is_new() const { return now() - started_ < 2 * interest_.lease; }
  [[nodiscard]] bool is_careful() const { return careful_ < largest_batch && is_new(); }
  [[nodiscard]] unsigned lease_seconds() const;
  [[nodiscard]] static std::int64_t seconds_left(const Held& held, Steady at);

  Store& store_;
  const Interest interest_;
  std::deque<Source> sources_{};
  std::unique_ptr<Subscription> shelf_{};
  std::uint32_t epoch_ = 0;
  Steady started_{};

  // Fetch's own.
  std::unique_ptr<Client::Flight> flight_{};
  std::vector<std::unique_ptr<Poll>> polls_{};
  std::size_t asked_ = 0;  // How many messages the polls under way may bring.
  std::size_t turn_ = 0;
  std::size_t careful_ =
      1;                   // How many one receive asks for; it grows as long as nothing comes that was received before.
  Steady looked_{};        // When what was under way had not come yet.
  Steady filters_look_{};  // When to see whether another that started beside us narrowed a filter.
  WaitClock::time_point shelf_look_{}, types_look_{};
  bool shelf_away_ = false;
  std::shared_ptr<const std::vector<std::string>> types_{};
  std::vector<Held> postponed_{};         // To come again when the store may be back.
  std::vector<Settlement> unreleased_{};  // The same, of the shelf: it holds them for us until it is told.
  WaitClock::time_point release_look_{};
  bool ending_ = false;  // Polls are taken to be given back.
  WaitClock::time_point store_rests_until_{};
  bool store_fails_ = false;

  // Of who changes how long messages stay hidden, across the call: what a settlement says of it is the last word.
  std::mutex visibility_{};
  std::atomic<bool> may_send_anew_ = true;
  mutable std::mutex mutex_{};  // Never held across a call.
  std::condition_variable_any settled_{};
  std::deque<Held> ready_{}, alone_{};            // Received, and not handed out.
  std::vector<std::unique_ptr<Claim>> claims_{};  // Received, and not fetched; changed by fetch alone.
  std::map<std::uint64_t, Held> ledger_{};        // Handed out, by the token's lease.
  std::uint64_t next_serial_ = 1;
  std::uint64_t settlements_ = 0;  // Grows with whatever makes room.
  std::size_t bytes_ = 0;
  bool running_alone_ = false;
  Steady shelf_renewed_{};  // When the shelf was last known to keep for us what came off it.
  std::unordered_set<std::string> suspects_{};  // Given back while they were to run alone, and not settled since.
};

}  // namespace tidings::transport::aws
