#include "transport/aws/http.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

#include <tidings/error.hpp>

namespace tidings::transport::aws {
namespace {

using std::chrono::milliseconds;

/// Whether a URL leads to this machine, where no proxy can be meant.
bool leads_here(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  const std::string_view host = url.substr(0, url.find_first_of("/?#"));
  return host.starts_with("127.") || host.starts_with("[::1]") || host == "localhost" || host.starts_with("localhost:");
}

void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw Error(ErrorCode::internal, "aws: libcurl cannot start");
}

/// At least a millisecond, at most what fits.
long until_ms(WaitClock::time_point until, WaitClock::time_point now) {
  const auto left = std::chrono::ceil<milliseconds>(std::min<WaitClock::duration>(until - now, std::chrono::hours(24)));
  return std::max<long>(1, static_cast<long>(left.count()));
}

WaitClock::time_point within_a_day(WaitClock::time_point until) {
  const auto latest = WaitClock::now() + std::chrono::hours(24);
  return std::min(until, latest);
}

}  // namespace

/// What a flight has in common with the one that leads. Guarded by the mutex of Multi.
struct Http::State {
  std::condition_variable wake{};
  std::deque<Exchange*> decided{};
  std::size_t under_way = 0;  // Started and not decided.
  bool stopped = false, chosen = false, nudged = false;
};

/// An easy handle that serves one exchange after the other. Only whoever leads touches it.
class Http::Lane {
 public:
  explicit Lane(const HttpOptions& options);
  ~Lane() { curl_easy_cleanup(easy_); }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// Makes the handle ready.
  void take(Exchange& exchange, State& owner, WaitClock::time_point now);
  /// Writes what became of the exchange into it.
  void finish(CURLcode result);
  [[nodiscard]] CURL* easy() const noexcept { return easy_; }
  [[nodiscard]] State* owner() const noexcept { return owner_; }
  [[nodiscard]] Exchange* exchange() const noexcept { return exchange_; }

 private:
  template <class Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(easy_, option, value);
    if (code != CURLE_OK) throw Error(ErrorCode::internal, std::string("aws: libcurl: ") + curl_easy_strerror(code));
  }
  void set_method(const Exchange& exchange);
  static std::size_t receive(char* bytes, std::size_t size, std::size_t count, void* lane) noexcept;
  static int about_to_send(void* lane, char*, char*, int, int) noexcept {
    ++static_cast<Lane*>(lane)->exchange_->sends;
    return CURL_PREREQFUNC_OK;
  }
  [[nodiscard]] std::string header(const char* name) const;

  CURL* easy_;
  const HttpOptions& options_;
  Exchange* exchange_ = nullptr;
  State* owner_ = nullptr;
  std::string url_{}, method_{};
  bool direct_ = false;
  std::vector<curl_slist> headers_{};  // Its own list: libcurl reads it only, and nothing is copied.
  char error_[CURL_ERROR_SIZE] = {};
};

Http::Lane::Lane(const HttpOptions& options) : easy_(curl_easy_init()), options_(options) {
  if (easy_ == nullptr) throw Error(ErrorCode::internal, true, "aws: no memory for a request");
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TCP_NODELAY, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options.ca.empty()) set(CURLOPT_CAINFO, options.ca.c_str());
  set(CURLOPT_WRITEFUNCTION, &Lane::receive);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_PREREQFUNCTION, &Lane::about_to_send);
  set(CURLOPT_PREREQDATA, static_cast<void*>(this));
}

std::size_t Http::Lane::receive(char* bytes, std::size_t size, std::size_t count, void* lane) noexcept {
  const Lane& self = *static_cast<Lane*>(lane);
  std::string& reply = self.exchange_->reply;
  const std::size_t more = size * count;
  if (reply.size() + more > self.options_.largest_reply) return 0;
  try {
    reply.append(bytes, more);
  } catch (...) {  // No memory; libcurl takes less than all as a failure.
    return 0;
  }
  return more;
}

