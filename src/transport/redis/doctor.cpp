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

void check_server(Store& store, const std::string& key, const std::string& where, std::vector<Check>& checks) {
  const Replies said = store.nodes().call(key, {"INFO"}, deadline_in(patience));
  const std::string_view info = said.reply().text();
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
  if (store.nodes().clustered()) {
    const Replies said = store.nodes().call(keys.front(), {"CLUSTER", "INFO"}, deadline_in(patience));
    const std::string state = info_text(said.reply().text(), "cluster_state");
    checks.push_back({"cluster", state == "ok", std::to_string(keys.size()) + " masters, state " + state,
                      state == "ok" ? "" : "slots without an owner refuse everything; see CLUSTER NODES"});
  }
  return checks;
}

}  // namespace tidings::transport::redis
