#include "runtime/execution.hpp"

#include <algorithm>
#include <utility>

#include "core/envelope.hpp"
#include "core/failpoint.hpp"
#include "runtime/context_state.hpp"

namespace tidings::runtime {
namespace {

using transport::Delivery;
using transport::Settlement;

/// How a handler call that threw ended.
struct Thrown {
  Ending ending = Ending::failed;
  Millis asked{};
  std::string error{};
};

/// Makes the exception in flight an ending. `entered`: the handler itself was reached, so the fault is not the bytes'.
Thrown current_exception_as_ending(bool entered) {
  try {
    throw;
  } catch (const Again& again) {
    return {Ending::again, again.delay(), again.what()};
  } catch (const Reject& reject) {
    return {Ending::rejected, {}, reject.what()};
  } catch (const Release& release) {
    return {Ending::released, {}, release.what()};
  } catch (const Error& error) {
    const bool bytes_are_wrong =
        !entered && (error.code() == ErrorCode::invalid || error.code() == ErrorCode::too_large ||
                     error.code() == ErrorCode::corrupt);
    return {bytes_are_wrong ? Ending::undecodable : Ending::failed, {}, error.what()};
  } catch (const std::exception& error) {
    return {Ending::failed, {}, error.what()};
  } catch (...) {
    return {Ending::failed, {}, "unknown exception"};
  }
}

/// Id and type for a report, as far as the bytes tell. Only called for failures.
void describe(const Delivery& delivery, Failure& failure) {
  failure.type = delivery.type;
  if (delivery.damaged) return;
  try {
    const Event event = decode<Json>(delivery.envelope);
    failure.id = event.id;
    failure.type = event.type;
  } catch (const Error&) {
    // Undecodable: there is no id to report.
  }
}

std::string version_error(const Handler& handler, std::string_view version) {
  return "the event's version " + std::string(version) + " is not supported by the handler of version " +
         handler.version + "; deploy a handler for it, then redrive";
}

/// What bytes that do not decode are: of a version that this handler need not understand, or wrong. Changes `error` to
/// match.
Ending judge_undecodable(const Handler& handler, const Delivery& delivery, std::string& error) {
  if (!delivery.validated) {
    // They were checked while they were decoded. What is no JSON is said first, as of all that comes from outside.
    try {
      validate_json(delivery.envelope, {.bytes = static_cast<std::size_t>(-1)});
    } catch (const Error& fault) {
      error = fault.what();
      return Ending::undecodable;
    }
  }
  try {
    const std::string version = decode<Json>(delivery.envelope).version;
    if (version_supported(handler.version, version)) return Ending::undecodable;
    error = version_error(handler, version);
    return Ending::unsupported;
  } catch (const Error&) {
    return Ending::undecodable;
  }
}

}  // namespace

Route route(const detail::ServiceState& service, const Delivery& delivery,
            const std::vector<std::string>* group_types) {
  const Handler* const nobodys = &service.handlers.at(0);
  if (delivery.damaged) return {nobodys, Ending::undecodable};
  std::string read_type;
  std::string_view type = delivery.type;
  if (type.empty()) {
    // The engine does not know the type of what others wrote, so the bytes have to be looked into.
    try {
      const JsonLimits limits{.bytes = service.bus->largest_event()};
      read_type = delivery.validated ? decode<Json>(delivery.envelope).type
                                     : core::check_envelope(delivery.envelope, limits).type;
      type = read_type;
    } catch (const Error&) {
      return {nobodys, Ending::undecodable};
    }
  }
  if (const Handler* handler = service.handlers.find(delivery.stream, type)) return {handler, Ending::returned};
  if (!delivery.validated && !delivery.type.empty()) {
    // The engine only glanced at the type. What nobody handles is settled unseen, so it has to be an event at least.
    try {
      validate_json(delivery.envelope, {.bytes = service.bus->largest_event()});
    } catch (const Error&) {
      return {nobodys, Ending::undecodable};
    }
  }
  const auto named = [&](std::string_view name) {
    return group_types != nullptr && std::binary_search(group_types->begin(), group_types->end(), name);
  };
  // The union holds our own types too; this type is not among them, and "*" only counts when it is not ours.
  if (named(type)) return {nullptr, Ending::elsewhere};
  if (named("*")) {
    const std::vector<std::string> own = service.handlers.types();
    if (!std::binary_search(own.begin(), own.end(), std::string("*"))) return {nullptr, Ending::elsewhere};
  }
  return {nullptr, Ending::ignored};
}

Outcome make_outcome(const detail::ServiceState& service, const Delivery& delivery, const Handler* handler,
                     Ending ending, Millis asked, std::string error) {
  static const HandlerOptions defaults;
  const HandlerOptions& policy = handler == nullptr ? defaults : handler->options;
  const bool draws = ending != Ending::returned && ending != Ending::ignored;
  const Verdict verdict =
      decide(ending, delivery.attempt, asked, policy, draws ? service.environment().random->next() : 0);
  Outcome outcome;
  outcome.token = delivery.token;
  outcome.kind = verdict.kind;
  outcome.counted = verdict.counted;
  outcome.after = std::min(verdict.after, service.bus->transport().capabilities().longest_delay);
  outcome.reason = verdict.reason;
  if (verdict.kind == Settlement::Kind::again || verdict.kind == Settlement::Kind::dead) {
    outcome.extra = std::make_unique<OutcomeExtra>();
    Failure& failure = outcome.extra->failure.emplace();
    describe(delivery, failure);
    failure.stream = service.handlers.streams()[delivery.stream];
    failure.attempt = delivery.attempt;
    failure.crashes = delivery.crashes;
    failure.error = error;
    if (verdict.kind == Settlement::Kind::dead) {
      failure.reason = verdict.reason;
    } else {
      failure.reason = ending == Ending::timed_out ? "timed_out" : "failed";
      failure.next_try = outcome.after;
    }
    outcome.extra->error = std::move(error);
  }
  return outcome;
}

Execution::Execution(detail::ServiceState& service)
    : service_(service),
      largest_(service.bus->largest_event()),
      counts_receives_(!service.bus->transport().capabilities().counts_crashes),
      context_(std::make_unique<detail::ContextState>(service)) {}

Execution::~Execution() = default;

void Execution::run(const Handler& handler, std::span<const Delivery> deliveries, Cancellation& cancellation,
                    std::vector<Outcome>& outcomes) {
  if (handler.batch) {
    run_batch(handler, deliveries, cancellation, outcomes);
  } else {
    for (const Delivery& delivery : deliveries) outcomes.push_back(run_one(handler, delivery, cancellation));
  }
}

// Where the engine does not see deaths, it counts receives: these must not go on for ever. What was only given back is
// given the room of deaths too.
bool Execution::received_too_often(const Handler& handler, const Delivery& delivery) const noexcept {
  return counts_receives_ &&
         delivery.attempt > handler.options.max_attempts + std::max(service_.options.max_crashes, 1U);
}

std::optional<Outcome> Execution::refuse(const Handler& handler, const Delivery& delivery) {
  const auto refused = [&](Ending ending, std::string error) {
    return make_outcome(service_, delivery, &handler, ending, {}, std::move(error));
  };
  if (delivery.crashes >= std::max(service_.options.max_crashes, 1U)) {
    return refused(Ending::crashed,
                   std::to_string(delivery.crashes) +
                       " processes died while they held this event; see what its handler does, then redrive");
  }
  if (received_too_often(handler, delivery)) {
    return refused(Ending::crashed, "it was received " + std::to_string(delivery.attempt) +
                                        " times, and whoever received it last neither settled nor failed it; see what "
                                        "its handler does, then redrive");
  }
  if (delivery.damaged) {
    constexpr std::string_view changed = "checksum mismatch: the stored bytes were changed or torn";
    return refused(Ending::undecodable, std::string(delivery.damage.empty() ? changed : delivery.damage));
  }
  const bool decodes = handler.function || handler.batch;
  // Decoding checks all of the text but its size.
  if (!delivery.validated && (!decodes || delivery.envelope.size() > service_.bus->largest_event())) {
    try {
      validate_json(delivery.envelope, {.bytes = service_.bus->largest_event()});
    } catch (const Error& error) {
      return refused(Ending::undecodable, error.what());
    }
  }
  if (!decodes) {
    std::string why = "the type cannot be read";
    try {
      const Event event = decode<Json>(delivery.envelope);
    } catch (const Error& error) {
      why = error.what();
    }
    return refused(Ending::undecodable, std::move(why));
  }
  return std::nullopt;
}

Outcome Execution::run_one(const Handler& handler, const Delivery& delivery, Cancellation& cancellation) {
  entered_ = false;
  const bool too_large = !delivery.validated && delivery.envelope.size() > largest_;
  if (delivery.crashes > 0 || delivery.damaged || too_large || !handler.function ||
      received_too_often(handler, delivery)) [[unlikely]] {
    if (auto refused = refuse(handler, delivery)) return std::move(*refused);
  }
  context_->begin(delivery, handler, cancellation);
  try {
    handler.function(delivery.envelope, delivery.validated, context_->context());
    entered_ = context_->entered();
  } catch (...) {
    entered_ = context_->entered();
    Thrown thrown = current_exception_as_ending(context_->entered());
    if (thrown.ending == Ending::undecodable) {
      thrown.ending = judge_undecodable(handler, delivery, thrown.error);
    }
    // A handler that was told to stop for reasons of ours has not failed.
    if (thrown.ending == Ending::failed && cancellation.fired()) thrown.ending = Ending::released;
    return make_outcome(service_, delivery, &handler, thrown.ending, thrown.asked, std::move(thrown.error));
  }
  if (context_->unsupported()) {
    return make_outcome(service_, delivery, &handler, Ending::unsupported, {},
                        version_error(handler, context_->unsupported_version()));
  }
  Outcome outcome;
  outcome.token = delivery.token;
  Outputs& outputs = context_->outputs();
  if (!outputs.messages.empty()) {
    outcome.extra = std::make_unique<OutcomeExtra>();
    outcome.extra->outputs = std::exchange(outputs, {});
    outcome.extra->handler = &handler;
    outcome.extra->delivery = delivery;
  }
  return outcome;
}

/// The runtime's side of one batch call.
struct Execution::Batch final : detail::BatchCall {
  struct Item {
    std::unique_ptr<detail::ContextState> context;
    Ending ending = Ending::returned;
    Millis asked{};
    std::string error{};
  };

