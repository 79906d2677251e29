// Events to topics, commands to queues: batches under way beside each other, and what became of each event.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidings/transport.hpp>

#include "transport/aws/payloads.hpp"
#include "transport/aws/topology.hpp"

namespace tidings::transport::aws {

/// One call of Transport::publish(), or of what stores like it. For one thread.
class Publication {
 public:
  /// `payloads` may be null.
  Publication(Client& client, Topology& topology, const Environment& environment, const Capabilities& limits,
              Payloads* payloads)
      : client_(client), topology_(topology), environment_(environment), limits_(limits), payloads_(payloads) {}

  /// Past the streams' topics.
  struct Straight {
    std::string_view to{};                                        ///< The URL of a queue; empty: not straight.
    std::span<const std::vector<MessageAttribute>> attributes{};  ///< Of each item, or of none.
    std::span<const unsigned> delays{};                           ///< Seconds; of each item, or of none.
    bool as_it_came = false;                                      ///< Out of a queue: what is no event is sent too.
  };
  /// Stores the items.
  void run(std::span<const Outgoing> items, Millis within, std::span<Result> results, const Straight& straight);

 private:
  // Items that are sent together.
  struct Batch {
    std::string stream{}, body{};
    std::vector<std::size_t> items{};
    Reply reply{};
    bool queue = false;
  };
  // One stream's items.
  struct Lane {
    std::deque<std::size_t> ready{};
    bool placed = false, queue = false;
    std::string place{};  // The topic's ARN, or the queue's URL.
  };
  // An item that is too large for a message: first its payload is stored, then its pointer is sent.
  struct Large {
    std::size_t item = 0;
    std::string key{}, pointer{};
    Payloads::Work work{};
    bool stored = false;
  };
  void sort(std::span<Result> results);
  void note_large(std::size_t item);
  void store_some(Client::Flight& flight, std::span<Result> results, WaitClock::time_point deadline);
  void take_stored(Large& large, const Payloads::Outcome& outcome, std::span<Result> results);
  void take_reply(const Reply& reply, std::span<Result> results, WaitClock::time_point deadline);
  [[nodiscard]] std::string_view body_of(std::size_t item) const;
  void enter(std::size_t item);
  void start_some(Client::Flight& flight, std::span<Result> results, WaitClock::time_point deadline);
  void place(const std::string& stream, Lane& lane, WaitClock::time_point deadline);
  [[nodiscard]] std::size_t size_of(std::size_t item) const;
  void time_out(std::span<Result> results);
  void start(Client::Flight& flight, const std::string& stream, Lane& lane, WaitClock::time_point deadline);
  [[nodiscard]] std::vector<MessageAttribute> attributes_of(std::size_t item) const;
  void write(Batch& batch, const std::string& place, bool queue) const;
  void take(Batch& batch, std::span<Result> results, WaitClock::time_point deadline);
  void decide(std::size_t item, std::span<Result> results, Result result);
  void again(std::size_t item, Fault fault);
  void wake_due();
  [[nodiscard]] WaitClock::time_point next_wake(WaitClock::time_point deadline) const;

  Client& client_;
  Topology& topology_;
  const Environment& environment_;
  const Capabilities& limits_;
  Payloads* const payloads_;
  std::span<const Outgoing> items_{};
  std::string_view straight_to_{};
  std::span<const std::vector<MessageAttribute>> extra_{};
  std::span<const unsigned> delays_{};
  std::map<std::string, Lane, std::less<>> lanes_{};  // By stream: what may be sent now.
  // Events of one key go one at a time, so that what is stored of a key is always a beginning of it.
  std::map<std::pair<std::string_view, std::string_view>, std::deque<std::size_t>> behind_{};
  std::vector<unsigned> tries_{};
  std::vector<bool> unclear_{}, goes_alone_{};  // Perhaps stored before; refused in company.
  bool as_it_came_ = false;
  std::vector<std::pair<WaitClock::time_point, std::size_t>> later_{};
  std::vector<std::unique_ptr<Batch>> batches_{}, spare_{};
  std::map<std::size_t, Large> large_{};  // By item.
  std::deque<Large*> unstored_{};         // Whose turn it is.
  std::size_t storing_ = 0;
  std::size_t left_ = 0;  // Undecided.
};

}  // namespace tidings::transport::aws
