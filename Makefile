# make test   everything that must be green before a change lands
# make fuzz   every fuzz target for FUZZTIME (default 60s) each
# make bench  what guards cost, here and with other libraries; docs/performance.md is
#             written anew, so let nothing else run
# make conformance   the tests of the OpenID Foundation's suite; docs/conformance.md is
#             written anew
# make attacks  which tests cover which case of attack; docs/attacks.md is written anew
# make faults   users at two instances while Logto, Redis, clocks and processes fail, and
#             under load, in a short form
# make browser  a Chromium uses the example; what it looks like is in
#             integration/browser/screenshots
# make soak   faults and load at length, twenty minutes; docs/faults.md and docs/load.md are
#             written anew, so let nothing else run

SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 60s
# In make test, by their number: a short time can end while an input is being tried.
QUICKFUZZ   := 5000x
COVERAGE    := 90

# The targets of make test measure time, or install what the next ones need.
.NOTPARALLEL:
.PHONY: test tools format vet unit example integration fuzz bench faults browser soak conformance attacks

test: tools format vet unit example integration browser faults
	$(MAKE) fuzz FUZZTIME=$(QUICKFUZZ)

# As root on Debian, what is missing is installed; elsewhere it is named.
tools:
	@missing=""; \
	command -v go >/dev/null || missing="$$missing golang-go"; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v memcached >/dev/null || missing="$$missing memcached"; \
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "install these first:$$missing" >&2; exit 1; \
		fi; \
	fi
	@go list -m >/dev/null || { echo "install Go 1.26 or newer first (1.21 or newer fetches it by itself): https://go.dev/dl" >&2; exit 1; }
	@if ! node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)'; then \
		if [ "$$(id -u)" = 0 ]; then npm install --global --prefix /usr/local --no-audit --no-fund --loglevel=error node@22; \
		else echo "install Node.js 20 or newer first; this is $$(node --version)" >&2; exit 1; fi; \
	fi

format:
	@unformatted="$$(gofmt -l .)"; \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	go vet ./... ./_example
	go run $(STATICCHECK) ./... ./_example
	cd integration && go vet ./... && go run $(STATICCHECK) ./...

# Of the statements of the root package, COVERAGE % have to be run by some test.
unit:
	go test -race -coverpkg=github.com/logtogin/logtogin -coverprofile=coverage.out ./...
	@go tool cover -func=coverage.out | awk '/^total:/ { share = $$3 + 0 } \
		END { printf "%.1f %% of the root package is covered, %d %% has to be\n", share, $(COVERAGE); exit share < $(COVERAGE) }'

# "./..." does not see folders that begin with an underscore.
example:
	go build -o /dev/null ./_example
	go test -race ./_example

# The faults and the browser have targets of their own, so that they have the machine for
# themselves.
integration:
	cd integration/oidcprovider && npm ci --no-audit --no-fund --loglevel=error
	cd integration && packages="$$(go list ./...)" && go test -race $$(grep -v -e /faults -e /browser <<<"$$packages")
	@# The stores for PostgreSQL and gorm race by themselves on plain reads.
	cd integration && go test ./stores

fuzz:
	@packages="$$(go list ./...)"; \
	for package in $$packages; do \
		targets="$$(go test -list '^Fuzz' $$package)"; \
		for target in $$(grep '^Fuzz' <<<"$$targets" || true); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

bench:
	go test -run '^$$' -bench . -benchmem .
	cd integration && go test ./bench -count 1 -timeout 30m -run Comparison -write $(CURDIR)/docs/performance.md

conformance:
	go test -count 1 -run '^TestConformance$$' . -write-conformance docs/conformance.md

attacks:
	go test -count 1 -run '^TestEveryAttackIsTested$$' . -write-attacks docs/attacks.md

browser:
	cd integration/oidcprovider && npm ci --no-audit --no-fund --loglevel=error
	cd integration && go test ./browser -count 1 -timeout 10m

faults:
	cd integration && go test -race ./faults -count 1

soak:
	cd integration && go test -race ./faults -count 1 -run Load
	cd integration && go test ./faults -count 1 -timeout 60m -write $(CURDIR)/docs
