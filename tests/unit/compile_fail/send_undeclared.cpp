// expect: tidings: send() takes a type declared with TIDINGS_COMMAND
#include <tidings/tidings.hpp>

struct Plain {
  int x = 0;
};
void call(tidings::Bus& bus) { bus.send(Plain{}); }
