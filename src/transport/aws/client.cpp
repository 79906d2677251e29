#include "transport/aws/client.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>

#include "core/json_text.hpp"
#include "transport/aws/sts.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::array<std::string_view, services> service_names{"sqs", "sns", "sts", "s3"};
constexpr std::array<std::string_view, services> variable_names{"SQS", "SNS", "STS", "S3"};
constexpr std::string_view json_type = "application/x-amz-json-1.0";
constexpr std::string_view form_type = "application/x-www-form-urlencoded; charset=utf-8";
constexpr std::size_t most_spare = 64;

constexpr std::size_t index_of(Service service) noexcept { return static_cast<std::size_t>(service); }

std::string line(std::string_view name, std::string_view value) {
  std::string out;
  out.reserve(name.size() + value.size() + 2);
  out.append(name).append(": ").append(value);
  return out;
}

/// What to do about a fault, and what it is to callers.
struct Advice {
  ErrorCode code;
  bool retryable;
  std::string_view what_to_do;
};

Advice advice_of(Fault fault) noexcept {
  switch (fault) {
    case Fault::passing:
      return {ErrorCode::unavailable, true, "this passes, try again"};
    case Fault::throttled:
      return {ErrorCode::unavailable, true, "AWS takes less at once; try again later, or ask for a higher quota"};
    case Fault::skewed:
      return {ErrorCode::unauthorized, false, "check the secret access key, the region and this machine's clock"};
    case Fault::expired:
      return {ErrorCode::unauthorized, true, "renew the credentials"};
    case Fault::denied:
      return {ErrorCode::unauthorized, false, "let the policy of these credentials allow it"};
    case Fault::not_found:
      return {ErrorCode::not_found, false, "create it, or check the region, the account and the prefix"};
    case Fault::conflict:
      return {ErrorCode::conflict, true, "let its attributes agree; a deleted queue's name is free after 60 s"};
    case Fault::full:
      return {ErrorCode::full, true, "settle what is in flight, or ask for a higher quota"};
    case Fault::too_large:
      return {ErrorCode::too_large, false, "send less at once"};
    case Fault::stale:
      return {ErrorCode::stale, false, "the message is not in flight any more, and will be received again"};
    case Fault::unsupported:
      return {ErrorCode::not_supported, false, "this endpoint does not offer it"};
    case Fault::timeout:
      return {ErrorCode::timeout, true, "try again, or allow more time"};
    case Fault::stopped:
      return {ErrorCode::cancelled, true, "it was stopped from here"};
    default:
      return {ErrorCode::invalid, false, "correct the request"};
  }
}

// No policy helps whose key is not known.
constexpr std::string_view key_is_unknown[] = {"AuthFailure", "InvalidAccessKeyId", "InvalidClientTokenId",
                                               "InvalidSecurity", "UnrecognizedClientException"};

std::string_view what_to_do(const Reply& reply) noexcept {
  if (std::find(std::begin(key_is_unknown), std::end(key_is_unknown), reply.refusal.code) != std::end(key_is_unknown))
    return "check the access key, the session token, and whether the region is one of the account's";
  if (reply.status == 0 && reply.fault == Fault::passing)
    return "check the endpoint, the region and the network, or try again";
  return advice_of(reply.fault).what_to_do;
}

}  // namespace

Error Reply::error(std::string_view operation, std::string_view about) const {
  std::string text = "aws: " + std::string(operation);
  if (!about.empty()) text += " of " + core::for_message(about, 160);
  if (unsent) {
    std::string_view cause = unsent->what();
    if (cause.starts_with("aws: ")) cause.remove_prefix(5);
    text += ": " + std::string(cause);
    if (ambiguous) text += "; an earlier attempt may have been carried out all the same";
    return {unsent->code(), unsent->retryable(), text};
  }
  const Advice advice = advice_of(fault);
  text += ": " + (safe.empty() ? std::string("there was no answer") : safe);
  if (attempts > 1) text += " after " + std::to_string(attempts) + " attempts";
  if (ambiguous) text += "; it may have been carried out all the same";
  // A name is free again after a while; attributes that differ stay so.
  const bool retryable = advice.retryable && (fault != Fault::conflict || refusal.code.ends_with("DeletedRecently"));
  return {advice.code, retryable, text + "; " + std::string(what_to_do(*this))};
}

/// A call under way, with what its attempts use again.
struct Client::Task : Exchange {
  Call call{};
  Reply* outcome = nullptr;
  WaitClock::time_point last{};   // When all must be decided.
  WaitClock::time_point again{};  // When to send, where it waits.
  bool waits = false, resigned = false, renewed = false;
  unsigned unsure = 0;  // Attempts that AWS may have carried out without saying so.
  unsigned repetitions = 0;
  Millis offset{0};  // With which it was signed.
  Keys keys{};
};

