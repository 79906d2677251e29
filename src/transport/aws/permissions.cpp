// Which of the permissions that the code needs are missing. Each is asked for in a form that cannot be carried out (an
// empty batch, a receipt of nothing): who may not is told so before AWS looks at what is asked, and nothing changes.
#include "transport/aws/store.hpp"

namespace tidings::transport::aws {
namespace {

struct Trial {
  Service service = Service::sqs;
  std::string_view operation{}, permission{};
  std::string body{};
};

std::vector<Trial> consumer_trials(const std::string& queue) {
  const std::string_view nothing = "none";
  const sqs::Visibility hidden{.receipt = nothing, .seconds = 0};
  std::vector<Trial> all{{Service::sqs, "ReceiveMessage", "sqs:ReceiveMessage"},
                         {Service::sqs, "DeleteMessageBatch", "sqs:DeleteMessage"},
                         {Service::sqs, "ChangeMessageVisibilityBatch", "sqs:ChangeMessageVisibility"},
                         {Service::sqs, "SendMessageBatch", "sqs:SendMessage"}};
  sqs::write_receive_message(all[0].body, queue, {.most = 0, .wait_seconds = 0});
  sqs::write_delete_message_batch(all[1].body, queue, {&nothing, 1});
  sqs::write_change_message_visibility_batch(all[2].body, queue, {&hidden, 1});
  sqs::write_send_message_batch(all[3].body, queue, {});
  return all;
}

std::vector<Trial> publisher_trials(const std::string& topic) {
  std::vector<Trial> all{{Service::sns, "PublishBatch", "sns:Publish"}};
  sns::write_publish_batch(all[0].body, topic, {});
  return all;
}

std::vector<Trial> operator_trials(const std::string& queue, const std::string& topic) {
  std::vector<Trial> all{{Service::sqs, "CreateQueue", "sqs:CreateQueue"},
                         {Service::sqs, "SetQueueAttributes", "sqs:SetQueueAttributes"},
                         {Service::sqs, "TagQueue", "sqs:TagQueue"}};
  sqs::write_create_queue(all[0].body, sqs::name_of_url(queue), {{"VisibilityTimeout", "none"}}, {});
  sqs::write_set_queue_attributes(all[1].body, queue, {{"VisibilityTimeout", "none"}});
  sqs::write_tag_queue(all[2].body, queue, {});
  if (topic.empty()) return all;
  all.push_back({Service::sns, "CreateTopic", "sns:CreateTopic"});
  sns::write_create_topic(all.back().body, topic.substr(topic.rfind(':') + 1), {{"FifoTopic", "none"}}, {});
  all.push_back({Service::sns, "Subscribe", "sns:Subscribe"});
  sns::write_subscribe(all.back().body, topic, "none", "none", {});
  return all;
}

// A row for one policy.
Check tried(Store& store, const std::string& policy, const std::string& on, const std::vector<Trial>& trials) {
  Check check{policy + " of " + on, true, "", ""};
  std::string may, may_not;
  for (const Trial& each : trials) {
    const Reply reply = store.client().run({.service = each.service, .operation = each.operation, .body = each.body},
                                           deadline_in(patience));
    std::string& where = reply.fault == Fault::denied ? may_not : may;
    where += (where.empty() ? "" : ", ") + std::string(each.permission);
  }
  check.ok = may_not.empty();
  check.detail = check.ok ? "may " + may : "may not " + may_not + (may.empty() ? "" : "; may " + may);
  if (!check.ok) check.advice = "grant " + may_not + " on it; tidings doctor --print iam writes the whole policy";
  return check;
}

// A small object that is as good as any payload; the same one each time, so that nothing grows.
constexpr std::string_view trial_payload = R"({"tidings":"doctor"})";

}  // namespace

void check_payloads(Store& store, std::vector<Check>& checks) {
  Payloads* const payloads = store.payloads();
  if (payloads == nullptr) {
    checks.push_back({"payloads", true, "none: an event is at most " + std::to_string(largest_inline) + " bytes",
                      "payloads=file:///FOLDER or payloads=s3://BUCKET/PREFIX lets larger ones through"});
    return;
  }
  const bool s3 = payloads->place().kind == PayloadPlace::Kind::s3;
  const std::string key = payload_key(payloads->place(), "events:doctor", "trial", hex(sha256({trial_payload})));
  Check check{"payloads", true, "", ""};
  const auto tried = [&](const char* permission, const Payloads::Outcome& outcome) {
    if (!outcome.error) return;
    const bool denied = outcome.error->code() == ErrorCode::unauthorized;
    check.ok = false;
    check.detail += (check.detail.empty() ? "" : "; ") + std::string(outcome.error->what());
    check.advice += (check.advice.empty() ? "" : ", ") +
                    (denied ? std::string("grant ") + permission + " on it (tidings doctor --print iam)"
                            : std::string("see the message"));
  };
  tried("s3:PutObject", payloads->put(key, trial_payload, deadline_in(patience)));
  tried("s3:GetObject", payloads->get(key, deadline_in(patience)));
  if (check.ok) {
    check.detail = (s3 ? "s3://" + payloads->place().bucket : payloads->place().folder) + ": written and read";
    if (s3) check.advice = "let a lifecycle rule of the bucket remove objects after 29 days";
  }
  checks.push_back(std::move(check));
}

void check_permissions(Store& store, const std::string& url, const std::string& topic, std::vector<Check>& checks) {
  const std::string name(sqs::name_of_url(url));
  checks.push_back(tried(store, "consumer's policy", name, consumer_trials(url)));
  if (!topic.empty()) checks.push_back(tried(store, "publisher's policy", topic, publisher_trials(topic)));
  if (store.topology().mode() != TopologyMode::create) return;
  checks.push_back(tried(store, "operator's policy", name, operator_trials(url, topic)));
}

}  // namespace tidings::transport::aws
