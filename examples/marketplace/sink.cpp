// A mail server that delivers nothing: it takes mails over SMTP (RFC 5321, as much of it as a sender needs) and keeps
// them in a table, for whoever wants to look. Two kinds of addresses behave as addresses do: those at gone.example do
// not exist (550), those at slow.example are turned away the first time (451, greylisting).
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <fstream>
#include <istream>
#include <set>
#include <thread>

#include "program.hpp"
#include "store.hpp"

namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS mails(message_id TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL,"
    " correlation TEXT NOT NULL, at INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS by_message ON mails(message_id)";

/// Who was turned away once.
class Greylist {
 public:
  bool first_time(const std::string& address) {
    const std::lock_guard lock(mutex_);
    return seen_.insert(address).second;
  }

 private:
  std::mutex mutex_;
  std::set<std::string> seen_;
};

/// One connection.
class Conversation {
 public:
  Conversation(tcp::socket socket, market::Store& store, Greylist& greylist)
      : socket_(std::move(socket)), store_(store), greylist_(greylist) {}

  void run() {
    say("220 sink.example ready");
    for (std::string line; next(line);) {
      std::string verb = line.substr(0, 4);
      for (char& c : verb) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      if (verb == "EHLO" || verb == "HELO") {
        say("250 sink.example");
      } else if (verb == "MAIL") {
        recipient_.clear();
        say("250 ok");
      } else if (verb == "RCPT") {
        take_recipient(line);
      } else if (verb == "DATA") {
        if (!take_mail()) return;
      } else if (verb == "RSET" || verb == "NOOP") {
        if (verb == "RSET") recipient_.clear();
        say("250 ok");
      } else if (verb == "QUIT") {
        say("221 bye");
        return;
      } else {
        say("500 not understood");
      }
    }
  }

 private:
  bool next(std::string& line) {
    boost::system::error_code error;
    asio::read_until(socket_, buffer_, '\n', error);
    std::istream stream(&buffer_);
    if (!std::getline(stream, line)) return false;
    if (line.ends_with('\r')) line.pop_back();
    return true;
  }

  void say(const std::string& line) {
    boost::system::error_code ignored;  // The next read tells.
    asio::write(socket_, asio::buffer(line + "\r\n"), ignored);
  }

  void take_recipient(const std::string& line) {
    const std::size_t open = line.find('<'), close = line.find('>');
    if (open == std::string::npos || close == std::string::npos || close < open) return say("501 no address");
    const std::string address = line.substr(open + 1, close - open - 1);
    if (address.find('@') == std::string::npos || address.ends_with("@gone.example")) return say("550 no such mailbox");
    if (address.ends_with("@slow.example") && greylist_.first_time(address)) return say("451 try again later");
    recipient_ = address;
    say("250 ok");
  }

  bool take_mail() {
    if (recipient_.empty()) {
      say("503 no recipient");
      return true;
    }
    say("354 go on");
    std::string line, id, subject, correlation;
    bool header = true;
    for (;;) {
      if (!next(line)) return false;  // Not acknowledged, so not kept.
      if (line == ".") break;
      if (line.empty()) header = false;
      const auto value = [&](std::string_view name) {
        return header && line.starts_with(name) ? line.substr(name.size()) : "";
      };
      if (const auto found = value("Message-ID: "); !found.empty()) id = found;
      if (const auto found = value("Subject: "); !found.empty()) subject = found;
      if (const auto found = value("X-Correlation-Id: "); !found.empty()) correlation = found;
    }
    try {
      store_.query("INSERT INTO mails(message_id, recipient, subject, correlation, at) VALUES(?,?,?,?,?)", id,
                   recipient_, subject, correlation, market::now_ms());
      say("250 kept");
    } catch (const std::exception&) {
      say("451 no room to keep it");
    }
    return true;
  }

  tcp::socket socket_;
  market::Store& store_;
  Greylist& greylist_;
  asio::streambuf buffer_{1U << 20};
  std::string recipient_{};
};

}  // namespace

int main(int argc, char** argv) {
  market::block_stop_signals();
  return market::run_program("sink", argc, argv, [](const market::Place& place) -> int {
    market::Store store(place.file(".db"), schema);
    Greylist greylist;
    asio::io_context context(1);
    tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    market::tell_port(place, acceptor.local_endpoint().port());
    std::thread([&] {
      for (;;) {
        tcp::socket socket(context);
        acceptor.accept(socket);
        socket.set_option(tcp::no_delay(true));
        std::thread([&, socket = std::move(socket)]() mutable {
          Conversation(std::move(socket), store, greylist).run();
        }).detach();
      }
    }).detach();
    const int code = market::wait_for_stop();
    // Connections may be in the middle of a mail; what was acknowledged is in the table.
    std::_Exit(code);
  });
}
