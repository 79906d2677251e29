#include "transport/aws/store.hpp"

namespace tidings::transport::aws {
namespace {

constexpr std::size_t most_remembered = 100'000;

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

std::uint32_t Store::given_back(const std::string& message) const {
  const std::lock_guard lock(mutex_);
  const auto found = given_back_.find(message);
  return found == given_back_.end() ? 0 : found->second;
}

void Store::note_given_back(const std::string& message) {
  const std::lock_guard lock(mutex_);
  if (given_back_.size() >= most_remembered) given_back_.clear();
  ++given_back_[message];
}

void Store::forget_given_back(const std::string& message) {
  const std::lock_guard lock(mutex_);
  given_back_.erase(message);
  failed_.erase(message);
}

void Store::note_failed(const std::string& message, std::uint32_t receives) {
  const std::lock_guard lock(mutex_);
  if (failed_.size() >= most_remembered) failed_.clear();
  failed_[message] = receives;
}

std::uint32_t Store::failed_at(const std::string& message) const {
  const std::lock_guard lock(mutex_);
  const auto found = failed_.find(message);
  return found == failed_.end() ? 0 : found->second;
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
