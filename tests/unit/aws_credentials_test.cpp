// Where keys come from, place by place, on a machine that a test makes up; and how they are kept and renewed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <latch>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <tidings/error.hpp>

#include "transport/aws/credentials.hpp"
#include "transport/aws/digest.hpp"
#include "transport/aws/profile.hpp"

namespace tidings::transport::aws {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const Wall start = *parse_time("2024-01-25T10:30:00Z");

/// A machine with these variables, files and answers, and no others.
class Machine {
 public:
  std::map<std::string, std::string> variables{{"HOME", "/me"}}, files{}, processes{};
  std::function<void(Exchange&)> answer{};  ///< Without one nobody can be reached.
  std::vector<Exchange> asked{};
  std::vector<std::string> bodies{};
  Wall now = start;
  bool writable = true;

  Machine() {
    around_.variable = [this](const std::string& name) { return find(variables, name); };
    around_.read_file = [this](const std::string& path) { return find(files, path); };
    around_.write_file = [this](const std::string& path, std::string_view text) {
      if (writable) files[path] = text;
      return writable;
    };
    around_.run_process = [this](const std::string& command, WaitClock::time_point) {
      const auto text = find(processes, command);
      return ProcessOutput{text.has_value(), text.value_or(""), text ? "" : "it ended with status 1"};
    };
    around_.now = [this] { return now; };
    around_.fetch = [this](Exchange& exchange) {
      asked.push_back(exchange);
      bodies.emplace_back(exchange.body);
      exchange.failure = HttpFailure::none;
      exchange.status = 0;
      exchange.reply.clear();
      if (answer) return answer(exchange);
      exchange.failure = HttpFailure::not_connected;
      exchange.why = "nobody is there";
    };
  }

  [[nodiscard]] CredentialSearch search() const {
    return {.around = around_, .region = "eu-west-1", .deadline = WaitClock::now() + 10s};
  }
  [[nodiscard]] Credentials find_all() const { return find_credentials(search()); }
  /// The error of a search that must fail; it holds no secret.
  [[nodiscard]] std::string refused() const {
    try {
      const Credentials found = find_all();
      ADD_FAILURE() << "found " << found.source;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), StartsWith("aws: "));
      EXPECT_THAT(error.what(), Not(HasSubstr("S3CR3T")));
      return error.what();
    }
    return {};
  }

 private:
  static std::optional<std::string> find(const std::map<std::string, std::string>& in, const std::string& name) {
    const auto found = in.find(name);
    return found == in.end() ? std::nullopt : std::optional(found->second);
  }
  Surroundings around_{};
};

void say(Exchange& exchange, int status, std::string text) {
  exchange.status = status;
  exchange.reply = std::move(text);
}

std::string lent(const std::string& operation, const std::string& id) {
  return "<" + operation + "Response><" + operation + "Result><Credentials><AccessKeyId>" + id +
         "</AccessKeyId><SecretAccessKey>S3CR3T2</SecretAccessKey><SessionToken>S3CR3TTOKEN</SessionToken>"
         "<Expiration>2024-01-25T11:30:00Z</Expiration></Credentials></" +
         operation + "Result></" + operation + "Response>";
}

