// What the HTTP endpoints take and answer.
#pragma once

#include <tidings/describe.hpp>

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
