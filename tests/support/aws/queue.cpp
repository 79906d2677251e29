#include "queue.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "text.hpp"

namespace tidings::support::aws {
namespace {

constexpr Millis longest_visibility = std::chrono::seconds(43'200);
constexpr Millis deduplication_window = std::chrono::minutes(5);

const std::map<std::string, std::string>& defaults() {
  static const std::map<std::string, std::string> all{
      {"DelaySeconds", "0"},       {"MaximumMessageSize", "1048576"},      {"MessageRetentionPeriod", "345600"},
      {"VisibilityTimeout", "30"}, {"ReceiveMessageWaitTimeSeconds", "0"}, {"SqsManagedSseEnabled", "true"},
  };
  return all;
}

[[noreturn]] void refuse_handle(const std::string& handle, const std::string& why) {
  refuse_parameter("Value " + handle + " for parameter ReceiptHandle is invalid. Reason: " + why);
}

}  // namespace

Queue::Queue(World& world, std::string name, std::map<std::string, std::string> set)
    : attributes(std::move(set)),
      created(world.now()),
      modified(created),
      world_(world),
      name_(std::move(name)),
      arn_(world.arn("sqs", name_)),
      secret_(random_text(32)) {
  attributes.insert(defaults().begin(), defaults().end());
  if (fifo()) {
    attributes.emplace("ContentBasedDeduplication", "false");
    attributes.emplace("DeduplicationScope", "queue");
    attributes.emplace("FifoThroughputLimit", "perQueue");
  }
}

std::string Queue::dead_letter_arn() const {
  const auto found = attributes.find("RedrivePolicy");
  if (found == attributes.end()) return {};
  const auto policy = Json::parse(found->second);
  return *policy->find("deadLetterTargetArn")->string();
}

std::int64_t Queue::most_receives() const {
  return *Json::parse(attributes.at("RedrivePolicy"))->find("maxReceiveCount")->integer();
}

std::int64_t Queue::store(Stored message) {
  const std::int64_t serial = ++last_serial_;
  if (fifo()) {
    std::array<char, 24> digits{};
    std::snprintf(digits.data(), digits.size(), "%020lld", static_cast<long long>(serial));
    message.sequence = digits.data();
  }
  ages_.emplace(message.sent, serial);
  Stored& placed = messages_.emplace(serial, std::move(message)).first->second;
  if (placed.available > world_.now()) {
    waiting_.emplace(placed.available, serial);
  } else {
    ready_.insert(serial);
  }
  history.push_back(view(placed));
  world_.changed();
  return serial;
}

Queue::Receipt Queue::send(Parcel parcel, const std::string& sender) {
  const Wall now = world_.now();
  std::string once;
  if (fifo()) {
    if (parcel.deduplication.empty()) parcel.deduplication = hex(sha256(parcel.body));
    once = parcel.deduplication;
    if (attributes.at("DeduplicationScope") == "messageGroup") once += "\n" + parcel.group;
    std::erase_if(seen_, [&](const auto& each) { return each.second.until <= now; });
    if (const auto found = seen_.find(once); found != seen_.end()) return found->second.receipt;
  }
  Stored message{.id = parcel.id.empty() ? uuid() : parcel.id,
                 .body = std::move(parcel.body),
                 .attributes = std::move(parcel.attributes),
                 .system = std::move(parcel.system),
                 .group = std::move(parcel.group),
                 .deduplication = std::move(parcel.deduplication),
                 .sender = sender,
                 .sent = now,
                 .available = now + parcel.delay.value_or(duration("DelaySeconds"))};
  const Stored& placed = messages_.at(store(std::move(message)));
  Receipt receipt{placed.id, placed.sequence};
  if (fifo()) seen_.emplace(once, Once{now + deduplication_window, receipt});
  return receipt;
}

void Queue::put(Stored message) {
  message.in_flight = false;
  message.available = world_.now();
  store(std::move(message));
}

void Queue::wait(std::int64_t serial, Stored& message, Wall until, bool in_flight) {
  ready_.erase(serial);
  message.available = until;
  message.in_flight = in_flight;
  if (in_flight) ++in_flight_;
  waiting_.emplace(until, serial);
}

void Queue::unwait(std::int64_t serial, Stored& message) {
  waiting_.erase({message.available, serial});
  if (std::exchange(message.in_flight, false)) --in_flight_;
}

void Queue::erase(std::int64_t serial) {
  const auto found = messages_.find(serial);
  unwait(serial, found->second);
  ready_.erase(serial);
  ages_.erase({found->second.sent, serial});
  messages_.erase(found);
}

void Queue::refresh() {
  const Wall now = world_.now();
  const Millis retention = duration("MessageRetentionPeriod");
  while (!ages_.empty() && ages_.begin()->first + retention <= now) erase(ages_.begin()->second);
  while (!waiting_.empty() && waiting_.begin()->first <= now) {
    const std::int64_t serial = waiting_.begin()->second;
    unwait(serial, messages_.at(serial));
    ready_.insert(serial);
  }
}

// A group is locked while one of it is in flight. One that is delayed holds back none before it.
std::set<std::string> Queue::locked_groups() const {
  std::set<std::string> locked;
  for (const auto& [until, serial] : waiting_) {
    const Stored& message = messages_.at(serial);
    if (message.in_flight) locked.insert(message.group);
  }
  return locked;
}

// The serial behind `last` in the order of delivery; nothing at the end.
std::optional<std::int64_t> Queue::next_ready(std::optional<std::int64_t> last, bool newest_first) const {
  if (newest_first) {
    const auto end = last ? ready_.lower_bound(*last) : ready_.end();
    return end == ready_.begin() ? std::nullopt : std::optional(*std::prev(end));
  }
  const auto next = last ? ready_.upper_bound(*last) : ready_.begin();
  return next == ready_.end() ? std::nullopt : std::optional(*next);
}

Queue::Received Queue::hand_out(std::int64_t serial, Millis visibility) {
  const Wall now = world_.now();
  Stored& message = messages_.at(serial);
  ++message.receives;
  message.received = now;
  if (message.first_received == Wall{}) message.first_received = now;
  if (visibility > Millis::zero()) {
    unwait(serial, message);
    wait(serial, message, now + visibility, true);
  }
  return {message, handle_of(serial, message.receives)};
}

std::vector<Queue::Received> Queue::receive(std::size_t most, Millis visibility, Queue* dead) {
  std::vector<Received> out;
  for (const std::int64_t serial : std::exchange(again_, {})) {
    if (messages_.contains(serial) && out.size() < most) out.push_back(hand_out(serial, visibility));
  }
  const bool newest_first = !fifo() && world_.faults.out_of_order;
  const std::set<std::string> locked = fifo() ? locked_groups() : std::set<std::string>();
  std::optional<std::int64_t> at;
  while (out.size() < most && in_flight_ < static_cast<std::size_t>(world_.faults.most_in_flight)) {
    at = next_ready(at, newest_first);
    if (!at) break;
    const Stored& message = messages_.at(*at);
    if (fifo() && locked.contains(message.group)) continue;
    if (dead != nullptr && message.receives >= most_receives()) {
      Stored given = message;
      given.dead_letter_source = arn_;
      // A FIFO queue counts retention from here; a standard one from the first sending.
      if (fifo()) given.sent = world_.now();
      erase(*at);
      dead->put(std::move(given));
      continue;
    }
    out.push_back(hand_out(*at, visibility));
    if (!fifo() && world_.faults.twice > 0) {
      --world_.faults.twice;
      again_.push_back(*at);
      world_.changed();
    }
  }
  return out;
}

std::string Queue::handle_of(std::int64_t serial, int receive) const {
  const std::string plain = std::to_string(serial) + ":" + std::to_string(receive);
  return base64(plain + ":" + hmac_sha256(secret_, plain));
}

Queue::Handle Queue::parse(const std::string& handle) const {
  const std::string bytes = from_base64(handle).value_or("");
  const std::size_t first = bytes.find(':');
  const std::size_t second = first == std::string::npos ? first : bytes.find(':', first + 1);
  if (second == std::string::npos || bytes.substr(second + 1) != hmac_sha256(secret_, bytes.substr(0, second)))
    throw Refusal{404, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.", {}};
  return {std::stoll(bytes.substr(0, first)), std::stoi(bytes.substr(first + 1, second - first - 1))};
}

void Queue::remove(const std::string& handle) {
  const Handle given = parse(handle);
  refresh();
  const auto found = messages_.find(given.serial);
  if (found == messages_.end()) return;
  const bool stale = given.receive != found->second.receives;
  if (fifo() && (stale || !found->second.in_flight)) refuse_handle(handle, "The receipt handle has expired.");
  if (stale && world_.faults.stale_ignored) return;
  erase(given.serial);
  world_.changed();
}

void Queue::change_visibility(const std::string& handle, Millis timeout) {
  const Handle given = parse(handle);
  refresh();
  const auto found = messages_.find(given.serial);
  if (found == messages_.end()) {
    refuse_handle(handle, "Message does not exist or is not available for visibility timeout change.");
  }
  Stored& message = found->second;
  const bool stale = given.receive != message.receives;
  if (fifo() && (stale || !message.in_flight)) refuse_handle(handle, "The receipt handle has expired.");
  if (!message.in_flight) throw Refusal{400, "MessageNotInflight", "The message referred to isn't in flight.", {}};
  if (stale && world_.faults.stale_ignored) return;
  const Wall now = world_.now();
  if (now + timeout > message.received + longest_visibility) {
    refuse_parameter("Value " + std::to_string(timeout.count() / 1000) +
                     " for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is "
                     "beyond the limit [43200 seconds]");
  }
  unwait(given.serial, message);
  if (timeout > Millis::zero()) {
    wait(given.serial, message, now + timeout, true);
  } else {
    message.available = now;
    ready_.insert(given.serial);
  }
  world_.changed();
}

std::optional<Stored> Queue::take_visible() {
  refresh();
  if (ready_.empty()) return std::nullopt;
  const std::int64_t serial = *ready_.begin();
  Stored message = std::move(messages_.at(serial));
  erase(serial);
  return message;
}

void Queue::purge() {
  while (!messages_.empty()) erase(messages_.begin()->first);
  purged = world_.now();
}

AwsMessage Queue::view(const Stored& message) const {
  return {.id = message.id,
          .body = message.body,
          .attributes = message.attributes,
          .group = message.group,
          .deduplication = message.deduplication,
          .sequence = message.sequence,
          .dead_letter_source = message.dead_letter_source,
          .sent = message.sent,
          .available = message.available,
          .receives = message.receives,
          .state = message.in_flight                  ? AwsMessage::State::in_flight
                   : message.available > world_.now() ? AwsMessage::State::delayed
                                                      : AwsMessage::State::visible};
}

std::vector<AwsMessage> Queue::contents() const {
  std::vector<AwsMessage> out;
  for (const auto& [serial, message] : messages_) out.push_back(view(message));
  return out;
}

}  // namespace tidings::support::aws
