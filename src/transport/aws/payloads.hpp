// A store of payloads that are too large for a message: a folder, or a bucket of S3. See claim.hpp.
//
//   Payloads::Work work;
//   std::optional<Payloads::Outcome> outcome = payloads.put(flight, work, key, bytes, deadline);
//   // … unless it is decided at once, when flight.next() returned &work.reply: outcome = payloads.outcome(work) …
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "transport/aws/claim.hpp"
#include "transport/aws/client.hpp"

namespace tidings::transport::aws {

/// Any thread.
class Payloads {
 public:
  virtual ~Payloads() = default;
  Payloads(const Payloads&) = delete;
  Payloads& operator=(const Payloads&) = delete;

  /// Null where there is none. `client` is borrowed.
  [[nodiscard]] static std::unique_ptr<Payloads> open(const PayloadPlace& place, Client& client);

  /// One payload on its way. Stays where it is until it is decided.
  struct Work {
    std::string path{}, digest{};  ///< Of the request.
    HeaderView headers[2]{};
    bool stores = false;
    Reply reply{};
  };
  /// What became of it.
  struct Outcome {
    std::string bytes{};           ///< That were fetched.
    bool gone = false;             ///< It was there once, and will not be again.
    std::optional<Error> error{};  ///< Why there is nothing; the store is to blame unless it is gone.
  };

  /// Stores bytes under a key of payload_key(), durably; again where they are there already, so that they are as young
  /// as their last pointer. `bytes` are borrowed until it is decided. An outcome, or nothing while it is under way.
  [[nodiscard]] virtual std::optional<Outcome> put(Client::Flight& flight, Work& work, std::string_view key,
                                                   std::string_view bytes, WaitClock::time_point deadline) = 0;
  /// Fetches what lies under a pointer's key.
  [[nodiscard]] virtual std::optional<Outcome> get(Client::Flight& flight, Work& work, std::string_view key,
                                                   WaitClock::time_point deadline) = 0;
  /// Of what was under way.
  [[nodiscard]] virtual Outcome outcome(Work& work) const = 0;
  /// Both at once, waited for.
  [[nodiscard]] Outcome put(std::string_view key, std::string_view bytes, WaitClock::time_point deadline);
  [[nodiscard]] Outcome get(std::string_view key, WaitClock::time_point deadline);

  /// Removes what no message can point to any more, a bounded part of it, where the store does not do so by itself.
  /// Returns when to come again.
  virtual Millis tend(Wall now) = 0;
  [[nodiscard]] const PayloadPlace& place() const noexcept { return place_; }

 protected:
  Payloads(PayloadPlace place, Client& client) : place_(std::move(place)), client_(client) {}
  const PayloadPlace place_;
  Client& client_;
};

/// SQS keeps a message for 14 days at most, and for as long once more when its dead letter is handed out again, which
/// stores no payload anew; a day more, and nothing points to it.
inline constexpr Millis payloads_kept = std::chrono::hours(29 * 24);

}  // namespace tidings::transport::aws
