#include <algorithm>

#include "transport/redis/store.hpp"

namespace tidings::transport::redis {
namespace {

// The rest of the line `name:…` in the reply to INFO.
std::string info_text(std::string_view info, std::string_view name) {
  const std::size_t at = info.find(std::string(name) + ":");
  if (at == std::string_view::npos) return {};
  info.remove_prefix(at + name.size() + 1);
  return std::string(info.substr(0, info.find('\r')));
}

void check_clock(Store& store, const std::string& key, const std::string& where, std::vector<Check>& checks) {
  const Wall here = store.environment().clock->wall();
  const std::int64_t ahead = store.now_ms(key) - std::chrono::floor<Millis>(here).time_since_epoch().count();
  const bool near = ahead > -60'000 && ahead < 60'000;
  checks.push_back(
      {"clock of the server" + where, near, std::to_string(ahead) + " ms ahead of this machine's",
       near ? "" : "let NTP set both: a time such as --from 5m is this machine's, and events have the server's"});
}

// Whether the user may run what publishing and consuming need, each in a form that changes nothing where the key is
// not there; and no stream has such a name. Who may not is told so before the server looks.
void check_permissions(Store& store, std::vector<Check>& checks) {
  const std::string key = "events:#doctor";
  const std::vector<std::vector<std::string>> trials = {
      {"XADD", key, "NOMKSTREAM", "*", "event", "{}"},
      {"XREADGROUP", "GROUP", "doctor", "doctor", "COUNT", "1", "STREAMS", key, ">"},
      {"XGROUP", "CREATE", key, "doctor", "0"},
      {"XACK", key, "doctor", "0-1"},
      {"XCLAIM", key, "doctor", "doctor", "0", "0-1"},
      {"XPENDING", key, "doctor"},
      {"XRANGE", key, "-", "+", "COUNT", "1"},
      {"XLEN", key},
      {"XDEL", key, "0-1"},
      {"ZADD", key, "XX", "0", "none"},
      {"ZRANGEBYSCORE", key, "0", "0"},
      {"HGET", key, "none"},
      {"HDEL", key, "none"},
      {"DEL", key},
      {"SCRIPT", "LOAD", "return 0"},
      {"EVALSHA", "0000000000000000000000000000000000000000", "1", key},
      {"TIME"}};
  Commands commands;
  for (const auto& trial : trials) {
    commands.begin(trial.size());
    for (const std::string& word : trial) commands.word(word);
  }
  const Replies said = store.nodes().run(key, commands, deadline_in(patience));
  std::string may_not;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (!said.reply(i).error() || !said.reply(i).text().starts_with("NOPERM")) continue;
    may_not += (may_not.empty() ? "" : ", ") + trials[i].front();
  }
  checks.push_back({"permissions", may_not.empty(),
                    may_not.empty() ? "may publish and consume" : "may not run " + may_not + " on events:*",
                    may_not.empty() ? "" : "let the server's administrator allow these (ACL SETUSER)"});
}

void check_server(Store& store, const std::string& key, const std::string& where, std::vector<Check>& checks) {
  check_clock(store, key, where, checks);
  const Replies said = store.nodes().run(key, Commands().add({"INFO"}), deadline_in(patience));
  if (said.reply().error()) {
    checks.push_back({"server" + where, true, "what it is set to is unknown: " + std::string(said.reply().text()),
                      "allow this user INFO and CONFIG GET"});
    return;
  }
  const std::string_view info = said.reply().text();
  if (info_text(info, "role") == "slave") {
    checks.push_back({"role" + where, false, "a replica, which takes no writes",
                      "name its master in the URL, or the sentinels, who know it"});
  }
  if (info_text(info, "rdb_last_bgsave_status") == "err") {
    checks.push_back({"snapshot" + where, false,
                      "the last one failed, and until one succeeds the server may refuse writes",
                      "make room on the server's disk, or look into its log"});
  }
  const std::string version = info_text(info, "redis_version");
  const bool old = info_number(info, "redis_version") < 7;
  checks.push_back({"server" + where, !old, version.empty() ? "reachable" : "version " + version,
                    old ? "Redis 7.0 or newer is needed" : ""});

  const std::string policy = info_text(info, "maxmemory_policy");
  const bool keeps = policy.empty() || policy == "noeviction";
  checks.push_back({"eviction" + where, keeps, policy.empty() ? "unknown" : policy,
                    keeps ? "" : "set maxmemory-policy noeviction: others remove events that no group has read"});

  const bool appends = info_number(info, "aof_enabled") == 1;
  const std::string sync = store.setting(key, "appendfsync");
  const bool always = appends && sync == "always";
  const std::string state = !appends       ? "appendonly no: a crash of the server loses what was acknowledged"
                            : sync.empty() ? "appendonly yes, appendfsync unknown"
                                           : "appendonly yes, appendfsync " + sync;
  checks.push_back(
      {"persistence" + where, true, state, always ? "" : "appendonly yes and appendfsync always offer the level disk"});
  const bool failing = info_text(info, "aof_last_write_status") == "err";
  if (failing) {
    checks.push_back({"disk" + where, false, "the last write of the append-only file failed",
                      "make room on the server's disk: it refuses to store until a write succeeds"});
  }

  const std::int64_t limit = info_number(info, "maxmemory"), used = info_number(info, "used_memory");
  const bool room = limit == 0 || used < limit / 10 * 9;
  checks.push_back({"memory" + where, room,
                    std::to_string(used >> 20) + " MiB used of " +
                        (limit == 0 ? std::string("what the machine has") : std::to_string(limit >> 20) + " MiB"),
                    room ? "" : "raise maxmemory or let retention remove events: a full server refuses to store"});

  const std::int64_t replicas = info_number(info, "connected_slaves");
  const bool wanted = store.nodes().endpoint().kind != Endpoint::Kind::server;
  checks.push_back({"replicas" + where, replicas > 0 || !wanted, std::to_string(replicas) + " connected",
                    replicas > 0 || !wanted ? "" : "nobody takes over when this server fails; start a replica"});
}

}  // namespace

std::vector<Check> check_servers(Store& store) {
  std::vector<Check> checks;
  const std::vector<std::string> keys = store.nodes().key_of_each();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    check_server(store, keys[i], keys.size() == 1 ? "" : " " + std::to_string(i + 1), checks);
  }
  check_permissions(store, checks);
  if (store.nodes().clustered()) {
    const Replies said = store.nodes().call(keys.front(), {"CLUSTER", "INFO"}, deadline_in(patience));
    const std::string state = info_text(said.reply().text(), "cluster_state");
    checks.push_back({"cluster", state == "ok", std::to_string(keys.size()) + " masters, state " + state,
                      state == "ok" ? "" : "slots without an owner refuse everything; see CLUSTER NODES"});
  }
  return checks;
}

}  // namespace tidings::transport::redis
