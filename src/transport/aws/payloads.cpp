// S3, and what both stores share.
#include "transport/aws/payloads.hpp"

#include "transport/aws/digest.hpp"
#include "transport/aws/payload_files.hpp"

namespace tidings::transport::aws {
namespace {

// A slow line is given a second for each MiB.
std::chrono::milliseconds limit_for(std::size_t bytes) {
  return std::chrono::milliseconds(10'000) + std::chrono::seconds(bytes >> 20U);
}

class S3Payloads final : public Payloads {
 public:
  S3Payloads(const PayloadPlace& place, Client& client) : Payloads(place, client) {}

  std::optional<Outcome> put(Client::Flight& flight, Work& work, std::string_view key, std::string_view bytes,
                             WaitClock::time_point deadline) override {
    prepare(work, key, true);
    // S3 refuses what arrives otherwise; a bucket with object lock refuses what has no such header.
    work.digest = base64(as_key(sha256({bytes})));
    work.headers[0] = {"Content-Type", "application/json"};
    work.headers[1] = {"x-amz-checksum-sha256", work.digest};
    flight.start({.service = Service::s3,
                  .operation = "PutObject",
                  .body = bytes,
                  .limit = limit_for(bytes.size()),
                  .path = work.path,
                  .headers = work.headers},
                 work.reply, deadline);
    return std::nullopt;
  }

  std::optional<Outcome> get(Client::Flight& flight, Work& work, std::string_view key,
                             WaitClock::time_point deadline) override {
    prepare(work, key, false);
    flight.start(
        {.service = Service::s3, .operation = "GetObject", .limit = limit_for(largest_payload), .path = work.path},
        work.reply, deadline);
    return std::nullopt;
  }

  Outcome outcome(Work& work) const override {
    Outcome out;
    if (work.reply.ok()) {
      if (!work.stores) out.bytes = std::move(work.reply.body);
      return out;
    }
    // Without a bucket nothing is known of the object.
    out.gone = !work.stores && work.reply.fault == Fault::not_found && !work.reply.refusal.is("NoSuchBucket");
    out.error.emplace(work.reply.error(work.stores ? "PutObject" : "GetObject", place_.bucket + work.path));
    return out;
  }

  // The bucket's own lifecycle rule does it.
  Millis tend(Wall) override { return std::chrono::hours(24); }

 private:
  static void prepare(Work& work, std::string_view key, bool stores) {
    work.stores = stores;
    work.path = "/";
    for (std::size_t at = 0;;) {
      const std::size_t end = std::min(key.find('/', at), key.size());
      append_encoded(work.path, key.substr(at, end - at));
      if (end == key.size()) return;
      work.path += '/';
      at = end + 1;
    }
  }
};

}  // namespace

std::unique_ptr<Payloads> Payloads::open(const PayloadPlace& place, Client& client) {
  switch (place.kind) {
    case PayloadPlace::Kind::file:
      return open_payload_files(place, client);
    case PayloadPlace::Kind::s3:
      return std::make_unique<S3Payloads>(place, client);
    case PayloadPlace::Kind::none:
      break;
  }
  return nullptr;
}

Payloads::Outcome Payloads::put(std::string_view key, std::string_view bytes, WaitClock::time_point deadline) {
  Work work;
  Client::Flight flight(client_);
  if (auto decided = put(flight, work, key, bytes, deadline)) return std::move(*decided);
  while (flight.next(WaitClock::time_point::max()) == nullptr) {
  }
  return outcome(work);
}

Payloads::Outcome Payloads::get(std::string_view key, WaitClock::time_point deadline) {
  Work work;
  Client::Flight flight(client_);
  if (auto decided = get(flight, work, key, deadline)) return std::move(*decided);
  while (flight.next(WaitClock::time_point::max()) == nullptr) {
  }
  return outcome(work);
}

}  // namespace tidings::transport::aws