void Http::Lane::set_method(const Exchange& exchange) {
  if (exchange.method == "GET") {
    set(CURLOPT_HTTPGET, 1L);
    set(CURLOPT_CUSTOMREQUEST, static_cast<char*>(nullptr));
  } else {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_CUSTOMREQUEST, exchange.method == "POST" ? nullptr : method_.c_str());
  }
}

void Http::Lane::take(Exchange& exchange, State& owner, WaitClock::time_point now) {
  exchange_ = &exchange;
  owner_ = &owner;
  error_[0] = '\0';
  const bool other_way = url_ != exchange.url || direct_ != exchange.direct;
  if (other_way) {
    url_ = exchange.url;
    direct_ = exchange.direct;
    set(CURLOPT_URL, url_.c_str());
    set(CURLOPT_PROXY, direct_ || leads_here(url_) ? "" : nullptr);
  }
  if (method_ != exchange.method) {
    method_ = exchange.method;
    set_method(exchange);
  }
  if (method_ != "GET") {
    set(CURLOPT_POSTFIELDS, exchange.body.empty() ? "" : exchange.body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange.body.size()));
  }
  // A header without a value is one that libcurl leaves out: nobody here asks whether a body may be sent.
  static char no_expect[] = "Expect:", no_accept[] = "Accept:";
  headers_.clear();
  for (std::string& line : exchange.headers) headers_.push_back({line.data(), nullptr});
  headers_.push_back({no_expect, nullptr});
  headers_.push_back({no_accept, nullptr});
  for (std::size_t i = 1; i < headers_.size(); ++i) headers_[i - 1].next = &headers_[i];
  set(CURLOPT_HTTPHEADER, headers_.data());
  set(CURLOPT_FRESH_CONNECT, exchange.once ? 1L : 0L);
  set(CURLOPT_TIMEOUT_MS, until_ms(exchange.deadline, now));
  const milliseconds limit = exchange.connect_limit.count() > 0 ? exchange.connect_limit : options_.connect_limit;
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limit.count()));
}

std::string Http::Lane::header(const char* name) const {
  curl_header* found = nullptr;
  if (curl_easy_header(easy_, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK) return {};
  return found->value;
}

void Http::Lane::finish(CURLcode result) {
  Exchange& exchange = *exchange_;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  if (result == CURLE_OK) {
    exchange.status = static_cast<int>(status);
    if (status >= 300) {
      exchange.date = header("date");
      exchange.retry_after = header("retry-after");
      exchange.query_error = header("x-amzn-query-error");
      exchange.request_id = header("x-amzn-requestid");
    }
    return;
  }
  exchange.why = error_[0] != '\0' ? error_ : curl_easy_strerror(result);
  const bool late = result == CURLE_OPERATION_TIMEDOUT && WaitClock::now() + milliseconds(1) >= exchange.deadline;
  exchange.failure = late                  ? HttpFailure::timeout
                     : exchange.sends == 0 ? HttpFailure::not_connected
                                           : HttpFailure::unanswered;
}

class Http::Multi {
 public:
  explicit Multi(HttpOptions options);
  ~Multi();
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;

  void start(Exchange& exchange, State& state);
  Exchange* next(State& state, WaitClock::time_point until);
  void stop(State& state);
  void nudge(State& state);
  void forget(State& state);
  [[nodiscard]] std::size_t under_way(const State& state) const;

 private:
  struct Arrival {
    Exchange* exchange;
    State* owner;
  };
  void lead(std::unique_lock<std::mutex>& lock, State& state, WaitClock::time_point until);
  void hand_on();
  void wake();
  void admit(const Arrival& arrival);
  void withdraw(const State& owner);
  void collect();
  void release(Lane& lane, CURLcode result);
  void deliver(const State& leader);

  const HttpOptions options_;
  mutable std::mutex mutex_{};
  bool led_ = false, polls_ = false;
  std::vector<State*> waiting_{};   // For somebody else who leads.
  std::vector<State*> stopping_{};  // What they have under way is to be withdrawn.
  std::vector<Arrival> arriving_{};

  // The leader's.
  CURLM* multi_;
  std::vector<std::unique_ptr<Lane>> lanes_{};
  std::vector<Lane*> free_{};
  std::vector<Lane*> busy_{};
  std::vector<Arrival> decided_{}, admitted_{};
  std::vector<State*> withdrawn_{};
};

Http::Multi::Multi(HttpOptions options) : options_(std::move(options)), multi_((start_curl(), curl_multi_init())) {
  if (multi_ == nullptr) throw Error(ErrorCode::internal, true, "aws: no memory for connections");
  const auto connections = static_cast<long>(options_.connections);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, connections);
  curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
}

