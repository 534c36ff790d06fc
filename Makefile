# make build     both programs into bin/
# make test      every test, with the race detector, in random order
# make lint      formatting, vet for each platform, linter
# make fuzz      every fuzz target for FUZZTIME each
# make bench     the measurements beside OpenSSH
# make demo      a tour on this machine, with a daemon of its own
# make install   programs to PREFIX/bin, rexecd.toml to /etc/rexecd if there is none; knows DESTDIR
# make clean     remove bin/

GO       ?= go
PREFIX   ?= /usr/local
# A number of runs rather than a time: at the end of a time, go test can take its own deadline for a find.
FUZZTIME ?= 50000x
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Pinned in tools/go.mod, apart from the module so that the programs do not
# depend on them.
TOOL = $(GO) tool -modfile=tools/go.mod

# The packages of the client, which also runs where the daemon does not.
PORTABLE = $(patsubst %,./%,$(wildcard cmd/rexec internal/client internal/auth internal/charset \
	internal/proto internal/transport))

.PHONY: build test lint fuzz bench demo install clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/rexecd ./cmd/rexec

# The race detector needs cgo.
test:
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...

lint:
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*')) && \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	GOOS=darwin $(GO) vet $(PORTABLE)
	GOOS=windows $(GO) vet $(PORTABLE)
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

demo: build
	scripts/demo

# Builds only what is not there, since root may have no Go.
bin/rexecd bin/rexec:
	$(MAKE) build

install: bin/rexecd bin/rexec
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/rexecd
	install -m 0755 bin/rexecd bin/rexec $(DESTDIR)$(PREFIX)/bin
	[ -e $(DESTDIR)/etc/rexecd/rexecd.toml ] || install -m 0644 rexecd.toml $(DESTDIR)/etc/rexecd

clean:
	rm -rf bin
