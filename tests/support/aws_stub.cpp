#include "aws_stub.hpp"

#include <algorithm>
#include <stdexcept>

#include "aws/http.hpp"
#include "aws/json.hpp"
#include "aws/s3.hpp"
#include "aws/signature.hpp"
#include "aws/sns.hpp"
#include "aws/sources.hpp"
#include "aws/sqs.hpp"
#include "aws/text.hpp"
#include "aws/world.hpp"

namespace tidings::support {
namespace {

using aws::HttpReply;
using aws::HttpRequest;
using aws::Json;
using aws::Refusal;

constexpr std::string_view json_type = "application/x-amz-json-1.0", form_type = "application/x-www-form-urlencoded";

/// Whose language a request speaks.
enum class Kind { sqs, sns, sts, s3, source, unknown };

struct Route {
  Kind kind = Kind::unknown;
  std::string operation{};
  aws::Form form{};
};

Route route_of(const HttpRequest& request) {
  if (const std::string object = aws::S3::operation_of(request); !object.empty()) return {Kind::s3, object, {}};
  const std::string_view type = request.header("content-type").value_or("");
  if (request.header("x-amz-target") || type.starts_with("application/x-amz-json")) {
    constexpr std::string_view service = "AmazonSQS.";
    const std::string target(request.header("x-amz-target").value_or(""));
    return {Kind::sqs, target.starts_with(service) ? target.substr(service.size()) : "", {}};
  }
  if (type.substr(0, type.find(';')) == form_type && request.method == "POST" && request.path == "/") {
    const auto form = aws::form_of(request.body);
    if (!form) return {};
    const aws::Fields fields(*form);
    const std::string version = fields.text("Version");
    const Kind kind = version == "2010-03-31" ? Kind::sns : version == "2011-06-15" ? Kind::sts : Kind::unknown;
    return {kind, fields.text("Action"), *form};
  }
  const std::string source = aws::Sources::operation_of(request);
  return {source.empty() ? Kind::unknown : Kind::source, source, {}};
}

std::string name_space(Kind kind) {
  return kind == Kind::sts ? "https://sts.amazonaws.com/doc/2011-06-15/" : "http://sns.amazonaws.com/doc/2010-03-31/";
}

HttpReply xml_reply(int status, Kind kind, const std::string& root, const std::string& inside) {
  return {.status = status,
          .headers = {{"Content-Type", "text/xml"}},
          .body = "<" + root + " xmlns=\"" + name_space(kind) + "\">" + inside + "</" + root + ">"};
}

// What everybody's protocol says itself has "message"; a missing right has "Message".
HttpReply sqs_refusal(const Refusal& refusal) {
  const aws::SqsCode code = aws::sqs_code(refusal.code);
  const std::string member = refusal.code == "AccessDeniedException" ? "Message" : "message";
  HttpReply reply{.status = refusal.status,
                  .headers = {{"Content-Type", std::string(json_type)},
                              {"x-amzn-query-error", code.query + (refusal.status < 500 ? ";Sender" : ";Receiver")}},
                  .body = Json::object({{"__type", code.type}, {member, refusal.message}}).text()};
  return reply;
}

HttpReply refusal_reply(Kind kind, const Refusal& refusal, const std::string& request_id) {
  HttpReply reply;
  if (kind == Kind::sqs) {
    reply = sqs_refusal(refusal);
  } else if (kind == Kind::source) {
    reply = {.status = refusal.status,
             .headers = {{"Content-Type", "application/json"}},
             .body = Json::object({{"code", refusal.code}, {"message", refusal.message}}).text()};
  } else if (kind == Kind::s3) {
    reply = {
        .status = refusal.status,
        .headers = {{"Content-Type", "application/xml"}},
        .body = aws::enclosed("Error", aws::element("Code", refusal.code) + aws::element("Message", refusal.message) +
                                           aws::element("RequestId", request_id))};
  } else {
    const std::string error = aws::element("Type", refusal.status < 500 ? "Sender" : "Receiver") +
                              aws::element("Code", refusal.code) + aws::element("Message", refusal.message);
    reply = xml_reply(refusal.status, kind, "ErrorResponse",
                      aws::enclosed("Error", error) + aws::element("RequestId", request_id));
  }
  if (refusal.retry_after) reply.headers.emplace_back("Retry-After", std::to_string(*refusal.retry_after));
  return reply;
}

}  // namespace

struct AwsStub::Inner {
  explicit Inner(AwsStubOptions options)
      : world(std::move(options)), keys(world), sqs(world), sns(world, sqs), s3(world), sources(world, keys) {
    const std::lock_guard lock(world.mutex);  // Nobody is served before the port is known.
    server = std::make_unique<aws::HttpServer>([this](const HttpRequest& request) { return handle(request); });
    world.port = server->port();
  }
  ~Inner() {
    {
      const std::lock_guard lock(world.mutex);
      world.stopping = true;
      world.change.notify_all();
      world.watched.notify_all();
    }
    server->stop();
  }
  Inner(const Inner&) = delete;
  Inner& operator=(const Inner&) = delete;

