# make build     both programs into bin/
# make test      every test, with the race detector, in random order
# make test-dropin  the programs that call ssh, with rexec in its place; each is skipped where it is not installed
# make test-tty  what is seen in a real terminal, with tmux; a part of make test
# make lint      formatting, vet for each platform, which compiles the tests as well, linter
# make fuzz      every fuzz target for FUZZTIME each
# make bench     the measurements beside OpenSSH
# make bench-wan the same over a slow link between two network namespaces, which the program WANLINK makes; root
# make demo      a tour on this machine, with a daemon of its own
# make package   deb and rpm of both programs for amd64 and arm64, into dist/
# make package-lint   what lintian, rpm and shellcheck find in them; must be nothing
# make test-systemd   install, upgrade and purge them in machines with a real systemd; minutes; root
# make install   programs to PREFIX/bin, units, sysusers.d and tmpfiles.d to PREFIX/lib, manual pages and
#                completions to PREFIX/share, rexecd.toml to /etc/rexecd if there is none; knows DESTDIR
# make clean     remove bin/ and dist/

GO       ?= go
PREFIX   ?= /usr/local
# A number of runs rather than a time: at the end of a time, go test can take its own deadline for a find.
FUZZTIME ?= 50000x
# The program that makes a slow link: beside this repository, or in the PATH.
WANLINK  ?= $(if $(wildcard ../shared/lab/wanlink/go.mod),bin/wanlink,wanlink)
# The program that makes machines with a real systemd, the suites of Debian in them, and which scripts to run.
SYSTEMD_LAB     ?= ../shared/lab/systemd-lab
SYSTEMD_SUITES  ?= bookworm trixie
SYSTEMD_SCRIPTS ?= *
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Pinned in tools/go.mod, apart from the module so that the programs do not
# depend on them.
TOOL = $(GO) tool -modfile=tools/go.mod

# The packages of the client, which also runs where the daemon does not.
PORTABLE = $(patsubst %,./%,$(wildcard cmd/rexec internal/client internal/auth internal/charset \
	internal/hosts internal/lineedit internal/persist internal/proto internal/transport internal/ttymode))

.PHONY: build test test-dropin test-tty lint fuzz bench bench-wan demo package package-lint test-systemd install clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/rexecd ./cmd/rexec

# The race detector needs cgo.
test:
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...

# A part of make test, for who installs such a program or changes the command line.
test-dropin:
	$(GO) test -count=1 -timeout 10m -run '^TestDropIn$$' -v ./internal/e2e

test-tty:
	$(GO) test -count=1 -timeout 15m -run '^Test(Screen|Prompt)' -v ./internal/e2e

lint:
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*')) && \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	@for os in darwin windows; do for arch in amd64 arm64; do \
		echo "build and vet the client for $$os/$$arch"; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/rexec && \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 $(GO) vet $(PORTABLE) || exit 1; \
	done; done
	$(TOOL) golangci-lint run ./...

# go test fuzzes one target of one package at a time. Without the bound on
# minimizing, one long input takes up all of a short run.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg) || { echo "$$targets"; exit 1; }; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg || exit 1; \
		done; \
	done

bench:
	$(GO) run ./internal/bench

bin/wanlink:
	cd ../shared/lab/wanlink && $(GO) build -o $(CURDIR)/$@ .

bench-wan: $(filter bin/%,$(WANLINK))
	$(GO) run ./internal/bench -wan $(WANLINK)

demo: build
	scripts/demo

package:
	rm -rf dist
	packaging/build dist