TEST(AwsProfile, ReadsAllItsOddities) {
  const Profiles read = read_profiles(
      "\xef\xbb\xbf# a comment\r\n[default]\r\nregion = eu-west-1\r\n"
      "[profile  x]\nRegion=us-east-1 # why\nrole_arn = arn:aws:iam::1:role/a;b\ns3 =\n  max_queue = 10\n  region = "
      "no\n"
      "output = json\n; another\n\n[ profile \"with space\" ]\nregion = a#b\n[profile x]\noutput = text\n"
      "[sso-session mine]\nsso_region = eu-west-2\n[services z]\nregion = no\n[y]\nregion = "
      "no\nbroken\n=none\n[open\nregion=no\n"
      "[plugins]\nregion = no",
      "[x]\naws_access_key_id = A\naws_secret_access_key = a/#;b+c=\t\nregion = eu-north-1\n[default]\n"
      "aws_access_key_id=\n  # indented\n");
  EXPECT_EQ(read.setting("default", "region"), "eu-west-1");
  EXPECT_EQ(read.setting("x", "region"), "eu-north-1") << "the credentials file wins";
  EXPECT_EQ(read.setting("x", "output"), "text") << "a section may come again";
  EXPECT_EQ(read.setting("x", "role_arn"), "arn:aws:iam::1:role/a;b");
  EXPECT_EQ(read.setting("x", "s3"), "\nmax_queue = 10\nregion = no");
  EXPECT_EQ(read.setting("x", "aws_secret_access_key"), "a/#;b+c=");
  EXPECT_EQ(read.setting("with space", "region"), "a#b");
  EXPECT_EQ(read.setting("default", "aws_access_key_id"), std::nullopt);
  EXPECT_EQ(read.sessions.at("mine").at("sso_region"), "eu-west-2");
  EXPECT_FALSE(read.has("y"));
  EXPECT_FALSE(read.has("plugins"));
  EXPECT_EQ(read_profiles("[default]\nregion=a\n[profile default]\nregion=b\n[default]\nregion=c", "")
                .setting("default", "region"),
            "b");
}

TEST(AwsCredentials, TheEnvironmentComesFirstUnlessAProfileIsNamed) {
  Machine machine;
  machine.variables.insert(
      {{"AWS_ACCESS_KEY_ID", "ENV"}, {"AWS_SECRET_ACCESS_KEY", "S3CR3T"}, {"AWS_SESSION_TOKEN", "T"}});
  machine.files["/me/.aws/credentials"] =
      "[default]\naws_access_key_id = FILE\naws_secret_access_key = S3CR3T\n[other]\naws_access_key_id = OTHER\n"
      "aws_secret_access_key = S3CR3T\naws_session_token = U\n";
  EXPECT_EQ(machine.find_all().keys, (Keys{"ENV", "S3CR3T", "T"}));
  machine.variables["AWS_PROFILE"] = "other";
  EXPECT_EQ(machine.find_all().keys, (Keys{"OTHER", "S3CR3T", "U"}));
  EXPECT_EQ(machine.find_all().source, "profile other");
  machine.variables["AWS_PROFILE"] = "";
  EXPECT_EQ(machine.find_all().keys.id, "ENV") << "an empty variable is none";
  machine.variables.erase("AWS_ACCESS_KEY_ID");
  EXPECT_THAT(machine.refused(), HasSubstr("AWS_ACCESS_KEY_ID is not"));
  machine.variables.erase("AWS_SECRET_ACCESS_KEY");
  EXPECT_EQ(machine.find_all().keys.id, "FILE");
  machine.variables["AWS_PROFILE"] = "absent";
  EXPECT_THAT(machine.refused(), HasSubstr("the profile absent is neither"));
  EXPECT_TRUE(machine.asked.empty());
}

TEST(AwsCredentials, FilesAreWhereTheEnvironmentSays) {
  Machine machine;
  machine.variables.insert({{"AWS_SHARED_CREDENTIALS_FILE", "~/keys"}, {"AWS_CONFIG_FILE", "/etc/aws"}});
  machine.files["/me/keys"] = "[default]\naws_access_key_id = A\naws_secret_access_key = S3CR3T\n";
  machine.files["/etc/aws"] = "[default]\nregion = eu-central-1\nendpoint_url = http://here\n";
  EXPECT_EQ(machine.find_all().keys.id, "A");
  EXPECT_EQ(find_region(machine.search()), "eu-central-1");
  EXPECT_EQ(find_endpoint(machine.search(), "SQS"), "http://here");
  machine.variables["AWS_REGION"] = "us-west-2";
  machine.variables["AWS_ENDPOINT_URL"] = "http://all";
  EXPECT_EQ(find_region(machine.search()), "us-west-2");
  EXPECT_EQ(find_endpoint(machine.search(), "SQS"), "http://all");
  machine.variables["AWS_ENDPOINT_URL_SQS"] = "http://queues";
  EXPECT_EQ(find_endpoint(machine.search(), "SQS"), "http://queues");
  machine.variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true";
  EXPECT_EQ(find_endpoint(machine.search(), "SQS"), std::nullopt);
}

