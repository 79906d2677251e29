#include "arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>

#include "bench.hpp"
#include "commands.hpp"
#include "connect.hpp"
#include "failure.hpp"
#include "output.hpp"

// The one file that knows CLI11. Its usage errors have codes of their own and say little about a mistyped word, so they
// are all turned into UsageError here, with the nearest word that would have been right.
namespace tidings::cli {

namespace {

constexpr std::string_view later_commands[] = {"catalog", "trigger", "console", "dev", "context"};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

/// `; did you mean X?` when a known word is near enough, else nothing.
std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string* nearest = nullptr;
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? std::string() : "; did you mean '" + *nearest + "'?";
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options({})) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

/// Refuses what is no whole number, in fewer words than CLI11, which names the largest double there is.
std::string count(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::string() : "'" + text + "' is no count; write a whole number such as 10";
}

/// The same without 0.
std::string positive_count(const std::string& text) {
  return text.find_first_not_of('0') == std::string::npos ? "'" + text + "' is too few; write 1 or more" : count(text);
}

/// What is typed to reach a command: `tidings dlq retry`.
std::string words_to(const CLI::App& app) {
  return app.get_parent() == nullptr ? "tidings" : words_to(*app.get_parent()) + " " + app.get_name();
}

/// The tree of commands: it fills the structs in, and knows which function each command runs.
class Program {
 public:
  Program();
  int run(std::vector<std::string> arguments);

 private:
  CLI::App* add(CLI::App* parent, const std::string& name, const std::string& description, const std::string& example,
                std::function<int()> run);
  CLI::Option* add_choice(CLI::App* app, const std::string& name, std::string& value, std::vector<std::string> choices,
                          const std::string& description);
  static void add_group_option(CLI::App* app, std::string& group);
  void add_common();
  void add_publish(bool command);
  void add_consume();
  void add_tail();
  void add_lists();
  void add_dlq();
  void add_replay();
  void add_lookups();
  void add_moves();
  void add_move_options(CLI::App* app, MoveArguments& to, const std::string& group);
  void add_group();
  void add_bench();
  void add_rest();
  void finish_common();
  [[nodiscard]] const CLI::App* deepest() const;
  [[nodiscard]] std::string explain(const CLI::ParseError& error) const;
  [[nodiscard]] CommandOutline outline(const CLI::App& app) const;

