// expect: tidings: publish() takes a type declared with TIDINGS_EVENT
#include <tidings/tidings.hpp>

struct SendEmail {
  std::string to;
};
TIDINGS_COMMAND(SendEmail, "send.email", "1.0", to)
void call(tidings::Context& context) { context.publish(SendEmail{}); }
