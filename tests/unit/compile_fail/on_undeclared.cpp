// expect: tidings: on() takes a type declared with TIDINGS_EVENT or TIDINGS_COMMAND
#include <tidings/tidings.hpp>

struct Plain {
  int x = 0;
};
void call(tidings::Service& service) {
  service.on<Plain>([](const tidings::DomainEvent<Plain>&) {});
}
