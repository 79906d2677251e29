// A plain client of Redis with nothing around it: one connection, lean text out, lean text in.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <deque>
#include <thread>
#include <utility>

#include "yardstick.hpp"

namespace yardstick {
namespace {

constexpr std::string_view stream = "events:user";
// Numbers start here, so that all of them have as many digits and all events are equally long.
constexpr std::uint64_t first_number = 1'000'000;

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
  /// Skips `count` lines, none of which may be an error.
  void skip_lines(std::size_t count) {
    while (count > 0) {
      const char* const begin = buffer_.data() + at_;
      const char* const end = at_ == end_ ? nullptr : static_cast<const char*>(std::memchr(begin, '\n', end_ - at_));
      if (end == nullptr) {
        rewind();
        fill();
        continue;
      }
      if (*begin == '-') give_up(std::string(begin, end));
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

void append_add(std::string& out, std::string& envelope, std::uint64_t number) {
  // Strings of a program's own, as it would have them. Who runs this checks that all contestants' events are as large.
  const UserCreated user{"usr_" + std::to_string(first_number + number), "ada@home.io", "CLIENT"};
  envelope.clear();
  append_envelope(envelope, first_number + number, user);
  out.append("*5\r\n$4\r\nXADD\r\n");
  append_word(out, stream);
  out.append("$1\r\n*\r\n$5\r\nevent\r\n");
  append_word(out, envelope);
}

/// Publishes the numbers 1 … `job.events`. The next batch is written and sent while the server stores the last, so that
/// neither waits for the other.
void publish(Client& client, const Job& job) {
  std::string out, envelope;
  std::uint64_t unanswered = 0;
  for (std::uint64_t done = 0; done < job.events;) {
    out.clear();
    const std::uint64_t batch = std::min<std::uint64_t>(job.batch, job.events - done);
    for (std::uint64_t i = 0; i < batch; ++i) append_add(out, envelope, ++done);
    client.send(out);
    client.skip_lines(2 * unanswered);
    unanswered = batch;
  }
  client.skip_lines(2 * unanswered);
}

/// Reads as one member of a group, decodes, and acknowledges what one XREADGROUP answered with one XACK.
class Reader {
 public:
  explicit Reader(std::uint16_t port) : client_(port) {
    client_.send(
        "*6\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n$11\r\nevents:user\r\n$5\r\nplain\r\n$1\r\n0\r\n$8\r\nMKSTREAM\r\n");
    client_.skip_lines(1);
  }
  /// Acknowledges what was taken last, and asks for more in the same breath.
  void ask(std::uint64_t count, int block) {
    std::string out;
    out.swap(ack_);
    acks_before_.push_back(std::exchange(acks_, 0));
    append_length(out, '*', block > 0 ? 11 : 9);
    for (const char* word : {"XREADGROUP", "GROUP", "plain", "c", "COUNT"}) append_word(out, word);
    append_word(out, std::to_string(count));
    if (block > 0) {
      append_word(out, "BLOCK");
      append_word(out, std::to_string(block));
    }
    for (const char* word : {"STREAMS", "events:user", ">"}) append_word(out, word);
    client_.send(out);
  }
  /// How many asks are not answered yet.
  [[nodiscard]] std::size_t open() const { return acks_before_.size(); }
  /// Waits for the answer to the oldest ask, decodes its events, and returns how many they are.
  std::uint64_t take() {
    client_.skip_lines(acks_before_.front());
    acks_before_.pop_front();
    client_.rewind();
    if (client_.number() <= 0) return 0;
    client_.number();
    std::size_t size = 0;
    client_.bulk(size);
    const auto count = static_cast<std::uint64_t>(client_.number());
    ++acks_;
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
    return count;
  }
  /// Acknowledges what was taken last; nothing may be asked any more.
  void finish() {
    client_.send(ack_);
    client_.skip_lines(std::exchange(acks_, 0));
    ack_.clear();
  }

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
    const std::uint64_t number = std::strtoull(user.userId.c_str() + 4, nullptr, 10);
    if (number_ != 0 && number != number_ + 1) give_up("an event came twice or never");
    number_ = number;
    if (id.empty() || user.email.empty() || user.role.empty()) give_up("an event is not what was published");
  }

  Client client_;
  simdjson::ondemand::parser parser_{};
  std::string ack_{};                      // What is to be acknowledged, as commands …
  std::size_t acks_ = 0;                   // … and how many these are.
  std::deque<std::size_t> acks_before_{};  // Of each open ask: how many acknowledgements are answered before it.
  std::uint64_t number_ = 0;
};

/// Reads a backlog. The server already looks for the next batch while the last is decoded.
void drain(Reader& reader, const Job& job) {
  for (std::uint64_t done = 0, asked = 0; done < job.events;) {
    while (reader.open() < 2 && asked < job.events) {
      const std::uint64_t count = std::min<std::uint64_t>(job.batch, job.events - asked);
      reader.ask(count, 0);
      asked += count;
    }
    if (reader.open() == 0) give_up("the stream does not hold what was published");
    done += reader.take();
  }
  reader.finish();
}

/// Reads what comes, and tells `each` how many these were. An acknowledgement behind a read that blocks would have to
/// wait with it, so that one ask at a time is open.
template <class Each>
void follow(Reader& reader, std::uint64_t events, std::size_t batch, Each each) {
  for (std::uint64_t done = 0; done < events;) {
    reader.ask(batch, 1000);
    const std::uint64_t count = reader.take();
    each(count);
    done += count;
  }
  reader.finish();
}

/// Memory that a process and its children see.
template <class T>
T* share(std::size_t count) {
  void* const memory = ::mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up("cannot map shared memory");
  return static_cast<T*>(memory);
}

std::int64_t now_ns() { return Now::now().time_since_epoch().count(); }

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  double seconds = 0;
  for (const timeval& part : {used.ru_utime, used.ru_stime}) {
    seconds += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) * 1e-6;
  }
  return seconds;
}

/// Another process that reads the event 0, which only says that both are ready, and the `job.events` behind it. It
/// calls `each` with the number of each event, and `end` when the last is acknowledged.
class Follower {
 public:
  template <class Each, class End>
  Follower(const Job& job, Each each, End end) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
    ready_ = ends[0];
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      Reader reader(job.port);
      std::uint64_t number = 0;
      follow(reader, job.events + 1, job.batch, [&](std::uint64_t count) {
        if (number == 0 && count > 0 && ::write(ends[1], "", 1) != 1) give_up("the publisher is gone");
        for (; count > 0; --count) each(number++);
      });
      end();
      ::_exit(0);
    }
    ::close(ends[1]);
  }
  ~Follower() { ::close(ready_); }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  void await_first(Client& client) const {
    std::string out, envelope;
    append_add(out, envelope, 0);
    client.send(out);
    client.skip_lines(2);
    char byte = 0;
    if (::read(ready_, &byte, 1) != 1) give_up("the consumer ended before its time");
  }
  void await_end() const {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_ || status != 0) give_up("the consumer failed");
  }

 private:
  int ready_ = -1;
  pid_t pid_ = -1;
};

}  // namespace