  Batch(detail::ServiceState& service, const Handler& handler, std::span<const Delivery> deliveries,
        Cancellation& cancellation)
      : deliveries(deliveries), handler(handler), items(deliveries.size()) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      items[i].context = std::make_unique<detail::ContextState>(service);
      items[i].context->begin(deliveries[i], handler, cancellation);
    }
  }

  Item& element(std::size_t index) {
    if (index >= elements.size()) {
      throw Error(ErrorCode::invalid, "BatchContext was asked for element " + std::to_string(index) + " of " +
                                          std::to_string(elements.size()));
    }
    return items[elements[index]];
  }
  Context& operator[](std::size_t index) override { return element(index).context->context(); }
  void fail(std::size_t index, std::string why) override { end(index, Ending::failed, {}, std::move(why)); }
  void again(std::size_t index, Millis delay, std::string why) override {
    end(index, Ending::again, delay, std::move(why));
  }
  void reject(std::size_t index, std::string why) override { end(index, Ending::rejected, {}, std::move(why)); }
  void end(std::size_t index, Ending ending, Millis asked, std::string why) {
    Item& item = element(index);
    item.ending = ending;
    item.asked = asked;
    item.error = std::move(why);
  }

  [[nodiscard]] std::size_t size() const noexcept override { return deliveries.size(); }
  [[nodiscard]] std::string_view padded(std::size_t delivery) const noexcept override {
    return deliveries[delivery].envelope;
  }
  [[nodiscard]] bool validated(std::size_t delivery) const noexcept override { return deliveries[delivery].validated; }
  bool admit(std::size_t delivery, const detail::Heading& heading) override {
    Item& item = items[delivery];
    if (item.context->admit(heading)) {
      elements.push_back(delivery);
      return true;
    }
    item.ending = Ending::unsupported;
    item.error = version_error(handler, heading.version);
    return false;
  }
  void undecodable(std::size_t delivery, std::string why) override {
    items[delivery].ending = judge_undecodable(handler, deliveries[delivery], why);
    items[delivery].error = std::move(why);
  }
  void enter(detail::FunctionRef body) override { items[elements.front()].context->enter(body); }

  std::span<const Delivery> deliveries;
  const Handler& handler;
  std::vector<Item> items;            // Beside `deliveries`.
  std::vector<std::size_t> elements;  // Which deliveries the handler's span holds.
};