Http::Multi::~Multi() {
  lanes_.clear();
  curl_multi_cleanup(multi_);
}

// Whoever leads need not be woken when he looks at what came anyway.
void Http::Multi::wake() {
  if (polls_) curl_multi_wakeup(multi_);
}

void Http::Multi::start(Exchange& exchange, State& state) {
  exchange.failure = HttpFailure::none;
  exchange.status = 0;
  exchange.sends = 0;
  for (std::string* text : {&exchange.reply, &exchange.why, &exchange.date, &exchange.retry_after,
                            &exchange.query_error, &exchange.request_id}) {
    text->clear();
  }
  const std::lock_guard lock(mutex_);
  arriving_.push_back({&exchange, &state});
  ++state.under_way;
  wake();
}

void Http::Multi::stop(State& state) {
  const std::lock_guard lock(mutex_);
  state.stopped = true;
  if (state.under_way == 0) return;
  stopping_.push_back(&state);
  wake();
}

// Whoever leads may do so for himself or for this one.
void Http::Multi::nudge(State& state) {
  const std::lock_guard lock(mutex_);
  state.nudged = true;
  state.wake.notify_one();
  wake();
}

void Http::Multi::forget(State& state) {
  stop(state);
  // A nudge that nobody waited for ends next() early, and what is under way still borrows from the flight.
  while (next(state, WaitClock::time_point::max()) != nullptr || under_way(state) > 0) {
  }
  const std::lock_guard lock(mutex_);
  std::erase(stopping_, &state);
}

std::size_t Http::Multi::under_way(const State& state) const {
  const std::lock_guard lock(mutex_);
  return state.under_way + state.decided.size();
}

Exchange* Http::Multi::next(State& state, WaitClock::time_point until) {
  until = within_a_day(until);
  std::unique_lock lock(mutex_);
  while (state.decided.empty() && state.under_way > 0) {
    if (led_) {
      waiting_.push_back(&state);
      state.wake.wait_until(lock, until, [&] { return !state.decided.empty() || state.chosen || state.nudged; });
      std::erase(waiting_, &state);
      if (!state.chosen) break;
      state.chosen = false;
    }
    led_ = true;
    lead(lock, state, until);
    hand_on();
    if (state.nudged || WaitClock::now() >= until) break;
  }
  state.nudged = false;
  if (state.decided.empty()) return nullptr;
  Exchange* const first = state.decided.front();
  state.decided.pop_front();
  return first;
}

void Http::Multi::hand_on() {
  led_ = !waiting_.empty();
  if (!led_) return;
  State& next = *waiting_.front();
  waiting_.erase(waiting_.begin());
  next.chosen = true;
  next.wake.notify_one();
}

// Drives all exchanges until one of `state` is decided or `until` has passed, but once at least.
void Http::Multi::lead(std::unique_lock<std::mutex>& lock, State& state, WaitClock::time_point until) {
  while (state.decided.empty() && state.under_way > 0) {
    // Both at once: who is withdrawn had nothing but what arrived before.
    admitted_.swap(arriving_);
    withdrawn_.swap(stopping_);
    for (Arrival& each : admitted_) {
      if (!each.owner->stopped) continue;
      each.exchange->failure = HttpFailure::stopped;
      each.exchange->why = "stopped before it was sent";
      decided_.push_back(each);
      each.exchange = nullptr;
    }
    lock.unlock();
    for (const State* each : withdrawn_) withdraw(*each);
    for (const Arrival& each : admitted_) {
      if (each.exchange != nullptr) admit(each);
    }
    admitted_.clear();
    withdrawn_.clear();
    int running = 0;
    curl_multi_perform(multi_, &running);
    collect();
    lock.lock();
    deliver(state);
    const WaitClock::time_point now = WaitClock::now();
    if (!state.decided.empty() || state.nudged || now >= until) return;
    if (!arriving_.empty() || !stopping_.empty()) continue;
    polls_ = true;
    lock.unlock();
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(until_ms(until, now)), nullptr);
    lock.lock();
    polls_ = false;
  }
}

