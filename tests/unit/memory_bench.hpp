// One group, or several, on clocks that the test moves: what the tests of the memory engine's pure parts stand on.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "transport/memory/pick.hpp"

namespace tidings::memory {

using namespace std::chrono_literals;
using transport::Batch;
using transport::Delivery;
using transport::Origin;
using transport::Settlement;
using transport::ShelfAction;
using transport::ShelfState;
using Kind = Settlement::Kind;
using Offsets = std::vector<std::uint64_t>;

struct Bench {
  std::uint64_t next_key = 1;
  Now now{Wall{} + 1000h, 100h};
  std::vector<Slot> slots;

  explicit Bench(std::size_t streams = 1) {
    for (std::size_t i = 0; i < streams; ++i) {
      slots.push_back({std::make_shared<Log>(), std::make_shared<Group>(1, &next_key)});
    }
  }
  Group& group(std::size_t slot = 0) { return *slots[slot].group; }
  Log& log(std::size_t slot = 0) { return *slots[slot].log; }

  void publish(std::size_t count, std::size_t slot = 0, std::size_t bytes = 10) {
    const std::string envelope(bytes, 'x');
    for (std::size_t i = 0; i < count; ++i) {
      const std::string id = "evt_" + std::to_string(log(slot).end());
      const transport::Outgoing item{.stream = "events:a", .id = id, .type = "a.b", .envelope = envelope};
      log(slot).append(copy_entries({&item, 1}, now.wall).front());
    }
  }
  std::vector<Delivery> fetch(Holder& holder, Bounds bounds = {}) {
    Batch batch;
    pick(slots, holder, bounds, now.steady, batch);
    return batch.deliveries;
  }
  bool settle(Holder& holder, const Delivery& delivery, Kind kind, Millis after = {}, bool counted = true) {
    return group(delivery.stream)
        .settle({.kind = kind,
                 .token = delivery.token,
                 .after = after,
                 .counted = counted,
                 .reason = "why",
                 .error = "how"},
                holder, now);
  }
  void advance(Millis by) {
    now.wall += by;
    now.steady += by;
  }
  transport::GroupInfo info(std::size_t slot = 0) { return group(slot).describe(log(slot), now); }
  transport::ShelfItem only() {
    const auto keys = group().find({}, now);
    EXPECT_EQ(keys.size(), 1U);
    return group().show(keys.at(0), now);
  }
};

inline Offsets offsets(const std::vector<Delivery>& deliveries) {
  Offsets all;
  for (const Delivery& delivery : deliveries) all.push_back(delivery.position.major);
  return all;
}

}  // namespace tidings::memory