void Execution::run_batch(const Handler& handler, std::span<const Delivery> deliveries, Cancellation& cancellation,
                          std::vector<Outcome>& outcomes) {
  entered_ = false;
  std::vector<Delivery> admitted;
  admitted.reserve(deliveries.size());
  for (const Delivery& delivery : deliveries) {
    if (auto refused = refuse(handler, delivery)) {
      outcomes.push_back(std::move(*refused));
    } else {
      admitted.push_back(delivery);
    }
  }
  if (admitted.empty()) return;
  Batch call(service_, handler, admitted, cancellation);
  try {
    handler.batch(call);
  } catch (...) {
    const Thrown thrown = current_exception_as_ending(true);
    const Ending ending = thrown.ending == Ending::failed && cancellation.fired() ? Ending::released : thrown.ending;
    for (Batch::Item& item : call.items) {
      if (item.ending == Ending::unsupported || item.ending == Ending::undecodable) continue;
      item.ending = ending;
      item.asked = thrown.asked;
      item.error = thrown.error;
    }
  }
  entered_ = !call.elements.empty();
  for (std::size_t i = 0; i < admitted.size(); ++i) {
    Batch::Item& item = call.items[i];
    Outcome outcome = make_outcome(service_, admitted[i], &handler, item.ending, item.asked, std::move(item.error));
    Outputs& outputs = item.context->outputs();
    if (item.ending == Ending::returned && !outputs.messages.empty()) {
      outcome.extra = std::make_unique<OutcomeExtra>();
      outcome.extra->outputs = std::move(outputs);
      outcome.extra->handler = &handler;
      outcome.extra->delivery = admitted[i];
    }
    outcomes.push_back(std::move(outcome));
  }
}

