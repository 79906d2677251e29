// What every transport with services in several processes asks of an interest, whatever it stores.
#pragma once

#include <string>
#include <tidings/inspection.hpp>
#include <tidings/transport.hpp>
#include <vector>

namespace tidings::core {

/// Throws Error(invalid) for an interest that no transport can serve.
void check_interest(const transport::Interest& interest);
/// `host:pid:number`, for a subscription that was given no name.
[[nodiscard]] std::string new_instance();
/// Each followed by a line feed, which no type contains.
[[nodiscard]] std::string join_lines(const std::vector<std::string>& types);
/// An item of a shelf as it is stored in `group`; its views are the item's.
[[nodiscard]] transport::Outgoing outgoing_of(transport::GroupRef group, const transport::ShelfItem& item);
/// Whether all that `query` gives matches, its limit aside.
[[nodiscard]] bool matches(const transport::ShelfItem& item, const transport::ShelfQuery& query);

}  // namespace tidings::core
