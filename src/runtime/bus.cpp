#include <tidings/bus.hpp>

#include <algorithm>
#include <deque>
#include <optional>

#include "core/envelope.hpp"
#include "runtime/bus_state.hpp"
#include "runtime/message.hpp"

namespace tidings {
namespace {

using runtime::Encoded;
using runtime::Inherited;

Inherited inherited_of(const detail::BusState& bus, std::optional<Wall> now = {}) {
  return {.source = bus.options().source, .largest = bus.largest_event(), .now = now};
}

PublishResult failed_item(const Error& error) {
  PublishResult result;
  result.code = error.code();
  result.retryable = error.retryable();
  result.message = error.what();
  return result;
}

void take_result(PublishResult& told, const transport::Result& result) {
  told.position = result.position;
  told.ambiguous = result.ambiguous;
  told.code = result.code;
  told.retryable = result.retryable;
  if (!result.message.empty()) told.message = result.message;
}

/// The buffer of a thread that publishes. Kept between calls, but never at the size of an exceptional one.
std::string& thread_arena() {
  thread_local std::string arena;
  arena.clear();
  if (arena.capacity() > (4U << 20)) arena.shrink_to_fit();
  return arena;
}

/// Stores what could be encoded: `results` of the others say why not already.
void publish_encoded(detail::BusState& bus, std::span<const transport::Outgoing> items,
                     std::span<const std::size_t> places, std::vector<PublishResult>& told) {
  std::vector<transport::Result> results(items.size());
  if (!items.empty()) bus.publish(items, results);
  for (std::size_t i = 0; i < items.size(); ++i) {
    told[places[i]].id = items[i].id;
    take_result(told[places[i]], results[i]);
  }
}

/// A batch large enough that the engine should begin with it before all of it is written.
constexpr std::size_t least_growing = 64;

class GrowingBatch {
 public:
  GrowingBatch(detail::BusState& bus, const detail::TypedBatch& batch, const PublishOptions& options)
      : bus_(bus),
        batch_(batch),
        writer_(batch[0], options, inherited_of(bus, bus.options().environment.clock->wall()),
                bus.options().environment),
        told_(batch.count) {
    writer_.fit(head_);
    places_.reserve(batch.count);
    items_.reserve(batch.count);
    results_.reserve(batch.count);
  }

  std::vector<PublishResult> publish() {
    bus_.publish_growing([this](std::vector<transport::Outgoing>& items) { return more(items); }, items_, results_);
    for (std::size_t i = 0; i < items_.size(); ++i) take_result(told_[places_[i]], results_[i]);
    return std::move(told_);
  }

 private:
  /// Texts that are kept by the thread for its next batch, unless they were exceptional.
  class Arenas {
   public:
    Arenas() noexcept { free_.swap(kept()); }
    ~Arenas() {
      for (std::string& arena : used_) {
        if (free_.size() < 16 && arena.capacity() <= 4 * slice) free_.push_back(std::move(arena));
      }
      kept().swap(free_);
    }
    Arenas(const Arenas&) = delete;
    Arenas& operator=(const Arenas&) = delete;
    std::string& next() {
      std::string& arena = used_.emplace_back();
      if (!free_.empty()) {
        arena.swap(free_.back());
        free_.pop_back();
      }
      arena.clear();
      return arena;
    }

   private:
    static std::vector<std::string>& kept() {
      thread_local std::vector<std::string> of_thread;
      return of_thread;
    }
    std::vector<std::string> free_{};
    std::deque<std::string> used_{};
  };

  /// Writes the next slice; a small one first, so that the engine has something to do soon.
  bool more(std::vector<transport::Outgoing>& items) {
    const std::size_t wanted = next_ == 0 ? slice / 4 : slice;
    std::string& arena = arenas_.next();
    messages_.clear();
    for (; next_ < batch_.count && arena.size() < wanted; ++next_) {
      // Whatever is wrong with one, and be it memory, the others go on: each place has one message or one failure.
      try {
        messages_.push_back({next_, writer_.append(arena, batch_[next_].object, head_)});
      } catch (const Error& error) {
        told_[next_] = failed_item(error);
      } catch (const std::exception& error) {
        told_[next_] =
            failed_item(Error(ErrorCode::internal, std::string("an event cannot be written: ") + error.what()));
      }
    }
    for (const auto& [place, message] : messages_) {
      const transport::Outgoing& item = items.emplace_back(runtime::outgoing(arena, message));
      places_.push_back(place);
      told_[place].id = std::string(item.id);
    }
    return next_ < batch_.count;
  }

