// Handling deliveries: decoding, calling the handler, and what its ending means. Knows nothing of threads; the pool and
// the testing harness both use it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tidings/service.hpp>

#include "runtime/cancellation.hpp"
#include "runtime/delivery.hpp"
#include "runtime/handlers.hpp"
#include "runtime/message.hpp"
#include "runtime/service_state.hpp"

namespace tidings::runtime {

/// What a handler published through its context, until it is stored.
struct Outputs {
  std::string arena{};
  std::vector<Encoded> messages{};
};

/// The rarer parts of an outcome.
struct OutcomeExtra {
  std::string error{};
  Outputs outputs{};
  std::optional<Failure> failure{};               ///< To be reported once it is settled.
  const Handler* handler = nullptr;               ///< Whose policy holds when the outputs are refused …
  std::optional<transport::Delivery> delivery{};  ///< … for this delivery.
};

/// What is to be settled. Small: the common case has no extra.
struct Outcome {
  transport::AckToken token{};
  transport::Settlement::Kind kind = transport::Settlement::Kind::done;
  bool counted = true;
  Millis after{};
  std::string_view reason{};
  std::unique_ptr<OutcomeExtra> extra{};

  /// Whether it ends the delivery for good by handling it or giving it up: what ServiceOptions::max_events counts.
  [[nodiscard]] bool final() const noexcept {
    return kind == transport::Settlement::Kind::done || kind == transport::Settlement::Kind::dead;
  }
};

/// Where a delivery goes.
struct Route {
  const Handler* handler = nullptr;  ///< Null: nobody here handles it, and `ending` says what that means.
  Ending ending = Ending::ignored;
};

/// Finds the handler of a delivery. `group_types` is Batch::types.
[[nodiscard]] Route route(const detail::ServiceState& service, const transport::Delivery& delivery,
                          const std::vector<std::string>* group_types);

/// The outcome of a delivery that ended without, or after, a handler call. `error` is the exception's text.
[[nodiscard]] Outcome make_outcome(const detail::ServiceState& service, const transport::Delivery& delivery,
                                   const Handler* handler, Ending ending, Millis asked, std::string error);

/// Calls handlers, one call at a time. One a thread, reused.
class Execution {
 public:
  explicit Execution(detail::ServiceState& service);
  ~Execution();
  /// Handles `deliveries` of one handler (more than one only for batch handlers) and appends an outcome for each.
  void run(const Handler& handler, std::span<const transport::Delivery> deliveries, Cancellation& cancellation,
           std::vector<Outcome>& outcomes);
  /// Handles one delivery of a handler that is no batch handler.
  Outcome run_one(const Handler& handler, const transport::Delivery& delivery, Cancellation& cancellation);
  /// Whether the last call reached the handler itself.
  [[nodiscard]] bool entered() const noexcept { return entered_; }

 private:
  struct Batch;
  void run_batch(const Handler& handler, std::span<const transport::Delivery> deliveries, Cancellation& cancellation,
                 std::vector<Outcome>& outcomes);
  [[nodiscard]] bool received_too_often(const Handler& handler, const transport::Delivery& delivery) const noexcept;
  std::optional<Outcome> refuse(const Handler& handler, const transport::Delivery& delivery);

  detail::ServiceState& service_;
  const std::size_t largest_;   // Bytes of an envelope.
  const bool counts_receives_;  // The engine does not know of deaths.
  std::unique_ptr<detail::ContextState> context_;
  bool entered_ = false;
};

/// Settles `outcomes` in one call, with their outputs. Throws what the transport throws.
void settle_outcomes(transport::Subscription& subscription, std::span<const Outcome> outcomes,
                     std::vector<transport::Result>& results);

}  // namespace tidings::runtime
