// Certificates of a test's own, made by the openssl command in a folder that is gone with its scope.
#pragma once

#include <string>

#include "child.hpp"

namespace tidings::support {

class Certificates {
 public:
  Certificates();

  /// PEM files. `name`: ca (the authority), stranger (another authority), server (of 127.0.0.1 and localhost), client,
  /// elsewhere (of other.example), expired (of 127.0.0.1 and localhost, in 2020); all but `stranger` of `ca`.
  [[nodiscard]] std::string certificate(const std::string& name) const { return path(name, "pem"); }
  [[nodiscard]] std::string key(const std::string& name) const { return path(name, "key"); }

 private:
  [[nodiscard]] std::string path(const std::string& name, const std::string& ending) const {
    return folder_.path() + "/" + name + "." + ending;
  }
  void make_authority(const std::string& name) const;
  void request(const std::string& name, const std::string& names) const;
  void make(const std::string& name, const std::string& names) const;
  void make_expired(const std::string& name, const std::string& names) const;

  Folder folder_{"tls"};
};

}  // namespace tidings::support
