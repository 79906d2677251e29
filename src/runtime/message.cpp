#include "runtime/message.hpp"

#include <map>
#include <mutex>
#include <utility>

#include "core/envelope.hpp"
#include "core/id_text.hpp"

namespace tidings::runtime {
namespace {

std::string_view first_of(std::string_view given, std::string_view otherwise) noexcept {
  return given.empty() ? otherwise : given;
}

}  // namespace

std::string new_correlation_id(Wall now, Random& random) {
  char text[core::new_id_size];
  core::write_new_id(text, "req_", now, random);
  return {text, sizeof text};
}

namespace {

void write_message(std::string& arena, Encoded& message, const detail::TypedData& data, const PublishOptions& options,
                   const Inherited& inherited, const Environment& environment) {
  const Wall now = inherited.now ? *inherited.now : environment.clock->wall();
  char fresh_id[core::new_id_size], fresh_correlation_id[core::new_id_size];
  std::string_view id = first_of(options.id, inherited.id);
  if (id.empty()) {
    core::write_new_id(fresh_id, "evt_", now, *environment.random);
    id = {fresh_id, sizeof fresh_id};
  }
  std::string_view correlation = first_of(options.correlation_id, inherited.correlation);
  if (correlation.empty()) {
    core::write_new_id(fresh_correlation_id, "req_", now, *environment.random);
    correlation = {fresh_correlation_id, sizeof fresh_correlation_id};
  }

  message.stream = stream_of(data.info.kind, data.info.type);
  message.type = data.info.type;
  message.id = arena.size();
  arena += id;
  message.correlation = arena.size();
  arena += correlation;
  message.key = arena.size();
  arena += options.key;
  message.envelope = arena.size();

  core::EnvelopeView view;
  view.id = id;
  view.type = data.info.type;
  view.version = data.info.version;
  view.timestamp = now;
  view.source = inherited.source;
  view.correlation_id = correlation;
  view.causation_id = first_of(options.causation_id, inherited.causation);
  view.key = options.key;
  view.traceparent = first_of(options.traceparent, inherited.traceparent);
  view.tracestate = first_of(options.tracestate, inherited.tracestate);
  view.metadata = options.metadata.empty() ? nullptr : &options.metadata;
  view.write_data = data.write;
  view.data = data.object;
  core::append_envelope(arena, view);
  message.end = arena.size();
}

}  // namespace

std::string_view stream_of(MessageKind kind, std::string_view type) {
  // A program publishes few types, one of them many times in a row: the last one is remembered without a lock.
  struct Last {
    MessageKind kind{};
    std::string_view type, stream;
  };
  thread_local Last last;
  if (last.kind == kind && last.type == type && !type.empty()) return last.stream;
  static std::mutex mutex;
  static auto* const names = new std::map<std::pair<MessageKind, std::string>, std::string>;
  const std::lock_guard lock(mutex);
  std::pair<MessageKind, std::string> key(kind, type);
  auto found = names->find(key);
  if (found == names->end()) {
    std::string stream = kind == MessageKind::command ? command_stream(type) : event_stream(type);
    found = names->emplace(std::move(key), std::move(stream)).first;
  }
  last = {kind, found->first.second, found->second};
  return last.stream;
}

Encoded append_message(std::string& arena, const detail::TypedData& data, const PublishOptions& options,
                       const Inherited& inherited, const Environment& environment) {
  const std::size_t before = arena.size();
  Encoded message;
  try {
    write_message(arena, message, data, options, inherited, environment);
    const std::string_view envelope = std::string_view(arena).substr(message.envelope);
    if (envelope.size() > inherited.largest) {
      throw Error(ErrorCode::too_large, "an event of type " + std::string(data.info.type) + " takes " +
                                            std::to_string(envelope.size()) + " bytes, the limit is " +
                                            std::to_string(inherited.largest) +
                                            "; store the bulk elsewhere and publish a reference to it");
    }
  } catch (...) {
    arena.resize(before);
    throw;
  }
  return message;
}

transport::Outgoing outgoing(const std::string& arena, const Encoded& message) noexcept {
  const std::string_view text(arena);
  return {.stream = message.stream,
          .id = text.substr(message.id, message.correlation - message.id),
          .type = message.type,
          .correlation = text.substr(message.correlation, message.key - message.correlation),
          .key = text.substr(message.key, message.envelope - message.key),
          .envelope = text.substr(message.envelope, message.end - message.envelope)};
}

}  // namespace tidings::runtime
