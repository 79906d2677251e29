// Which deliveries one fetch hands out: fair between streams, between due and new events, and within the bounds. Pure.
#pragma once

#include <memory>
#include <span>

#include "transport/memory/group.hpp"

namespace tidings::memory {

/// One stream of a subscription.
struct Slot {
  std::shared_ptr<Log> log{};
  std::shared_ptr<Group> group{};
};

/// Bounds on what one subscription holds unsettled.
struct Bounds {
  std::size_t events = 512;
  std::size_t bytes = 8U << 20;
};

/// Fills `batch` with gaps and with deliveries for `holder`. A delivery that must run alone is picked only for a holder
/// with empty hands, and then as the only one.
void pick(std::span<const Slot> slots, Holder& holder, Bounds bounds, Steady now, transport::Batch& batch);

}  // namespace tidings::memory
