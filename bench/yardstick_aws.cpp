// A plain client of SNS and SQS with nothing around it: libcurl's multi interface, connections that are kept, batches
// of ten, libcurl's own signature (CURLOPT_AWS_SIGV4), lean text out, simdjson in.
#include <curl/curl.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include "yardstick.hpp"

namespace yardstick {
namespace {

constexpr std::size_t largest_batch = 10;
constexpr std::size_t publish_lanes = 24, consume_lanes = 8;  // As many requests at a time as ours has.
constexpr std::uint64_t first_number = 1'000'000;
constexpr const char* type = "user.created";

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  double seconds = 0;
  for (const timeval& part : {used.ru_utime, used.ru_stime}) {
    seconds += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) * 1e-6;
  }
  return seconds;
}

std::int64_t now_ns() { return Now::now().time_since_epoch().count(); }

/// One event's envelope as ADR-005 has it, as large as every contestant's.
std::string envelope(std::uint64_t number) {
  const std::string digits = std::to_string(first_number + number);
  const std::string padded = std::string(22 - digits.size(), '0') + digits;
  return R"({"id":"evt_01KB)" + padded +
         R"(","type":"user.created","version":"1.0","timestamp":"2026-11-26T09:00:00.000Z","source":"user-service",)" +
         R"("correlationId":"req_01KB)" + padded + R"(","data":{"userId":"usr_)" + digits +
         R"(","email":"ada@home.io","role":"CLIENT"}})";
}

