#include "transport/memory/memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "core/interest.hpp"
#include "transport/memory/subscription.hpp"

namespace tidings {
namespace {

using namespace transport;
using memory::Admission;
using memory::Entry;
using memory::Now;
using memory::Store;

constexpr std::size_t trim_slice = 10'000;
constexpr Millis upkeep_pause{1'000};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(std::shared_ptr<Store> store, const Environment& environment)
      : store_(std::move(store)), environment_(environment) {
    capabilities_.engine = "memory";
    capabilities_.levels = {Level::memory};
    capabilities_.several_processes = false;
  }

  const Capabilities& capabilities() const noexcept override { return capabilities_; }

  void publish(std::span<const Outgoing> items, Level level, Millis, std::span<Result> results) override {
    if (level != Level::memory) {
      throw Error(ErrorCode::not_supported, "memory: events cannot be made durable at level " +
                                                std::string(to_string(level)) +
                                                "; publish at level memory, or use sqlite:PATH");
    }
    const Admission admission = memory::admit(items, results, capabilities_.largest_event);
    if (admission.admitted.empty()) return;
    // Stamped before the lock: a fetch never waits for copies.
    std::vector<Entry> entries = memory::copy_entries(admission.admitted, environment_.clock->wall());
    {
      const std::lock_guard lock(store_->mutex);
      memory::Stream* stream = nullptr;
      std::string_view name;
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (stream == nullptr || admission.admitted[i].stream != name) {
          name = admission.admitted[i].stream;
          stream = &store_->stream(name);
        }
        results[admission.indexes[i]].position = stream->log->append(std::move(entries[i]));
      }
      store_->touch();
    }
    store_->changed.notify_all();
  }

  void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> items,
              std::span<Result> results) override {
    std::vector<Outgoing> renamed(items.begin(), items.end());
    for (Outgoing& item : renamed) item.stream = group.stream;
    const Admission admission = memory::admit(renamed, results, capabilities_.largest_event);
    {
      const std::lock_guard lock(store_->mutex);
      memory::Group& target = store_->group(group);
      const Now now = memory::now_of(environment_);
      for (Entry& entry : memory::copy_entries(admission.admitted, now.wall)) {
        target.inject(std::move(entry), origin, run, now);
      }
      store_->touch();
    }
    store_->changed.notify_all();
  }

  std::unique_ptr<Subscription> subscribe(const Interest& interest) override {
    check_service_name(interest.service);
    if (interest.streams.empty()) {
      throw Error(ErrorCode::invalid,
                  "memory: service " + interest.service + " subscribes to no stream; name at least one");
    }
    std::set<std::string_view> distinct;
    for (const std::string& stream : interest.streams) {
      check_stream(stream);
      if (!distinct.insert(stream).second) {
        throw Error(ErrorCode::invalid,
                    "memory: service " + interest.service + " names " + stream + " twice; name it once");
      }
    }
    Interest named = interest;
    named.events = std::max<std::size_t>(named.events, 1);
    if (named.instance.empty()) {
      static std::atomic<std::uint64_t> number{0};
      named.instance = "local:" + std::to_string(::getpid()) + ":" + std::to_string(++number);
    }
    return std::make_unique<memory::MemorySubscription>(store_, environment_, named, capabilities_.largest_event);
  }

  Page read(const ReadRange& range, std::stop_token stop) override {
    const auto deadline = memory::deadline_after(range.wait);
    std::unique_lock lock(store_->mutex);
    while (true) {
      const memory::Stream* const stream = store_->find(range.stream);
      Page page = stream != nullptr ? stream->log->read(range) : memory::Log().read(range);
      if (!page.records.empty() || !page.end || stop.stop_requested() || std::chrono::steady_clock::now() >= deadline) {
        return page;
      }
      const std::uint64_t seen = store_->changes();
      store_->changed.wait_until(lock, stop, deadline, [&] { return store_->changes() != seen; });
    }
  }

