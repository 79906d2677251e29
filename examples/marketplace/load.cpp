#include "load.hpp"

#include "store.hpp"

using namespace std::chrono_literals;

namespace market {
namespace {

struct Stopped {};

constexpr auto patience = 60s;
enum Client : std::size_t { to_user, to_project, to_booking, clients };

}  // namespace

Load::Load(const Cast& cast, LoadOptions options) : cast_(cast), options_(options) {
  for (unsigned i = 0; i < options_.people; ++i) {
    people_.emplace_back([this](const std::stop_token& stop) { tell(stop); });
  }
}

Load::~Load() = default;

void Load::stop() {
  for (std::jthread& person : people_) person.request_stop();
}

double Load::progress() const noexcept { return static_cast<double>(told_) / options_.stories; }

std::optional<std::string> Load::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Load::tell(const std::stop_token& stop) {
  HttpClient connections[clients];
  try {
    for (std::uint32_t number = 0; (number = next_++) < options_.stories && !stop.stop_requested();) {
      tell(stop, connections, number);
      ++told_;
    }
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = error.what();
  }
  ++ended_;
}

void Load::tell(const std::stop_token& stop, HttpClient* connection, std::uint32_t number) {
  const Story story = tell_story(number);
  const std::string key = "story-" + std::to_string(number) + "-";
  (void)ask(stop, connection[to_user], "user", "POST", "/users", to_json(story.client), key + "client");
  const Answered freelancer =
      ask(stop, connection[to_user], "user", "POST", "/users", to_json(story.freelancer), key + "freelancer");
  const Answered project =
      ask(stop, connection[to_project], "project", "POST", "/projects", to_json(story.project), key + "project");
  (void)ask(stop, connection[to_project], "project", "POST", "/projects/" + project.id + "/publish", "{}",
            key + "publish");
  if (story.moves) {
    UserRequest moved = story.freelancer;
    moved.name += moved.name.empty() ? "Newly Named" : " (" + moved.skills.front() + ")";
    (void)ask(stop, connection[to_user], "user", "PUT", "/users/" + freelancer.id, to_json(moved), key + "moves");
  }
  const BookingRequest booking{project.id, story.project.title, story.freelancer.email, story.client.email,
                               story.price};
  Answered booked =
      ask(stop, connection[to_booking], "booking", "POST", "/bookings", to_json(booking), key + "booking");
  const std::lock_guard lock(mutex_);
  if (!story.client.email.ends_with("@gone.example") && !story.freelancer.email.ends_with("@gone.example")) {
    example_ = std::move(booked);
  }
}

void Load::pace(const std::stop_token& stop) {
  const auto number = static_cast<double>(asked_++);
  if (options_.rate <= 0) return;
  const auto due = began_ + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::duration<double>(number / options_.rate));
  std::unique_lock lock(mutex_);
  wake_.wait_until(lock, stop, due, [] { return false; });
}

Answered Load::ask(const std::stop_token& stop, HttpClient& client, const std::string& service,
                   const std::string& method, const std::string& target, const std::string& body,
                   const std::string& key) {
  pace(stop);
  const std::int64_t sent = now_ms();
  const auto until = std::chrono::steady_clock::now() + patience;
  for (std::string why;; ++repeated_) {
    if (stop.stop_requested()) throw Stopped{};
    try {
      const Response response = client.request(cast_.port(service), method, target, body, key);
      if (response.status < 300) {
        const Made made = from_json<Made>(response.body);
        const std::lock_guard lock(mutex_);
        return answered_.emplace_back(Answered{made.id, made.event, made.correlationId, sent});
      }
      why = std::to_string(response.status) + " " + response.body;
      if (response.status < 500) throw std::logic_error(method + " " + target + ": " + why);
    } catch (const std::runtime_error& error) {
      why = error.what();
    }
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error(method + " " + target + ": " + why);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, 20ms, [] { return false; });
  }
}

}  // namespace market
