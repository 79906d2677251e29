// Tidings: typed domain events and commands between services. This header is all an application needs.
#pragma once

#include <tidings/bus.hpp>
#include <tidings/context.hpp>
#include <tidings/describe.hpp>
#include <tidings/error.hpp>
#include <tidings/event.hpp>
#include <tidings/service.hpp>