TEST(AwsCredentials, EndpointsFollowThePartition) {
  EXPECT_EQ(default_endpoint("sqs", "eu-west-1"), "https://sqs.eu-west-1.amazonaws.com");
  EXPECT_EQ(default_endpoint("sns", "cn-north-1"), "https://sns.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(default_endpoint("sts", "us-gov-west-1"), "https://sts.us-gov-west-1.amazonaws.com");
}

TEST(AwsCredentials, AProcessWritesKeys) {
  Machine machine;
  machine.files["/me/.aws/config"] = "[default]\ncredential_process = /opt/keys --for \"me\"\n";
  machine.processes["/opt/keys --for \"me\""] =
      R"({"Version":1,"AccessKeyId":"P","SecretAccessKey":"S3CR3T","SessionToken":"T","Expiration":"2024-01-25T12:30:00+01:00"})";
  const Credentials found = machine.find_all();
  EXPECT_EQ(found.keys, (Keys{"P", "S3CR3T", "T"}));
  EXPECT_EQ(found.expires, start + 1h);
  machine.processes.begin()->second = R"({"Version":2,"AccessKeyId":"P","SecretAccessKey":"S3CR3T"})";
  EXPECT_THAT(machine.refused(), HasSubstr("Version"));
  machine.processes.begin()->second = "S3CR3T but no JSON";
  EXPECT_THAT(machine.refused(), HasSubstr("credential_process of the profile default"));
  machine.processes.clear();
  EXPECT_THAT(machine.refused(), HasSubstr("it ended with status 1"));
}

TEST(AwsCredentials, ARoleIsAssumedWithAnotherProfilesKeys) {
  Machine machine;
  machine.files["/me/.aws/config"] =
      "[default]\nrole_arn = arn:aws:iam::1:role/a b\nsource_profile = middle\nexternal_id = x\nrole_session_name = s\n"
      "duration_seconds = 900\n[profile middle]\nrole_arn = arn:middle\nsource_profile = base\n";
  machine.files["/me/.aws/credentials"] = "[base]\naws_access_key_id = BASE\naws_secret_access_key = S3CR3T\n";
  machine.answer = [&](Exchange& exchange) {
    say(exchange, 200, lent("AssumeRole", "LENT" + std::to_string(machine.asked.size())));
  };
  const Credentials found = machine.find_all();
  EXPECT_EQ(found.keys, (Keys{"LENT2", "S3CR3T2", "S3CR3TTOKEN"}));
  EXPECT_EQ(found.expires, start + 1h);
  ASSERT_EQ(machine.asked.size(), 2U);
  EXPECT_EQ(machine.asked[0].url, "https://sts.eu-west-1.amazonaws.com/");
  EXPECT_THAT(machine.asked[0].headers.back(),
              StartsWith("Authorization: AWS4-HMAC-SHA256 Credential=BASE/20240125/eu-west-1/sts/aws4_request"));
  EXPECT_THAT(machine.bodies[0],
              HasSubstr("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Amiddle&RoleSessionName=tidings-"));
  EXPECT_EQ(machine.bodies[1],
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b&RoleSessionName=s"
            "&ExternalId=x&DurationSeconds=900");
  EXPECT_THAT(machine.asked[1].headers.back(), HasSubstr("Credential=LENT1/"));

  machine.variables["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:1/";
  static_cast<void>(machine.find_all());
  EXPECT_EQ(machine.asked.back().url, "http://127.0.0.1:1/");
  machine.answer = [](Exchange& exchange) {
    say(exchange, 403,
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not for you</Message></Error></ErrorResponse>");
  };
  EXPECT_THAT(machine.refused(), HasSubstr("AccessDenied (not for you)"));
}

TEST(AwsCredentials, ARoleIsAskedForInAwssTime) {
  Machine machine;
  machine.files["/me/.aws/credentials"] =
      "[default]\nrole_arn = a\nsource_profile = default\naws_access_key_id = A\naws_secret_access_key = S3CR3T\n";
  machine.answer = [&](Exchange& exchange) {
    if (machine.asked.size() == 2) return say(exchange, 200, lent("AssumeRole", "LENT"));
    say(exchange, 403, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>");
    exchange.date = "Thu, 25 Jan 2024 10:50:00 GMT";
  };
  EXPECT_EQ(machine.find_all().keys.id, "LENT");
  EXPECT_EQ(machine.asked.at(0).headers.at(1), "X-Amz-Date: 20240125T103000Z");
  EXPECT_EQ(machine.asked.at(1).headers.at(1), "X-Amz-Date: 20240125T105000Z");
}

TEST(AwsCredentials, ProfilesThatLeadNowhereAreSaidSo) {
  Machine machine;
  std::string& config = machine.files["/me/.aws/config"];
  config = "[default]\nrole_arn = a\nsource_profile = b\n[profile b]\nrole_arn = c\nsource_profile = default\n";
  EXPECT_THAT(machine.refused(), HasSubstr("leads back to itself"));
  config = "[default]\nrole_arn = a\nsource_profile = gone\n";
  EXPECT_THAT(machine.refused(), HasSubstr("gone, which is not there"));
  config = "[default]\nrole_arn = a\n";
  EXPECT_THAT(machine.refused(), HasSubstr("needs source_profile"));
  config = "[default]\nrole_arn = a\nmfa_serial = m\nsource_profile = default\n";
  EXPECT_THAT(machine.refused(), HasSubstr("mfa_serial"));
  config = "[default]\nrole_arn = a\ncredential_source = Environment\n";
  EXPECT_THAT(machine.refused(), HasSubstr("Environment) gives no keys"));
  config = "[default]\naws_access_key_id = A\n";
  EXPECT_THAT(machine.refused(), HasSubstr("give both"));
  // A profile that is its own source has keys of its own.
  config = "[default]\nrole_arn = a\nsource_profile = default\naws_access_key_id = A\naws_secret_access_key = S3CR3T\n";
  machine.answer = [](Exchange& exchange) { say(exchange, 200, lent("AssumeRole", "LENT")); };
  EXPECT_EQ(machine.find_all().keys.id, "LENT");
}

TEST(AwsCredentials, AWebIdentitysTokenIsReadAnewEachTime) {
  Machine machine;
  machine.variables.insert(
      {{"AWS_WEB_IDENTITY_TOKEN_FILE", "/var/token"}, {"AWS_ROLE_ARN", "arn:r"}, {"AWS_ROLE_SESSION_NAME", "pod"}});
  EXPECT_THAT(machine.refused(), HasSubstr("/var/token is empty or cannot be read"));
  machine.answer = [](Exchange& exchange) { say(exchange, 200, lent("AssumeRoleWithWebIdentity", "WEB")); };
  for (const char* token : {"S3CR3T.1", "S3CR3T.2"}) {
    machine.files["/var/token"] = std::string(token) + "\n";
    EXPECT_EQ(machine.find_all().keys.id, "WEB");
    EXPECT_EQ(
        machine.bodies.back(),
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Ar&RoleSessionName=pod&WebIdentityToken=" +
            std::string(token));
  }
  EXPECT_EQ(machine.asked.back().headers.size(), 1U) << "it is not signed";
  machine.variables.erase("AWS_ROLE_ARN");
  EXPECT_THAT(machine.refused(), HasSubstr("AWS_ROLE_ARN is not"));
  machine.variables.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  machine.files["/me/.aws/config"] = "[default]\nrole_arn = arn:p\nweb_identity_token_file = /var/token\n";
  EXPECT_EQ(machine.find_all().keys.id, "WEB") << "a profile may name one too";
}

TEST(AwsCredentials, AServiceThatFailsForAMomentIsAskedAgain) {
  Machine machine;
  machine.variables.insert({{"AWS_WEB_IDENTITY_TOKEN_FILE", "/t"}, {"AWS_ROLE_ARN", "arn:r"}});
  machine.files["/t"] = "S3CR3T";
  machine.answer = [&](Exchange& exchange) {
    machine.asked.size() < 3 ? say(exchange, 503, "") : say(exchange, 200, lent("AssumeRoleWithWebIdentity", "WEB"));
  };
  EXPECT_EQ(machine.find_all().keys.id, "WEB");
  machine.answer = nullptr;
  EXPECT_THAT(machine.refused(), HasSubstr("could not be reached for credentials: nobody is there"));
}

std::string sso_cache(const std::string& name) { return "/me/.aws/sso/cache/" + sha1_hex(name) + ".json"; }

TEST(AwsCredentials, ASignInsTokenIsTakenFromTheCache) {
  Machine machine;
  machine.files["/me/.aws/config"] =
      "[default]\nsso_session = mine\nsso_account_id = 123\nsso_role_name = dev role\n"
      "[sso-session mine]\nsso_start_url = https://me.awsapps.com/start\nsso_region = eu-west-2\n";
  EXPECT_THAT(machine.refused(), HasSubstr("aws sso login --profile default"));
  machine.files[sso_cache("mine")] = R"({"accessToken":"S3CR3TBEARER","expiresAt":"2024-01-25T11:30:00Z"})";
  machine.answer = [](Exchange& exchange) {
    say(exchange, 200,
        R"({"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"S3CR3T","sessionToken":"T",)"
        R"("expiration":1706181000000}})");
  };
  const Credentials found = machine.find_all();
  EXPECT_EQ(found.keys, (Keys{"SSO", "S3CR3T", "T"}));
  EXPECT_EQ(found.expires, Wall(1706181000000ms));
  EXPECT_EQ(machine.asked.back().url,
            "https://portal.sso.eu-west-2.amazonaws.com/federation/credentials?role_name=dev%20role&account_id=123");
  EXPECT_EQ(machine.asked.back().headers.at(0), "x-amz-sso_bearer_token: S3CR3TBEARER");
  machine.answer = [](Exchange& exchange) {
    say(exchange, 401, R"({"message":"Session token not found or invalid"})");
  };
  EXPECT_THAT(machine.refused(), HasSubstr("is not taken any more; run `aws sso login"));
  machine.now = start + 2h;
  EXPECT_THAT(machine.refused(), HasSubstr("has expired"));
}

TEST(AwsCredentials, ASignInIsRenewedWithItsRefreshToken) {
  Machine machine;
  machine.files["/me/.aws/config"] =
      "[default]\nsso_session = mine\nsso_account_id = 123\nsso_role_name = dev\n"
      "[sso-session mine]\nsso_start_url = https://me\nsso_region = eu-west-2\n";
  const std::string cached =
      R"({"accessToken":"OLD","expiresAt":"2024-01-25T10:29:00Z","refreshToken":"S3CR3TR1","clientId":"C","clientSecret":"S3CR3T",)"
      R"("registrationExpiresAt":"2024-02-25T10:29:00Z","region":"eu-west-2"})";
  machine.files[sso_cache("mine")] = cached;
  bool refuses = false;
  machine.answer = [&](Exchange& exchange) {
    if (exchange.url != "https://oidc.eu-west-2.amazonaws.com/token") {
      return say(
          exchange, 200,
          R"({"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"S3CR3T","sessionToken":"T","expiration":1706181000000}})");
    }
    if (refuses) return say(exchange, 400, R"({"error":"invalid_grant"})");
    say(exchange, 200, R"({"accessToken":"NEW","expiresIn":3600,"refreshToken":"S3CR3TR2","tokenType":"Bearer"})");
  };
  EXPECT_EQ(machine.find_all().keys.id, "SSO");
  EXPECT_EQ(machine.bodies[0],
            R"({"grantType":"refresh_token","clientId":"C","clientSecret":"S3CR3T","refreshToken":"S3CR3TR1"})");
  EXPECT_EQ(machine.asked[1].headers.at(0), "x-amz-sso_bearer_token: NEW");
  EXPECT_THAT(machine.files[sso_cache("mine")], HasSubstr(R"("accessToken":"NEW")"));
  EXPECT_THAT(machine.files[sso_cache("mine")], HasSubstr(R"("expiresAt":"2024-01-25T11:30:00)"));
  EXPECT_THAT(machine.files[sso_cache("mine")], HasSubstr("S3CR3TR2"));
  EXPECT_THAT(machine.files[sso_cache("mine")], HasSubstr(R"("region":"eu-west-2")"));
  static_cast<void>(machine.find_all());
  EXPECT_EQ(machine.asked.size(), 3U) << "the new one is used as long as it is good";

  refuses = true;
  machine.files[sso_cache("mine")] = cached;
  EXPECT_THAT(machine.refused(), HasSubstr("has expired; run `aws sso login"));
}

TEST(AwsCredentials, AContainersRole) {
  Machine machine;
  machine.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/x";
  machine.answer = [](Exchange& exchange) {
    say(exchange, 200,
        R"({"RoleArn":"r","AccessKeyId":"BOX","SecretAccessKey":"S3CR3T","Token":"T","Expiration":"2024-01-25T11:30:00Z"})");
  };
  EXPECT_EQ(machine.find_all().keys, (Keys{"BOX", "S3CR3T", "T"}));
  EXPECT_EQ(machine.asked.back().url, "http://169.254.170.2/v2/credentials/x");
  EXPECT_TRUE(machine.asked.back().direct);
  machine.variables.erase("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  machine.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "S3CR3T 1";
  for (const char* good : {"http://169.254.170.23/v1", "http://[fd00:ec2::23]/v1", "http://127.0.0.1:80/x",
                           "http://localhost/x", "http://[::1]:9/x", "https://example.com/x"}) {
    machine.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = good;
    EXPECT_EQ(machine.find_all().keys.id, "BOX") << good;
    EXPECT_EQ(machine.asked.back().headers.back(), "Authorization: S3CR3T 1");
  }
  const std::size_t before = machine.asked.size();
  for (const char* bad :
       {"http://example.com/x", "http://169.254.170.2@example.com/", "http://127.0.0.1.example.com/",
        "http://169.254.169.254/", "ftp://localhost/x", "localhost/x", "http://localhost.example.com"}) {
    machine.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = bad;
    EXPECT_THAT(machine.refused(), HasSubstr("over https, or from this machine")) << bad;
  }
  EXPECT_EQ(machine.asked.size(), before) << "nobody there was shown the token";

  machine.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1";
  machine.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/var/token";
  EXPECT_THAT(machine.refused(), HasSubstr("/var/token, which cannot be read"));
  machine.files["/var/token"] = "S3CR3T 2\n";
  EXPECT_EQ(machine.find_all().keys.id, "BOX");
  EXPECT_EQ(machine.asked.back().headers.back(), "Authorization: S3CR3T 2") << "the file wins";
  machine.files["/var/token"] = "S3CR3T\r\nX-Other: 1";
  EXPECT_THAT(machine.refused(), HasSubstr("line break"));
}

TEST(AwsCredentials, AnInstancesRole) {
  Machine machine;
  int status = 200;
  std::string expires = "2024-01-25T16:30:00Z";
  machine.answer = [&](Exchange& exchange) {
    EXPECT_TRUE(exchange.direct);
    if (exchange.method == "PUT") {
      EXPECT_EQ(exchange.headers.at(0), "X-aws-ec2-metadata-token-ttl-seconds: 21600");
      return say(exchange, 200, "S3CR3TIMDS");
    }
    EXPECT_EQ(exchange.headers.at(0), "X-aws-ec2-metadata-token: S3CR3TIMDS");
    if (exchange.url.ends_with("/security-credentials/")) return say(exchange, status, "my-role\n");
    EXPECT_THAT(exchange.url, testing::EndsWith("/latest/meta-data/iam/security-credentials/my-role"));
    say(exchange, 200,
        R"({"Code":"Success","AccessKeyId":"VM","SecretAccessKey":"S3CR3T","Token":"T","Expiration":")" + expires +
            "\"}");
  };
  EXPECT_EQ(machine.find_all().keys, (Keys{"VM", "S3CR3T", "T"}));
  EXPECT_EQ(machine.find_all().expires, start + 6h);
  EXPECT_THAT(machine.asked[0].url, "http://169.254.169.254/latest/api/token");
  expires = "2024-01-25T10:00:00Z";
  EXPECT_EQ(machine.find_all().expires, start + 10min) << "AWS's own renewal is late, and its keys go on";
  machine.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1338/";
  static_cast<void>(machine.find_all());
  EXPECT_THAT(machine.asked.back().url, StartsWith("http://127.0.0.1:1338/latest/"));
  status = 404;
  EXPECT_THAT(machine.refused(), HasSubstr("no credentials")) << "no role is attached";
  status = 500;
  EXPECT_THAT(machine.refused(), HasSubstr("(500)"));
  const std::size_t before = machine.asked.size();
  machine.variables["AWS_EC2_METADATA_DISABLED"] = "true";
  EXPECT_THAT(machine.refused(), HasSubstr("no credentials"));
  EXPECT_EQ(machine.asked.size(), before);
}

TEST(AwsCredentials, PlacesAreAskedInTheOrderOfAwssTools) {
  Machine machine;
  machine.answer = [](Exchange& exchange) {
    if (exchange.method == "POST") return say(exchange, 200, lent("AssumeRoleWithWebIdentity", "WEB"));
    if (exchange.method == "PUT") return say(exchange, 200, "S3CR3TIMDS");
    if (exchange.url.ends_with("/security-credentials/")) return say(exchange, 200, "my-role");
    const std::string id = exchange.url.find("//169.254.170.2/") != std::string::npos ? "BOX" : "VM";
    say(exchange, 200, R"({"AccessKeyId":")" + id + R"(","SecretAccessKey":"S3CR3T","Token":"T"})");
  };
  machine.files["/me/.aws/credentials"] = "[default]\naws_access_key_id = FILE\naws_secret_access_key = S3CR3T\n";
  machine.files["/var/token"] = "S3CR3T";
  machine.variables.insert({{"AWS_WEB_IDENTITY_TOKEN_FILE", "/var/token"},
                            {"AWS_ROLE_ARN", "arn:r"},
                            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2"}});
  EXPECT_EQ(machine.find_all().keys.id, "FILE");
  machine.files.erase("/me/.aws/credentials");
  EXPECT_EQ(machine.find_all().keys.id, "WEB");
  machine.variables.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  EXPECT_EQ(machine.find_all().keys.id, "BOX");
  machine.variables.erase("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  EXPECT_EQ(machine.find_all().keys.id, "VM");
}

TEST(AwsCredentials, NowhereAnyIsSaidSo) {
  Machine machine;
  EXPECT_THAT(machine.refused(), HasSubstr("aws configure"));
}

WaitClock::time_point soon() { return WaitClock::now() + 10s; }

TEST(AwsCredentialStore, RenewsBeforeTheEndAndGoesOnWhereThatFails) {
  std::atomic<std::int64_t> now{0};
  int loads = 0;
  bool fails = false;
  CredentialStore store(
      [&](WaitClock::time_point) {
        ++loads;
        if (fails) throw Error(ErrorCode::unavailable, true, "aws: not now");
        return Credentials{{"K" + std::to_string(loads), "s", ""}, Wall(Millis(now)) + 1h, "test"};
      },
      [&] { return Wall(Millis(now)); });
  const auto at = [&](Millis time) {
    now = time.count();
    return store.keys(soon()).id;
  };
  EXPECT_EQ(at(0min), "K1");
  EXPECT_EQ(at(54min), "K1");
  EXPECT_EQ(loads, 1);
  fails = true;
  EXPECT_EQ(at(55min), "K1") << "still valid";
  EXPECT_EQ(at(55min + 59s), "K1");
  EXPECT_EQ(loads, 2) << "not asked for all the time";
  EXPECT_EQ(at(56min), "K1");
  EXPECT_EQ(loads, 3);
  EXPECT_THROW(static_cast<void>(at(60min)), Error);
  fails = false;
  EXPECT_EQ(at(61min), "K5");
  EXPECT_EQ(store.source(), "test");
}

TEST(AwsCredentialStore, WhatAwsRefusedIsNotUsedAgain) {
  int loads = 0;
  CredentialStore store(
      [&](WaitClock::time_point) {
        return Credentials{{"K" + std::to_string(++loads), "s", ""}, std::nullopt, ""};
      },
      [] { return start; });
  const Keys first = store.keys(soon());
  EXPECT_EQ(store.keys(soon()), first);
  store.refuse({"another", "s", ""});
  EXPECT_EQ(store.keys(soon()), first);
  store.refuse(first);
  EXPECT_EQ(store.keys(soon()).id, "K2");
  store.refuse(first);
  EXPECT_EQ(store.keys(soon()).id, "K2") << "somebody renewed them before";
}

TEST(AwsCredentialStore, OneLooksForAll) {
  std::atomic<int> loads{0};
  std::latch all_wait(1);
  bool fails = true;
  CredentialStore store(
      [&](WaitClock::time_point) {
        if (++loads == 1) all_wait.wait();
        if (fails) throw Error(ErrorCode::unavailable, true, "aws: not now");
        return Credentials{{"K", "s", ""}, std::nullopt, ""};
      },
      [] { return start; });
  std::atomic<int> failed{0};
  {
    std::jthread first([&] { EXPECT_THROW(static_cast<void>(store.keys(soon())), Error); });
    while (loads == 0) std::this_thread::yield();
    // Who comes while somebody looks waits for what he finds, until his own deadline.
    EXPECT_THROW(static_cast<void>(store.keys(WaitClock::now() + 1ms)), Error);
    all_wait.count_down();
  }
  EXPECT_EQ(loads, 1);
  fails = false;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        if (store.keys(soon()).id != "K") ++failed;
      });
    }
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(loads, 2);
}

/// A folder that is removed again.
class Folder {
 public:
  Folder() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~Folder() {
    ::unlink(file().c_str());
    ::rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file() const { return path_ + "/token"; }

 private:
  std::string path_ = testing::TempDir() + "tidings-aws-XXXXXX";
};

TEST(AwsSurroundings, TheMachinesOwnFilesAndProcesses) {
  const Surroundings real = Surroundings::real(system_clock());
  const Folder folder;
  EXPECT_EQ(real.read_file(folder.file()), std::nullopt);
  EXPECT_TRUE(real.write_file(folder.file(), "a secret"));
  EXPECT_TRUE(real.write_file(folder.file(), "another"));
  EXPECT_EQ(real.read_file(folder.file()), "another");
  struct stat status {};
  ASSERT_EQ(::stat(folder.file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_FALSE(real.write_file("/nowhere/at/all", "x"));

  const ProcessOutput good = real.run_process("echo '{}'; cat; echo complaint >&2", soon());
  EXPECT_TRUE(good.ended_well) << good.why;
  EXPECT_EQ(good.text, "{}\n");
  EXPECT_EQ(real.run_process("exit 3", soon()).why, "it ended with status 3");
  const ProcessOutput late = real.run_process("read x </dev/zero", WaitClock::now() + 50ms);
  EXPECT_FALSE(late.ended_well);
  EXPECT_THAT(late.why, HasSubstr("in time"));
}

TEST(AwsSurroundings, ReadsJsonByPath) {
  const auto read = flat_json(R"({"a":"b\n","n":12,"t":true,"o":{"p":{"q":"r"}},"l":["x"],"z":null})");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, (std::map<std::string, std::string>{{"a", "b\n"}, {"n", "12"}, {"t", "true"}, {"o.p.q", "r"}}));
  EXPECT_FALSE(flat_json("[]"));
  EXPECT_FALSE(flat_json(R"({"a":)"));
}

}  // namespace
}  // namespace tidings::transport::aws