void Http::Multi::admit(const Arrival& arrival) {
  Exchange& exchange = *arrival.exchange;
  const WaitClock::time_point now = WaitClock::now();
  try {
    if (exchange.deadline <= now) {
      exchange.failure = HttpFailure::timeout;
      exchange.why = "the deadline passed before it was sent";
    } else {
      if (free_.empty()) {
        lanes_.push_back(std::make_unique<Lane>(options_));
        free_.push_back(lanes_.back().get());
      }
      Lane& lane = *free_.back();
      lane.take(exchange, *arrival.owner, now);
      const CURLMcode added = curl_multi_add_handle(multi_, lane.easy());
      if (added != CURLM_OK) throw Error(ErrorCode::internal, curl_multi_strerror(added));
      free_.pop_back();
      busy_.push_back(&lane);
      return;
    }
  } catch (const std::exception& error) {  // Who waits for it is told all the same.
    exchange.failure = HttpFailure::not_connected;
    exchange.why = error.what();
  }
  decided_.push_back(arrival);
}

void Http::Multi::release(Lane& lane, CURLcode result) {
  // Removing the handle first would lose the headers.
  lane.finish(result);
  curl_multi_remove_handle(multi_, lane.easy());
  decided_.push_back({lane.exchange(), lane.owner()});
  std::erase(busy_, &lane);
  free_.push_back(&lane);
}

void Http::Multi::withdraw(const State& owner) {
  const std::vector<Lane*> busy = busy_;
  for (Lane* lane : busy) {
    if (lane->owner() != &owner) continue;
    release(*lane, CURLE_ABORTED_BY_CALLBACK);
    lane->exchange()->failure = HttpFailure::stopped;
    lane->exchange()->why = "stopped";
  }
}

void Http::Multi::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* lane = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &lane);
    release(*reinterpret_cast<Lane*>(lane), message->data.result);
  }
}

void Http::Multi::deliver(const State& leader) {
  for (const Arrival& each : decided_) {
    State& owner = *each.owner;
    owner.decided.push_back(each.exchange);
    --owner.under_way;
    if (&owner == &leader) continue;
    std::erase(waiting_, &owner);
    owner.wake.notify_one();
  }
  decided_.clear();
}

Http::Http(HttpOptions options) : multi_(std::make_unique<Multi>(std::move(options))) {}
Http::~Http() = default;

void Http::run(std::span<Exchange> exchanges, std::stop_token stop) {
  Flight flight(*this, std::move(stop));
  for (Exchange& each : exchanges) flight.start(each);
  while (flight.next(WaitClock::time_point::max()) != nullptr) {
  }
}

struct Http::Flight::Stopper {
  Stopper(std::stop_token stop, std::function<void()> then) : callback(std::move(stop), std::move(then)) {}
  std::stop_callback<std::function<void()>> callback;
};

Http::Flight::Flight(Http& http, std::stop_token stop) : http_(http), state_(std::make_unique<State>()) {
  if (!stop.stop_possible()) return;
  stopper_ = std::make_unique<Stopper>(std::move(stop), [this] { http_.multi_->stop(*state_); });
}

Http::Flight::~Flight() {
  stopper_.reset();
  http_.multi_->forget(*state_);
}

void Http::Flight::start(Exchange& exchange) { http_.multi_->start(exchange, *state_); }
Exchange* Http::Flight::next(WaitClock::time_point until) { return http_.multi_->next(*state_, until); }
void Http::Flight::nudge() { http_.multi_->nudge(*state_); }
std::size_t Http::Flight::under_way() const noexcept { return http_.multi_->under_way(*state_); }

std::int64_t http_time(const std::string& date) noexcept { return curl_getdate(date.c_str(), nullptr); }

}  // namespace tidings::transport::aws
