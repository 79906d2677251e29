#include "transport/aws/credentials.hpp"

#include <algorithm>
#include <exception>

namespace tidings::transport::aws {

ProfileName profile_name(const CredentialSearch& search) {
  if (!search.profile.empty()) return {search.profile, true};
  if (const auto named = search.around.filled("AWS_PROFILE")) return {*named, true};
  if (const auto named = search.around.filled("AWS_DEFAULT_PROFILE")) return {*named, true};
  return {"default", false};
}

Credentials find_credentials(const CredentialSearch& search) {
  if (!profile_name(search).asked) {
    if (auto found = from_environment(search)) return *std::move(found);
  }
  for (const auto& look : {from_profile, from_web_identity, from_container, from_instance}) {
    if (auto found = look(search)) return *std::move(found);
  }
  throw Error(ErrorCode::unauthorized,
              "aws: no credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a profile in ~/.aws, nor "
              "AWS_WEB_IDENTITY_TOKEN_FILE, nor a container's or an instance's role give any; set one of them up "
              "(`aws configure`), or name a profile by AWS_PROFILE");
}

std::optional<std::string> find_region(const CredentialSearch& search) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (auto region = search.around.filled(name)) return region;
  }
  return search.around.profiles().setting(profile_name(search).name, "region");
}

std::optional<std::string> find_endpoint(const CredentialSearch& search, const std::string& service) {
  const auto ignored = search.around.filled("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
  if (ignored && (*ignored == "true" || *ignored == "True")) return std::nullopt;
  for (const std::string& name : {"AWS_ENDPOINT_URL_" + service, std::string("AWS_ENDPOINT_URL")}) {
    if (auto url = search.around.filled(name)) return url;
  }
  return search.around.profiles().setting(profile_name(search).name, "endpoint_url");
}

std::string default_endpoint(std::string_view service, std::string_view region) {
  std::string_view domain = "amazonaws.com";
  if (region.starts_with("cn-")) domain = "amazonaws.com.cn";
  if (region.starts_with("eusc-")) domain = "amazonaws.eu";
  if (region.starts_with("us-iso-")) domain = "c2s.ic.gov";
  if (region.starts_with("us-isob-")) domain = "sc2s.sgov.gov";
  if (region.starts_with("eu-isoe-")) domain = "cloud.adc-e.uk";
  if (region.starts_with("us-isof-")) domain = "csp.hci.ic.gov";
  return std::string("https://").append(service).append(".").append(region).append(".").append(domain);
}

bool CredentialStore::valid(Wall now) const { return kept_ && !refused_ && (!kept_->expires || now < *kept_->expires); }

bool CredentialStore::due(Wall now) const { return !valid(now) || (kept_->expires && now >= renew_at_); }

// One load; its outcome is for all who wait for it.
void CredentialStore::load(std::unique_lock<std::mutex>& lock, WaitClock::time_point deadline) {
  loading_ = true;
  lock.unlock();
  std::optional<Credentials> found;
  std::optional<Error> failure;
  try {
    found = load_(deadline);
  } catch (const Error& error) {
    failure.emplace(error);
  } catch (const std::exception& error) {
    failure.emplace(ErrorCode::internal, true, std::string("aws: credentials: ") + error.what());
  }
  lock.lock();
  loading_ = false;
  ++loads_;
  failure_ = std::move(failure);
  const Wall now = now_();
  if (found) {
    kept_ = std::move(found);
    refused_ = false;
    // Keys that live for a short time only are not renewed all the time.
    const Millis life = kept_->expires ? *kept_->expires - now : Millis(0);
    renew_at_ = kept_->expires ? *kept_->expires - std::min(early, life / 3) : Wall{};
  } else {
    renew_at_ = now + again_after;
  }
  loaded_.notify_all();
}

Keys CredentialStore::keys(WaitClock::time_point deadline) {
  std::unique_lock lock(mutex_);
  if (!due(now_())) return kept_->keys;
  if (!loading_) {
    load(lock, deadline);
  } else if (!valid(now_())) {
    const std::uint64_t before = loads_;
    if (!loaded_.wait_until(lock, deadline, [&] { return loads_ != before; })) {
      throw Error(ErrorCode::timeout, true, "aws: the deadline passed while credentials were looked for; try again");
    }
  }
  if (valid(now_())) return kept_->keys;
  if (failure_) throw Error(*failure_);
  throw Error(ErrorCode::unauthorized, true,
              "aws: the credentials that were found (" + kept_->source + ") have expired; renew them");
}

void CredentialStore::refuse(const Keys& keys) {
  const std::lock_guard lock(mutex_);
  if (kept_ && kept_->keys == keys) refused_ = true;
}

std::string CredentialStore::source() const {
  const std::lock_guard lock(mutex_);
  return kept_ ? kept_->source : std::string();
}

}  // namespace tidings::transport::aws
