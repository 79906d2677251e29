#include "transport/aws/store.hpp"

#include <utility>

namespace tidings::transport::aws {
namespace {

Capabilities capabilities_of(const Transport* shelf, const Transport* archive, bool payloads) {
  Capabilities all;
  all.engine = "aws";
  // What AWS has acknowledged lies in several places.
  all.levels = {Level::process, Level::disk, Level::replicated};
  all.attempts = Capabilities::Attempts::upper_bound;
  all.counts_crashes = false;
  all.from_beginning = false;
  all.read = archive != nullptr;
  all.shelf = shelf != nullptr;
  all.atomic_outputs = false;
  all.type_filter = true;
  all.exact_lag = false;
  all.longest_delay = shelf != nullptr ? shelf->capabilities().longest_delay : longest_queue_delay;
  all.longest_lease = longest_hidden;
  all.largest_event = payloads ? largest_payload : largest_inline;
  return all;
}

[[noreturn]] void refuse(std::string_view what, std::string_view option, std::string_view example) {
  throw Error(ErrorCode::not_supported,
              "aws: " + std::string(what) + " needs " + std::string(option) +
                  "=URL, since SQS and SNS cannot do it by themselves; add it to the URL, for "
                  "example " +
                  std::string(example));
}

}  // namespace

Store::Store(const Options& options, const Environment& environment, std::shared_ptr<Transport> shelf,
             std::shared_ptr<Transport> archive)
    : environment_(environment),
      client_(options.client, environment_),
      topology_(client_, options, environment_.log),
      shelf_(std::move(shelf)),
      archive_(std::move(archive)),
      payloads_(Payloads::open(options.payloads, client_)),
      capabilities_(capabilities_of(shelf_.get(), archive_.get(), payloads_ != nullptr)) {}

Transport& Store::shelf_for(std::string_view what) const {
  if (!shelf_) refuse(what, "shelf", "shelf=redis://cache or shelf=sqlite:shelf.db");
  return *shelf_;
}

Transport& Store::archive_for(std::string_view what) const {
  if (!archive_) refuse(what, "archive", "archive=sqlite:archive.db, which tidings archive fills");
  return *archive_;
}

std::uint32_t Remembered::of(const std::string& message) const {
  for (const auto* each : {&recent_, &before_}) {
    if (const auto found = each->find(message); found != each->end()) return found->second;
  }
  return 0;
}

void Remembered::set(const std::string& message, std::uint32_t number, std::size_t most) {
  if (recent_.size() >= most) before_ = std::exchange(recent_, {});
  recent_[message] = number;
}

void Remembered::forget(const std::string& message) {
  recent_.erase(message);
  before_.erase(message);
}

std::uint32_t Store::given_back(const std::string& message) const {
  const std::lock_guard lock(mutex_);
  return given_back_.of(message);
}

void Store::note_given_back(const std::string& message) {
  const std::lock_guard lock(mutex_);
  given_back_.set(message, given_back_.of(message) + 1);
}

void Store::forget_given_back(const std::string& message) {
  const std::lock_guard lock(mutex_);
  given_back_.forget(message);
  failed_.forget(message);
}

void Store::note_failed(const std::string& message, std::uint32_t receives) {
  const std::lock_guard lock(mutex_);
  failed_.set(message, receives);
}

std::uint32_t Store::failed_at(const std::string& message) const {
  const std::lock_guard lock(mutex_);
  return failed_.of(message);
}

void Store::join_shelf(GroupRef group) {
  for (const StreamInfo& info : shelf_->describe(group.stream)) {
    for (const GroupInfo& each : info.groups) {
      if (each.group == group.group) return;
    }
  }
  GroupChange change;
  change.kind = GroupChange::Kind::create;
  change.at.kind = Start::Kind::end;
  shelf_->change(group, change);
}

}  // namespace tidings::transport::aws
