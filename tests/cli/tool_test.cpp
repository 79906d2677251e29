// doctor, version, completion, bench, and what happens when the engine cannot be had.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.hpp"

namespace tidings::cli_test {

using Tools = CliTest;

TEST_F(Tools, DoctorListsItsChecks) {
  publish("user.created");
  const auto checks = elements(expect_ok({"doctor", "--json"}));
  EXPECT_GE(checks.size(), 5U);
  for (const std::string& check : checks) {
    EXPECT_EQ(names(check), "check ok detail advice");
    EXPECT_EQ(value(check, "ok"), "true") << check;
  }
  EXPECT_NE(expect_ok({"doctor"}).find("reachable"), std::string::npos);
}

TEST_F(Tools, DoctorExitsWith3WhenSomethingIsWrong) {
  const std::string path = file("foreign.db", "this is no database of ours, nor of anybody else's");
  const Outcome outcome = tidings({"doctor", "--json", "-u", "sqlite:" + path});
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  bool found = false;
  for (const std::string& check : elements(outcome.out)) found = found || value(check, "ok") == "false";
  EXPECT_TRUE(found) << outcome.out;
}

TEST_F(Tools, DoctorSaysNothingGoodOfWhatItDoesNotReach) {
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}) setting_.variables[name] = "any";
  for (const char* url : {"redis://127.0.0.1:1", "aws://eu-west-1?prefix=t&endpoint=http://127.0.0.1:1"}) {
    const Outcome outcome = tidings({"doctor", "--json", "-u", url});
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    const auto checks = elements(outcome.out);
    ASSERT_EQ(checks.size(), 4U) << "version, url, clock, and what is not so: " << outcome.out;
    EXPECT_EQ(value(checks[3], "check"), "reachable");
    EXPECT_EQ(value(checks[3], "ok"), "false");
  }
}

TEST_F(Tools, VersionNamesTransportsAndLibraries) {
  const std::string json = expect_ok({"version", "--json"});
  EXPECT_EQ(names(json), "version transports libraries");
  EXPECT_NE(value(json, "transports").find("sqlite"), std::string::npos);
  EXPECT_NE(value(value(json, "libraries"), "sqlite"), "missing");
  EXPECT_TRUE(expect_ok({"--version"}).starts_with("tidings " + value(json, "version")));
}

TEST_F(Tools, CompletionsKnowEveryCommandAndOption) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string script = expect_ok({"completion", shell});
    for (const std::string word : {"publish", "consume", "dlq", "retry", "seek", "until-idle", "latency", "jsonl"}) {
      EXPECT_NE(script.find(word), std::string::npos) << shell << " " << word;
    }
  }
}

TEST_F(Tools, BashCompletesCommandsVerbsAndOptions) {
  const std::string script = file("completion.bash", expect_ok({"completion", "bash"}));
  const auto complete = [&](const std::string& words, int index) {
    Running bash({"/bin/bash", "-c",
                  ". " + script + "; COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(index) +
                      "; _tidings; echo \"${COMPREPLY[*]}\""},
                 setting_);
    return bash.wait().out;
  };
  EXPECT_EQ(complete("tidings cons", 1), "consume\n");
  EXPECT_EQ(complete("tidings -u sqlite:x dlq re", 4), "retry\n");
  EXPECT_EQ(complete("tidings dlq ls --rea", 3), "--reason\n");
  EXPECT_EQ(complete("tidings completion f", 2), "fish\n");
  EXPECT_EQ(complete("tidings groups -o ''", 3), "table json jsonl\n");
  EXPECT_EQ(complete("tidings dlq ls --reason un", 4), "undecodable unsupported_version\n");
  EXPECT_EQ(complete("tidings tail --from publish --foll", 4), "--follow\n");
}

/// The first word of each line below `title` in a help text: `-u,--url`, or a command's name.
Words listed(const std::string& help, const std::string& title) {
  Words words;
  bool inside = false;
  for (const std::string& line : lines(help)) {
    if (inside && line.starts_with("  ")) words.push_back(line.substr(2, line.find(' ', 2) - 2));
    if (line.empty() || line == title) inside = line == title;
  }
  return words;
}

/// The section of a manual page that starts with `heading`; empty without one.
std::string section(const std::string& page, const std::string& heading) {
  const std::size_t start = page.find("\n" + heading + "\n");
  if (start == std::string::npos) return {};
  return page.substr(start, page.find("\n.S", start + heading.size()) - start);
}