void append_encoded(std::string& out, std::string_view text) {
  static const std::array<bool, 256> plain = [] {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"))
      table[static_cast<unsigned char>(c)] = true;
    return table;
  }();
  constexpr char digits[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (plain[byte]) {
      out += c;
    } else {
      out.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
}

enum class Operation : std::uint8_t { publish, receive, remove };

/// One request after another over a connection of its own.
class Lane {
 public:
  Lane() : curl_(curl_easy_init(), curl_easy_cleanup) {}
  std::string body{}, reply{};
  Operation operation = Operation::publish;

  void start(CURLM* multi, const std::string& url, curl_slist* headers, const std::string& keys) {
    CURL* const curl = curl_.get();
    reply.clear();
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4,
                     operation == Operation::publish ? "aws:amz:eu-west-1:sns" : "aws:amz:eu-west-1:sqs");
    curl_easy_setopt(curl, CURLOPT_USERPWD, keys.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, this);
    curl_multi_add_handle(multi, curl);
  }

 private:
  static std::size_t take(char* bytes, std::size_t size, std::size_t count, void* lane) {
    static_cast<Lane*>(lane)->reply.append(bytes, size * count);
    return size * count;
  }
  std::unique_ptr<CURL, void (*)(CURL*)> curl_;
};

class Client {
 public:
  explicit Client(const Job& job)
      : url_("http://127.0.0.1:" + std::to_string(job.port) + "/"),
        topic_("arn:aws:sns:eu-west-1:000000000000:" + job.prefix + "-events-user"),
        queue_(url_ + "000000000000/" + job.prefix + "-bench-events-user"),
        multi_(curl_multi_init(), curl_multi_cleanup) {
    const char* const types[] = {"Content-Type: application/x-www-form-urlencoded",
                                 "Content-Type: application/x-amz-json-1.0",
                                 "Content-Type: application/x-amz-json-1.0"};
    const char* const targets[] = {nullptr, "X-Amz-Target: AmazonSQS.ReceiveMessage",
                                   "X-Amz-Target: AmazonSQS.DeleteMessageBatch"};
    for (std::size_t i = 0; i < headers_.size(); ++i) {
      headers_[i] = curl_slist_append(curl_slist_append(nullptr, types[i]), "Expect:");
      if (targets[i] != nullptr) headers_[i] = curl_slist_append(headers_[i], targets[i]);
    }
  }
  ~Client() {
    for (curl_slist* each : headers_) curl_slist_free_all(each);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Publishes the numbers `first` … `first + count - 1` with one request.
  void publish(Lane& lane, std::uint64_t first, std::uint64_t count) {
    lane.body = "Action=PublishBatch&Version=2010-03-31&TopicArn=";
    append_encoded(lane.body, topic_);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string entry = "&PublishBatchRequestEntries.member." + std::to_string(i + 1) + ".";
      lane.body += entry + "Id=" + std::to_string(i) + entry + "Message=";
      append_encoded(lane.body, envelope(first + i));
      const std::string attribute = entry + "MessageAttributes.entry.1.";
      lane.body +=
          attribute + "Name=type" + attribute + "Value.DataType=String" + attribute + "Value.StringValue=" + type;
    }
    send(lane, Operation::publish);
  }
  void receive(Lane& lane) {
    lane.body = R"({"QueueUrl":")" + queue_ +
                R"(","MaxNumberOfMessages":10,"WaitTimeSeconds":20,"VisibilityTimeout":30,)" +
                R"("MessageAttributeNames":["type"],"MessageSystemAttributeNames":["ApproximateReceiveCount"]})";
    send(lane, Operation::receive);
  }
  void remove(Lane& lane, const std::vector<std::string>& receipts) {
    lane.body = R"({"QueueUrl":")" + queue_ + R"(","Entries":[)";
    for (std::size_t i = 0; i < receipts.size(); ++i) {
      lane.body +=
          (i > 0 ? "," : "") + (R"({"Id":")" + std::to_string(i)) + R"(","ReceiptHandle":")" + receipts[i] + "\"}";
    }
    lane.body += "]}";
    send(lane, Operation::remove);
  }
  /// Hands each lane whose request is answered to `decided`, until `done()`.
  template <class Decided, class Done>
  void run(Decided decided, Done done) {
    while (!done()) {
      int running = 0, left = 0;
      curl_multi_perform(multi_.get(), &running);
      while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
        CURL* const curl = message->easy_handle;
        const CURLcode code = message->data.result;
        char* lane = nullptr;
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_PRIVATE, &lane);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(multi_.get(), curl);
        Lane& of = *reinterpret_cast<Lane*>(lane);
        if (code != CURLE_OK || status != 200) give_up("the plain client was refused: " + of.reply);
        decided(of);
      }
      if (!done()) curl_multi_poll(multi_.get(), nullptr, 0, 1000, nullptr);
    }
  }

 private:
  void send(Lane& lane, Operation operation) {
    lane.operation = operation;
    lane.start(multi_.get(), url_, headers_[static_cast<std::size_t>(operation)], "AKIDEXAMPLE:secret");
  }

  const std::string url_, topic_, queue_;
  std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi_;
  std::array<curl_slist*, 3> headers_{};
};

/// Reads what a receive brought, and decodes the events to their data.
class Reader {
 public:
  /// Calls `each` with every number; returns the receipts.
  template <class Each>
  std::vector<std::string> read(std::string& reply, Each each) {
    std::vector<std::string> receipts;
    reply.reserve(reply.size() + simdjson::SIMDJSON_PADDING);
    auto document = outer_.iterate(reply);
    simdjson::ondemand::array messages;
    if (document["Messages"].get_array().get(messages) != simdjson::SUCCESS) return receipts;
    for (auto message : messages) {
      std::string_view body, receipt;
      for (auto field : message.get_object()) {
        const std::string_view key = field.unescaped_key();
        if (key == "Body") body = field.value().get_string();
        if (key == "ReceiptHandle") receipt = field.value().get_string();
      }
      text_.assign(body);
      text_.reserve(text_.size() + simdjson::SIMDJSON_PADDING);
      auto event = inner_.iterate(text_);
      const std::string_view kind = event["type"];
      if (kind != type) give_up("an event is not what was published");
      const std::string_view user = event["data"]["userId"];
      each(std::strtoull(std::string(user).c_str() + 4, nullptr, 10) - first_number);
      receipts.emplace_back(receipt);
    }
    return receipts;
  }