  HttpReply handle(const HttpRequest& request);
  HttpReply perform(const Route& route, aws::Call& call);
  HttpReply sqs_reply(aws::Call& call);
  HttpReply query_reply(const Route& route, aws::Call& call);
  void verify(Kind kind, aws::Call& call);
  void hold(const std::string& operation, std::unique_lock<std::mutex>& lock);
  [[nodiscard]] int counted(const std::string& operation) const;
  /// Waits until something is so, with the lock.
  template <class Condition>
  bool await(Condition&& condition) {
    std::unique_lock lock(world.mutex);
    return world.watched.wait_for(lock, Millis(patience), condition);
  }
  [[nodiscard]] aws::Queue& queue(const std::string& name) {
    aws::Queue* found = sqs.by_name(name);
    if (found == nullptr) throw std::out_of_range("there is no queue " + name);
    found->refresh();
    return *found;
  }

  aws::World world;
  aws::Keys keys;
  aws::Sqs sqs;
  aws::Sns sns;
  aws::S3 s3;
  aws::Sources sources;
  std::unique_ptr<aws::HttpServer> server{};
};

HttpReply AwsStub::Inner::handle(const HttpRequest& request) {
  const Route route = route_of(request);
  const std::string& operation = route.operation;
  const std::string request_id = aws::uuid();
  std::unique_lock lock(world.mutex);
  ++world.requests[operation];
  world.watched.notify_all();
  if (world.faults.take_drop(operation, AwsDrop::before)) return {.vanish = true};
  HttpReply reply;
  try {
    aws::Call call{request, operation, "", lock};
    verify(route.kind, call);
    if (const auto failure = world.faults.take_failure(operation))
      throw Refusal{failure->status, failure->code, failure->message, failure->retry_after};
    reply = perform(route, call);
  } catch (const Refusal& refusal) {
    reply = refusal_reply(route.kind, refusal, request_id);
  }
  if (route.kind == Kind::sns || route.kind == Kind::sts) {
    const std::size_t end = reply.status == 200 ? reply.body.rfind("</") : std::string::npos;
    if (end != std::string::npos)
      reply.body.insert(end, aws::enclosed("ResponseMetadata", aws::element("RequestId", request_id)));
  }
  hold(operation, lock);
  if (world.stopping || world.faults.take_drop(operation, AwsDrop::after)) return {.vanish = true};
  reply.headers.emplace_back("x-amzn-RequestId", request_id);
  reply.headers.emplace_back("Date", aws::http_date(world.now()));
  reply.sent = [this, operation] {
    const std::lock_guard again(world.mutex);
    ++world.answered[operation];
    world.watched.notify_all();
  };
  return reply;
}

void AwsStub::Inner::hold(const std::string& operation, std::unique_lock<std::mutex>& lock) {
  const auto held = [&] { return world.faults.held.contains(operation) || world.faults.held.contains("*"); };
  if (!held()) return;
  ++world.faults.holding[operation];
  world.watched.notify_all();
  world.change.wait(lock, [&] { return world.stopping || !held(); });
  --world.faults.holding[operation];
}

// Whom a web identity names has no key yet, and the sources of keys want to see other secrets.
void AwsStub::Inner::verify(Kind kind, aws::Call& call) {
  if (kind == Kind::unknown || kind == Kind::source || call.operation == "AssumeRoleWithWebIdentity") return;
  const std::string service = kind == Kind::sqs ? "sqs" : kind == Kind::sns ? "sns" : kind == Kind::s3 ? "s3" : "sts";
  call.principal = keys.verify(call.http, service).arn;
  ++world.signatures;
}

HttpReply AwsStub::Inner::perform(const Route& route, aws::Call& call) {
  switch (route.kind) {
    case Kind::sqs:
      return sqs_reply(call);
    case Kind::sns:
    case Kind::sts:
      return query_reply(route, call);
    case Kind::s3:
      return s3.answer(call);
    case Kind::source:
      return sources.answer(call.operation, call.http);
    case Kind::unknown:
      break;
  }
  throw Refusal{404, "UnknownOperationException", "No service listens to this here.", {}};
}

HttpReply AwsStub::Inner::sqs_reply(aws::Call& call) {
  const HttpRequest& request = call.http;
  const bool spoken = request.method == "POST" && request.target == "/" && request.header("content-type") == json_type;
  if (!spoken || !sqs.knows(call.operation)) {
    throw Refusal{request.target == "/" ? 400 : 404,
                  "UnknownOperationException",
                  "The operation " + call.operation + " as " +
                      std::string(request.header("content-type").value_or("nothing")) + " at " + request.target +
                      " is unknown.",
                  {}};
  }
  const auto body = Json::parse(request.body);
  if (!body || body->members() == nullptr)
    throw Refusal{400, "SerializationException", "The body is no JSON object.", {}};
  return {.headers = {{"Content-Type", std::string(json_type)}}, .body = sqs.answer(call, *body).text()};
}

HttpReply AwsStub::Inner::query_reply(const Route& route, aws::Call& call) {
  const aws::Fields fields(route.form);
  const bool sts = route.kind == Kind::sts;
  std::string result;
  if (sts && call.operation == "GetCallerIdentity") {
    result = sources.caller_identity(call);
  } else if (sts && call.operation == "AssumeRoleWithWebIdentity") {
    result = sources.assume_role(fields);
  } else if (!sts && sns.knows(call.operation)) {
    result = sns.answer(call, fields);
  } else {
    throw Refusal{400,
                  "InvalidAction",
                  "Could not find operation " + call.operation + " for version " + fields.text("Version"),
                  {}};
  }
  const bool silent = result.empty();
  return xml_reply(200, route.kind, call.operation + "Response",
                   silent ? "" : aws::enclosed(call.operation + "Result", result));
}

int AwsStub::Inner::counted(const std::string& operation) const {
  int count = 0;
  for (const auto& [name, calls] : world.requests) {
    if (operation == "*" || operation == name) count += calls;
  }
  return count;
}

AwsStub::AwsStub(AwsStubOptions options) : inner_(std::make_unique<Inner>(std::move(options))) {}
AwsStub::~AwsStub() = default;

std::uint16_t AwsStub::port() const noexcept { return inner_->world.port; }
std::string AwsStub::url() const { return "http://127.0.0.1:" + std::to_string(port()); }
const std::string& AwsStub::region() const noexcept { return inner_->world.options.region; }
const std::string& AwsStub::account() const noexcept { return inner_->world.options.account; }
std::string AwsStub::queue_url(const std::string& queue) const { return inner_->sqs.url_of(queue); }
std::string AwsStub::queue_arn(const std::string& queue) const { return inner_->world.arn("sqs", queue); }
std::string AwsStub::topic_arn(const std::string& topic) const { return inner_->world.arn("sns", topic); }

void AwsStub::time_moved() {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->sqs.advance_tasks();
  inner_->world.changed();
}

void AwsStub::add_key(AwsKey key) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->keys.add(std::move(key));
}
void AwsStub::remove_key(const std::string& id) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->keys.remove(id);
}
void AwsStub::set_sources(AwsSources sources) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->sources.set(std::move(sources));
}
void AwsStub::set_skew_code(std::string code) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->keys.set_skew_code(std::move(code));
}

