# The few commands that a person types; CMake knows the rest (see CMakePresets.json).
#
#   make           installs what is missing, builds, leaves build/release/bin/tidings
#   make demo      seven services over HTTP, mail and a ledger, a crash, and the account: lost 0
#   make demo-aws  the same on SNS and SQS, that is on an emulator on the loopback; needs npm
#   make test      everything that must hold before a change goes in
#   make bench     each figure beside its yardstick
#   make soak      crashes without end: make soak SECONDS=3600
#   make sabotage  the mistakes that one can make on AWS, one after the other: each must turn a test red
#   make install   to PREFIX (/usr/local), below DESTDIR
#   make package   the Debian packages tidings and libtidings-dev; leaves build/release/*.deb
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS := 3600
JOBS ?= $(shell nproc)
BUILD := build/release
export JOBS
ifdef BOOST_ROOT
export BOOST_ROOT
endif
MAKEFLAGS += --no-print-directory

.PHONY: all demo demo-aws test bench soak sabotage install package clean
all: $(BUILD)/build.ninja
	@cmake --build $(BUILD) --parallel $(JOBS) --target product

# Tests stay out of a tree that somebody only wants to use; `make test` puts them in.
$(BUILD)/build.ninja:
	@scripts/setup build
	@scripts/configure release -DTIDINGS_DEVELOPER=OFF

demo: all
	@cmake --build $(BUILD) --parallel $(JOBS) --target demo
	@$(BUILD)/bin/demo

demo-aws: all
	@cmake --build $(BUILD) --parallel $(JOBS) --target demo
	@scripts/demo-aws

test:
	@scripts/setup test
	@scripts/test

bench:
	@scripts/setup test
	@scripts/configure release -DTIDINGS_DEVELOPER=ON
	@cmake --build $(BUILD) --parallel $(JOBS)
	@bench/run

soak:
	@scripts/setup test
	@scripts/configure release -DTIDINGS_DEVELOPER=ON
	@cmake --build $(BUILD) --parallel $(JOBS)
	@scripts/soak $(SECONDS)

sabotage:
	@scripts/setup test
	@scripts/sabotage tests/recovery/aws_sabotage.txt

install: all
	@DESTDIR='$(DESTDIR)' cmake --install $(BUILD) --prefix '$(PREFIX)'

package: all
	@scripts/setup package
	@cd $(BUILD) && cpack

clean:
	rm -rf build
