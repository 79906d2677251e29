// Bookings: POST /bookings, GET /bookings/ID. A booking is pending until its payment has completed.
#include "outbox.hpp"
#include "program.hpp"

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS bookings(id TEXT PRIMARY KEY, title TEXT NOT NULL, price INTEGER NOT NULL,"
    " status TEXT NOT NULL DEFAULT 'pending', correlation TEXT NOT NULL DEFAULT '', at INTEGER NOT NULL DEFAULT 0)";

constexpr std::int64_t largest_price = 1'000'000'000'000;  // Cents.

market::Response create(market::Store& store, market::Outbox& outbox, const market::Request& request) {
  const auto booking = market::from_json<market::BookingRequest>(request.body);
  if (booking.price <= 0 || booking.price > largest_price)
    throw market::HttpError(400, "price: must be above zero, in cents");
  for (const std::string& email : {booking.freelancerEmail, booking.clientEmail}) {
    if (!market::is_address(email)) throw market::HttpError(400, "freelancerEmail, clientEmail: not an address");
  }
  const std::string id = market::fresh_id("bkg_");
  const market::Made made = outbox.once(request, id, [&] {
    store.query("INSERT INTO bookings(id, title, price) VALUES(?,?,?)", id, booking.title, booking.price);
    return market::BookingCreated{
        id, booking.projectId, booking.title, booking.freelancerEmail, booking.clientEmail, booking.price};
  });
  return {201, market::to_json(made)};
}

market::Response show(market::Store& store, const std::string& id) {
  const auto rows = store.query("SELECT id, title, status, price FROM bookings WHERE id=?", id);
  if (rows.empty()) throw market::HttpError(404, "no booking " + id);
  return {200, market::to_json(market::BookingView{rows[0][0], rows[0][1], rows[0][2], std::stoll(rows[0][3])})};
}

}  // namespace

int main(int argc, char** argv) {
  return market::run_program("booking", argc, argv, [](const market::Place& place) {
    market::Store store(place.file(".db"), (std::string(schema) + ";" + market::outbox_schema).c_str());
    auto bus = market::open_bus("booking-service");
    market::Outbox outbox(store, bus);
    const market::HttpServer server = serve(place, [&](const market::Request& request) {
      if (request.method == "POST" && request.path == "/bookings") return create(store, outbox, request);
      if (request.method == "GET" && request.path.starts_with("/bookings/"))
        return show(store, request.path.substr(10));
      throw market::HttpError(404, "no such resource; POST /bookings, or GET /bookings/ID");
    });

    tidings::Service service{bus, "booking"};
    service.on<market::PaymentCompleted>([&](const tidings::DomainEvent<market::PaymentCompleted>& event) {
      // Said twice it changes nothing; said of a booking that is not there it is a mistake that waiting does not mend.
      const auto rows = store.query(
          "UPDATE bookings SET correlation = CASE status WHEN 'pending' THEN ?1 ELSE correlation END,"
          " at = CASE status WHEN 'pending' THEN ?2 ELSE at END, status = 'confirmed' WHERE id = ?3 RETURNING id",
          event.correlationId, market::now_ms(), event.data.bookingId);
      if (rows.empty()) throw tidings::Reject{"no booking " + event.data.bookingId};
    });
    return market::run_service(service);
  });
}
