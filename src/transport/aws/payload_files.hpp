// Payloads in a folder that publishers and consumers share.
#pragma once

#include <memory>

#include "transport/aws/payloads.hpp"

namespace tidings::transport::aws {

[[nodiscard]] std::unique_ptr<Payloads> open_payload_files(const PayloadPlace& place, Client& client);

}  // namespace tidings::transport::aws
