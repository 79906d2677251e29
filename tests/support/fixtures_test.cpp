// The fixtures themselves, by redis-cli and raw sockets: that what they say has happened did happen.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "certificates.hpp"
#include "proxy.hpp"
#include "redis_group.hpp"
#include "redis_server.hpp"

namespace tidings::support {
namespace {

/// Says how long something took. A limit would fail on a busy machine and say nothing about the fixtures.
class Watch {
 public:
  explicit Watch(std::string name) : name_(std::move(name)) {}
  ~Watch() {
    const auto took = std::chrono::steady_clock::now() - start_;
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    ::testing::Test::RecordProperty(name_, static_cast<int>(milliseconds));
    std::printf("%s: %lld ms\n", name_.c_str(), static_cast<long long>(milliseconds));
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  std::string name_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// A server of nothing, behind a proxy.
class Behind : public ::testing::Test {
 protected:
  static Descriptor listening() {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(0);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket.get(), 8), 0);
    return socket;
  }
  [[nodiscard]] std::uint16_t listener_port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  /// A connection through the proxy: the client's end and the server's.
  struct Line {
    Descriptor client{}, server{};
  };
  Line dial() {
    Line line;
    line.client = connect_to(proxy_.port());
    EXPECT_TRUE(await_readable(listener_.get(), patience));
    line.server = Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return line;
  }
  static void send(const Descriptor& from, std::string_view text) {
    ASSERT_EQ(::send(from.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  static std::string receive(const Descriptor& at, std::size_t count) {
    std::string text;
    while (text.size() < count && await_readable(at.get(), patience) && read_some(at.get(), text)) {
    }
    return text;
  }
  /// What arrives until the end, with the word `reset` behind it when that is one.
  static std::string rest(const Descriptor& at) {
    std::string text;
    errno = 0;
    while (await_readable(at.get(), patience) && read_some(at.get(), text)) errno = 0;
    return errno == ECONNRESET ? text + "reset" : text;
  }

  Descriptor listener_ = listening();
  Proxy proxy_{listener_port()};
};

TEST_F(Behind, BytesAndTheirEndPassBothWays) {
  const Line line = dial();
  send(line.client, "question");
  EXPECT_EQ(receive(line.server, 8), "question");
  ::shutdown(line.client.get(), SHUT_WR);
  EXPECT_EQ(rest(line.server), "") << "the end of one direction";
  send(line.server, "answer");
  ::shutdown(line.server.get(), SHUT_WR);
  EXPECT_EQ(rest(line.client), "answer");
  EXPECT_EQ(proxy_.connections(), 1);
  EXPECT_EQ(proxy_.request_bytes(), 8);
  EXPECT_EQ(proxy_.reply_bytes(), 6);
  EXPECT_EQ(proxy_.cuts(), 0);
}

// The proxy looks at a client before its server: whoever has the server's answer knows that the request was dropped.
TEST_F(Behind, RequestsAreDropped) {
  const Line line = dial();
  proxy_.set(Proxy::Mode::drop_requests);
  send(line.client, "lost");
  send(line.server, "heard");
  EXPECT_EQ(receive(line.client, 5), "heard");
  proxy_.set(Proxy::Mode::pass);
  send(line.client, "kept");
  EXPECT_EQ(receive(line.server, 4), "kept");
  EXPECT_EQ(proxy_.request_bytes(), 4);
}

TEST_F(Behind, RepliesAreDropped) {
  const Line line = dial();
  proxy_.set(Proxy::Mode::drop_replies);
  send(line.server, "lost");
  send(line.client, "one");
  EXPECT_EQ(receive(line.server, 3), "one");
  // That may have been passed on before the server's bytes were looked at; this is not.
  send(line.client, "two");
  EXPECT_EQ(receive(line.server, 3), "two");
  proxy_.set(Proxy::Mode::pass);
  send(line.server, "kept");
  EXPECT_EQ(receive(line.client, 4), "kept");
  EXPECT_EQ(proxy_.reply_bytes(), 4);
}

TEST_F(Behind, NewConnectionsAreRefused) {
  const Line old = dial();
  proxy_.set(Proxy::Mode::refuse);
  EXPECT_EQ(rest(connect_to(proxy_.port())), "reset");
  send(old.client, "still");
  EXPECT_EQ(receive(old.server, 5), "still");
  proxy_.set(Proxy::Mode::pass);
  const Line next = dial();
  EXPECT_EQ(proxy_.connections(), 3);
}

TEST_F(Behind, ACutResetsAll) {
  const Line one = dial(), other = dial();
  const Descriptor fresh = connect_to(proxy_.port());
  proxy_.cut();
  for (const Line* each : {&one, &other}) {
    EXPECT_EQ(rest(each->client), "reset");
    EXPECT_EQ(rest(each->server), "reset");
  }
  EXPECT_EQ(rest(fresh), "reset");
  EXPECT_EQ(proxy_.cuts(), 0) << "those after bytes are counted";
}

TEST_F(Behind, OneIsCutInTheMiddle) {
  const Line one = dial(), other = dial();
  proxy_.cut_requests_after(5);
  send(one.client, "abc");
  EXPECT_EQ(receive(one.server, 3), "abc");
  send(other.client, "defgh");
  EXPECT_EQ(rest(other.server), "dereset");
  EXPECT_EQ(rest(other.client), "reset");
  proxy_.cut_replies_after(4);
  send(one.server, "reply");
  EXPECT_EQ(rest(one.client), "replreset");
  EXPECT_EQ(proxy_.cuts(), 2);
  const Line next = dial();
  send(next.client, "no more than one each");
  EXPECT_EQ(receive(next.server, 21), "no more than one each");
}

TEST_F(Behind, EachIsCutInTheMiddle) {
  const Line one = dial(), other = dial();
  proxy_.cut_each_after_requests(5);
  const Line next = dial();
  for (const Line* each : {&one, &other, &next}) {
    send(each->client, "abc");
    EXPECT_EQ(receive(each->server, 3), "abc");
  }
  for (const Line* each : {&one, &other, &next}) {
    send(each->client, "defgh");
    EXPECT_EQ(rest(each->server), "dereset");
    EXPECT_EQ(rest(each->client), "reset");
  }
  proxy_.cut_each_after_requests(Proxy::never);
  proxy_.cut_each_after_replies(1);
  const Line last = dial();
  send(last.client, "abcdefgh");
  EXPECT_EQ(receive(last.server, 8), "abcdefgh");
  send(last.server, "xyz");
  EXPECT_EQ(rest(last.client), "xreset");
  EXPECT_EQ(proxy_.cuts(), 4);
}

TEST_F(Behind, OneThatDoesNotReadStopsNoOther) {
  const Line full = dial();
  const std::string much(std::size_t{64} << 10U, 'x');
  // Until nothing between the two ends takes more.
  std::size_t stored = 0, before = 1;
  while (stored != before) {
    before = stored;
    for (ssize_t count = 1; count > 0; stored += count > 0 ? static_cast<std::size_t>(count) : 0)
      count = ::send(full.client.get(), much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    const Line other = dial();
    send(other.client, "question");
    EXPECT_EQ(receive(other.server, 8), "question");
  }
  EXPECT_EQ(receive(full.server, stored).size(), stored);
}

TEST(Fixtures, AServerComesBackWithWhatItHad) {
  RedisServer server({.aof = Aof::always, .password = "secret"});
  EXPECT_EQ(server.cli("SET", "key", "value"), "OK");
  const std::uint16_t port = server.port();
  server.kill();
  EXPECT_FALSE(server.answers());
  server.restart();
  EXPECT_EQ(server.port(), port);
  EXPECT_EQ(server.cli("GET", "key"), "value");
  EXPECT_EQ(server.ask("GET key"), "$5\r\nvalue\r\n");
  server.suspend();
  EXPECT_FALSE(server.answers());
  server.resume();
  const std::size_t logged = server.log().size();
  EXPECT_EQ(server.cli("BGREWRITEAOF"), "Background append only file rewriting started");
  EXPECT_GT(server.await_log("Background AOF rewrite finished successfully", logged), logged);
}

std::string refusal(const std::vector<std::string>& words) {
  try {
    return "not refused: " + run_program(words);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(Fixtures, CertificatesAreWhatTheySay) {
  const auto made = [] {
    const Watch watch("certificates");
    return std::make_unique<Certificates>();
  }();
  const auto verify = [&](const std::string& name, const std::string& ca, const std::string& option,
                          const std::string& value) {
    return std::vector<std::string>{
        "openssl", "verify", "-CAfile", made->certificate(ca), option, value, made->certificate(name)};
  };
  EXPECT_NO_THROW(run_program(verify("server", "ca", "-verify_ip", "127.0.0.1")));
  EXPECT_NO_THROW(run_program(verify("server", "ca", "-verify_hostname", "localhost")));
  EXPECT_NO_THROW(run_program(verify("elsewhere", "ca", "-verify_hostname", "other.example")));
  EXPECT_NO_THROW(run_program(verify("client", "ca", "-purpose", "sslclient")));
  EXPECT_NE(refusal(verify("elsewhere", "ca", "-verify_ip", "127.0.0.1")).find("mismatch"), std::string::npos);
  EXPECT_NE(refusal(verify("server", "stranger", "-verify_ip", "127.0.0.1")).find("unable to get"), std::string::npos);
  EXPECT_NE(refusal(verify("expired", "ca", "-verify_ip", "127.0.0.1")).find("expired"), std::string::npos);
}

TEST(Fixtures, TlsIsVerifiedByBothEnds) {
  const Certificates made;
  RedisServer server({.tls = {made.certificate("ca"), made.certificate("server"), made.key("server"), false}});
  EXPECT_EQ(server.cli("PING"), "PONG");
  EXPECT_EQ(server.url(), "rediss://127.0.0.1:" + std::to_string(server.port()));
  EXPECT_EQ(server.trusted_url(), server.url() + "?ca=" + made.certificate("ca"));
  const auto ping = [&](const RedisServer& at, const std::string& ca) {
    return refusal({"redis-cli", "-p", std::to_string(at.port()), "--tls", "--cacert", made.certificate(ca), "PING"});
  };
  EXPECT_EQ(ping(server, "ca"), "not refused: PONG");
  EXPECT_NE(ping(server, "stranger").find("certificate verify failed"), std::string::npos);

  RedisServer old({.tls = {made.certificate("ca"), made.certificate("expired"), made.key("expired"), false}});
  EXPECT_NE(ping(old, "ca").find("certificate verify failed"), std::string::npos);

  RedisServer strict({.tls = {made.certificate("ca"), made.certificate("server"), made.key("server"), true},
                      .cli_certificate = made.certificate("client"),
                      .cli_key = made.key("client")});
  EXPECT_EQ(strict.cli("PING"), "PONG");
  EXPECT_EQ(ping(strict, "ca").find("PONG"), std::string::npos) << "no certificate was shown";
}

TEST(Fixtures, SentinelsFailOver) {
  std::unique_ptr<RedisSentinels> servers;
  {
    const Watch watch("sentinels");
    servers = std::make_unique<RedisSentinels>(GroupOptions{.aof = Aof::always, .password = "secret"});
  }
  EXPECT_EQ(servers->url(), "redis+sentinel://127.0.0.1:" + std::to_string(servers->sentinel(0).port()) +
                                ",127.0.0.1:" + std::to_string(servers->sentinel(1).port()) +
                                ",127.0.0.1:" + std::to_string(servers->sentinel(2).port()) + "/tidings");
  for (int round = 0; round < 2; ++round) {
    RedisServer& old = servers->master();
    ASSERT_EQ(old.cli("INCR", "count"), std::to_string(round + 1));
    ASSERT_EQ(old.cli("WAIT", 2, 5'000), "2");
    {
      const Watch watch("sentinels_fail_over");
      servers->fail_over();
    }
    EXPECT_EQ(old.pid(), -1);
    RedisServer& next = servers->master();
    ASSERT_NE(&next, &old);
    EXPECT_TRUE(next.cli("ROLE").starts_with("master"));
    EXPECT_EQ(next.cli("GET", "count"), std::to_string(round + 1));
    {
      const Watch watch("sentinels_revive");
      servers->revive();
    }
    EXPECT_TRUE(old.cli("ROLE").starts_with("slave"));
    EXPECT_EQ(old.cli("GET", "count"), std::to_string(round + 1));
  }
}

TEST(Fixtures, SentinelsFailOverByCommandAndWhenTheMasterHangs) {
  RedisSentinels servers(Aof::off);
  RedisServer& first = servers.master();
  {
    const Watch watch("sentinels_command");
    servers.fail_over_by_command();
  }
  EXPECT_NE(&servers.master(), &first);
  {
    const Watch watch("sentinels_command_revive");
    servers.revive();
  }
  EXPECT_TRUE(first.cli("ROLE").starts_with("slave"));
  RedisServer& second = servers.master();
  second.suspend();
  servers.await_new_master(second.port());
  EXPECT_NE(&servers.master(), &second);
  second.resume();
  servers.revive();
  EXPECT_TRUE(second.cli("ROLE").starts_with("slave"));
}

class Cluster : public ::testing::Test {
 protected:
  /// One for all, since each test leaves it well.
  static RedisCluster& servers() {
    static const std::unique_ptr<RedisCluster> made = [] {
      const Watch watch("cluster");
      return std::make_unique<RedisCluster>(GroupOptions{.aof = Aof::everysec, .password = "secret"});
    }();
    return *made;
  }
};

TEST_F(Cluster, FailsOver) {
  EXPECT_EQ(servers().size(), 6U);
  EXPECT_TRUE(servers().url().starts_with("redis+cluster://127.0.0.1:" + std::to_string(servers().node(0).port())));
  for (int round = 0; round < 2; ++round) {
    RedisServer& old = servers().owner_of("key");
    ASSERT_EQ(old.cli("SET", "key", round), "OK");
    ASSERT_EQ(old.cli("WAIT", 1, 5'000), "1");
    {
      const Watch watch("cluster_fail_over");
      servers().fail_over("key");
    }
    EXPECT_EQ(old.pid(), -1);
    RedisServer& next = servers().owner_of("key");
    ASSERT_NE(&next, &old);
    EXPECT_EQ(next.cli("GET", "key"), std::to_string(round));
    {
      const Watch watch("cluster_revive");
      servers().revive();
    }
    EXPECT_TRUE(old.cli("ROLE").starts_with("slave"));
  }
  RedisServer& old = servers().owner_of("key");
  servers().fail_over_by_command("key");
  EXPECT_NE(&servers().owner_of("key"), &old);
  servers().revive();
}

// Without pauses of the test's own between them; the third one's heir has won the first and was not started since.
TEST_F(Cluster, FailoversInQuickSuccession) {
  servers().fail_over_by_command("key");
  servers().revive();
  servers().fail_over_by_command("key");
  servers().revive();
  RedisServer& old = servers().owner_of("key");
  servers().fail_over("key");
  EXPECT_EQ(old.pid(), -1);
  EXPECT_NE(&servers().owner_of("key"), &old);
  servers().revive();
}

TEST_F(Cluster, ASlotMoves) {
  RedisServer& source = servers().owner_of("moved");
  ASSERT_EQ(source.cli("SET", "moved", "value"), "OK");
  RedisServer& target = servers().begin_move("moved");
  ASSERT_NE(&source, &target);
  const std::string there = "127.0.0.1:" + std::to_string(target.port());
  EXPECT_EQ(source.cli("GET", "moved"), "value");
  const std::string asked = source.cli("GET", "{moved}:none");
  EXPECT_TRUE(asked.starts_with("ASK ") && asked.ends_with(there)) << asked;
  EXPECT_TRUE(target.cli("GET", "moved").starts_with("MOVED ")) << "without ASKING";
  {
    const Watch watch("cluster_end_move");
    servers().end_move();
  }
  EXPECT_EQ(&servers().owner_of("moved"), &target);
  EXPECT_EQ(target.cli("GET", "moved"), "value");
  const std::string moved = source.cli("GET", "moved");
  EXPECT_TRUE(moved.starts_with("MOVED ") && moved.ends_with(there)) << moved;
  // More keys than one step takes, and back.
  for (int i = 0; i < 250; ++i) ASSERT_EQ(target.ask("SET {moved}:" + std::to_string(i) + " x"), "+OK\r\n");
  servers().move_slot("moved");
  EXPECT_EQ(servers().owner_of("moved").cli("CLUSTER", "COUNTKEYSINSLOT", target.cli("CLUSTER", "KEYSLOT", "moved")),
            "251");
}

TEST_F(Cluster, AHungMasterIsReplaced) {
  RedisServer& old = servers().owner_of("key");
  old.suspend();
  servers().await_other_than(old, "key");
  old.resume();
  servers().revive();
  EXPECT_NE(&servers().owner_of("key"), &old);
  EXPECT_TRUE(old.cli("ROLE").starts_with("slave"));
}

}  // namespace
}  // namespace tidings::support
