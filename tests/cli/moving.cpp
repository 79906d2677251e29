#include "moving.hpp"

#include <cstdlib>
#include <set>

namespace tidings::cli_test {

namespace {

constexpr const char *key = "AKIDMOVING", *secret = "not-a-secret";

std::string key_of(int number) { return number % 5 == 0 ? "" : "k" + std::to_string(number % 7); }

}  // namespace

std::string numbered_lines(int first, int count) {
  std::string text;
  for (int n = first; n < first + count; ++n) {
    const std::string number = std::to_string(n), partition = key_of(n);
    text += R"({"id":"e)" + number +
            R"(","type":"user.created","version":"1.0","timestamp":"2024-01-25T10:30:00.123Z",)" +
            R"("source":"test","correlationId":"c)" + number + R"(","data":{"n": )" + number + ".0}";
    if (!partition.empty()) text += R"(,"metadata":{"partitionKey":")" + partition + "\"}";
    text += "}\n";
  }
  return text;
}

Account account_of(const std::vector<std::string>& envelopes, int count) {
  Account account;
  std::set<int> seen;
  std::map<std::string, int> last;
  const auto expected = lines(numbered_lines(0, count));
  for (const std::string& envelope : envelopes) {
    const std::string_view rest = std::string_view(envelope).substr(std::min<std::size_t>(8, envelope.size()));
    const int number = std::atoi(std::string(rest.substr(0, rest.find('"'))).c_str());
    if (number < 0 || number >= count || envelope != expected[static_cast<std::size_t>(number)]) {
      ++account.foreign;
    } else if (!seen.insert(number).second) {
      ++account.repeated;
    } else {
      int& before = last.emplace(key_of(number), -1).first->second;
      if (number < before) ++(key_of(number).empty() ? account.astray : account.disordered);
      before = std::max(before, number);
    }
  }
  account.lost = count - static_cast<int>(seen.size());
  return account;
}

MovingTest::MovingTest() {
  for (const auto& [name, text] : {std::pair{"AWS_ACCESS_KEY_ID", key},
                                   {"AWS_SECRET_ACCESS_KEY", secret},
                                   {"AWS_EC2_METADATA_DISABLED", "true"}}) {
    setting_.variables[name] = text;
    ::setenv(name, text, 1);
  }
  ::unsetenv("AWS_PROFILE");
  setting_.variables.erase("TIDINGS_URL");
}

std::string MovingTest::aws_url(support::AwsStub& aws) const {
  aws.add_key({.id = key, .secret = secret});
  return "aws://" + aws.region() + "?prefix=t&endpoint=" + aws.url();
}

void MovingTest::fill(const std::string& url, int first, int count) const {
  expect_ok({"publish", "--jsonl", "-u", url}, numbered_lines(first, count));
}

std::vector<std::string> MovingTest::envelopes(const std::string& url) const {
  return lines(expect_ok({"tail", "events:user", "--from", "beginning", "-u", url}));
}

std::size_t MovingTest::length(const std::string& url) const {
  const Outcome outcome = tidings({"streams", "--json", "-u", url});
  if (outcome.code != 0) return 0;
  for (const std::string& row : elements(outcome.out)) {
    if (value(row, "stream") == "events:user") return std::stoul(value(row, "length"));
  }
  return 0;
}

void MovingTest::await_length(const std::string& url, std::size_t count) const {
  await([&] { return length(url) >= count; }, "the events are there");
}

std::string MovingTest::group_value(const std::string& url, const std::string& group, std::string_view name) const {
  for (const std::string& row : elements(expect_ok({"groups", "events:user", "--json", "-u", url}))) {
    if (value(row, "group") == group) return value(row, name);
  }
  return "no group";
}

std::unique_ptr<Running> MovingTest::start_bridge(const std::string& from, const std::string& to, Words more) const {
  Words words{"bridge", "--from", from, "--to", to, "events:user", "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return start(words);
}

std::string MovingTest::move_all(const std::string& from, const std::string& to, Words more) const {
  more.insert(more.end(), {"--until-idle", "200ms"});
  const Outcome outcome = start_bridge(from, to, more)->wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.out;
}

}  // namespace tidings::cli_test
