// Dead letters of a queue on their way back, or away, where no shelf holds them.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iterator>
#include <thread>
#include <unordered_set>

#include "core/envelope_member.hpp"
#include "transport/aws/store.hpp"
#include "transport/aws/visibility.hpp"

namespace tidings::transport::aws {
namespace {

// Long enough for what is received first to stay hidden until the last one was looked at.
constexpr unsigned hidden_seconds = 600;
constexpr Millis shortest_look{50}, longest_look{2'000};
constexpr Millis clocks_differ{300'000};  // AWS's and ours, at most, or so.

// One walk over the dead letters of a group, by receiving them: SQS knows no other way to look at messages. What does
// not match is given back when the walk is over.
class Walk {
 public:
  Walk(Store& store, std::string stream, std::string dead_url, std::string to)
      : store_(store),
        stream_(std::move(stream)),
        dead_url_(std::move(dead_url)),
        to_(std::move(to)),
        started_(store.environment().clock->wall()) {}
  ~Walk() {
    try {
      give_back();
    } catch (...) {
      // They come back by themselves when their time is over.
    }
  }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  // Sends those that match to the queue, unless they are to be dropped, and then deletes them.
  std::size_t run(const ShelfQuery& query, bool drop) {
    std::size_t moved = 0;
    while (moved < query.limit) {
      std::vector<sqs::Inbound> some = receive(std::min(query.limit - moved, largest_batch));
      if (some.empty()) return moved;
      std::vector<sqs::Inbound> chosen;
      bool again = false;  // The walk took longer than its first ones stay hidden.
      for (sqs::Inbound& each : some) {
        again = !seen_.insert(each.id).second || again;
        if (each.intact && matches(query, each) && (drop || !has_come_back(each))) {
          chosen.push_back(std::move(each));
        } else {
          kept_.push_back(std::move(each.receipt));
        }
      }
      if (!drop) send(chosen);
      remove(chosen);
      moved += chosen.size();
      if (again) break;
    }
    return moved;
  }

 private:
  std::vector<sqs::Inbound> receive(std::size_t most) {
    std::string body;
    sqs::write_receive_message(
        body, dead_url_,
        {.most = static_cast<unsigned>(most), .wait_seconds = 1, .visibility_seconds = hidden_seconds});
    return sqs::read_receive_message(
        store_.topology().call(Service::sqs, "ReceiveMessage", body, dead_url_, deadline_in(patience)).body);
  }

  // By the id of its event, also where only the payload's name has it, or by SQS's own name of the message.
  [[nodiscard]] bool is_named(const std::vector<std::string>& ids, const sqs::Inbound& message) const {
    const std::string id = core::envelope_member(message.body, "id");
    Pointer pointer;
    if (store_.payloads() != nullptr && is_pointer(message.body))
      pointer = read_pointer(store_.payloads()->place(), message.body);
    return std::any_of(ids.begin(), ids.end(), [&](const std::string& name) {
      return name == message.id || name == id ||
             (!pointer.key.empty() &&
              pointer.key == payload_key(store_.payloads()->place(), stream_, name, pointer.sha256));
    });
  }

  // Whoever handles them meanwhile may give them up again at once, and the walk would never end.
  [[nodiscard]] bool has_come_back(const sqs::Inbound& message) {
    const bool known = !sent_.insert(std::hash<std::string_view>{}(message.body)).second;
    return known && message.sent > started_ - clocks_differ;
  }

  [[nodiscard]] bool matches(const ShelfQuery& query, const sqs::Inbound& message) const {
    if (!query.ids.empty() && !is_named(query.ids, message)) return false;
    if (query.reason.empty()) return true;
    const std::string* const reason = message.attribute("reason");
    return reason != nullptr && *reason == query.reason;
  }

  // What it carries beside its body, without what we said of its death.
  static std::vector<MessageAttribute> attributes_beside(const sqs::Inbound& message) {
    constexpr std::string_view ours[] = {"type", "reason", "error", "attempts", "failedAt", "run", "origin"};
    std::vector<MessageAttribute> all{{.name = "run", .value = "0"}, {.name = "origin", .value = "redrive"}};
    std::copy_if(message.attributes.begin(), message.attributes.end(), std::back_inserter(all), [&](const auto& each) {
      return std::find(std::begin(ours), std::end(ours), each.name) == std::end(ours);
    });
    return all;
  }

  static std::string type_of(const sqs::Inbound& message) {
    const std::string* const type = message.attribute("type");
    return type != nullptr ? *type : std::string(core::envelope_text(message.body, "type"));
  }

  // What cannot be sent stays, and is told.
  void send(const std::vector<sqs::Inbound>& messages) {
    std::vector<Outgoing> items;
    std::vector<std::vector<MessageAttribute>> attributes;
    std::deque<std::string> words;
    for (const sqs::Inbound& each : messages) {
      const std::string& id = words.emplace_back(core::envelope_member(each.body, "id"));
      const std::string& type = words.emplace_back(type_of(each));
      items.push_back({.stream = stream_, .id = id, .type = type, .envelope = each.body});
      attributes.push_back(attributes_beside(each));
    }
    if (items.empty()) return;
    std::vector<Result> results(items.size());
    store_.send({.to = to_, .attributes = attributes, .as_it_came = true}, items, patience, results);
    const Result* failed = nullptr;
    std::vector<sqs::Inbound> sent;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (results[i].code == ErrorCode::ok) {
        sent.push_back(messages[i]);
      } else {
        kept_.push_back(messages[i].receipt);
        failed = &results[i];
      }
    }
    if (failed == nullptr) return;
    remove(sent);
    throw Error(failed->code, failed->retryable, failed->message);
  }

  void remove(const std::vector<sqs::Inbound>& messages) {
    if (messages.empty()) return;
    std::vector<std::string_view> receipts;
    for (const sqs::Inbound& each : messages) receipts.push_back(each.receipt);
    std::string body;
    sqs::write_delete_message_batch(body, dead_url_, receipts);
    const Reply reply =
        store_.topology().call(Service::sqs, "DeleteMessageBatch", body, dead_url_, deadline_in(patience));
    std::vector<EntryResult> entries(messages.size());
    sqs::read_entries(reply.body, entries);
    for (const EntryResult& each : entries) {
      if (each.ok()) continue;
      throw Error(ErrorCode::unavailable, true,
                  "aws: a dead letter of " + stream_ + " was handed out and is still there: " + each.code + ": " +
                      each.message + "; it comes once more under the same id when you try again");
    }
  }

  void give_back() {
    std::vector<VisibilityChange> changes;
    for (const std::string& receipt : kept_) changes.push_back({.queue_url = dead_url_, .change = {receipt, 0}});
    (void)change_visibility(store_.client(), changes, deadline_in(Millis(5'000)));
  }

  Store& store_;
  const std::string stream_, dead_url_, to_;
  const Wall started_;
  std::unordered_set<std::string> seen_{};
  std::unordered_set<std::size_t> sent_{};  // Bodies.
  std::vector<std::string> kept_{};
};

std::string attribute_of(Store& store, const std::string& url, std::string_view name) {
  const Attributes has = store.topology().queue_attributes(url, deadline_in(patience));
  const auto found = has.find(name);
  return found == has.end() ? std::string() : found->second;
}

std::size_t count(Store& store, const std::string& url) {
  return std::strtoull(attribute_of(store, url, "ApproximateNumberOfMessages").c_str(), nullptr, 10);
}

// All of them by AWS itself, which costs no request a message. Nothing where AWS, or who asks, does not do that.
std::optional<std::size_t> move_by_task(Store& store, const std::string& dead_url, const std::string& url) {
  const std::string from = attribute_of(store, dead_url, "QueueArn"), to = attribute_of(store, url, "QueueArn");
  std::string body;
  sqs::write_start_message_move_task(body, from, to);
  const Call start{.service = Service::sqs, .operation = "StartMessageMoveTask", .body = body};
  const Reply started = store.client().run(start, deadline_in(patience));
  if (!started.ok()) return {};
  sqs::write_list_message_move_tasks(body, from);
  for (Millis pause = shortest_look;; pause = std::min(2 * pause, longest_look)) {
    const Reply reply = store.topology().call(Service::sqs, "ListMessageMoveTasks", body, from, deadline_in(patience));
    const auto task = sqs::read_message_move_tasks(reply.body);
    if (task && task->status == "COMPLETED") return task->moved;
    if (!task || task->status != "RUNNING") {
      throw Error(ErrorCode::unavailable, true,
                  "aws: the task that moves the dead letters of " + from + " ended as " +
                      (task ? task->status + " after " + std::to_string(task->moved) + ": " + task->failure
                            : "if it had never been") +
                      "; what it left is still there: try again");
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

std::size_t move_dead_letters(Store& store, GroupRef group, const ShelfQuery& query, bool drop) {
  const bool dead = query.states.empty() ||
                    std::find(query.states.begin(), query.states.end(), ShelfState::dead) != query.states.end();
  const Names& names = store.topology().names();
  const std::string url = store.topology().find_queue(names.queue(group.stream, group.group), deadline_in(patience));
  const std::string dead_url =
      store.topology().find_queue(names.dead_letter_queue(group.stream, group.group), deadline_in(patience));
  if (url.empty()) {
    throw Error(ErrorCode::not_found, "there is no group " + std::string(group.group) + " of " +
                                          std::string(group.stream) + " on AWS; see tidings groups");
  }
  if (!dead || dead_url.empty()) return 0;
  if (query.ids.empty() && query.reason.empty() && !drop && count(store, dead_url) <= query.limit) {
    if (const auto moved = move_by_task(store, dead_url, url)) return *moved;
  }
  return Walk(store, std::string(group.stream), dead_url, url).run(query, drop);
}

}  // namespace tidings::transport::aws