Client::Place Client::place_of(std::string url) {
  const auto refuse = [&](const char* why) {
    // What stands before an @ or behind a question mark may be a secret.
    const std::size_t shown = url.find_first_of("@?#") == std::string::npos ? 200 : 0;
    throw Error(ErrorCode::invalid, "aws: the endpoint " + core::for_message(url.substr(0, shown), 200) + ' ' + why +
                                        "; write it as https://HOST or http://HOST:PORT");
  };
  const bool plain = url.starts_with("http://");
  if (!plain && !url.starts_with("https://")) refuse("begins neither with https:// nor with http://");
  const std::size_t host = plain ? 7 : 8;  // Behind the scheme.
  while (url.size() > host && url.ends_with('/')) url.pop_back();
  if (url.find_first_of("@?# \t\r\n", host) != std::string::npos) refuse("has no plain host");
  const std::size_t slash = std::min(url.find('/', host), url.size());
  Place out{.host = url.substr(host, slash - host), .path = url.substr(slash)};
  if (out.host.empty()) refuse("has no host");
  // libcurl does not name a port that is the scheme's own, and what is signed must be what is sent.
  const std::string_view own_port = plain ? ":80" : ":443";
  if (out.host.ends_with(own_port)) out.host.resize(out.host.size() - own_port.size());
  if (out.path.empty()) out.path = "/";
  out.url = std::string(plain ? "http://" : "https://") + out.host + out.path;
  return out;
}

Client::Client(ClientOptions options, const Environment& environment, const Surroundings* around)
    : options_(std::move(options)), environment_(environment) {
  around_ = around != nullptr ? *around : Surroundings::real(*environment_.clock);
  if (options_.ca.empty()) options_.ca = around_.filled("AWS_CA_BUNDLE").value_or("");
  http_ = std::make_unique<Http>(
      HttpOptions{.connections = options_.connections, .connect_limit = options_.connect_limit, .ca = options_.ca});
  if (!around_.fetch) around_.fetch = [this](Exchange& exchange) { http_->run({&exchange, 1}); };
  if (options_.region.empty()) options_.region = find_region(search({})).value_or("");
  if (options_.region.empty()) {
    throw Error(ErrorCode::invalid,
                "aws: no region; name it in the URL (aws://eu-west-1), by AWS_REGION or in the profile");
  }
  for (std::size_t i = 0; i < services; ++i) {
    const auto service = static_cast<Service>(i);
    if (service != Service::s3 || !options_.bucket.empty()) places_[i] = place_of(find_place(service));
  }
  store_ = std::make_unique<CredentialStore>(
      [this](WaitClock::time_point deadline) { return find_credentials(search(deadline)); }, around_.now);
}

Client::~Client() = default;

// A bucket is a host's name on AWS itself, and the beginning of the path elsewhere and where a dot in it would part the
// name from its certificate.
std::string Client::find_place(Service service) const {
  const std::size_t i = index_of(service);
  std::string url = options_.endpoint;
  if (url.empty()) url = find_endpoint(search({}), std::string(variable_names[i])).value_or("");
  const bool amazons = url.empty();
  if (amazons) url = default_endpoint(service_names[i], options_.region);
  if (service != Service::s3) return url;
  if (amazons && options_.bucket.find('.') == std::string::npos) {
    return url.insert(url.find("://") + 3, options_.bucket + ".");
  }
  while (url.ends_with('/')) url.pop_back();
  return url + "/" + options_.bucket;
}

CredentialSearch Client::search(WaitClock::time_point deadline) const {
  return {.around = around_,
          .profile = options_.profile,
          .region = options_.region,
          .deadline = deadline,
          .endpoint = options_.endpoint};
}

const std::string& Client::endpoint(Service service) const noexcept { return places_[index_of(service)].url; }

std::unique_ptr<Client::Task> Client::take_task() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) return std::make_unique<Task>();
  std::unique_ptr<Task> task = std::move(spare_.back());
  spare_.pop_back();
  return task;
}

void Client::leave_task(std::unique_ptr<Task> task) {
  const std::lock_guard lock(mutex_);
  if (spare_.size() < most_spare) spare_.push_back(std::move(task));
}

// Throws what the search for credentials throws.
void Client::sign(Task& task) {
  task.keys = store_->keys(task.last);
  task.offset = clock_offset();
  task.once = !task.call.idempotent;
  task.body = task.call.body;
  if (task.call.service == Service::s3) {
    return address(task, task.call.operation == "GetObject" ? "GET" : "PUT", task.call.headers);
  }
  const bool json = task.call.service == Service::sqs;
  const std::string target = json ? "AmazonSQS." + std::string(task.call.operation) : std::string();
  const HeaderView headers[] = {{"Content-Type", json ? json_type : form_type}, {"X-Amz-Target", target}};
  address(task, "POST", {headers, json ? 2U : 1U});
}

