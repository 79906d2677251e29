// What a group holds aside goes along to another engine.
#pragma once

#include <cstdint>
#include <tidings/transport.hpp>

namespace tidings::cli {

/// Puts the group's dead letters on its shelf on `target`, and then drops them on `source`; returns how many. Repeated
/// after a death in between, it puts none twice.
std::uint64_t move_dead_letters(transport::Transport& source, transport::Transport& target, transport::GroupRef group);

}  // namespace tidings::cli
