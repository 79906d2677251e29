// What the HTTP endpoints take and answer.
#pragma once

#include <tidings/describe.hpp>

#include <algorithm>
#include <string>
#include <string_view>

#include "events.hpp"

namespace market {

/// The JSON text of a described value.
template <class T>
[[nodiscard]] std::string to_json(const T& value) {
  std::string text;
  tidings::write_json(text, value);
  return text;
}

/// What a request's body says. Throws tidings::Error{invalid} for anything that is not JSON or not a `T`.
template <class T>
[[nodiscard]] T from_json(const std::string& text) {
  tidings::validate_json(text);
  return tidings::read_json<T>(text);
}

/// Whether `text` can stand in a header or an address: printable ASCII.
[[nodiscard]] inline bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

/// A mail address, as far as it matters here: one @, nothing that would end a command of SMTP.
[[nodiscard]] inline bool is_address(std::string_view text) {
  const std::size_t at = text.find('@');
  return at != std::string_view::npos && at > 0 && at + 1 < text.size() &&
         text.find('@', at + 1) == std::string_view::npos && is_plain(text) &&
         text.find_first_of(" <>,;:\"()\\") == std::string_view::npos && text.size() <= 254;
}

/// A new id of something that is not an event.
[[nodiscard]] inline std::string fresh_id(const std::string& prefix) {
  return prefix + tidings::new_event_id(tidings::system_clock().wall(), tidings::system_random()).substr(4);
}

/// POST /users, PUT /users/ID.
struct UserRequest {
  std::string name, email;
  Role role = Role::CLIENT;
  std::vector<std::string> skills;
};
TIDINGS_STRUCT(UserRequest, name, email, role, skills)

/// POST /projects.
struct ProjectRequest {
  std::string clientEmail, title;
  std::vector<std::string> skills;
  std::int64_t budget = 0;
};
TIDINGS_STRUCT(ProjectRequest, clientEmail, title, skills, budget)

/// POST /bookings.
struct BookingRequest {
  std::string projectId, title, freelancerEmail, clientEmail;
  std::int64_t price = 0;
};
TIDINGS_STRUCT(BookingRequest, projectId, title, freelancerEmail, clientEmail, price)

/// The answer to each of them: what was made, and the event that says so.
struct Made {
  std::string id, event, correlationId;
};
TIDINGS_STRUCT(Made, id, event, correlationId)

/// GET /bookings/ID.
struct BookingView {
  std::string id, title, status;
  std::int64_t price = 0;
};
TIDINGS_STRUCT(BookingView, id, title, status, price)

/// GET /search?q=WORDS.
struct Hit {
  std::string kind, id, text;
};
TIDINGS_STRUCT(Hit, kind, id, text)

/// GET /stats.
struct SkillCount {
  std::string skill;
  std::int64_t projects = 0, budget = 0;
};
TIDINGS_STRUCT(SkillCount, skill, projects, budget)

/// What went wrong with a request.
struct Problem {
  std::string error;
};
TIDINGS_STRUCT(Problem, error)

}  // namespace market
