// Payments: charges each booking once, in a ledger that refuses a second charge, and says when it is done.
#include "events.hpp"
#include "program.hpp"
#include "store.hpp"

using namespace std::chrono_literals;

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS charges(booking TEXT PRIMARY KEY, payment TEXT NOT NULL, amount INTEGER NOT NULL,"
    " correlation TEXT NOT NULL, at INTEGER NOT NULL)";

constexpr std::int64_t card_limit = 2'000'000;  // Cents.

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("payment", argc, argv, [](const market::Place& place) {
    market::Store ledger(place.file(".db"), schema);
    auto bus = tidings::Bus::open({}, {.source = "payment-service"});
    tidings::Service service{bus, "payment"};
    service.on<market::BookingCreated>(
        [&](const tidings::DomainEvent<market::BookingCreated>& event, tidings::Context& context) {
          const market::BookingCreated& booking = event.data;
          if (booking.price > card_limit) throw tidings::Reject{"the card is declined: over its limit"};
          if (booking.price % 41 == 0 && context.attempt() == 1) throw tidings::Again{200ms, "the bank is busy"};
          // Handled twice (a process may die between the charge and the settlement), it charges once, and says the
          // same.
          const std::string payment = "pay_" + booking.bookingId.substr(4);
          ledger.query("INSERT OR IGNORE INTO charges(booking, payment, amount, correlation, at) VALUES(?,?,?,?,?)",
                       booking.bookingId, payment, booking.price, event.correlationId, market::now_ms());
          context.publish(
              market::PaymentCompleted{payment, booking.bookingId, booking.title, booking.clientEmail, booking.price});
        },
        {.max_attempts = 5, .backoff = {.first = 200ms, .longest = 2s}});
    return service.run();
  });
}