  static constexpr std::size_t slice = 48U << 10;
  detail::BusState& bus_;
  const detail::TypedBatch& batch_;
  runtime::MessageWriter writer_;
  core::EnvelopeHead head_{};
  std::vector<PublishResult> told_;
  Arenas arenas_{};
  std::size_t next_ = 0;                                     // Of batch_: the first that is not written.
  std::vector<std::pair<std::size_t, Encoded>> messages_{};  // With their places in batch_.
  std::vector<std::size_t> places_{};                        // Of each item, in batch_.
  std::vector<transport::Outgoing> items_{};
  std::vector<transport::Result> results_{};
};

/// A raw envelope with what it lacked, ready to be stored.
struct RawMessage {
  std::string text{};  ///< Empty: the caller's own bytes are complete.
  std::string id{}, type{}, correlation{}, key{}, stream{};
};

RawMessage complete(std::string_view text, MessageKind kind, const detail::BusState& bus) {
  const Environment& environment = bus.options().environment;
  core::CheckedEnvelope checked = core::check_partial_envelope(text, {.bytes = bus.largest_event()});
  RawMessage message;
  message.type = checked.event.type;
  message.stream = kind == MessageKind::command ? command_stream(message.type) : event_stream(message.type);
  message.key = checked.event.metadata.string("partitionKey").value_or("");
  message.id = std::move(checked.event.id);
  message.correlation = std::move(checked.event.correlationId);
  if (checked.missing == 0) return message;

  std::string& out = message.text;
  out = "{";
  const auto add = [&out](std::string_view name, std::string_view value) {
    if (out.size() > 1) out += ',';
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
  };
  if (checked.missing & core::part_id) {
    message.id = new_event_id(environment.clock->wall(), *environment.random);
    add("id", message.id);
  }
  if (checked.missing & core::part_version) add("version", "1.0");
  if (checked.missing & core::part_timestamp) add("timestamp", format_time(environment.clock->wall()));
  if (checked.missing & core::part_source) {
    bus.check_source();
    add("source", bus.options().source);
  }
  if (checked.missing & core::part_correlation_id) {
    message.correlation = runtime::new_correlation_id(environment.clock->wall(), *environment.random);
    add("correlationId", message.correlation);
  }
  // The rest of the object, byte for byte; it is not empty, since type and data are there.
  out += ',';
  out += text.substr(text.find('{') + 1);
  if (out.size() > bus.largest_event()) {
    throw Error(ErrorCode::too_large, "an event of type " + message.type + " takes " + std::to_string(out.size()) +
                                          " bytes, the limit is " + std::to_string(bus.largest_event()) +
                                          "; store the bulk elsewhere and publish a reference to it");
  }
  return message;
}

}  // namespace

Bus Bus::over(std::shared_ptr<transport::Transport> transport, BusOptions options) {
  if (!transport) throw Error(ErrorCode::invalid, "Bus::over was given no transport");
  return Bus(std::make_shared<detail::BusState>(std::move(transport), std::move(options)));
}

Published Bus::publish_one(const detail::TypedData& data, const PublishOptions& options) {
  state_->check_process();
  state_->check_source();
  std::string& arena = thread_arena();
  const Encoded message =
      runtime::append_message(arena, data, options, inherited_of(*state_), state_->options().environment);
  const transport::Outgoing item = runtime::outgoing(arena, message);
  transport::Result result;
  state_->publish({&item, 1}, {&result, 1});
  if (result.code != ErrorCode::ok) throw Error(result.code, result.retryable, result.message);
  return {std::string(item.id), result.position, result.ambiguous};
}

std::vector<PublishResult> Bus::publish_many(const detail::TypedBatch& batch, const PublishOptions& options) {
  state_->check_process();
  state_->check_source();
  if (!options.id.empty() && batch.count > 1) {
    throw Error(ErrorCode::invalid, "PublishOptions::id was given for a batch; ids are unique, so leave it empty");
  }
  if (batch.count > least_growing && batch.count <= state_->transport().capabilities().largest_batch) {
    return GrowingBatch(*state_, batch, options).publish();
  }
  std::string& arena = thread_arena();
  std::vector<PublishResult> told(batch.count);
  std::vector<Encoded> messages;
  std::vector<std::size_t> places;
  messages.reserve(batch.count);
  places.reserve(batch.count);
  const Inherited inherited = inherited_of(*state_, state_->options().environment.clock->wall());
  for (std::size_t i = 0; i < batch.count; ++i) {
    try {
      messages.push_back(runtime::append_message(arena, batch[i], options, inherited, state_->options().environment));
      places.push_back(i);
    } catch (const Error& error) {
      told[i] = failed_item(error);
    }
  }
  std::vector<transport::Outgoing> items;
  items.reserve(messages.size());
  for (const Encoded& message : messages) items.push_back(runtime::outgoing(arena, message));
  publish_encoded(*state_, items, places, told);
  return told;
}

void Bus::publish_later(const detail::TypedData& data, const PublishOptions& options,
                        std::function<void(const PublishResult&)> on_result) {
  state_->check_process();
  state_->check_source();
  state_->publisher().add(
      [&](std::string& arena) {
        return runtime::append_message(arena, data, options, inherited_of(*state_), state_->options().environment);
      },
      std::move(on_result));
}

void Bus::flush() {
  state_->check_process();
  state_->publisher().flush();
}

std::vector<PublishResult> Bus::publish_json(std::span<const std::string_view> envelopes, MessageKind kind) {
  state_->check_process();
  std::vector<PublishResult> told(envelopes.size());
  std::vector<RawMessage> messages(envelopes.size());
  std::vector<transport::Outgoing> items;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < envelopes.size(); ++i) {
    try {
      RawMessage& message = messages[i];
      message = complete(envelopes[i], kind, *state_);
      items.push_back({.stream = message.stream,
                       .id = message.id,
                       .type = message.type,
                       .correlation = message.correlation,
                       .key = message.key,
                       .envelope = message.text.empty() ? envelopes[i] : std::string_view(message.text)});
      places.push_back(i);
    } catch (const Error& error) {
      told[i] = failed_item(error);
    }
  }
  publish_encoded(*state_, items, places, told);
  return told;
}

transport::Transport& Bus::transport() const noexcept { return state_->transport(); }
Level Bus::level() const noexcept { return state_->level(); }
const BusOptions& Bus::options() const noexcept { return state_->options(); }

}  // namespace tidings
