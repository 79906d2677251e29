// The stand-in for AWS as a program, for clients in other languages: prints its URL and its region, and ends with its
// input. It knows the key AKIDEXAMPLE with the secret "secret".
#include <cstdio>

#include "aws_stub.hpp"

int main() {
  tidings::support::AwsStub stub;
  stub.add_key({.id = "AKIDEXAMPLE", .secret = "secret"});
  std::printf("%s %s\n", stub.url().c_str(), stub.region().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}
