// Notifications: turns what happened into mails, and sends them. Deciding and sending are two steps, with a command of
// its own between them, so that a mail server that is busy holds up nothing but that one mail.
#include "events.hpp"
#include "mail.hpp"
#include "program.hpp"

using namespace std::chrono_literals;
using market::SendEmail;
using tidings::Context;
using tidings::DomainEvent;

namespace {

std::string money(std::int64_t cents) {
  const std::string rest = std::to_string(cents % 100);
  return std::to_string(cents / 100) + "." + (rest.size() < 2 ? "0" + rest : rest) + " EUR";
}

void decide(tidings::Service& service) {
  service.on<market::UserCreated>([](const DomainEvent<market::UserCreated>& event, Context& context) {
    context.send(
        SendEmail{event.data.email, "Welcome, " + event.data.name, "Your account " + event.data.userId + " is ready."});
  });
  service.on<market::ProjectPublished>([](const DomainEvent<market::ProjectPublished>& event, Context& context) {
    context.send(SendEmail{event.data.clientEmail, "Published: " + event.data.title,
                           "Freelancers can see it now. Budget: " + money(event.data.budget)});
  });
  service.on<market::BookingCreated>([](const DomainEvent<market::BookingCreated>& event, Context& context) {
    context.send(SendEmail{event.data.freelancerEmail, "You are booked: " + event.data.title,
                           "Booking " + event.data.bookingId + " for " + money(event.data.price)});
  });
  service.on<market::PaymentCompleted>([](const DomainEvent<market::PaymentCompleted>& event, Context& context) {
    context.send(SendEmail{event.data.clientEmail, "Receipt for " + event.data.title,
                           "We charged " + money(event.data.amount) + " for booking " + event.data.bookingId});
  });
}

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("notification", argc, argv, [](const market::Place&) {
    auto bus = market::open_bus("notification-service");
    tidings::Service service{bus, "notification", {.concurrency = 4}};
    decide(service);
    service.on<SendEmail>(
        [](const DomainEvent<SendEmail>& command, Context&) {
          // The command's id is the mail's: sent twice, whoever receives it can tell.
          market::send_mail({.message_id = command.id + "@marketplace.example",
                             .correlation_id = command.correlationId,
                             .to = command.data.to,
                             .subject = command.data.subject,
                             .text = command.data.text});
        },
        {.max_attempts = 4, .backoff = {.first = 200ms, .longest = 2s}, .timeout = 20s});
    return market::run_service(service);
  });
}
