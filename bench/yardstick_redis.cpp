// A plain client of Redis with nothing around it: one connection, lean text out, lean text in.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <thread>

#include "yardstick.hpp"

namespace yardstick {
namespace {

constexpr std::string_view stream = "events:user";

void append_length(std::string& out, char mark, std::size_t length) {
  char text[24];
  text[0] = mark;
  char* end = std::to_chars(text + 1, text + 20, length).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out.append(text, end);
}

void append_word(std::string& out, std::string_view word) {
  append_length(out, '$', word.size());
  out.append(word).append("\r\n", 2);
}

struct UserCreated {
  std::string userId{}, email{}, role{};
};

/// One event's envelope as ADR-005 has it.
void append_envelope(std::string& out, std::uint64_t number, const UserCreated& user) {
  char digits[24];
  std::memset(digits, '0', sizeof digits);
  char* at = digits + 22;
  for (std::uint64_t rest = number; rest > 0; rest /= 10) *--at = static_cast<char>('0' + rest % 10);
  out.append(R"({"id":"evt_01KB)").append(digits, 22);
  out.append(
      R"(","type":"user.created","version":"1.0","timestamp":"2026-11-26T09:00:00.000Z","source":"user-service",)");
  out.append(R"("correlationId":"req_01KB)").append(digits, 22);
  out.append(R"(","data":{"userId":")").append(user.userId).append(R"(","email":")").append(user.email);
  out.append(R"(","role":")").append(user.role).append("\"}}");
}

class Client {
 public:
  explicit Client(std::uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) give_up("no server");
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) give_up("the server took no more");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Skips `count` lines.
  void skip_lines(std::size_t count) {
    while (count > 0) {
      const char* const end =
          at_ == end_ ? nullptr : static_cast<const char*>(std::memchr(buffer_.data() + at_, '\n', end_ - at_));
      if (end == nullptr) {
        at_ = end_ = 0;
        fill();
        continue;
      }
      at_ = static_cast<std::size_t>(end - buffer_.data()) + 1;
      --count;
    }
  }
  /// The number behind a line's mark; -1 for a null.
  std::int64_t number() {
    for (;;) {
      const char* const begin = buffer_.data() + at_;
      const char* const end = at_ == end_ ? nullptr : static_cast<const char*>(std::memchr(begin, '\n', end_ - at_));
      if (end == nullptr) {
        fill();
        continue;
      }
      if (*begin == '-') give_up(std::string(begin, end));
      std::int64_t value = 0;
      std::from_chars(begin + 1, end, value);
      at_ = static_cast<std::size_t>(end - buffer_.data()) + 1;
      return value;
    }
  }
  /// The bytes of a bulk string; valid until more is read.
  std::size_t bulk(std::size_t& size) {
    size = static_cast<std::size_t>(number());
    while (end_ - at_ < size + 2) fill();
    const std::size_t begin = at_;
    at_ += size + 2;
    return begin;
  }
  [[nodiscard]] const char* data() const { return buffer_.data(); }
  [[nodiscard]] std::size_t capacity() const { return buffer_.size(); }
  /// Forgets what was read, so that the buffer does not grow for ever.
  void rewind() {
    std::memmove(buffer_.data(), buffer_.data() + at_, end_ - at_);
    end_ -= at_;
    at_ = 0;
  }

 private:
  void fill() {
    if (buffer_.size() - end_ < (64U << 10) + simdjson::SIMDJSON_PADDING) buffer_.resize(buffer_.size() * 2);
    const ssize_t got = ::recv(fd_, buffer_.data() + end_, buffer_.size() - end_ - simdjson::SIMDJSON_PADDING, 0);
    if (got <= 0) give_up("the server ended the connection");
    end_ += static_cast<std::size_t>(got);
  }

  int fd_ = -1;
  std::string buffer_ = std::string(std::size_t{1} << 20, '\0');
  std::size_t at_ = 0, end_ = 0;
};

void append_add(std::string& out, std::string& envelope, std::uint64_t number, std::size_t size) {
  // Strings of a program's own, as it would have them; the address makes the event as large as ours.
  UserCreated user{"usr_" + std::to_string(number), "someone@example.com", "FREELANCER"};
  constexpr std::size_t rest = 243;  // Of an envelope, without what stands in `userId` and the address's filling.
  if (size > rest + user.userId.size()) user.email.insert(0, size - rest - user.userId.size(), 'x');
  envelope.clear();
  append_envelope(envelope, number, user);
  out.append("*5\r\n$4\r\nXADD\r\n");
  append_word(out, stream);
  out.append("$1\r\n*\r\n$5\r\nevent\r\n");
  append_word(out, envelope);
}

void publish(const Job& job) {
  Client client(job.port);
  std::string out, envelope;
  for (std::uint64_t done = 0; done < job.events;) {
    out.clear();
    const std::uint64_t batch = std::min<std::uint64_t>(job.batch, job.events - done);
    for (std::uint64_t i = 0; i < batch; ++i) append_add(out, envelope, ++done, job.size);
    client.send(out);
    client.skip_lines(2 * batch);
  }
}

/// Reads what one XREADGROUP answers, decodes it, and appends the ids; returns how many events there were.
class Reader {
 public:
  explicit Reader(std::uint16_t port) : client_(port) {
    client_.send(
        "*6\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n$11\r\nevents:user\r\n$5\r\nplain\r\n$1\r\n0\r\n$8\r\nMKSTREAM\r\n");
    client_.skip_lines(1);
  }
  /// Acknowledges what came last, and asks for more in the same breath.
  std::uint64_t next(std::size_t batch, int block) {
    std::string out = std::move(ack_);
    append_length(out, '*', block > 0 ? 11 : 9);
    for (const char* word : {"XREADGROUP", "GROUP", "plain", "c", "COUNT"}) append_word(out, word);
    append_word(out, std::to_string(batch));
    if (block > 0) {
      append_word(out, "BLOCK");
      append_word(out, std::to_string(block));
    }
    for (const char* word : {"STREAMS", "events:user", ">"}) append_word(out, word);
    client_.send(out);
    if (acked_) client_.skip_lines(1);
    acked_ = false;
    ack_.clear();
    client_.rewind();
    if (client_.number() <= 0) return 0;
    client_.number();
    std::size_t size = 0;
    client_.bulk(size);
    const auto count = static_cast<std::uint64_t>(client_.number());
    append_length(ack_, '*', count + 3);
    for (const char* word : {"XACK", "events:user", "plain"}) append_word(ack_, word);
    for (std::uint64_t i = 0; i < count; ++i) {
      client_.number();
      std::size_t at = client_.bulk(size);
      append_word(ack_, {client_.data() + at, size});
      client_.number();
      client_.bulk(size);
      at = client_.bulk(size);
      decode(at, size);
    }
    acked_ = true;
    return count;
  }
  void finish() {
    if (!acked_) return;
    client_.send(ack_);
    client_.skip_lines(1);
    acked_ = false;
  }
  [[nodiscard]] std::uint64_t last_number() const { return number_; }

