// SNS and SQS as a transport: `aws://eu-west-1?prefix=prod`. See docs/transports/aws.md.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tidings/environment.hpp>
#include <tidings/transport.hpp>
#include <tidings/url.hpp>

namespace tidings {

/// Opens what `shelf=` and `archive=` name: transports do not know each other.
using OpenOther = std::function<std::shared_ptr<transport::Transport>(const std::string& url)>;

/// Throws Error{invalid} for a URL that is none. Nothing is sent before something is published, subscribed or asked.
[[nodiscard]] std::shared_ptr<transport::Transport> open_aws(const Url& url, const Environment& environment,
                                                             const OpenOther& open_other);

}  // namespace tidings
