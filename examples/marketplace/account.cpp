#include "account.hpp"

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <tuple>

#include "store.hpp"

namespace market {
namespace {

const std::set<std::string>& all_streams() {
  static const std::set<std::string> streams = [] {
    std::set<std::string> all;
    for (const Part& part : parts()) all.insert(part.streams.begin(), part.streams.end());
    return all;
  }();
  return streams;
}

/// The values of `sql`'s first column, and how often each.
std::map<std::string, std::uint64_t> values(const std::filesystem::path& file, const char* sql) {
  std::map<std::string, std::uint64_t> found;
  if (!std::filesystem::exists(file)) return found;  // Mails that went to another server are not ours to count.
  Store store(file, "");
  for (const Store::Row& row : store.query(sql)) ++found[row[0]];
  return found;
}

/// Of user.created and user.updated alike.
struct UserId {
  std::string userId;
};
TIDINGS_STRUCT(UserId, userId)
struct ProjectId {
  std::string projectId;
};
TIDINGS_STRUCT(ProjectId, projectId)

Effects compare(std::string name, const std::set<std::string>& expected,
                const std::map<std::string, std::uint64_t>& found) {
  Effects effects{.name = std::move(name), .expected = expected.size(), .found = found.size()};
  for (const auto& [key, times] : found) effects.repeated += times - 1;
  for (const std::string& key : expected) effects.missing += found.contains(key) ? 0 : 1;
  return effects;
}

}  // namespace

std::uint64_t Row::missing() const {
  const std::uint64_t seen = handled + ignored + dead + open();
  return in > seen ? in - seen : seen - in;
}

Row& Row::operator+=(const Row& other) {
  in += other.in, handled += other.handled, ignored += other.ignored, dead += other.dead;
  retrying += other.retrying, pending += other.pending, lag += other.lag;
  return *this;
}

Account::Account(tidings::Bus bus) : bus_(std::move(bus)) {
  if (!bus_.transport().capabilities().read) {
    std::vector<std::string> events;
    std::copy_if(all_streams().begin(), all_streams().end(), std::back_inserter(events),
                 [](const std::string& stream) { return stream.starts_with("events:"); });
    witness_ = std::make_unique<Witness>(bus_, std::move(events));
  }
  start_ = look();
  for (const std::string& stream : all_streams()) {
    for (const auto& info : bus_.transport().describe(stream)) ends_[stream] = info.end;
  }
}

std::uint64_t Account::before() const {
  std::map<std::string, std::uint64_t> lengths;
  for (const Row& row : start_) lengths[row.stream] = row.in;
  std::uint64_t sum = 0;
  for (const auto& [stream, length] : lengths) sum += length;
  return sum;
}

std::vector<Row> Account::look() const {
  std::map<std::string, tidings::transport::StreamInfo> streams;
  for (auto& info : bus_.transport().describe("")) {
    if (all_streams().contains(info.name)) streams.emplace(info.name, std::move(info));
  }
  std::vector<Row> rows;
  for (const Part& part : parts()) {
    for (const std::string& name : part.streams) {
      const auto& stream = streams[name];
      Row row{.service = part.name, .stream = name, .in = stream.length, .lag = stream.length};
      for (const auto& group : stream.groups) {
        if (group.group != tidings::group_of(name, part.name)) continue;
        row.handled = group.handled.value_or(0);
        row.ignored = group.ignored.value_or(0);
        row.dead = group.dead_letters;
        row.retrying = group.retrying;
        row.pending = group.pending;
        row.lag = group.lag.value_or(0);
      }
      if (witness_) add_what_is_not_counted(row);
      rows.push_back(row);
    }
  }
  return rows;
}

// A queue counts what it holds and not what it held: what the witness saw and no queue holds any more was handled, and
// the effects say whether it was. Of commands nobody knows how many there were.
void Account::add_what_is_not_counted(Row& row) const {
  row.in = std::max(witness_->seen(row.stream), row.dead + row.open());
  row.handled = row.in - row.dead - row.open();
}

std::vector<Row> Account::rows() const {
  std::vector<Row> rows = look();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& start = start_[i];
    rows[i].in -= start.in - start.open();
    rows[i].handled -= start.handled;
    rows[i].ignored -= start.ignored;
    rows[i].dead -= std::min(start.dead, rows[i].dead);
  }
  return rows;
}

