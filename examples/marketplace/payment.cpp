// Payments: charges each booking once, in a ledger that refuses a second charge, and says when it is done. Handled
// twice (its process may die between the charge and the settlement), an event finds its charge there, and the same is
// said again.
#include "events.hpp"
#include "program.hpp"
#include "store.hpp"

#include <algorithm>

using namespace std::chrono_literals;

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS charges(booking TEXT PRIMARY KEY, payment TEXT NOT NULL, amount INTEGER NOT NULL,"
    " correlation TEXT NOT NULL, at INTEGER NOT NULL, refused INTEGER NOT NULL DEFAULT 0)";

constexpr std::int64_t card_limit = 2'000'000;  // Cents.

void charge(market::Store& ledger, const market::BookingCreated& booking, const std::string& payment,
            const std::string& correlation) {
  const bool charged = ledger.transaction([&] {
    const auto known = ledger.query("SELECT amount FROM charges WHERE booking=?", booking.bookingId);
    if (known.empty()) {
      ledger.query("INSERT INTO charges(booking, payment, amount, correlation, at) VALUES(?,?,?,?,?)",
                   booking.bookingId, payment, booking.price, correlation, market::now_ms());
      return true;
    }
    ledger.query("UPDATE charges SET refused = refused + 1 WHERE booking=?", booking.bookingId);
    return std::stoll(known[0][0]) == booking.price;
  });
  if (!charged) throw tidings::Reject{"the booking is charged already, with another amount"};
}

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("payment", argc, argv, [](const market::Place& place) {
    market::Store ledger(place.file(".db"), schema);
    auto bus = market::open_bus("payment-service");
    tidings::Service service{bus, "payment"};
    service.on<market::BookingCreated>(
        [&](const tidings::DomainEvent<market::BookingCreated>& event, tidings::Context& context) {
          const market::BookingCreated& booking = event.data;
          if (booking.price > card_limit) throw tidings::Reject{"the card is declined: over its limit"};
          // A bank that is busy now and then: staged, to show a retry.
          if (booking.price % 41 == 0 && context.attempt() == 1) throw tidings::Again{200ms, "the bank is busy"};
          const std::string payment =
              "pay_" + booking.bookingId.substr(std::min<std::size_t>(4, booking.bookingId.size()));
          charge(ledger, booking, payment, event.correlationId);
          context.publish(
              market::PaymentCompleted{payment, booking.bookingId, booking.title, booking.clientEmail, booking.price});
        },
        {.max_attempts = 5, .backoff = {.first = 200ms, .longest = 2s}});
    return market::run_service(service);
  });
}