  CLI::App app_{"Events and commands between services: look at them, publish, consume and repair.", "tidings"};
  std::map<const CLI::App*, std::function<int()>> runs_{};
  std::map<const CLI::App*, std::string> examples_{};
  std::map<const CLI::Option*, std::vector<std::string>> choices_{};
  Common common_{};
  std::string format_{}, jsonl_{}, shell_{};
  bool json_ = false;
  PublishArguments publish_{};
  ConsumeArguments consume_{};
  TailArguments tail_{};
  GroupsArguments groups_{};
  LagArguments lag_{};
  PendingArguments pending_{};
  DlqArguments dlq_{};
  ReplayArguments replay_{};
  MoveArguments bridge_{}, archive_{};
  DoctorArguments doctor_{};
  GetArguments get_{};
  TraceArguments trace_{};
  GroupArguments group_{};
  BenchOptions bench_{};
};

Program::Program() {
  app_.require_subcommand(1);
  app_.set_help_flag("-h,--help", "Says what a command does");
  std::string codes;
  for (const auto& [code, meaning] : exit_meanings) {
    codes += (codes.empty() ? "" : ", ") + std::to_string(code) + " " + meaning;
  }
  app_.footer("Exit codes: " + codes + ".\n`tidings COMMAND --help` shows a command's options.");
  add_common();
  add_publish(false);
  add_publish(true);
  add_consume();
  add_tail();
  add_lists();
  add_dlq();
  add_replay();
  add_lookups();
  add_moves();
  add_group();
  add_bench();
  add_rest();
}

CLI::App* Program::add(CLI::App* parent, const std::string& name, const std::string& description,
                       const std::string& example, std::function<int()> run) {
  CLI::App* command = parent->add_subcommand(name, description);
  command->fallthrough();
  command->footer("Example: " + example + "\nEvery command also takes -u URL, -o table|json|jsonl and --json.");
  examples_[command] = example;
  if (run) runs_[command] = std::move(run);
  return command;
}

CLI::Option* Program::add_choice(CLI::App* app, const std::string& name, std::string& value,
                                 std::vector<std::string> choices, const std::string& description) {
  CLI::Option* option = app->add_option(name, value, description)->check(CLI::IsMember(choices))->option_text(" ");
  choices_[option] = std::move(choices);
  return option;
}

void Program::add_group_option(CLI::App* app, std::string& group) {
  app->add_option("-g,--group", group, "The group: a service's name")->required()->option_text("G");
}

void Program::add_common() {
  app_.add_option("-u,--url", common_.url, "The engine; else $TIDINGS_URL, else sqlite:tidings.db")->option_text("URL");
  add_choice(&app_, "-o,--output", format_, {"table", "json", "jsonl"}, "table, json or jsonl")->option_text("FORMAT");
  app_.add_flag("--json", json_, "The same as -o json");
}

void Program::add_publish(bool command) {
  const std::string example = command ? "tidings send send.email --data '{\"to\":\"a@example.com\"}'"
                                      : "tidings publish user.created --data '{\"userId\":\"usr_1\"}'";
  CLI::App* app = add(&app_, command ? "send" : "publish",
                      command ? "Sends one command, or whole envelopes, and prints the ids"
                              : "Publishes one event, or whole envelopes, and prints the ids",
                      example, {});
  app->add_option("TYPE", publish_.type, "Its type, such as user.created");
  app->add_option("--data", publish_.data, "Its data: JSON, @FILE, or - for stdin")->option_text("JSON");
  app->add_option("--source", publish_.source, "Who publishes it")->option_text("S");
  app->add_option("--correlation-id", publish_.correlation_id, "The request that it belongs to")->option_text("C");
  app->add_option("--key", publish_.key, "The key that order goes by")->option_text("K");
  app->add_option("--id", publish_.id, "Its id; else a fresh one")->option_text("ID");
  app->add_option("--event-version", publish_.version, "The schema's version; else 1.0")->option_text("V");
  app->add_option("--metadata", publish_.metadata, "Its metadata, a JSON object")->option_text("JSON");
  CLI::Option* lines = app->add_option("--jsonl", jsonl_, "Whole envelopes, one a line, from FILE or stdin (-)");
  lines->expected(0, 1)->option_text("[FILE]");
  runs_[app] = [this, command, lines] {
    publish_.command = command;
    if (lines->count() > 0) {
      // `publish FILE --jsonl` means the same as `publish --jsonl FILE`.
      if (jsonl_.empty()) std::swap(jsonl_, publish_.type);
      publish_.lines = jsonl_.empty() ? "-" : jsonl_;
    }
    return run_publish(common_, publish_);
  };
}

void Program::add_consume() {
  CLI::App* app = add(&app_, "consume", "Joins a group: prints its events as JSON lines, or runs a command for each",
                      "tidings consume events:user --group audit --exec 'jq .data'",
                      [this] { return run_consume(common_, consume_); });
  ConsumeArguments& to = consume_;
  app->add_option("STREAM", to.streams, "Streams, such as events:user or commands:send.email")->required();
  add_group_option(app, to.group);
  app->add_option("--type", to.types, "Only this type (repeatable); others are settled as ignored")
      ->allow_extra_args(false)
      ->option_text("T");
  app->add_option("--exec", to.exec, "Runs CMD with the event on stdin: exit 0 done, 75 try again, 65 reject")
      ->option_text("CMD");
  app->add_option("--max", to.max, "Stops after N done or dead-lettered events")->check(count)->option_text("N");
  app->add_option("--until-idle", to.until_idle, "Stops when nothing came for DUR")->option_text("DUR");
  app->add_option("--concurrency", to.concurrency, "Events at once; 1 keeps them in order")
      ->check(CLI::Range(1U, 4096U))
      ->option_text("N");
  app->add_option("--max-attempts", to.max_attempts, "Failed attempts until a dead letter; else 5")
      ->check(CLI::Range(1U, 1'000'000U))
      ->option_text("N");
  app->add_option("--backoff", to.backoff, "Before the second attempt, doubling to 5m; else 1s")->option_text("DUR");
  app->add_option("--timeout", to.timeout, "Most time of one CMD; else 5m. A printed line waits for its reader")
      ->option_text("DUR");
  app->add_option("--lease", to.lease, "How soon others take over when this process hangs; else 30s")
      ->option_text("DUR");
  app->add_option("--from", to.from, "Where a new group starts: beginning or end")->option_text("PLACE");
  app->add_flag("--order-by-key", to.order_by_key, "Not offered yet: refused with exit code 2");
}

void Program::add_tail() {
  CLI::App* app = add(&app_, "tail", "Prints events without joining a group: the last 10 unless told otherwise",
                      "tidings tail events:user --from 2h -f", [this] { return run_tail(common_, tail_); });
  app->add_option("STREAM", tail_.streams, "Streams, such as events:user")->required();
  app->add_option("--from", tail_.from, "A time, a duration ago, an event's id, beginning or end")
      ->option_text("PLACE");
  app->add_option("--type", tail_.type, "Only this type")->option_text("T");
  app->add_option("--correlation", tail_.correlation, "Only this correlation id")->option_text("C");
  app->add_flag("-f,--follow", tail_.follow, "Goes on until interrupted");
  app->add_option("-n", tail_.count, "How many: the last N, or the first N with --from")
      ->check(count)
      ->option_text("N");
}

void Program::add_lists() {
  add(&app_, "streams", "Lists streams: length, oldest, newest", "tidings streams --json",
      [this] { return run_streams(common_); });
  CLI::App* groups = add(&app_, "groups", "Lists groups: lag, pending, retrying, dead letters, consumers",
                         "tidings groups events:user --json", [this] { return run_groups(common_, groups_); });
  groups->add_option("STREAM", groups_.stream, "Only this stream");
  CLI::App* lag = add(&app_, "lag", "What each group has before it, worst first", "tidings lag --watch",
                      [this] { return run_lag(common_, lag_); });
  lag->add_flag("-w,--watch", lag_.watch, "Looks again every second");
  CLI::App* pending =
      add(&app_, "pending", "Lists leased and retrying deliveries of a group",
          "tidings pending events:user --group audit", [this] { return run_pending(common_, pending_); });
  pending->add_option("STREAM", pending_.stream, "The stream")->required();
  add_group_option(pending, pending_.group);
}

void Program::add_dlq() {
  CLI::App* dlq = add(&app_, "dlq", "Dead letters: looks at them, hands them out again, corrects or drops them",
                      "tidings dlq ls --group audit", {});
  dlq->require_subcommand(1);
  const std::vector<std::string> reasons{"attempts_exhausted",  "rejected", "crashed", "timed_out", "undecodable",
                                         "unsupported_version", "expired"};
  const auto verb = [&](const char* name, const char* description, const char* example, DlqArguments::Verb which) {
    CLI::App* app = add(dlq, name, description, example, [this, which] {
      dlq_.verb = which;
      return run_dlq(common_, dlq_);
    });
    app->add_option("STREAM", dlq_.stream, "Only this stream");
    add_group_option(app, dlq_.group);
    app->add_option("--id", dlq_.ids, "An event's id, or a dead letter's key (repeatable)")
        ->allow_extra_args(false)
        ->option_text("ID");
    add_choice(app, "--reason", dlq_.reason, reasons, "Only this reason, such as attempts_exhausted")->option_text("R");
    const bool changes = which == DlqArguments::Verb::retry || which == DlqArguments::Verb::drop;
    const bool looks = !changes && which != DlqArguments::Verb::edit;
    if (which != DlqArguments::Verb::edit) {
      app->add_flag("--all", dlq_.all, looks ? "All of them, as without it" : "All dead letters of the group");
      app->add_flag("-y,--yes", dlq_.yes,
                    looks ? "Accepted for scripts; nothing is changed here"
                          : "Does not ask; needed without a terminal when no --id says which");
    }
    app->add_flag("--dry-run", dlq_.dry_run,
                  looks ? "Accepted for scripts; nothing is changed here" : "Only says what would be done");
    if (which == DlqArguments::Verb::edit) {
      app->add_option("--data", dlq_.data, "The corrected data: JSON, @FILE, or - for stdin")->option_text("JSON");
      app->add_flag("-y,--yes", dlq_.yes, "Accepted for scripts; one dead letter is never asked about");
    }
  };
  verb("ls", "Lists dead letters", "tidings dlq ls --group audit --reason rejected", DlqArguments::Verb::ls);
  verb("show", "Shows dead letters in full", "tidings dlq show --group audit --id evt_1", DlqArguments::Verb::show);
  verb("retry", "Hands dead letters out again, with fresh attempts", "tidings dlq retry --group audit --all --yes",
       DlqArguments::Verb::retry);
  verb("edit", "Hands out a corrected copy under a new id, and resolves the original",
       "tidings dlq edit --group audit --id evt_1 --data '{\"userId\":\"usr_1\"}'", DlqArguments::Verb::edit);
  verb("drop", "Removes dead letters for ever", "tidings dlq drop --group audit --id evt_1", DlqArguments::Verb::drop);
  verb("export", "Prints dead letters as JSON lines", "tidings dlq export --group audit > dead.jsonl",
       DlqArguments::Verb::dump);
}

void Program::add_replay() {
  CLI::App* app = add(&app_, "replay", "Hands past events to one group again",
                      "tidings replay events:user --group audit --from 2h --dry-run",
                      [this] { return run_replay(common_, replay_); });
  app->add_option("STREAM", replay_.stream, "The stream")->required();
  add_group_option(app, replay_.group);
  app->add_option("--from", replay_.from, "Stored then or later: a time, or a duration ago")->option_text("T");
  app->add_option("--to", replay_.to, "Stored then or before")->option_text("T");
  app->add_option("--type", replay_.type, "Only this type")->option_text("T");
  app->add_option("--correlation", replay_.correlation, "Only this correlation id")->option_text("C");
  app->add_flag("--dry-run", replay_.dry_run, "Only counts");
}

void Program::add_lookups() {
  CLI::App* get = add(&app_, "get", "Shows one event, and what became of it in every group", "tidings get evt_1 --json",
                      [this] { return run_get(common_, get_); });
  get->add_option("ID", get_.id, "The event's id")->required();
  CLI::App* trace = add(&app_, "trace", "Shows one request across services, as a sequence", "tidings trace req_1",
                        [this] { return run_trace(common_, trace_); });
  trace->add_option("CORRELATION_ID", trace_.correlation, "The request's correlation id")->required();
}

void Program::add_move_options(CLI::App* app, MoveArguments& to, const std::string& group) {
  to.group = group;
  app->add_option("STREAM", to.streams, "Streams, such as events:user or commands:send.email")->required();
  app->add_option("-g,--group", to.group, "Its place in the streams; else " + group + ". Of commands: their owner")
      ->option_text("G");
  app->add_option("--start", to.start, "Where a new group starts: a time, a duration ago, beginning or end")
      ->option_text("PLACE");
  app->add_option("--max", to.max, "Stops after N moved or dead-lettered events")->check(count)->option_text("N");
  app->add_option("--until-idle", to.until_idle, "Stops when nothing came for DUR")->option_text("DUR");
  app->add_option("--lease", to.lease, "How soon another one takes over when this one hangs; else 30s")
      ->option_text("DUR");
}

void Program::add_moves() {
  CLI::App* bridge =
      add(&app_, "bridge", "Moves a live system: what comes to one engine is published on another, unchanged",
          "tidings bridge --from redis://localhost --to 'aws://eu-west-1?prefix=prod' events:user",
          [this] { return run_bridge(common_, bridge_); });
  bridge->add_option("--from", bridge_.from, "The engine that is left")->required()->option_text("URL");
  bridge->add_option("--to", bridge_.to, "The engine that is moved to")->required()->option_text("URL");
  bridge->add_option("--dead-letters", bridge_.dead_letters, "Takes the dead letters of this group along (repeatable)")
      ->allow_extra_args(false)
      ->option_text("G");
  add_move_options(bridge, bridge_, "bridge");
  CLI::App* archive = add(&app_, "archive", "Keeps every event in a log of its own, to read and to replay from",
                          "tidings archive events:user -u 'aws://eu-west-1?prefix=prod' --to sqlite:archive.db",
                          [this] { return run_archive(common_, archive_); });
  archive->add_option("--to", archive_.to, "The log, such as sqlite:archive.db")->required()->option_text("URL");
  add_move_options(archive, archive_, "archive");
}

void Program::add_group() {
  CLI::App* group = add(&app_, "group", "Creates, deletes, moves, pauses and resumes groups",
                        "tidings group seek events:user --group audit --at beginning", {});
  group->require_subcommand(1);
  const auto verb = [&](const std::string& name, const char* description, GroupArguments::Verb which) {
    CLI::App* app =
        add(group, name, description,
            "tidings group " + name + " events:user --group audit" + (name == "seek" ? " --at 2h" : ""), [this, which] {
              group_.verb = which;
              return run_group(common_, group_);
            });
    app->add_option("STREAM", group_.stream, "The stream")->required();
    add_group_option(app, group_.group);
    if (which == GroupArguments::Verb::create || which == GroupArguments::Verb::seek) {
      app->add_option("--at", group_.at, "A time, a duration ago, an event's id, beginning or end")
          ->option_text("PLACE");
    }
    if (which == GroupArguments::Verb::remove) {
      app->add_flag("--force", group_.force, "Even though unsettled work or dead letters are lost");
    }
  };
  verb("create", "Creates a group, at the beginning unless told otherwise", GroupArguments::Verb::create);
  verb("delete", "Deletes a group; refuses while it holds unsettled work", GroupArguments::Verb::remove);
  verb("seek", "Moves a group; what it is handling or retrying stays", GroupArguments::Verb::seek);
  verb("pause", "Hands out nothing until it is resumed", GroupArguments::Verb::pause);
  verb("resume", "Hands out events again", GroupArguments::Verb::resume);
}

void Program::add_bench() {
  CLI::App* app = add(&app_, "bench", "Measures one path and prints one JSON object",
                      "tidings bench publish --events 100000 --batch 500",
                      [this] { return cli::run_bench(resolve_url(common_), bench_); });
  add_choice(app, "PATH", bench_.path, {"publish", "consume", "e2e", "latency"}, "publish, consume, e2e or latency")
      ->required();
  app->add_option("--events", bench_.events, "How many; else 100000")->check(positive_count)->option_text("N");
  app->add_option("--batch", bench_.batch, "Events of one publish; else 500")->check(positive_count)->option_text("B");
  app->add_option("--size", bench_.size, "Bytes of one envelope; else 300")
      ->check(positive_count)
      ->option_text("BYTES");
  app->add_option("--producers", bench_.producers, "Publishing threads; else 1")
      ->check(CLI::Range(1U, 1024U))
      ->option_text("P");
  app->add_option("--concurrency", bench_.concurrency, "Handlers at once; else 1")
      ->check(CLI::Range(1U, 1024U))
      ->option_text("C");
  app->add_option("--rate", bench_.rate, "Events a second, for latency; else 1000")
      ->check(CLI::PositiveNumber)
      ->option_text("R");
}

void Program::add_rest() {
  CLI::App* doctor = add(&app_, "doctor", "Says whether this set-up is sound; exit code 3 when it is not",
                         "tidings doctor", [this] { return run_doctor(common_, doctor_); });
  add_choice(doctor, "--print", doctor_.print, {"iam", "cloudformation"},
             "Prints what a URL of AWS needs there instead: iam or cloudformation");
  add_choice(doctor, "--role", doctor_.role, {"publisher", "consumer", "operator"},
             "Whose policy: publisher, consumer or operator; else operator");
  doctor->add_option("--service", doctor_.service, "The service that consumes the streams")->option_text("NAME");
  doctor->add_option("--stream", doctor_.streams, "A stream; may be repeated")
      ->allow_extra_args(false)
      ->option_text("STREAM");
  CLI::App* completion =
      add(&app_, "completion", "Prints a completion script, or the manual page", "source <(tidings completion bash)",
          [this] { return run_completion(shell_, outline(app_)); });
  add_choice(completion, "SHELL", shell_, {"bash", "zsh", "fish", "man"}, "bash, zsh or fish; man for the manual page")
      ->required();
  add(&app_, "version", "Prints versions: ours, and those of the libraries", "tidings version --json",
      [this] { return run_version(common_); });
}

CommandOutline Program::outline(const CLI::App& app) const {
  CommandOutline outline{app.get_name(), app.get_description(), {}, {}, {}, {}, {}};
  const auto example = examples_.find(&app);
  if (example != examples_.end()) outline.example = example->second;
  const auto add_options = [&](const CLI::App& from, bool with_help) {
    for (const CLI::Option* option : from.get_options({})) {
      if (!with_help && option == from.get_help_ptr()) continue;
      const auto choices = choices_.find(option);
      if (option->get_positional()) {
        outline.positionals.push_back({option->get_name(), option->get_description(), option->get_required(),
                                       option->get_items_expected_max() > 1});
        if (choices != choices_.end()) outline.words = choices->second;
        continue;
      }
      CommandOutline::Option row{
          {}, option->get_description(), option->get_items_expected_max() > 0, option->get_option_text(), {}};
      for (const std::string& name : option->get_lnames()) row.names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) row.names.push_back("-" + name);
      if (choices != choices_.end()) row.values = choices->second;
      outline.options.push_back(std::move(row));
    }
  };
  add_options(app, true);
  if (&app != &app_) add_options(app_, false);
  for (const CLI::App* child : app.get_subcommands({})) outline.commands.push_back(this->outline(*child));
  return outline;
}