// Where it goes, and what it bears: `headers`, and those of its signature.
void Client::address(Task& task, std::string_view method, std::span<const HeaderView> headers) {
  const std::size_t service = index_of(task.call.service);
  const Place& place = places_[service];
  task.method = method;
  task.url = place.url;
  std::string path = place.path;
  if (!task.call.path.empty()) {
    for (std::string* const each : {&task.url, &path}) {
      if (each->ends_with('/')) each->pop_back();
      each->append(task.call.path);
    }
  }
  std::vector<HeaderView> signed_headers{{"Host", place.host}};
  signed_headers.insert(signed_headers.end(), headers.begin(), headers.end());
  const Signed with =
      signers_[service].sign({.method = method, .path = path, .headers = signed_headers, .body = task.call.body},
                             task.keys, {options_.region, service_names[service]},
                             std::chrono::floor<std::chrono::seconds>(environment_.clock->wall() + task.offset));
  task.headers.clear();
  for (const auto& [name, value] : headers) task.headers.push_back(line(name, value));
  task.headers.push_back(line("X-Amz-Date", with.date));
  if (!with.token.empty()) task.headers.push_back(line("X-Amz-Security-Token", with.token));
  if (!with.body_hash.empty()) task.headers.push_back(line("x-amz-content-sha256", with.body_hash));
  task.headers.push_back(line("Authorization", with.authorization));
}

// Takes AWS's time from its answer; false when that explains nothing.
bool Client::learn_time(const Task& task) {
  const std::int64_t said = http_time(task.date);
  if (said < 0) return false;
  const Millis offset = std::chrono::seconds(said) - environment_.clock->wall().time_since_epoch();
  // A signature that does not match is mostly a wrong secret: the clock counts when it is far off.
  const bool named = task.outcome->refusal.is("RequestTimeTooSkewed") || task.outcome->refusal.is("RequestExpired") ||
                     task.outcome->refusal.is("RequestInTheFuture");
  const Millis change = offset > task.offset ? offset - task.offset : task.offset - offset;
  if (!named && change < std::chrono::minutes(1)) return false;
  offset_.store(offset.count(), std::memory_order_relaxed);
  return true;
}

Client::Step Client::judge_refusal(Task& task) {
  Reply& reply = *task.outcome;
  reply.refusal = task.call.service == Service::sqs
                      ? read_json_refusal(task.status, task.Exchange::reply, task.query_error)
                      : read_xml_refusal(task.status, task.Exchange::reply);
  if (!task.request_id.empty()) reply.refusal.request_id = task.request_id;
  reply.fault = fault_of(reply.refusal);
  reply.safe = said(reply.refusal, task.keys);
  if (reply.fault == Fault::skewed && !task.resigned && learn_time(task)) {
    task.resigned = true;
    return Step::again_now;
  }
  if (reply.fault == Fault::expired && !task.renewed) {
    task.renewed = true;
    store_->refuse(task.keys);
    return Step::again_now;
  }
  if (reply.fault == Fault::passing) ++task.unsure;
  return reply.fault == Fault::passing || reply.fault == Fault::throttled ? Step::again_later : Step::done;
}

// Reads the outcome of an attempt into the reply, and says how it goes on.
Client::Step Client::judge(Task& task) {
  Reply& reply = *task.outcome;
  // No time was left for this attempt: what AWS said to the one before says more.
  if (task.failure == HttpFailure::timeout && task.sends == 0 && reply.attempts > 0) return Step::done;
  ++reply.attempts;
  requests_.fetch_add(task.sends, std::memory_order_relaxed);
  reply.status = task.status;
  if (task.sends > 1) task.unsure += task.sends - 1;
  Step step = Step::again_later;
  if (!task.answered()) {
    if (task.sends > 0) ++task.unsure;
    reply.safe = reply.why = task.why;
    const bool over = WaitClock::now() + std::chrono::milliseconds(1) >= task.last;
    reply.fault = task.failure == HttpFailure::stopped           ? Fault::stopped
                  : task.failure == HttpFailure::timeout && over ? Fault::timeout
                                                                 : Fault::passing;
    if (reply.fault != Fault::passing) step = Step::done;
  } else if (task.status >= 200 && task.status < 300) {
    reply.fault = Fault::none;
    reply.body.swap(task.Exchange::reply);
    step = Step::done;
  } else {
    step = judge_refusal(task);
  }
  reply.ambiguous = task.unsure > 0;
  if (step != Step::again_later) return step;
  if (task.unsure > 0 && !task.call.idempotent) return Step::done;
  const Millis wait = wait_before(++task.repetitions, reply.fault, *environment_.random, retry_after(task.retry_after),
                                  options_.backoff);
  task.again = WaitClock::now() + wait;
  return task.again < task.last ? Step::again_later : Step::done;
}

