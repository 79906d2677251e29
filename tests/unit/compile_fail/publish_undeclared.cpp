// expect: tidings: publish() takes a type declared with TIDINGS_EVENT
#include <tidings/tidings.hpp>

struct Plain {
  int x = 0;
};
void call(tidings::Bus& bus) { bus.publish(Plain{}); }
