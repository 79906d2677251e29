#include "core/envelope.hpp"

#include <array>
#include <cstring>
#include <utility>

#include <tidings/detail/json_reader.hpp>
#include <tidings/detail/json_writer.hpp>
#include <tidings/error.hpp>

#include "core/id_text.hpp"
#include "core/json_scan.hpp"

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

constexpr std::string_view before_id = R"({"id":)", before_data = R"(,"data":)";
static_assert(EnvelopeHead::id_at == before_id.size() + 1);

/// Appends `id`; where there is none, one that nobody had before.
IdPlace append_id(std::string& out, std::string_view id, std::string_view prefix, const EnvelopeView& view) {
  char fresh[new_id_size];
  if (id.empty() && view.random != nullptr) {
    write_new_id(fresh, prefix, view.timestamp, *view.random);
    id = {fresh, sizeof fresh};
  }
  const std::size_t at = out.size() + 1;
  append_json_string(out, id);
  return {at, out.size() - at == id.size() + 1 ? id.size() : 0};
}

EnvelopeIds append_parts(std::string& out, const EnvelopeView& view, EnvelopeHead& head) {
  EnvelopeIds ids;
  const std::size_t before = out.size();
  if (view.random != nullptr && view.id.empty() && view.correlation_id.empty()) {
    out += head.renewed(*view.random);
    ids = {{before + EnvelopeHead::id_at, new_id_size}, {before + head.correlation_at(), new_id_size}};
  } else {
    out += before_id;
    ids.id = append_id(out, view.id, "evt_", view);
    out += head.middle();
    ids.correlation = append_id(out, view.correlation_id, "req_", view);
    out += before_data;
  }
  view.write_data(out, view.data);
  append_metadata(out, view);
  out += '}';
  return ids;
}

}  // namespace

void EnvelopeHead::fit(const EnvelopeView& view) {
  const auto same = [](std::string_view a, std::string_view b) {
    return a.size() == b.size() && same_bytes(a.data(), b.data(), a.size());
  };
  if (view.timestamp == timestamp_ && same(view.type, type_) && same(view.version, version_) &&
      same(view.source, source_) && !text_.empty()) {
    return;
  }
  text_.clear();  // What follows may throw.
  std::string text;
  char id[new_id_size];
  std::memset(id, '0', sizeof id);
  begin_id(id, "evt_", view.timestamp);
  text += before_id;
  append_json_string(text, {id, sizeof id});
  text += R"(,"type":)";
  append_json_string(text, view.type);
  text += R"(,"version":)";
  append_json_string(text, view.version);
  text += R"(,"timestamp":")";
  append_time(text, view.timestamp);
  text += R"(","source":)";
  append_json_string(text, view.source);
  text += R"(,"correlationId":)";
  begin_id(id, "req_", view.timestamp);
  append_json_string(text, {id, sizeof id});
  text += before_data;
  type_ = view.type;
  version_ = view.version;
  source_ = view.source;
  timestamp_ = view.timestamp;
  text_ = std::move(text);
}

std::string_view EnvelopeHead::renewed(Random& random) noexcept {
  renew_id(text_.data() + id_at, random);
  renew_id(text_.data() + correlation_at(), random);
  return text_;
}

std::string_view EnvelopeHead::middle() const noexcept {
  constexpr std::size_t begin = id_at + new_id_size + 1;
  return std::string_view(text_).substr(begin, correlation_at() - 1 - begin);
}

std::size_t EnvelopeHead::correlation_at() const noexcept {
  return text_.size() - before_data.size() - 1 - new_id_size;
}

EnvelopeIds append_envelope(std::string& out, const EnvelopeView& view, EnvelopeHead& head) {
  const std::size_t before = out.size();
  try {
    return append_parts(out, view, head);
  } catch (...) {
    out.resize(before);
    throw;
  }
}

EnvelopeIds append_envelope(std::string& out, const EnvelopeView& view) {
  thread_local EnvelopeHead head;
  head.fit(view);
  return append_envelope(out, view, head);
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
