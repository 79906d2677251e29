// SQS: the calls of AWS JSON 1.0 on queues.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "json.hpp"
#include "queue.hpp"
#include "world.hpp"

namespace tidings::support::aws {

/// The members of a call, by the types they must have. What is missing or of another type is refused.
class Arguments {
 public:
  explicit Arguments(const Json& json) : json_(json) {}
  [[nodiscard]] const Json& json() const { return json_; }
  [[nodiscard]] std::optional<std::string> text(const std::string& name) const;
  [[nodiscard]] std::string required(const std::string& name) const;
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& name) const;
  [[nodiscard]] std::map<std::string, std::string> texts(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> list(const std::string& name) const;
  [[nodiscard]] const Json::Array& objects(const std::string& name) const;
  /// `name` as a number of seconds between two bounds.
  [[nodiscard]] std::optional<Millis> seconds(const std::string& name, std::int64_t least, std::int64_t most) const;

 private:
  const Json& json_;
};

/// Under the world's lock.
class Sqs {
 public:
  explicit Sqs(World& world);

  /// Answers a call; refuses what AWS refuses.
  [[nodiscard]] Json answer(Call& call, const Json& body);
  [[nodiscard]] bool knows(const std::string& operation) const { return operations_.contains(operation); }

  /// Null when there is none.
  [[nodiscard]] Queue* by_arn(const std::string& arn);
  [[nodiscard]] Queue* by_name(const std::string& name);
  [[nodiscard]] const std::map<std::string, std::unique_ptr<Queue>>& queues() const { return queues_; }
  [[nodiscard]] std::map<std::string, std::string> attributes(Queue& queue) const;
  [[nodiscard]] std::string url_of(const std::string& name) const;
  /// Does what move tasks are to have done by now.
  void advance_tasks();

 private:
  struct Task {
    std::string handle{}, source{}, destination{}, status = "RUNNING", failure{};
    std::int64_t a_second = 0, moved = 0, to_move = 0;
    Wall started{};
  };
  using Operation = Json (Sqs::*)(Call&, const Arguments&);

  // Queues.
  Json create_queue(Call& call, const Arguments& arguments);
  Json get_queue_url(Call& call, const Arguments& arguments);
  Json get_queue_attributes(Call& call, const Arguments& arguments);
  Json set_queue_attributes(Call& call, const Arguments& arguments);
  Json list_queues(Call& call, const Arguments& arguments);
  Json list_dead_letter_sources(Call& call, const Arguments& arguments);
  Json delete_queue(Call& call, const Arguments& arguments);
  Json purge_queue(Call& call, const Arguments& arguments);
  Json tag_queue(Call& call, const Arguments& arguments);
  Json untag_queue(Call& call, const Arguments& arguments);
  Json list_queue_tags(Call& call, const Arguments& arguments);
  // Messages.
  Json send_message(Call& call, const Arguments& arguments);
  Json send_message_batch(Call& call, const Arguments& arguments);
  Json receive_message(Call& call, const Arguments& arguments);
  Json delete_message(Call& call, const Arguments& arguments);
  Json delete_message_batch(Call& call, const Arguments& arguments);
  Json change_visibility(Call& call, const Arguments& arguments);
  Json change_visibility_batch(Call& call, const Arguments& arguments);
  // Move tasks.
  Json start_move_task(Call& call, const Arguments& arguments);
  Json list_move_tasks(Call& call, const Arguments& arguments);
  Json cancel_move_task(Call& call, const Arguments& arguments);

  /// The queue that a call names by its URL, for an action that its caller may do.
  Queue& queue_of(const Call& call, const Arguments& arguments, const std::string& action);
  void check_attributes(const std::string& name, std::map<std::string, std::string>& attributes, bool creating);
  void check_redrive(const std::string& name, std::string& policy);
  Json page(const std::vector<std::string>& all, const Arguments& arguments, const char* name) const;
  Json send_one(Queue& queue, const Call& call, const Arguments& entry);
  Json change_one(Queue& queue, const Arguments& entry);
  Json each_entry(Call& call, const Arguments& arguments, const char* body,
                  const std::function<Json(const Arguments&)>& task);
  Json written(const Queue::Received& received, const Queue& queue, const Arguments& arguments);
  bool move_one(Task& task, Queue& source);
  void advance(Task& task);
  [[nodiscard]] bool is_dead_letter_queue(const std::string& arn) const;
  [[nodiscard]] Wall next_task_due() const;

  World& world_;
  std::map<std::string, Operation> operations_;
  std::map<std::string, std::unique_ptr<Queue>> queues_{};
  std::map<std::string, Wall> deleted_{};
  std::vector<Task> tasks_{};
};

}  // namespace tidings::support::aws