void Client::run(std::span<const Call> calls, std::span<Reply> replies, WaitClock::time_point deadline,
                 std::stop_token stop) {
  Flight flight(*this, std::move(stop));
  for (std::size_t i = 0; i < calls.size(); ++i) flight.start(calls[i], replies[i], deadline);
  while (flight.next(WaitClock::time_point::max()) != nullptr) {
  }
}

Reply Client::run(const Call& call, WaitClock::time_point deadline, std::stop_token stop) {
  Reply reply;
  run({&call, 1}, {&reply, 1}, deadline, std::move(stop));
  return reply;
}

Client::Flight::Flight(Client& client, std::stop_token stop) : client_(client), stop_(std::move(stop)) {
  http_.emplace(*client_.http_, stop_);
}

Client::Flight::~Flight() {
  http_.reset();  // First: what is under way borrows from the tasks.
  for (std::unique_ptr<Task>& task : tasks_) client_.leave_task(std::move(task));
}

void Client::Flight::start(const Call& call, Reply& reply, WaitClock::time_point deadline) {
  std::unique_ptr<Task> task = client_.take_task();
  task->call = call;
  task->outcome = &reply;
  task->last = deadline;
  task->waits = true;  // Signed and sent in next(), where a failure has somewhere to go.
  task->again = {};
  task->resigned = task->renewed = false;
  task->unsure = task->repetitions = 0;
  reply.status = 0;
  reply.attempts = 0;
  reply.fault = Fault::none;
  reply.ambiguous = false;
  reply.refusal = {};
  reply.unsent.reset();
  for (std::string* text : {&reply.body, &reply.why, &reply.safe}) text->clear();
  tasks_.push_back(std::move(task));
}

Reply* Client::Flight::finish(Task& task) {
  Reply* const reply = task.outcome;
  const auto found = std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& each) { return each.get() == &task; });
  client_.leave_task(std::move(*found));
  tasks_.erase(found);
  return reply;
}

void Client::Flight::send(Task& task) {
  task.waits = false;
  try {
    client_.sign(task);
  } catch (const Error& error) {
    task.outcome->unsent.emplace(error);
    task.outcome->fault = error.code() == ErrorCode::timeout       ? Fault::timeout
                          : error.code() == ErrorCode::unavailable ? Fault::passing
                                                                   : Fault::denied;
    task.outcome->why = error.what();
    return;
  }
  task.deadline = std::min(task.last, WaitClock::now() + task.call.limit);
  http_->start(task);
}

// Sends what waits for its time; returns when the next is due.
WaitClock::time_point Client::Flight::send_due() {
  WaitClock::time_point next = WaitClock::time_point::max();
  for (const std::unique_ptr<Task>& task : tasks_) {
    if (task->waits && task->again <= WaitClock::now()) send(*task);
    if (task->waits) next = std::min(next, task->again);
  }
  return next;
}

// Who is told to stop sends nothing again.
void Client::Flight::give_up_waiting() {
  for (const std::unique_ptr<Task>& task : tasks_) {
    if (!task->waits) continue;
    task->waits = false;
    Reply& reply = *task->outcome;
    reply.unsent.emplace(ErrorCode::cancelled, true, "it was stopped from here before AWS had answered");
    reply.fault = Fault::stopped;
    if (reply.safe.empty()) reply.safe = "stopped";
  }
}

void Client::Flight::sleep(WaitClock::time_point until, const std::stop_token& wake) {
  const auto latest = WaitClock::now() + std::chrono::hours(24);
  std::mutex mutex;
  std::condition_variable_any changed;
  const std::stop_callback woken(wake, [&] {
    const std::lock_guard lock(mutex);
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait_until(lock, stop_, std::min(until, latest), [&] { return wake.stop_requested(); });
}

Reply* Client::Flight::next(WaitClock::time_point until, std::stop_token wake) {
  const std::stop_callback nudged(wake, [this] { http_->nudge(); });
  while (!tasks_.empty()) {
    if (sends_no_more_ || stop_.stop_requested()) give_up_waiting();
    const WaitClock::time_point due = send_due();
    for (const std::unique_ptr<Task>& task : tasks_) {
      if (task->outcome->unsent) return finish(*task);
    }
    const WaitClock::time_point at = std::min(until, due);
    Exchange* const decided = http_->next(at);
    if (decided == nullptr) {
      if (wake.stop_requested() || WaitClock::now() >= until) return nullptr;
      if (http_->under_way() == 0) sleep(at, wake);
      continue;
    }
    Task& task = static_cast<Task&>(*decided);
    switch (client_.judge(task)) {
      case Step::done:
        return finish(task);
      case Step::again_now:
        task.again = {};
        [[fallthrough]];
      case Step::again_later:
        task.waits = true;
    }
  }
  return nullptr;
}

}  // namespace tidings::transport::aws