# Of the two architectures, all but the program is the same. Machine code reads like misspelled words by chance, such as
# "IIf(", and like others after each change.
package-lint: package
	shellcheck packaging/build packaging/version packaging/scripts/deb/*
	shellcheck --shell=sh packaging/scripts/rpm/*
	lintian --info --display-info --pedantic --suppress-tags spelling-error-in-binary \
		--fail-on error,warning,info,pedantic dist/*_amd64.deb
	for file in dist/*.rpm; do \
		rpm --checksig --nosignature $$file && rpm --query --package --list $$file >/dev/null || exit 1; \
	done

test-systemd:
	@if [ ! -x $(SYSTEMD_LAB) ]; then \
		echo "test-systemd: skipped, for there is no program here that makes machines ($(SYSTEMD_LAB))"; \
	elif [ "$$(id -u)" != 0 ]; then \
		echo "test-systemd: skipped, for that program must be run by root"; \
	else \
		REXEC_SYSTEMD_LAB=$(abspath $(SYSTEMD_LAB)) REXEC_SYSTEMD_SUITES="$(SYSTEMD_SUITES)" \
			REXEC_SYSTEMD_SCRIPTS="$(SYSTEMD_SCRIPTS)" $(GO) test -count=1 -timeout 20m ./internal/servicetest; \
	fi

# Where shells look for completions.
SHARE            = $(PREFIX)/share
BASH_COMPLETIONS = $(SHARE)/bash-completion/completions
ZSH_COMPLETIONS  = $(SHARE)/zsh/site-functions
FISH_COMPLETIONS = $(SHARE)/fish/vendor_completions.d
# Where systemd looks for units; it also looks into /usr/local.
SYSTEMD_DIR     ?= $(PREFIX)/lib/systemd
SYSUSERS_DIR    ?= $(PREFIX)/lib/sysusers.d
TMPFILES_DIR    ?= $(PREFIX)/lib/tmpfiles.d

# Builds only what is not there, since root may have no Go.
bin/rexecd bin/rexec:
	$(MAKE) build

install: bin/rexecd bin/rexec
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/rexecd
	install -m 0755 bin/rexecd bin/rexec $(DESTDIR)$(PREFIX)/bin
	for section in 1 5 8; do \
		install -d $(DESTDIR)$(SHARE)/man/man$$section && \
		install -m 0644 doc/*.$$section $(DESTDIR)$(SHARE)/man/man$$section || exit 1; \
	done
	install -d $(DESTDIR)$(BASH_COMPLETIONS) $(DESTDIR)$(ZSH_COMPLETIONS) $(DESTDIR)$(FISH_COMPLETIONS)
	for program in rexec rexecd; do \
		install -m 0644 packaging/completions/$$program.bash $(DESTDIR)$(BASH_COMPLETIONS)/$$program && \
		install -m 0644 packaging/completions/$$program.zsh $(DESTDIR)$(ZSH_COMPLETIONS)/_$$program && \
		install -m 0644 packaging/completions/$$program.fish $(DESTDIR)$(FISH_COMPLETIONS) || exit 1; \
	done
	install -d $(DESTDIR)$(SYSTEMD_DIR)/system $(DESTDIR)$(SYSTEMD_DIR)/user
	for unit in system/rexecd.service system/rexecd.socket user/rexecd.service; do \
		sed 's|/usr/bin/rexecd|$(PREFIX)/bin/rexecd|' packaging/systemd/$${unit#system/} >$(DESTDIR)$(SYSTEMD_DIR)/$$unit && \
		chmod 0644 $(DESTDIR)$(SYSTEMD_DIR)/$$unit || exit 1; \
	done
	install -D -m 0644 packaging/systemd/sysusers.conf $(DESTDIR)$(SYSUSERS_DIR)/rexecd.conf
	install -D -m 0644 packaging/systemd/tmpfiles.conf $(DESTDIR)$(TMPFILES_DIR)/rexecd.conf
	install -D -m 0644 packaging/systemd/rexecd.service.d/strict.conf \
		$(DESTDIR)$(SHARE)/doc/rexecd/examples/rexecd.service.d/strict.conf
	[ -e $(DESTDIR)/etc/rexecd/rexecd.toml ] || install -m 0644 rexecd.toml $(DESTDIR)/etc/rexecd

clean:
	rm -rf bin dist
