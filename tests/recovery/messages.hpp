// The events that the recovery tests move: a writer makes work, a worker turns each into one `done.made`, an auditor
// reads those.
#pragma once

#include <cstdint>
#include <string>

#include <tidings/tidings.hpp>

namespace recovery {

struct Work {
  std::string writer;
  std::uint64_t number = 0;
  std::string filler;
};
TIDINGS_EVENT(Work, "work.made", "1.0", writer, number, filler)

struct Done {
  std::string work;
};
TIDINGS_EVENT(Done, "done.made", "1.0", work)

}  // namespace recovery
