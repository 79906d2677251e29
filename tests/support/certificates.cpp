#include "certificates.hpp"

#include <fstream>

namespace tidings::support {
namespace {

constexpr const char* here = "IP:127.0.0.1,DNS:localhost";

}  // namespace

Certificates::Certificates() {
  make_authority("ca");
  make_authority("stranger");
  make("server", here);
  make("client", "DNS:client");
  make("elsewhere", "DNS:other.example");
  make_expired("expired", here);
}

void Certificates::make_authority(const std::string& name) const {
  run_program({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", key(name), "-out", certificate(name), "-subj", "/CN=" + name, "-days", "2"});
}

void Certificates::request(const std::string& name, const std::string& names) const {
  std::ofstream(path(name, "ext")) << "[extensions]\nsubjectAltName=" << names << "\n";
  run_program({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
               key(name), "-out", path(name, "csr"), "-subj", "/CN=" + name});
}

void Certificates::make(const std::string& name, const std::string& names) const {
  request(name, names);
  run_program({"openssl", "x509", "-req", "-in", path(name, "csr"), "-CA", certificate("ca"), "-CAkey", key("ca"),
               "-CAcreateserial", "-out", certificate(name), "-days", "2", "-extfile", path(name, "ext"), "-extensions",
               "extensions"});
}

// Only `openssl ca`, which keeps a database of what it signed, takes the dates of OpenSSL 3.0's certificates.
void Certificates::make_expired(const std::string& name, const std::string& names) const {
  request(name, names);
  const std::ofstream empty(path(name, "index"));
  std::ofstream(path(name, "cnf")) << "[ca]\ndefault_ca=authority\n[authority]\ndatabase=" << path(name, "index")
                                   << "\nnew_certs_dir=" << folder_.path()
                                   << "\nrand_serial=yes\ndefault_md=sha256\nunique_subject=no\npolicy=any\n"
                                      "[any]\ncommonName=supplied\n";
  run_program({"openssl",     "ca",
               "-batch",      "-notext",
               "-config",     path(name, "cnf"),
               "-in",         path(name, "csr"),
               "-cert",       certificate("ca"),
               "-keyfile",    key("ca"),
               "-out",        certificate(name),
               "-startdate",  "20200101000000Z",
               "-enddate",    "20200102000000Z",
               "-extfile",    path(name, "ext"),
               "-extensions", "extensions"});
}

}  // namespace tidings::support
