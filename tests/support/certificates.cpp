#include "certificates.hpp"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "redis_server.hpp"

namespace tidings::support {

Certificates::Certificates() {
  std::string pattern = std::filesystem::temp_directory_path() / "tidings-tls-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
  directory_ = pattern;
  make_authority("ca");
  make_authority("stranger");
  make("server", "IP:127.0.0.1,DNS:localhost");
  make("client", "DNS:client");
  make("elsewhere", "DNS:other.example");
}

Certificates::~Certificates() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Certificates::make_authority(const std::string& name) const {
  run_program({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", key(name), "-out", certificate(name), "-subj", "/CN=" + name, "-days", "2"});
}

void Certificates::make(const std::string& name, const std::string& names) const {
  const std::string request = directory_ + "/" + name + ".csr", extensions = directory_ + "/" + name + ".ext";
  std::ofstream(extensions) << "subjectAltName=" << names << "\n";
  run_program({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
               key(name), "-out", request, "-subj", "/CN=" + name});
  run_program({"openssl", "x509", "-req", "-in", request, "-CA", certificate("ca"), "-CAkey", key("ca"),
               "-CAcreateserial", "-out", certificate(name), "-days", "2", "-extfile", extensions});
}

}  // namespace tidings::support
