// Certificates of a test's own, made by the openssl command in a folder that is gone with its scope.
#pragma once

#include <string>

namespace tidings::support {

class Certificates {
 public:
  Certificates();
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  /// PEM files. `name`: ca (the authority), stranger (another authority), server (of 127.0.0.1 and localhost), client,
  /// elsewhere (of other.example), all but `stranger` of `ca`.
  [[nodiscard]] std::string certificate(const std::string& name) const { return directory_ + "/" + name + ".pem"; }
  [[nodiscard]] std::string key(const std::string& name) const { return directory_ + "/" + name + ".key"; }

 private:
  void make_authority(const std::string& name) const;
  void make(const std::string& name, const std::string& names) const;
  std::string directory_{};
};

}  // namespace tidings::support
