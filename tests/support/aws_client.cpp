#include "aws_client.hpp"

#include "aws/text.hpp"

namespace tidings::support {
namespace {

std::size_t take_body(char* bytes, std::size_t size, std::size_t count, void* into) {
  static_cast<AwsReply*>(into)->body.append(bytes, size * count);
  return size * count;
}

std::size_t take_header(char* bytes, std::size_t size, std::size_t count, void* into) {
  const std::string line(bytes, size * count);
  const std::size_t colon = line.find(':');
  if (colon != std::string::npos) {
    const std::size_t from = line.find_first_not_of(' ', colon + 1);
    const std::size_t to = line.find_last_not_of("\r\n");
    static_cast<AwsReply*>(into)->headers[aws::lower(line.substr(0, colon))] =
        from == std::string::npos || to < from ? "" : line.substr(from, to - from + 1);
  }
  return size * count;
}

}  // namespace

AwsReply::Elements AwsReply::elements(const std::string& name, std::size_t most) const {
  Elements found;
  const std::string start = "<" + name + ">", end = "</" + name + ">";
  for (std::size_t at = body.find(start); at != std::string::npos && found.all.size() < most;
       at = body.find(start, at)) {
    at += start.size();
    found.all.push_back(body.substr(at, body.find(end, at) - at));
  }
  return found;
}

AwsClient::AwsClient(std::string url, std::string of, AwsKey with, std::function<Wall()> now)
    : key(std::move(with)),
      region(std::move(of)),
      url_(std::move(url)),
      now_(std::move(now)),
      curl_(curl_easy_init(), curl_easy_cleanup) {}

bool AwsClient::by_curl() const {
  const auto apart = now_() - std::chrono::floor<Millis>(std::chrono::system_clock::now());
  return !to_the_second && apart > -std::chrono::minutes(10) && apart < std::chrono::minutes(10);
}

void AwsClient::sign(const std::string& service, const std::string& method, const std::string& path, Headers& headers,
                     const std::string& body) const {
  const std::string date = aws::compact_time(now_());
  headers.emplace_back("X-Amz-Date", date);
  std::map<std::string, std::string> sorted{{"host", url_.substr(url_.rfind('/') + 1)}};
  for (const auto& [name, value] : headers) sorted[aws::lower(name)] = value;
  std::string lines, names;
  for (const auto& [name, value] : sorted) {
    lines += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  const std::string canonical =
      method + "\n" + path + "\n\n" + lines + "\n" + names + "\n" + aws::hex(aws::sha256(body));
  const std::string scope = date.substr(0, 8) + "/" + region + "/" + service + "/aws4_request";
  std::string chain = "AWS4" + key.secret;
  for (const std::string& part : aws::split(scope, '/')) chain = aws::hmac_sha256(chain, part);
  const std::string text = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + aws::hex(aws::sha256(canonical));
  headers.emplace_back("Authorization", "AWS4-HMAC-SHA256 Credential=" + key.id + "/" + scope + ", SignedHeaders=" +
                                            names + ", Signature=" + aws::hex(aws::hmac_sha256(chain, text)));
}

AwsReply AwsClient::request(const std::string& service, const std::string& method, const std::string& path,
                            const Headers& given, const std::string& body) {
  CURL* curl = curl_.get();
  curl_easy_reset(curl);
  AwsReply reply;
  const std::string url = url_ + path, provider = "aws:amz:" + region + ":" + service, user = key.id + ":" + key.secret;
  Headers headers = given;
  if (!service.empty()) {
    if (!key.token.empty()) headers.emplace_back("X-Amz-Security-Token", key.token);
    if (by_curl()) {
      curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, provider.c_str());
      curl_easy_setopt(curl, CURLOPT_USERPWD, user.c_str());
    } else {
      sign(service, method, path, headers, body);
    }
  }
  curl_slist* list = nullptr;
  for (const auto& [name, value] : headers) list = curl_slist_append(list, (name + ": " + value).c_str());
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply);
  if (method != "GET") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  }
  if (curl_easy_perform(curl) == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    reply.status = static_cast<int>(status);
  }
  curl_slist_free_all(list);
  return reply;
}

AwsReply AwsClient::sqs(const std::string& operation, const aws::Json& body) {
  return request("sqs", "POST", "/",
                 {{"Content-Type", "application/x-amz-json-1.0"}, {"X-Amz-Target", "AmazonSQS." + operation}},
                 body.text());
}

AwsReply AwsClient::query(const std::string& service, const std::string& version, const std::string& action,
                          Fields fields) {
  fields.insert(fields.begin(), {{"Action", action}, {"Version", version}});
  std::string body;
  for (const auto& [name, value] : fields)
    body += (body.empty() ? "" : "&") + aws::percent_encoded(name) + "=" + aws::percent_encoded(value);
  return request(service, "POST", "/", {{"Content-Type", "application/x-www-form-urlencoded"}}, body);
}

AwsReply AwsClient::sns(const std::string& action, Fields fields) {
  return query("sns", "2010-03-31", action, std::move(fields));
}

AwsReply AwsClient::sts(const std::string& action, Fields fields) {
  return query("sts", "2011-06-15", action, std::move(fields));
}

}  // namespace tidings::support