std::uint64_t Account::published() const {
  std::map<std::string, std::uint64_t> lengths;
  for (const Row& row : look()) lengths[row.stream] = row.in;
  std::uint64_t sum = 0;
  for (const auto& [stream, length] : lengths) sum += length;
  return sum - before();
}

// Those of events that were published since.
std::vector<tidings::transport::ShelfItem> Account::dead_items(const std::string& stream,
                                                               const std::string& service) const {
  std::vector<tidings::transport::ShelfItem> all;
  tidings::transport::ShelfQuery query{.states = {tidings::transport::ShelfState::dead}};
  const std::string group(tidings::group_of(stream, service));
  const auto from = ends_.find(stream);
  for (;;) {
    auto items = bus_.transport().shelf({stream, group}, query);
    if (items.empty()) return all;
    query.after = items.back().key;
    for (auto& item : items) {
      if (from == ends_.end() || item.position >= from->second) all.push_back(std::move(item));
    }
  }
}

std::set<std::string> Account::dead(const std::string& stream, const std::string& service) const {
  std::set<std::string> ids;
  for (const auto& item : dead_items(stream, service)) ids.insert(item.id);
  return ids;
}

std::vector<Account::Message> Account::read(const std::string& stream) const {
  std::vector<Message> messages;
  if (witness_) {
    for (const std::string& envelope : witness_->envelopes(stream)) {
      const auto event = tidings::decode<tidings::Json>(envelope);
      messages.push_back({event.id, event.type, std::string(event.data.text())});
    }
    return messages;
  }
  const auto from = ends_.find(stream);
  tidings::transport::ReadRange range{.stream = stream,
                                      .from = from == ends_.end() ? tidings::Position{} : from->second};
  for (;;) {
    const auto page = bus_.transport().read(range);
    for (const auto& record : page.records) {
      const auto event = tidings::decode<tidings::Json>(record.envelope);
      messages.push_back({event.id, event.type, std::string(event.data.text())});
    }
    if (page.end) return messages;
    range.from = page.next;
  }
}

std::uint64_t Account::print_dead_letters(std::ostream& out) const {
  std::uint64_t unplanned = 0;
  for (const Row& row : look()) {
    if (row.dead == 0) continue;
    std::map<std::tuple<std::string, std::string>, std::pair<std::size_t, std::string>> kinds;
    for (const auto& item : dead_items(row.stream, row.service)) {
      if (item.reason != "rejected" && item.reason != "undecodable") ++unplanned;
      auto& [count, example] = kinds[{item.reason, item.error}];
      if (count++ == 0) example = item.id;
    }
    for (const auto& [kind, found] : kinds) {
      out << "  " << std::left << std::setw(13) << row.service << std::setw(20) << row.stream << std::right
          << std::setw(4) << found.first << "  " << std::get<0>(kind) << ": " << std::get<1>(kind) << "  ("
          << found.second << ")\n";
    }
  }
  return unplanned;
}

std::uint64_t Account::copies() const {
  std::uint64_t copies = 0;
  for (const std::string& stream : all_streams()) {
    std::set<std::string> ids;
    for (const Message& message : read(stream)) copies += ids.insert(message.id).second ? 0 : 1;
  }
  return copies;
}

std::uint64_t Account::refused_charges(const std::filesystem::path& directory) {
  Store ledger(directory / "payment.db", "");
  return static_cast<std::uint64_t>(std::stoull(ledger.query("SELECT coalesce(sum(refused), 0) FROM charges")[0][0]));
}

std::uint64_t Account::published(const std::string& stream) const {
  const auto now = look();
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i].stream == stream) return now[i].in - start_[i].in;
  }
  return 0;
}

