// The catalog of ADR-005: every event and command of the marketplace, with what its consumers need. The one header that
// the services share beside their plumbing.
#pragma once

#include <tidings/tidings.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace market {

enum class Role { FREELANCER, CLIENT };
TIDINGS_ENUM(Role, FREELANCER, CLIENT)

/// Produced by user; handled by notification and search.
struct UserCreated {
  std::string userId, email, name;
  Role role = Role::CLIENT;
  std::vector<std::string> skills;
};
TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, email, name, role, skills)

/// Produced by user; handled by search.
struct UserUpdated {
  std::string userId, email, name;
  std::vector<std::string> skills;
  std::int64_t revision = 1;  ///< Grows with each update of this user: events may come out of order.
};
TIDINGS_EVENT(UserUpdated, "user.updated", "1.0", userId, email, name, skills, revision)

/// Produced by project; handled by search and analytics. Money is in cents.
struct ProjectCreated {
  std::string projectId, clientEmail, title;
  std::vector<std::string> skills;
  std::int64_t budget = 0;
};
TIDINGS_EVENT(ProjectCreated, "project.created", "1.0", projectId, clientEmail, title, skills, budget)

/// Produced by project; handled by search and notification.
struct ProjectPublished {
  std::string projectId, clientEmail, title;
  std::vector<std::string> skills;
  std::int64_t budget = 0;
};
TIDINGS_EVENT(ProjectPublished, "project.published", "1.0", projectId, clientEmail, title, skills, budget)

/// Produced by booking; handled by notification and payment.
struct BookingCreated {
  std::string bookingId, projectId, title, freelancerEmail, clientEmail;
  std::int64_t price = 0;
};
TIDINGS_EVENT(BookingCreated, "booking.created", "1.0", bookingId, projectId, title, freelancerEmail, clientEmail,
              price)

/// Produced by payment; handled by booking and notification.
struct PaymentCompleted {
  std::string paymentId, bookingId, title, clientEmail;
  std::int64_t amount = 0;
};
TIDINGS_EVENT(PaymentCompleted, "payment.completed", "1.0", paymentId, bookingId, title, clientEmail, amount)

/// Owned by notification.
struct SendEmail {
  std::string to, subject, text;
};
TIDINGS_COMMAND(SendEmail, "send.email", "1.0", to, subject, text)

/// Owned by search.
struct IndexProject {
  std::string projectId, title;
  std::vector<std::string> skills;
  std::int64_t budget = 0;
  bool published = false;
};
TIDINGS_COMMAND(IndexProject, "index.project", "1.0", projectId, title, skills, budget, published)

}  // namespace market
