#include "core/envelope.hpp"

#include <array>
#include <utility>

#include <tidings/detail/json_reader.hpp>
#include <tidings/detail/json_writer.hpp>
#include <tidings/error.hpp>

#include "core/gathered.hpp"

namespace tidings::core {
namespace {

constexpr std::array<std::string_view, 4> own_metadata{"causationId", "traceparent", "tracestate", "partitionKey"};

void append_string_member(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  detail::write_key(out, name);
  append_json_string(out, value);
}

void append_metadata(std::string& out, const EnvelopeView& view) {
  const bool has_fields = view.metadata != nullptr && !view.metadata->empty();
  if (!has_fields && view.causation_id.empty() && view.traceparent.empty() && view.tracestate.empty() &&
      view.key.empty()) {
    return;
  }
  out += R"(,"metadata":{)";
  append_string_member(out, own_metadata[0], view.causation_id);
  append_string_member(out, own_metadata[1], view.traceparent);
  append_string_member(out, own_metadata[2], view.tracestate);
  append_string_member(out, own_metadata[3], view.key);
  if (has_fields) {
    for (std::string_view name : own_metadata) {
      if (view.metadata->find(name) == nullptr) continue;
      throw Error(ErrorCode::invalid, "metadata may not set \"" + std::string(name) +
                                          "\", which Tidings writes itself; use the publish option of that meaning");
    }
    for (const auto& [name, value] : *view.metadata) {
      detail::write_key(out, name);
      detail::write_raw(out, value.text(), detail::data_depth + 1);
    }
  }
  out += '}';
}

/// From the end of the id to the beginning of the correlation id: the same in many events in a row.
class Middle {
 public:
  std::string_view of(const EnvelopeView& view) {
    if (view.timestamp != timestamp_ || view.type != type_ || view.version != version_ || view.source != source_ ||
        text_.empty()) {
      write(view);
    }
    return text_;
  }

 private:
  void write(const EnvelopeView& view) {
    text_.clear();  // What follows may throw.
    std::string text;
    Gathered out(text);
    out.literal(R"(,"type":)");
    out.string(view.type);
    out.literal(R"(,"version":)");
    out.string(view.version);
    out.literal(R"(,"timestamp":")");
    out.time(view.timestamp);
    out.literal(R"(","source":)");
    out.string(view.source);
    out.literal(R"(,"correlationId":)");
    out.flush();
    type_ = view.type;
    version_ = view.version;
    source_ = view.source;
    timestamp_ = view.timestamp;
    text_ = std::move(text);
  }

  std::string type_{}, version_{}, source_{}, text_{};
  Wall timestamp_{};
};

void append_parts(std::string& out, const EnvelopeView& view) {
  thread_local Middle middle;
  Gathered head(out);
  head.literal(R"({"id":)");
  head.string(view.id);
  head.raw(middle.of(view));
  head.string(view.correlation_id);
  head.literal(R"(,"data":)");
  head.flush();
  view.write_data(out, view.data);
  append_metadata(out, view);
  out += '}';
}

}  // namespace

void append_envelope(std::string& out, const EnvelopeView& view) {
  const std::size_t before = out.size();
  try {
    append_parts(out, view);
  } catch (...) {
    out.resize(before);
    throw;
  }
}

CheckedEnvelope check_partial_envelope(std::string_view text, const JsonLimits& limits) {
  validate_json(text, limits);
  CheckedEnvelope checked;
  Event& event = checked.event;
  // The bits of the reader's members, in its order, and what they are called here.
  constexpr std::uint32_t optional = 1U << 0 | 1U << 2 | 1U << 3 | 1U << 4 | 1U << 5;
  constexpr std::array<std::pair<unsigned, EnvelopePart>, 5> parts{
      {{0, part_id}, {2, part_version}, {3, part_timestamp}, {4, part_source}, {5, part_correlation_id}}};
  std::uint32_t seen = 0;
  const std::string padded = detail::padded_copy(text);
  detail::read_envelope(std::string_view(padded).substr(0, text.size()),
                        {&event.id, &event.type, &event.version, &event.timestamp, &event.source, &event.correlationId,
                         &event.metadata, &event.extra, &detail::read_into<Json>, &event.data, optional, &seen});
  for (const auto& [bit, part] : parts) {
    if ((seen >> bit & 1U) == 0) checked.missing |= part;
  }
  return checked;
}

Event check_envelope(std::string_view text, const JsonLimits& limits) {
  validate_json(text, limits);
  return decode<Json>(text);
}

}  // namespace tidings::core
