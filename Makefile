# `make run` and `make test` are the README's two commands. Both install what is missing and say so.

SHELL  := bash
SWIFT  ?= swift
PREFIX ?= /usr/local

# What `make run` runs in a pod; `make run CMD="bash"` gives a shell.
CMD = bash -c 'sleep 0.1 & echo "this shell is process $$, its parent $PPID, its child $!"; wait'

# Commands and files that have to be there, each with its Debian package. libseccomp is the seccomp backend's.
RUN_TOOLS  := git:git bash:bash /usr/include/seccomp.h:libseccomp-dev pkg-config:pkg-config
TEST_TOOLS := $(RUN_TOOLS) gcc:gcc musl-gcc:musl-tools make:make python3:python3 \
  busybox:busybox-static setpriv:util-linux pgrep:procps
# Programs of the integration list: the test of one that is missing is skipped, and says so.
PROGRAMS   := perl:perl-base ruby:ruby node:nodejs go:golang-go javac:default-jdk-headless \
  tmux:tmux parallel:parallel /sbin/start-stop-daemon:dpkg
# Their packages make services: they are installed only where no systemd would run them at the next boot.
SERVERS    := /usr/sbin/nginx:nginx-light redis-server:redis-server \
  /usr/lib/postgresql/*/bin/initdb:postgresql /usr/sbin/sshd:openssh-server ssh:openssh-client
PROGRAMS   += $(if $(wildcard /run/systemd/system),,$(SERVERS))

# What the comparison of costs uses beside the tests' tools. Without those of the second list, columns, rows or plots are missing.
BENCH_TOOLS  := $(RUN_TOOLS) gcc:gcc make:make taskset:util-linux
BENCH_WANTED := proot:proot autoreconf:autoconf automake:automake
PLOT_TOOLS   := gnuplot:gnuplot-nox

.PHONY: run test tiers faults tools lint docs install page page-check bench-micro bench-figure6 performance-docs

# Build podrun and run a program in a pod.
run:
	@$(call install-missing,$(RUN_TOOLS))
	$(SWIFT) build --product podrun
	@echo
	@.build/debug/podrun -- $(value CMD)

# Run all tests, one after the other: hundreds of pods at once on a small machine test its scheduler. What failed is said
# once more at the end, before the runner's last line.
test: tools
	@mkdir -p .build; set -o pipefail; $(SWIFT) test --no-parallel 2>&1 | tee .build/test.log || { \
	  grep -aE -A8 'recorded an issue|error:' .build/test.log | grep -avE '^. (Test|Suite).*(passed|started)'; \
	  tail -n 1 .build/test.log; exit 1; }

# The integration tests in each privilege tier, as far as this user can make them.
tiers: tools
	$(SWIFT) build --build-tests
	.ci/tiers

# The fault tests in their long form.
faults: tools
	SWIFT_PODS_FAULTS=1 $(SWIFT) test --no-parallel --filter "FaultTests|KilledAnywhereTests"

# Install what the tests use.
tools:
	@$(call install-missing,$(TEST_TOOLS),$(PROGRAMS))

# What calls and programs cost natively, in pods and under proot, in one run; make bench-micro ARGS="--quick --rows fork".
bench-micro:
	@$(call install-missing,$(BENCH_TOOLS),$(BENCH_WANTED))
	$(SWIFT) run --package-path Benchmarks -c release micro-costs $(ARGS)

# The same, written into docs/performance.md, with its plots. Takes a quiet machine some quarter of an hour.
performance-docs:
	@$(call install-missing,$(BENCH_TOOLS) $(PLOT_TOOLS),$(BENCH_WANTED))
	$(SWIFT) run --package-path Benchmarks -c release micro-costs --document docs/performance.md $(ARGS)
	cd docs/performance && gnuplot ../../Benchmarks/Plots/performance.gnuplot

# The paper's Figure 6, written into docs/figure6.md, with its plot.
bench-figure6:
	@$(call install-missing,$(BENCH_TOOLS) $(PLOT_TOOLS))
	$(SWIFT) run --package-path Benchmarks -c release micro-costs --figure6 docs/figure6.md $(ARGS)
	cd docs/performance && gnuplot ../../Benchmarks/Plots/figure6.gnuplot

# Format, imports and samples.
lint:
	git ls-files -z "*.swift" | xargs -0 $(SWIFT) format lint --strict
	.ci/check-imports
	.ci/check-samples

# The documentation of PodCore as a web site, in .build/docs.
docs:
	SWIFT_PODS_DOCS=1 $(SWIFT) package --allow-writing-to-directory .build/docs \
	  generate-documentation --target PodCore --output-path .build/docs

# podrun in $(PREFIX)/bin, with Swift's libraries inside.
install:
	$(SWIFT) build --configuration release --product podrun --static-swift-stdlib
	install -D -m 755 .build/release/podrun $(DESTDIR)$(PREFIX)/bin/podrun

# A shell command: installs the packages of those `command:package` pairs whose command is missing, where that is
# possible; else says which they are. Those of the second list may stay missing. No package starts a service.
define install-missing
  set -e; missing=; \
  command -v $(SWIFT) >/dev/null 2>&1 || { \
    echo "Swift is missing: install 6.3 or newer, https://www.swift.org/install/linux" >&2; exit 1; }; \
  lacks() { command -v $${1%%:*} >/dev/null 2>&1 || ls $${1%%:*} >/dev/null 2>&1 || return 0; false; }; \
  wanted=; \
  for pair in $(1); do if lacks $$pair; then missing="$$missing $${pair#*:}"; fi; done; \
  for pair in $(2); do if lacks $$pair; then wanted="$$wanted $${pair#*:}"; fi; done; \
  if [ -n "$$missing$$wanted" ]; then \
    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
    if command -v apt-get >/dev/null 2>&1 && { [ -z "$$sudo" ] || command -v sudo >/dev/null 2>&1; }; then \
      echo "installing:$$missing$$wanted"; \
      policy=/usr/sbin/policy-rc.d; \
      if [ ! -e $$policy ]; then \
        trap "$$sudo rm -f $$policy" EXIT; \
        printf '#!/bin/sh\nexit 101\n' | $$sudo tee $$policy >/dev/null; $$sudo chmod 755 $$policy; \
      fi; \
      install="$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"; \
      $$sudo apt-get update -qq; \
      if [ -n "$$wanted" ] && ! $$install $$missing $$wanted; then \
        echo "goes on without what could not be installed of:$$wanted" >&2; wanted=; \
      fi; \
      if [ -n "$$missing" ]; then $$install $$missing; fi; \
    else \
      echo "missing, as Debian's packages are called:$$missing$$wanted" >&2; [ -z "$$missing" ] || exit 1; \
    fi; \
  fi
endef

# What is generated from sources that SwiftPM can't build: code for pod processes has to be free of
# libc and of compiler flags in the package (DESIGN: "code without a compiler flag").

INIT       := Sources/CPodVDSO/init
IMAGE      := Sources/CPodVDSO/init_image.c
INIT_FLAGS := -std=gnu11 -Os -Wall -Wextra -Werror -nostdlib -static -ffreestanding -fno-builtin \
  -fno-stack-protector -fno-pic -no-pie -fcf-protection=none -fno-asynchronous-unwind-tables \
  -fno-ident -fno-tree-loop-distribute-patterns -mgeneral-regs-only -mno-red-zone \
  -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noseparate-code -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,-s

PAGE       := Sources/CPodVDSO/page
PAGE_IMAGE := Sources/CPodVDSO/page_image.c
PAGE_FLAGS := -std=gnu11 -Os -Wall -Wextra -Werror -nostdlib -static -ffreestanding -fno-builtin \
  -fno-stack-protector -fpic -fvisibility=hidden -fcf-protection=none -fno-asynchronous-unwind-tables \
  -fno-ident -fno-jump-tables -fno-tree-loop-distribute-patterns -mgeneral-regs-only \
  -Wl,--build-id=none -Wl,-z,noexecstack

# The committed bytes of the pod's init and of the code in its processes.
page:
	@$(INIT)/generate $(IMAGE) $(INIT_FLAGS)
	@$(PAGE)/generate $(PAGE_IMAGE) $(PAGE_FLAGS)

# Fails when the committed bytes are not those that the sources give.
page-check:
	@generated=$$(mktemp) && $(INIT)/generate $$generated $(INIT_FLAGS) && \
	  cmp $$generated $(IMAGE) && $(PAGE)/generate $$generated $(PAGE_FLAGS) && \
	  cmp $$generated $(PAGE_IMAGE); result=$$?; rm -f $$generated; exit $$result
