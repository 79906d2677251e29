// What a transport may offer beside Transport::publish(): events that are written while the engine works on those
// before them.
#pragma once

#include <functional>
#include <vector>

#include <tidings/transport.hpp>

namespace tidings::core {

/// Appends the next events to `items`; false once all are there. All are of one stream, and their views live until the
/// call that they are for returns. It may be called from another thread than that call's, which waits for it.
using MoreEvents = std::function<bool(std::vector<transport::Outgoing>& items)>;

class GrowingPublish {
 public:
  virtual ~GrowingPublish() = default;
  /// Transport::publish() of all that `more` gives, however it went: `items` and `results` hold all of them then. A
  /// batch's bytes are not bounded.
  virtual void publish_growing(const MoreEvents& more, Level level, Millis within,
                               std::vector<transport::Outgoing>& items, std::vector<transport::Result>& results) = 0;
};

}  // namespace tidings::core
