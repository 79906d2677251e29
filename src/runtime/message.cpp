#include "runtime/message.hpp"

#include <map>
#include <mutex>
#include <utility>

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

MessageWriter::MessageWriter(const detail::TypedData& data, const PublishOptions& options, const Inherited& inherited,
                             const Environment& environment)
    : largest_(inherited.largest), stream_(stream_of(data.info.kind, data.info.type)) {
  view_.id = first_of(options.id, inherited.id);
  view_.type = data.info.type;
  view_.version = data.info.version;
  view_.timestamp = inherited.now ? *inherited.now : environment.clock->wall();
  view_.source = inherited.source;
  view_.correlation_id = first_of(options.correlation_id, inherited.correlation);
  view_.causation_id = first_of(options.causation_id, inherited.causation);
  view_.key = options.key;
  view_.traceparent = first_of(options.traceparent, inherited.traceparent);
  view_.tracestate = first_of(options.tracestate, inherited.tracestate);
  view_.metadata = options.metadata.empty() ? nullptr : &options.metadata;
  view_.write_data = data.write;
  view_.random = environment.random;
}

Encoded MessageWriter::append(std::string& arena, const void* object, core::EnvelopeHead& head) {
  Encoded message{.stream = stream_, .type = view_.type};
  message.envelope = arena.size();
  view_.data = object;
  const core::EnvelopeIds ids = core::append_envelope(arena, view_, head);
  message.end = arena.size();
  try {
    const std::size_t size = message.end - message.envelope;
    if (size > largest_) {
      throw Error(ErrorCode::too_large, "an event of type " + std::string(view_.type) + " takes " +
                                            std::to_string(size) + " bytes, the limit is " + std::to_string(largest_) +
                                            "; store the bulk elsewhere and publish a reference to it");
    }
    const auto stand = [&arena](core::IdPlace place, std::string_view text) {
      if (place.size > 0 || text.empty()) return Encoded::Part{place.at, place.size};
      arena += text;
      return Encoded::Part{arena.size() - text.size(), text.size()};
    };
    message.id = stand(ids.id, view_.id);
    message.correlation = stand(ids.correlation, view_.correlation_id);
    message.key = stand({}, view_.key);
  } catch (...) {
    arena.resize(message.envelope);
    throw;
  }
  return message;
}

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
  thread_local core::EnvelopeHead head;
  MessageWriter writer(data, options, inherited, environment);
  writer.fit(head);
  return writer.append(arena, data.object, head);
}

}  // namespace tidings::runtime