  std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) override {
    const std::lock_guard lock(store_->mutex);
    const Now now = memory::now_of(environment_);
    store_->sweep(now);
    const memory::Group& shown = store_->group(group);
    std::vector<ShelfItem> items;
    for (const std::uint64_t key : shown.find(query, now)) {
      ShelfItem& item = items.emplace_back(shown.show(key, now));
      item.stream = group.stream;
      item.group = group.group;
    }
    return items;
  }

  void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    std::vector<Outgoing> outgoing;
    for (const ShelfItem& item : items) outgoing.push_back(core::outgoing_of(group, item));
    const Admission admission = memory::admit(outgoing, results, capabilities_.largest_event);
    {
      const std::lock_guard lock(store_->mutex);
      memory::Group& target = store_->group(group);
      const Now now = memory::now_of(environment_);
      std::vector<Entry> entries = memory::copy_entries(admission.admitted, now.wall);
      for (std::size_t i = 0; i < entries.size(); ++i) {
        target.shelve(std::move(entries[i]), items[admission.indexes[i]], now);
      }
      store_->touch();
    }
    store_->changed.notify_all();
  }

  std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action, const Outgoing& replacement) override {
    std::vector<Entry> copies;
    if (action == ShelfAction::replace) {
      Outgoing corrected = replacement;
      corrected.stream = group.stream;
      Result result;
      const std::span<const Outgoing> one(&corrected, 1);
      if (memory::admit(one, {&result, 1}, capabilities_.largest_event).admitted.empty()) {
        throw Error(result.code, result.message);
      }
      copies = memory::copy_entries(one, environment_.clock->wall());
    }
    std::size_t moved = 0;
    {
      const std::lock_guard lock(store_->mutex);
      moved = store_->group(group).move(query, action, copies.empty() ? nullptr : &copies.front(),
                                        memory::now_of(environment_));
      store_->touch();
    }
    store_->changed.notify_all();
    return moved;
  }

  void change(GroupRef group, const GroupChange& change) override {
    {
      const std::lock_guard lock(store_->mutex);
      store_->change(group, change);
    }
    store_->changed.notify_all();
  }

  std::vector<StreamInfo> describe(std::string_view stream) override {
    const std::lock_guard lock(store_->mutex);
    const Now now = memory::now_of(environment_);
    std::vector<StreamInfo> infos;
    for (const auto& [name, state] : store_->streams) {
      if (stream.empty() || stream == name) infos.push_back(store_->describe(name, state, now));
    }
    return infos;
  }

  Millis tend(const Retention& retention, std::stop_token) override {
    std::vector<std::string> lines;
    bool more = false;
    {
      const std::lock_guard lock(store_->mutex);
      const Now now = memory::now_of(environment_);
      store_->sweep(now);
      if (retention.age || retention.bytes) {
        more = store_->trim(retention, now, trim_slice, [&](GroupRef group, std::uint64_t count) {
          lines.push_back("memory: retention removed " + std::to_string(count) + " events of " +
                          std::string(group.stream) + " that group " + std::string(group.group) +
                          " never had; raise the retention, or the group's pace");
        });
      }
    }
    store_->changed.notify_all();
    for (const std::string& line : lines) environment_.log(LogLevel::warning, line);
    return more ? Millis{0} : upkeep_pause;
  }

  std::vector<Check> diagnose() override {
    return {{"engine", true, "memory: every event is kept in this process and gone with it",
             "use sqlite:PATH where events must survive"}};
  }

 private:
  std::shared_ptr<Store> store_;
  Environment environment_;
  Capabilities capabilities_;
};

// The store of `name`, which lives as long as somebody has it open.
std::shared_ptr<Store> shared_store(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Store>> stores;
  const std::lock_guard lock(mutex);
  std::erase_if(stores, [](const auto& known) { return known.second.expired(); });
  std::shared_ptr<Store> store = stores[name].lock();
  if (!store) {
    store = std::make_shared<Store>();
    stores[name] = store;
  }
  return store;
}

}  // namespace

std::shared_ptr<Transport> open_memory(const Url& url, const Environment& environment) {
  url.check_options({"durability", "retention_age", "retention_bytes", "retention_pass"});
  auto store = url.path.empty() ? std::make_shared<Store>() : shared_store(url.path);
  return std::make_shared<MemoryTransport>(std::move(store), environment);
}

}  // namespace tidings
