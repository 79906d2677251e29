// Every command: its options as a plain struct, and the function that runs it. arguments.cpp fills the structs in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings::cli {

/// How a command writes its data.
enum class Format : unsigned char { table, json, jsonl };

/// What every command takes.
struct Common {
  std::string url{};               ///< --url; empty: $TIDINGS_URL, else a file in the working directory.
  std::optional<Format> format{};  ///< -o, --json; empty: the command's own default.

  /// The format asked for, else `fallback`.
  [[nodiscard]] Format format_or(Format fallback) const noexcept { return format.value_or(fallback); }
};

/// publish and send.
struct PublishArguments {
  bool command = false;
  std::string type{};
  std::string data{"{}"};
  std::string source{"tidings-cli"};
  std::string correlation_id{}, key{}, id{}, version{"1.0"}, metadata{};
  std::optional<std::string> lines{};  ///< --jsonl: the file, or `-`.
};
int run_publish(const Common& common, const PublishArguments& arguments);

struct ConsumeArguments {
  std::vector<std::string> streams{}, types{};
  std::string group{}, exec{}, from{};
  std::string until_idle{}, backoff{}, timeout{}, lease{};
  std::uint64_t max = 0;
  unsigned concurrency = 1, max_attempts = 5;
  bool order_by_key = false;
};
int run_consume(const Common& common, const ConsumeArguments& arguments);

struct TailArguments {
  std::vector<std::string> streams{};
  std::string from{}, type{}, correlation{};
  bool follow = false;
  std::optional<std::uint64_t> count{};
};
int run_tail(const Common& common, const TailArguments& arguments);

int run_streams(const Common& common);

struct GroupsArguments {
  std::string stream{};
};
int run_groups(const Common& common, const GroupsArguments& arguments);

struct LagArguments {
  bool watch = false;
};
int run_lag(const Common& common, const LagArguments& arguments);

struct PendingArguments {
  std::string stream{}, group{};
};
int run_pending(const Common& common, const PendingArguments& arguments);

struct DlqArguments {
  enum class Verb : unsigned char { ls, show, retry, edit, drop, dump } verb = Verb::ls;
  std::string stream{}, group{}, reason{}, data{};
  std::vector<std::string> ids{};
  bool all = false, dry_run = false, yes = false;
};
int run_dlq(const Common& common, const DlqArguments& arguments);

struct ReplayArguments {
  std::string stream{}, group{}, from{}, to{}, type{}, correlation{};
  bool dry_run = false;
};
int run_replay(const Common& common, const ReplayArguments& arguments);

/// bridge and archive.
struct MoveArguments {
  std::string from{}, to{};  ///< Without `from`: the engine that --url names.
  std::vector<std::string> streams{};
  std::vector<std::string> dead_letters{};  ///< Groups whose dead letters go along.
  std::string group{}, start{}, until_idle{}, lease{};
  std::uint64_t max = 0;
};
int run_bridge(const Common& common, const MoveArguments& arguments);
int run_archive(const Common& common, const MoveArguments& arguments);

struct GetArguments {
  std::string id{};
};
int run_get(const Common& common, const GetArguments& arguments);

struct TraceArguments {
  std::string correlation{};
};
int run_trace(const Common& common, const TraceArguments& arguments);

struct GroupArguments {
  enum class Verb : unsigned char { create, remove, seek, pause, resume } verb = Verb::create;
  std::string stream{}, group{}, at{};
  bool force = false;
};
int run_group(const Common& common, const GroupArguments& arguments);

struct DoctorArguments {
  std::string print{}, role{}, service{};
  std::vector<std::string> streams{};
};
int run_doctor(const Common& common, const DoctorArguments& arguments);
int run_version(const Common& common);

/// A command as completions and the manual need it. Made from the same tree that parses the arguments.
struct CommandOutline {
  struct Option {
    std::vector<std::string> names{};  ///< `-u`, `--url`.
    std::string description{};
    bool takes_value = false;
    std::string value{};                ///< What its value is called: `URL`.
    std::vector<std::string> values{};  ///< When only these are allowed.
  };
  struct Positional {
    std::string name{}, description{};
    bool required = false, repeatable = false;
  };
  std::string name{}, description{}, example{};
  std::vector<Option> options{};
  std::vector<Positional> positionals{};
  std::vector<std::string> words{};  ///< Values of a positional that takes only these.
  std::vector<CommandOutline> commands{};
};
int run_completion(const std::string& shell, const CommandOutline& program);
/// The manual page tidings(1), as man's macros.
std::string manual_page(const CommandOutline& program);

}  // namespace tidings::cli
