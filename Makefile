# make test   everything that must be green before a change lands
# make fuzz   every fuzz target for FUZZTIME (default 60s) each

SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 60s

.PHONY: test tools format vet unit integration fuzz

test: tools format vet unit integration

# As root on Debian, what is missing is installed; elsewhere it is named.
tools:
	@missing=""; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "install these first:$$missing" >&2; exit 1; \
		fi; \
	fi
	@command -v go >/dev/null || { echo "install Go 1.26 or newer first: https://go.dev/dl" >&2; exit 1; }
	@node -e 'if (+process.versions.node.split(".")[0] < 20) { console.error("install Node.js 20 or newer first; this is " + process.version); process.exit(1) }'

format:
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	go vet ./...
	go run $(STATICCHECK) ./...
	cd integration && go vet ./... && go run $(STATICCHECK) ./...

unit:
	go test -race ./...

integration:
	cd integration/oidcprovider && npm ci --no-audit --no-fund --loglevel=error
	cd integration && go test -race ./...

fuzz:
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done
