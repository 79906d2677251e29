// How long messages in flight stay hidden, for any number of them and of queues.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include <tidings/error.hpp>

#include "transport/aws/batch.hpp"
#include "transport/aws/client.hpp"
#include "transport/aws/sqs.hpp"

namespace tidings::transport::aws {

/// One message's change, and what became of it.
struct VisibilityChange {
  std::string_view queue{}, queue_url{};  ///< Its name, for messages, and where it is.
  sqs::Visibility change{};
  EntryResult result{.fault = Fault::passing};  ///< It stays so where its whole call failed.
};

/// Asks for all of them at once, by tens. Those of one queue stand together. Returns the first failure of a whole call.
std::optional<Error> change_visibility(Client& client, std::span<VisibilityChange> changes,
                                       WaitClock::time_point deadline);

}  // namespace tidings::transport::aws