void AwsStub::fail_next(const std::string& operation, int times, AwsFailure failure) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.fail(operation, times, std::move(failure));
}
void AwsStub::fail_entries(const std::string& operation,
                           std::function<bool(const std::string&, const std::string&)> which, AwsEntryFailure failure,
                           int times) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.fail_entries(operation, std::move(which), std::move(failure), times);
}
void AwsStub::fail_entries(const std::string& operation, const std::vector<std::string>& ids, AwsEntryFailure failure,
                           int times) {
  fail_entries(
      operation,
      [ids](const std::string& id, const std::string&) { return std::find(ids.begin(), ids.end(), id) != ids.end(); },
      std::move(failure), times);
}
void AwsStub::drop(const std::string& operation, int times, AwsDrop when) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.drop(operation, times, when);
}
void AwsStub::delay(const std::string& operation) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.held.insert(operation);
}
void AwsStub::release(const std::string& operation) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.held.erase(operation);
  inner_->world.changed();
}
bool AwsStub::await_held(const std::string& operation, int calls) {
  return inner_->await([&] { return inner_->world.faults.holding[operation] >= calls; });
}
void AwsStub::deny(const std::string& action, const std::string& resource) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.denied.push_back({action, resource});
}
void AwsStub::allow(const std::string& action, const std::string& resource) {
  const std::lock_guard lock(inner_->world.mutex);
  std::erase_if(inner_->world.faults.denied,
                [&](const auto& each) { return each.action == action && each.resource == resource; });
}
void AwsStub::corrupt_md5(int times) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.corrupt = times;
}
void AwsStub::deliver_twice(int times) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.twice = times;
}
void AwsStub::set_out_of_order(bool on) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.out_of_order = on;
}
void AwsStub::set_most_in_flight(int count) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.most_in_flight = count;
}
void AwsStub::set_stale_handles_ignored(bool on) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->world.faults.stale_ignored = on;
}