Outcome redis_publish(const Job& job) {
  Client client(job.port);
  const double cpu = cpu_seconds();
  const auto start = Now::now();
  publish(client, job);
  return {seconds_since(start), {}, cpu_seconds() - cpu};
}

Outcome redis_consume(const Job& job) {
  Reader reader(job.port);
  const double cpu = cpu_seconds();
  const auto start = Now::now();
  drain(reader, job);
  return {seconds_since(start), {}, cpu_seconds() - cpu};
}

Outcome redis_move(const Job& job) {
  auto* const last = share<std::int64_t>(1);
  const Follower follower(
      job, [](std::uint64_t) {}, [=] { *last = now_ns(); });
  Client client(job.port);
  follower.await_first(client);
  const std::int64_t begun = now_ns();
  publish(client, job);
  follower.await_end();
  return {static_cast<double>(*last - begun) * 1e-9, {}, {}};
}

Outcome redis_wake(const Job& job) {
  auto* const seen = share<std::int64_t>(job.events + 1);
  const Follower follower(
      job, [=](std::uint64_t number) { seen[number] = now_ns(); }, [] {});
  Client client(job.port);
  follower.await_first(client);
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  std::vector<std::int64_t> sent(job.events + 1);
  std::string out, envelope;
  const auto begun = Now::now();
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    std::this_thread::sleep_until(begun + std::chrono::duration_cast<Now::duration>(
                                              std::chrono::duration<double>(static_cast<double>(i) / job.rate)));
    out.clear();
    sent[i] = now_ns();
    append_add(out, envelope, i);
    client.send(out);
    client.skip_lines(2);
  }
  const double seconds = seconds_since(begun);
  follower.await_end();
  Outcome outcome{seconds, {}, {}};
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    outcome.micros.push_back(static_cast<double>(seen[i] - sent[i]) * 1e-3);
  }
  return outcome;
}

}  // namespace yardstick
