#include "transport/redis/connection.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace tidings::transport::redis {
namespace {

// Whether nobody else holds this any more; what others did with it came before then. ThreadSanitizer knows no fences
// and would see a race: there nothing is used again.
template <class Pointer>
bool only_ours([[maybe_unused]] const Pointer& pointer) {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  if (pointer.use_count() != 1) return false;
  std::atomic_thread_fence(std::memory_order_acquire);
  return true;
#endif
}

constexpr std::size_t padding = 64, smallest_block = 64U << 10, least_room = 16U << 10;

}  // namespace

Error error_of(std::string_view text) {
  const std::string what = "redis: " + std::string(text);
  const auto is = [&](std::string_view word) { return text.starts_with(word); };
  if (is("NOAUTH") || is("WRONGPASS") || is("ERR AUTH") || is("ERR invalid password")) {
    return {ErrorCode::unauthorized, what + "; give a user and password that may do this"};
  }
  // What is refused inside a script says so in words that no other error begins with, of Redis 7.0 and of later ones.
  if (is("NOPERM") || is("ERR The user executing the script can't") || is("ERR ACL failure in script")) {
    return {ErrorCode::unauthorized,
            what +
                "; allow this user the commands and keys that docs/transports/redis.md lists (ACL LOG names what was "
                "refused), or give another user and password"};
  }
  if (is("OOM"))
    return {ErrorCode::full, true, what + "; raise the server's maxmemory, or let retention remove events"};
  if (is("NOGROUP")) return {ErrorCode::not_found, what};
  if (is("MISCONF")) return {ErrorCode::full, true, what + "; make room on the server's disk"};
  for (const char* passing : {"ERR max number of clients reached", "LOADING", "READONLY", "MASTERDOWN", "BUSY ",
                              "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED", "NOREPLICAS", "MOVED ", "ASK "}) {
    if (is(passing)) return {ErrorCode::unavailable, true, what + "; this passes, try again"};
  }
  if (is("WRONGTYPE")) return {ErrorCode::conflict, what + "; something else uses this key: name another database"};
  return {ErrorCode::internal, what};
}

Connection::Connection(const Address& address, const Endpoint& endpoint, WaitClock::time_point deadline)
    : address_(address), socket_(address, endpoint.tls.get(), std::min(deadline, WaitClock::now() + longest_silence)) {
  Commands commands;
  const Login& login = endpoint.login;
  // A user without a password may be one of `nopass`; he is never somebody else.
  if (!login.user.empty() || !login.password.empty()) {
    login.user.empty() ? commands.add({"AUTH", login.password}) : commands.add({"AUTH", login.user, login.password});
  }
  if (endpoint.database != 0) commands.add({"SELECT", std::to_string(endpoint.database)});
  commands.add({"CLIENT", "SETNAME", "tidings"});
  commands.add({"CLIENT", "ID"});
  send(commands, deadline);
  const Received received = receive(deadline, commands.count());
  id_ = received.reply(commands.count() - 1).integer();
  for (std::size_t i = 0; i < commands.count(); ++i) {
    const Reply reply = received.reply(i);
    // A user that may not name its connection, or a sentinel that has no names, can still do the rest.
    const bool needed = i + 2 < commands.count() || reply.text().starts_with("NOAUTH");
    if (reply.error() && needed) throw error_of(reply.text());
  }
}

// Room for `wanted` bytes behind what was received. A block that somebody keeps is left to him.
void Connection::make_room(std::size_t wanted) {
  if (block_ && capacity_ - end_ >= wanted) return;
  const std::size_t held = end_ - begin_;
  if (capacity_ >= held + wanted && only_ours(block_)) {
    std::memmove(block_.get(), block_.get() + begin_, held);
  } else {
    const std::size_t size = std::max({smallest_block, held + wanted + held / 2, usual_ + usual_ / 4});
    Spare larger = take_block(size);
    if (held > 0) std::memcpy(larger.block.get(), block_.get() + begin_, held);
    leave_block();
    block_ = std::move(larger.block);
    capacity_ = larger.capacity;
  }
  end_ = held;
  begin_ = 0;
}

Connection::Spare Connection::take_block(std::size_t size) {
  for (Spare& each : spare_) {
    if (each.capacity < size || !only_ours(each.block)) continue;
    std::swap(each, spare_.back());
    Spare found = std::move(spare_.back());
    spare_.pop_back();
    return found;
  }
  Spare fresh{std::shared_ptr<std::byte[]>(new std::byte[size + padding]), size};
  std::memset(fresh.block.get() + size, 0, padding);
  return fresh;
}

void Connection::leave_block() {
  if (!block_ || capacity_ > largest_spare) return;
  if (spare_.size() == most_spare) spare_.erase(spare_.begin());
  spare_.push_back({std::move(block_), capacity_});
}

Received Connection::receive(WaitClock::time_point deadline, std::size_t replies) {
  std::optional<Error> failure;
  Received received = receive(deadline, replies, failure);
  if (failure) throw Error(*failure);
  return received;
}

Received Connection::receive(WaitClock::time_point deadline, std::size_t replies, std::optional<Error>& failure) {
  parser_.reset(replies);
  for (;;) {
    const std::string_view bytes(block_ ? reinterpret_cast<const char*>(block_.get()) + begin_ : "", end_ - begin_);
    const ReplyParser::Status status = parser_.parse(bytes);
    if (status == ReplyParser::Status::incomplete) {
      try {
        make_room(std::max(least_room, parser_.missing()));
        end_ += socket_.read({block_.get() + end_, capacity_ - end_},
                             std::min(deadline, WaitClock::now() + longest_silence));
        continue;
      } catch (const Error& error) {
        failure.emplace(error);
      }
    } else if (status == ReplyParser::Status::malformed) {
      failure.emplace(ErrorCode::unavailable, true,
                      "redis: what the server sent is not RESP; is this port a Redis server's?");
    }
    if (!parsed_ || !only_ours(parsed_)) parsed_ = std::make_shared<Received::Parsed>();
    const std::shared_ptr<Received::Parsed> parsed = parsed_;
    const std::size_t size = parser_.size();
    parsed->errors = parser_.errors();
    parser_.move_to(parsed->values, parsed->starts);
    usual_ = std::max(size, usual_ - usual_ / 8);
    // Where a room was made meanwhile, the bytes have moved.
    Received received{
        block_, parsed, {block_ ? reinterpret_cast<const char*>(block_.get()) + begin_ : "", end_ - begin_}};
    begin_ += size;
    return received;
  }
}

Commands Connection::end_command() const {
  const std::string local = socket_.local();
  if (local.empty()) return {};
  return Commands().add({"CLIENT", "KILL", "ID", std::to_string(id_), "ADDR", local});
}

Received Connection::call(const Commands& command, WaitClock::time_point deadline) {
  send(command, deadline);
  Received received = receive(deadline);
  if (received.reply().error()) throw error_of(received.reply().text());
  return received;
}

}  // namespace tidings::transport::redis