 private:
  void decode(std::size_t at, std::size_t size) {
    simdjson::ondemand::document document = parser_.iterate(client_.data() + at, size, client_.capacity() - at);
    UserCreated user;
    std::string id;
    for (auto field : document.get_object()) {
      const std::string_view key = field.unescaped_key();
      if (key == "id") {
        id = std::string_view(field.value().get_string());
      } else if (key == "data") {
        for (auto member : field.value().get_object()) {
          const std::string_view name = member.unescaped_key();
          if (name == "userId") user.userId = std::string_view(member.value().get_string());
          if (name == "email") user.email = std::string_view(member.value().get_string());
          if (name == "role") user.role = std::string_view(member.value().get_string());
        }
      }
    }
    number_ = std::strtoull(user.userId.c_str() + 4, nullptr, 10);
    if (id.empty() || user.email.empty() || user.role.empty()) give_up("an event is not what was published");
  }

  Client client_;
  simdjson::ondemand::parser parser_{};
  std::string ack_{};
  bool acked_ = false;
  std::uint64_t number_ = 0;
};

void consume(const Job& job) {
  Reader reader(job.port);
  for (std::uint64_t done = 0; done < job.events;) done += reader.next(job.batch, 1000);
  reader.finish();
}

/// Runs `work` in a process of its own.
template <class Work>
pid_t start(Work work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  work();
  ::_exit(0);
}

void await(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) give_up("the other process failed");
}

}  // namespace

Outcome redis_publish(const Job& job) {
  const auto start = Now::now();
  publish(job);
  return {seconds_since(start), {}};
}

Outcome redis_consume(const Job& job) {
  const auto start = Now::now();
  consume(job);
  return {seconds_since(start), {}};
}

Outcome redis_move(const Job& job) {
  const auto begun = Now::now();
  const pid_t consumer = start([&] { consume(job); });
  publish(job);
  await(consumer);
  return {seconds_since(begun), {}};
}

Outcome redis_wake(const Job& job) {
  using Instant = std::atomic<std::int64_t>;
  void* const shared =
      ::mmap(nullptr, sizeof(Instant) * (job.events + 2), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const sent = static_cast<Instant*>(shared);
  auto* const seen = static_cast<double*>(
      ::mmap(nullptr, sizeof(double) * (job.events + 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto now = [] { return Now::now().time_since_epoch().count(); };
  const pid_t consumer = start([&] {
    Reader reader(job.port);
    sent[0] = 1;
    for (std::uint64_t done = 0; done < job.events;) {
      const std::uint64_t count = reader.next(job.batch, 1000);
      for (std::uint64_t i = 0; i < count; ++i) {
        ++done;
        seen[done] = static_cast<double>(now() - sent[done]) * 1e-3;
      }
    }
    reader.finish();
  });
  while (sent[0] == 0) std::this_thread::yield();
  Client client(job.port);
  std::string out, envelope;
  const auto begun = Now::now();
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    std::this_thread::sleep_until(begun + std::chrono::duration_cast<Now::duration>(
                                              std::chrono::duration<double>(static_cast<double>(i) / job.rate)));
    out.clear();
    sent[i] = now();
    append_add(out, envelope, i, job.size);
    client.send(out);
    client.skip_lines(2);
  }
  await(consumer);
  return {seconds_since(begun), {seen + 1, seen + job.events + 1}};
}

}  // namespace yardstick