void settle_outcomes(transport::Subscription& subscription, std::span<const Outcome> outcomes,
                     std::vector<transport::Result>& results) {
  thread_local std::vector<Settlement> settlements;
  settlements.clear();
  std::size_t count = 0;
  for (const Outcome& outcome : outcomes) count += outcome.extra ? outcome.extra->outputs.messages.size() : 0;
  std::vector<transport::Outgoing> outputs;
  outputs.reserve(count);
  for (const Outcome& outcome : outcomes) {
    Settlement& settlement = settlements.emplace_back();
    settlement.kind = outcome.kind;
    settlement.token = outcome.token;
    settlement.after = outcome.after;
    settlement.counted = outcome.counted;
    settlement.reason = outcome.reason;
    if (!outcome.extra) continue;
    settlement.error = outcome.extra->error;
    const std::size_t first = outputs.size();
    for (const Encoded& message : outcome.extra->outputs.messages) {
      outputs.push_back(outgoing(outcome.extra->outputs.arena, message));
    }
    settlement.outputs = std::span<const transport::Outgoing>(outputs).subspan(first);
  }
  results.assign(outcomes.size(), {});
  TIDINGS_FAILPOINT("runtime.before_settle");
  subscription.settle(settlements, results);
  TIDINGS_FAILPOINT("runtime.after_settle");
}

}  // namespace tidings::runtime
