// Tasks that move messages from a dead-letter queue. A task with a rate moves as many as the clock lets it, whenever a
// call arrives or the clock moves; one without a rate is done at once.
#include <algorithm>

#include "sqs.hpp"
#include "text.hpp"

namespace tidings::support::aws {
namespace {

[[noreturn]] void refuse_resource(const std::string& message) {
  throw Refusal{404, "ResourceNotFoundException", message, {}};
}

}  // namespace

bool Sqs::is_dead_letter_queue(const std::string& arn) const {
  return std::any_of(queues_.begin(), queues_.end(),
                     [&](const auto& each) { return each.second->dead_letter_arn() == arn; });
}

// Without a destination each goes back where it came from; nobody knows where one came from that was sent here.
bool Sqs::move_one(Task& task, Queue& source) {
  auto message = source.take_visible();
  if (!message) return false;
  const std::string target = task.destination.empty() ? message->dead_letter_source : task.destination;
  Queue* queue = by_arn(target);
  if (queue == nullptr) {
    task.status = "FAILED";
    task.failure = target.empty() ? "CouldNotDetermineMessageSource" : "AWS.SimpleQueueService.NonExistentQueue";
    source.put(std::move(*message));
    return false;
  }
  message->id = uuid();
  message->receives = 0;
  message->first_received = Wall{};
  message->dead_letter_source.clear();
  message->sent = world_.now();
  queue->put(std::move(*message));
  ++task.moved;
  return true;
}

void Sqs::advance(Task& task) {
  if (task.status != "RUNNING") return;
  Queue* source = by_arn(task.source);
  if (source == nullptr) {
    task.status = "FAILED";
    task.failure = "AWS.SimpleQueueService.NonExistentQueue";
    return;
  }
  const std::int64_t passed = (world_.now() - task.started).count();
  const std::int64_t allowed = task.a_second == 0 ? task.to_move : task.a_second * passed / 1000;
  while (task.moved < std::min(allowed, task.to_move)) {
    if (move_one(task, *source)) continue;
    if (task.status == "RUNNING") task.status = "COMPLETED";
    return;
  }
  if (task.moved == task.to_move) task.status = "COMPLETED";
}

void Sqs::advance_tasks() {
  for (Task& each : tasks_) advance(each);
}

Wall Sqs::next_task_due() const {
  Wall due = Wall::max();
  for (const Task& each : tasks_) {
    if (each.status == "RUNNING") due = std::min(due, world_.now() + Millis(1000 / each.a_second + 1));
  }
  return due;
}

Json Sqs::start_move_task(Call& call, const Arguments& arguments) {
  const std::string source = arguments.required("SourceArn");
  const std::string destination = arguments.text("DestinationArn").value_or("");
  world_.authorize(call, "sqs:StartMessageMoveTask", source);
  const auto rate = arguments.integer("MaxNumberOfMessagesPerSecond");
  if (rate && (*rate < 1 || *rate > 500)) refuse_parameter("MaxNumberOfMessagesPerSecond must be between 1 and 500.");
  Queue* queue = by_arn(source);
  if (queue == nullptr) refuse_resource("The resource that you specified for the SourceArn parameter doesn't exist.");
  if (!is_dead_letter_queue(source)) refuse_parameter("Source queue must be configured as a Dead Letter Queue.");
  if (!destination.empty() && by_arn(destination) == nullptr)
    refuse_resource("The resource that you specified for the DestinationArn parameter doesn't exist.");
  if (!destination.empty() && by_arn(destination)->fifo() != queue->fifo())
    refuse_parameter("The source and the destination must be of the same type.");
  if (std::any_of(tasks_.begin(), tasks_.end(),
                  [&](const Task& each) { return each.source == source && each.status == "RUNNING"; })) {
    throw Refusal{
        400,
        "UnsupportedOperation",
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        {}};
  }
  queue->refresh();
  Task task{.handle = {},
            .source = source,
            .destination = destination,
            .a_second = rate.value_or(0),
            .to_move = static_cast<std::int64_t>(queue->visible()),
            .started = world_.now()};
  task.handle = base64(Json::object({{"taskId", uuid()}, {"sourceArn", source}}).text());
  tasks_.push_back(task);
  advance(tasks_.back());
  return Json::object({{"TaskHandle", task.handle}});
}

// The newest comes first, and only one that runs can be cancelled.
Json Sqs::list_move_tasks(Call& call, const Arguments& arguments) {
  const std::string source = arguments.required("SourceArn");
  world_.authorize(call, "sqs:ListMessageMoveTasks", source);
  const std::int64_t most = arguments.integer("MaxResults").value_or(1);
  if (most < 1 || most > 10) refuse_parameter("MaxResults must be between 1 and 10.");
  if (by_arn(source) == nullptr)
    refuse_resource("The resource that you specified for the SourceArn parameter doesn't exist.");
  Json results;
  std::int64_t count = 0;
  for (auto each = tasks_.rbegin(); each != tasks_.rend() && count < most; ++each) {
    if (each->source != source) continue;
    ++count;
    Json result = Json::object({{"Status", each->status}, {"SourceArn", source}});
    if (each->status == "RUNNING") result.set("TaskHandle", each->handle);
    if (!each->destination.empty()) result.set("DestinationArn", each->destination);
    if (each->a_second > 0) result.set("MaxNumberOfMessagesPerSecond", each->a_second);
    if (!each->failure.empty()) result.set("FailureReason", each->failure);
    result.set("ApproximateNumberOfMessagesMoved", each->moved);
    result.set("ApproximateNumberOfMessagesToMove", each->to_move);
    result.set("StartedTimestamp", each->started.time_since_epoch().count());
    results.add(std::move(result));
  }
  return results.is_null() ? Json::object() : Json::object({{"Results", results}});
}

Json Sqs::cancel_move_task(Call& call, const Arguments& arguments) {
  const std::string handle = arguments.required("TaskHandle");
  const auto found =
      std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& each) { return each.handle == handle; });
  if (found == tasks_.end()) refuse_resource("Task does not exist.");
  world_.authorize(call, "sqs:CancelMessageMoveTask", found->source);
  if (found->status != "RUNNING") {
    throw Refusal{400, "UnsupportedOperation", "Only active tasks can be cancelled.", {}};
  }
  found->status = "CANCELLED";
  return Json::object({{"ApproximateNumberOfMessagesMoved", found->moved}});
}

}  // namespace tidings::support::aws
