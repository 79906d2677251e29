// tidings streams: how long each stream is, and how old.
#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"
#include "reading.hpp"

namespace tidings::cli {

int run_streams(const Common& common) {
  const Bus bus = open_bus(common);
  Listing listing(common.format_or(Format::table), {"STREAM", "LENGTH", "OLDEST", "NEWEST", "GROUPS"});
  for (const transport::StreamInfo& stream : bus.transport().describe({})) {
    listing.add(JsonObject()
                    .text("stream", stream.name)
                    .number("length", stream.length)
                    .time("oldest", stream.oldest)
                    .time("newest", stream.newest)
                    .str(),
                {stream.name, std::to_string(stream.length), cell(stream.oldest), cell(stream.newest),
                 std::to_string(stream.groups.size())});
  }
  listing.finish();
  return exit_ok;
}

}  // namespace tidings::cli