 private:
  simdjson::ondemand::parser outer_{}, inner_{};
  std::string text_{};
};

/// Receives and deletes until `events` are deleted: every lane deletes what it received and receives again.
template <class Each>
void drain(Client& client, std::uint64_t events, std::size_t lanes, Each each) {
  std::vector<Lane> all(lanes);
  Reader reader;
  std::uint64_t deleted = 0;
  std::vector<std::vector<std::string>> receipts(lanes);
  for (Lane& lane : all) client.receive(lane);
  client.run(
      [&](Lane& lane) {
        std::vector<std::string>& mine = receipts[static_cast<std::size_t>(&lane - all.data())];
        if (lane.operation == Operation::receive) {
          mine = reader.read(lane.reply, each);
          if (!mine.empty()) return client.remove(lane, mine);
        } else {
          if (lane.reply.find("\"Failed\":[{") != std::string::npos) give_up("a delete failed: " + lane.reply);
          deleted += mine.size();
        }
        if (deleted < events) client.receive(lane);
      },
      [&] { return deleted >= events; });
}

}  // namespace

Outcome aws_publish(const Job& job) {
  Client client(job);
  const double cpu = cpu_seconds();
  const auto start = Now::now();
  std::vector<Lane> lanes(publish_lanes);
  std::uint64_t sent = 0;
  std::size_t under_way = 0;
  const auto next = [&](Lane& lane) {
    const std::uint64_t count = std::min<std::uint64_t>(largest_batch, job.events - sent);
    if (count == 0) return;
    client.publish(lane, sent + 1, count);
    sent += count;
    ++under_way;
  };
  for (Lane& lane : lanes) next(lane);
  client.run(
      [&](Lane& lane) {
        --under_way;
        if (lane.reply.find("<Failed><member>") != std::string::npos) give_up("an event was refused: " + lane.reply);
        next(lane);
      },
      [&] { return under_way == 0; });
  return {seconds_since(start), {}, cpu_seconds() - cpu};
}

Outcome aws_consume(const Job& job) {
  Client client(job);
  const double cpu = cpu_seconds();
  const auto start = Now::now();
  drain(client, job.events, consume_lanes, [](std::uint64_t) {});
  return {seconds_since(start), {}, cpu_seconds() - cpu};
}

Outcome aws_wake(const Job& job) {
  const std::size_t bytes = sizeof(std::int64_t) * (job.events + 1);
  auto* const seen =
      static_cast<std::int64_t*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  int ends[2];
  if (seen == MAP_FAILED || ::pipe(ends) != 0) give_up("no memory or pipe for a second process");
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Client client(job);
    // The event 0 only says that both are ready.
    drain(client, job.events + 1, 2, [&](std::uint64_t number) {
      seen[number] = now_ns();
      if (number == 0 && ::write(ends[1], "", 1) != 1) give_up("the publisher is gone");
    });
    ::_exit(0);
  }
  Client client(job);
  Lane lane;
  const auto publish = [&](std::uint64_t number) {
    bool answered = false;
    client.publish(lane, number, 1);
    client.run([&](Lane&) { answered = true; }, [&] { return answered; });
  };
  publish(0);
  char byte = 0;
  if (::read(ends[0], &byte, 1) != 1) give_up("the consumer ended before its time");
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  std::vector<std::int64_t> sent(job.events + 1);
  const auto begun = Now::now();
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    std::this_thread::sleep_until(begun + std::chrono::duration_cast<Now::duration>(
                                              std::chrono::duration<double>(static_cast<double>(i) / job.rate)));
    sent[i] = now_ns();
    publish(i);
  }
  Outcome outcome{seconds_since(begun), {}, {}};
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) give_up("the consumer failed");
  for (std::uint64_t i = 1; i <= job.events; ++i) {
    outcome.micros.push_back(static_cast<double>(seen[i] - sent[i]) * 1e-3);
  }
  return outcome;
}

}  // namespace yardstick