TEST_F(Tools, TheManualHasASectionForEveryCommandWithItsOptions) {
  const std::string page = expect_ok({"completion", "man"});
  std::vector<Words> commands;
  for (const std::string& name : listed(expect_ok({"--help"}), "Subcommands:")) commands.push_back({name});
  EXPECT_GE(commands.size(), 17U);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    Words words = commands[i];
    std::string heading = ".SS tidings";
    for (const std::string& word : words) heading += " " + word;
    words.emplace_back("--help");
    const std::string help = expect_ok(words);
    const std::string text = section(page, heading);
    ASSERT_NE(text, "") << heading;
    for (const std::string& names : listed(help, "Options:")) {
      if (names == "-h,--help") continue;  // Every command takes it: it stands at the front.
      std::string name = names.substr(names.find(',') + 1);
      for (std::size_t at = 0; (at = name.find('-', at)) != std::string::npos; at += 2) name.insert(at, 1, '\\');
      EXPECT_NE(text.find("\\fB" + name + "\\fP"), std::string::npos) << heading << " " << names;
    }
    for (const std::string& child : listed(help, "Subcommands:")) commands.push_back({commands[i].front(), child});
  }
}

TEST_F(Tools, TheManualSaysTheRestAndFormatsWithoutAWarning) {
  const std::string page = expect_ok({"completion", "man"});
  for (const std::string heading : {"NAME", "SYNOPSIS", "OPTIONS", "\"EXIT STATUS\"", "ENVIRONMENT", "EXAMPLES"}) {
    EXPECT_NE(section(page, ".SH " + heading), "") << heading;
  }
  for (const std::string code : {"0", "1", "2", "3", "4", "5", "130"}) {
    EXPECT_NE(section(page, ".SH \"EXIT STATUS\"").find("\\fB" + code + "\\fP"), std::string::npos) << code;
  }
  for (const std::string name : {"TIDINGS_URL", "TIDINGS_PASSWORD", "NO_COLOR"}) {
    EXPECT_NE(section(page, ".SH ENVIRONMENT").find(name), std::string::npos) << name;
  }
  Running groff({"/usr/bin/env", "groff", "-man", "-ww", "-z", "-Tutf8", file("tidings.1", page)}, setting_);
  const Outcome outcome = groff.wait();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Tools, BenchPrintsOneObjectOnOneLine) {
  for (const std::string path : {"publish", "consume", "e2e", "latency"}) {
    const std::string out = expect_ok({"bench", path, "--events", "1000", "--batch", "100", "--rate", "5000"});
    ASSERT_EQ(lines(out).size(), 1U) << path;
    EXPECT_EQ(
        names(out),
        "path events batch size_bytes seconds events_per_second p50_us p99_us p999_us cpu_seconds lost duplicated");
    EXPECT_EQ(value(out, "path"), path);
    EXPECT_EQ(value(out, "events"), "1000");
    EXPECT_TRUE(value(out, "lost") == "0" || (path == "publish" && value(out, "lost") == "null")) << out;
  }
  for (const std::string& row : elements(expect_ok({"streams", "--json"}))) {
    EXPECT_TRUE(value(row, "stream").starts_with("events:bench")) << row;
  }
}

TEST_F(Tools, AFileThatIsNotOursFails) {
  const std::string path = file("foreign.db", "this is no database of ours, nor of anybody else's");
  EXPECT_EQ(tidings({"streams", "-u", "sqlite:" + path}).code, 1);
}

TEST_F(Tools, AFileWithoutPermissionExitsWith4) {
  publish("user.created");
  ASSERT_EQ(::chmod((directory_ + "/log.db").c_str(), 0), 0);
  setting_.as_nobody = true;  // Root may read everything.
  const Outcome outcome = tidings({"streams"});
  EXPECT_EQ(outcome.code, 4) << outcome.err;
}

TEST_F(Tools, AnEngineThatDoesNotAnswerExitsWith5) {
  publish("user.created");
  // Whoever holds the file's write lock keeps every publisher waiting, until its deadline.
  const int side = ::open((directory_ + "/log.db-tidings").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(side, 0);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(side, F_OFD_SETLK, &whole), 0);
  const Outcome outcome = tidings({"publish", "user.created"});
  EXPECT_EQ(outcome.code, 5) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  ::close(side);
}

}  // namespace tidings::cli_test