const CLI::App* Program::deepest() const {
  const CLI::App* app = &app_;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

std::string Program::explain(const CLI::ParseError& error) const {
  const CLI::App* command = deepest();
  const std::string see = "; see `" + words_to(*command) + " --help`";
  std::string word;
  for (const std::string& rest : app_.remaining(true)) {
    if (word.empty()) word = rest;
  }
  const bool command_missing = command->get_require_subcommand_min() > 0;
  if (command_missing && !word.empty() && word.front() != '-') {
    if (std::find(std::begin(later_commands), std::end(later_commands), word) != std::end(later_commands)) {
      return "'" + word + "' is not offered in this version";
    }
    std::vector<std::string> known;
    for (const CLI::App* child : command->get_subcommands({})) known.push_back(child->get_name());
    return "there is no command '" + word + "'" + suggestion(word, known) + see;
  }
  if (!word.empty() && word.front() == '-' && word != "-") {
    std::vector<std::string> known = option_names(*command);
    for (std::string& name : option_names(app_)) known.push_back(std::move(name));
    const std::string name = word.substr(0, word.find('='));
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return "there is no option '" + name + "'" + suggestion(name, known) + see;
    }
  }
  if (command_missing) return "a command is needed" + see;
  return error.what() + see;
}

void Program::finish_common() {
  if (json_ && !format_.empty() && format_ != "json") throw UsageError("--json and -o " + format_ + " say two things");
  if (json_) format_ = "json";
  if (format_ == "table") common_.format = Format::table;
  if (format_ == "json") common_.format = Format::json;
  if (format_ == "jsonl") common_.format = Format::jsonl;
}

int Program::run(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    std::cerr << app_.help();
    return exit_usage;
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back.
  try {
    app_.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    standard_output().write(app_.help());
    return exit_ok;
  } catch (const CLI::ParseError& error) {
    throw UsageError(explain(error));
  }
  finish_common();
  return runs_.at(deepest())();
}

}  // namespace

int run_program(int argc, char** argv) {
  std::vector<std::string> arguments;
  bool options = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    options = options && word != "--";
    if (options && word.starts_with("--") && word.ends_with('=') && word.find('=') == word.size() - 1) {
      // CLI11 would take the next word for the value of `--data=`.
      arguments.emplace_back(word.substr(0, word.size() - 1));
      arguments.emplace_back();
    } else {
      arguments.emplace_back(word);
    }
  }
  if (arguments.size() == 1 && arguments.front() == "--version") arguments.front() = "version";
  return Program().run(std::move(arguments));
}

}  // namespace tidings::cli