int AwsStub::requests(const std::string& operation) const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->counted(operation);
}
bool AwsStub::await_requests(const std::string& operation, int count) {
  return inner_->await([&] { return inner_->counted(operation) >= count; });
}
bool AwsStub::await_answered(const std::string& operation, int count) {
  return inner_->await([&] { return inner_->world.answered[operation] >= count; });
}
std::int64_t AwsStub::bytes_in() const { return inner_->server->bytes_in(); }
std::int64_t AwsStub::bytes_out() const { return inner_->server->bytes_out(); }
std::int64_t AwsStub::connections() const { return inner_->server->connections(); }
int AwsStub::signatures_verified() const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->world.signatures;
}
bool AwsStub::await_polls(int count) {
  return inner_->await([&] { return inner_->world.polls >= count; });
}

std::vector<std::string> AwsStub::queues() const {
  const std::lock_guard lock(inner_->world.mutex);
  std::vector<std::string> out;
  for (const auto& [name, queue] : inner_->sqs.queues()) out.push_back(name);
  return out;
}
std::map<std::string, std::string> AwsStub::queue_attributes(const std::string& queue) const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->sqs.attributes(inner_->queue(queue));
}
std::vector<AwsMessage> AwsStub::messages(const std::string& queue) const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->queue(queue).contents();
}
std::vector<AwsMessage> AwsStub::messages(const std::string& queue, AwsMessage::State state) const {
  std::vector<AwsMessage> all = messages(queue);
  std::erase_if(all, [state](const AwsMessage& each) { return each.state != state; });
  return all;
}
std::vector<AwsMessage> AwsStub::sent(const std::string& queue) const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->queue(queue).history;
}
std::vector<std::string> AwsStub::topics() const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->sns.topics();
}
std::vector<AwsSubscription> AwsStub::subscriptions(const std::string& topic) const {
  const std::lock_guard lock(inner_->world.mutex);
  try {
    return inner_->sns.subscriptions(topic_arn(topic));
  } catch (const Refusal&) {
    throw std::out_of_range("there is no topic " + topic);
  }
}
void AwsStub::make_bucket(const std::string& bucket) {
  const std::lock_guard lock(inner_->world.mutex);
  inner_->s3.buckets().try_emplace(bucket);
}
std::map<std::string, std::string> AwsStub::objects(const std::string& bucket) const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->s3.buckets().at(bucket);
}
void AwsStub::set_object(const std::string& bucket, const std::string& key, std::optional<std::string> bytes) {
  const std::lock_guard lock(inner_->world.mutex);
  auto& all = inner_->s3.buckets().at(bucket);
  all.erase(key);
  if (bytes) all.emplace(key, std::move(*bytes));
}
int AwsStub::undelivered() const {
  const std::lock_guard lock(inner_->world.mutex);
  return inner_->world.undelivered;
}

}  // namespace tidings::support