std::uint64_t Account::forgotten(const std::vector<Answered>& answered) const {
  std::set<std::string> stored;
  for (const char* stream : {"events:user", "events:project", "events:booking"}) {
    for (const Message& message : read(stream)) stored.insert(message.id);
  }
  return static_cast<std::uint64_t>(std::count_if(answered.begin(), answered.end(),
                                                  [&](const Answered& each) { return !stored.contains(each.event); }));
}

// Commands that nobody saw: each of these events has one mail, unless it is a dead letter itself or its mail is one.
Effects Account::mails_by_number(const std::map<std::string, std::uint64_t>& found) const {
  static const std::set<std::string> with_mail{"user.created", "project.published", "booking.created",
                                               "payment.completed"};
  Effects mails{.name = "mails delivered", .found = found.size()};
  for (const char* stream : {"events:user", "events:project", "events:booking", "events:payment"}) {
    const auto undecided = dead(stream, "notification");
    for (const Message& message : read(stream)) {
      mails.expected += with_mail.contains(message.type) && !undecided.contains(message.id) ? 1 : 0;
    }
  }
  mails.expected -= std::min<std::uint64_t>(mails.expected, dead("commands:send.email", "notification").size());
  for (const auto& [id, times] : found) mails.repeated += times - 1;
  mails.missing = mails.expected - std::min(mails.expected, mails.found);
  return mails;
}

// The same for what search tells itself about projects.
void Account::add_projects(std::set<std::string>& indexed) const {
  for (const Message& message : read("events:project")) {
    indexed.insert(tidings::read_json<ProjectId>(message.data).projectId);
  }
  for (const auto& item : dead_items("commands:index.project", "search")) {
    indexed.erase(tidings::decode<ProjectId>(item.envelope).data.projectId);
  }
}

std::vector<Effects> Account::effects(const std::filesystem::path& directory) const {
  std::set<std::string> mails, charges, counts, indexed, published;
  const auto unsent = dead("commands:send.email", "notification");
  for (const Message& message : read("commands:send.email")) {
    if (!unsent.contains(message.id)) mails.insert("<" + message.id + "@marketplace.example>");
  }
  const auto declined = dead("events:booking", "payment");
  for (const Message& message : read("events:booking")) {
    if (!declined.contains(message.id)) charges.insert(tidings::read_json<BookingCreated>(message.data).bookingId);
  }
  const auto uncounted = dead("events:project", "analytics");
  for (const Message& message : read("events:project")) {
    if (message.type == "project.published") published.insert(tidings::read_json<ProjectId>(message.data).projectId);
    if (message.type == "project.created" && !uncounted.contains(message.id))
      counts.insert("project-service " + message.id);
  }
  const auto unknown = dead("events:user", "search"), unindexed = dead("commands:index.project", "search");
  for (const Message& message : read("events:user")) {
    if (!unknown.contains(message.id)) indexed.insert(tidings::read_json<UserId>(message.data).userId);
  }
  for (const Message& message : read("commands:index.project")) {
    if (!unindexed.contains(message.id)) indexed.insert(tidings::read_json<IndexProject>(message.data).projectId);
  }
  if (witness_) add_projects(indexed);
  std::vector<Effects> all{
      compare("users and projects indexed", indexed, values(directory / "search.db", "SELECT id FROM entries")),
      compare("projects indexed as published", published,
              values(directory / "search.db", "SELECT id FROM entries WHERE kind = 'project' AND rank = 1")),
      compare("bookings charged", charges, values(directory / "payment.db", "SELECT booking FROM charges")),
      compare("bookings confirmed", charges,
              values(directory / "booking.db", "SELECT id FROM bookings WHERE status = 'confirmed'")),
      compare("projects counted", counts, values(directory / "analytics.db", "SELECT event FROM counted"))};
  if (std::filesystem::exists(directory / "sink.db")) {
    const auto found = values(directory / "sink.db", "SELECT message_id FROM mails");
    all.push_back(witness_ ? mails_by_number(found) : compare("mails delivered", mails, found));
  }
  return all;
}

}  // namespace market
