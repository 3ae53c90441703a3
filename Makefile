# make test   everything that must be green before a change lands
# make fuzz   every fuzz target for FUZZTIME (default 60s) each
# make bench  what guards cost, here and with other libraries; docs/performance.md is
#             written anew, so let nothing else run
# make conformance   the tests of the OpenID Foundation's suite; docs/conformance.md is
#             written anew
# make attacks  which tests cover which case of attack; docs/attacks.md is written anew
# make errors   what each error leads to; docs/errors.md is written anew
# make tabs     what becomes of many tabs at once, in simulated time; docs/tabs.md is written anew
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
# make test runs each fuzz target for a number of inputs: a time limit can expire while an
# input runs.
QUICKFUZZ   := 5000x
COVERAGE    := 95
OIDC_PROVIDER := integration/oidcprovider/node_modules/.package-lock.json
STAGES      := tools format vet unit example integration browser faults fuzz

# The targets of make test measure time, or install what the next ones need.
.NOTPARALLEL:
.PHONY: test tools format vet unit example integration fuzz bench faults browser soak conformance attacks errors tabs

test:
	@for stage in $(STAGES); do \
		began=$$SECONDS; \
		$(MAKE) --no-print-directory $$stage FUZZTIME=$(QUICKFUZZ) || { echo "== $$stage: failed after $$((SECONDS - began)) s" >&2; exit 1; }; \
		echo "== $$stage: passed after $$((SECONDS - began)) s"; \
	done; \
	echo "== all stages passed: $(STAGES); $$SECONDS s"

# go vet and go test compile without a word. This prints each package as it is compiled, and
# nothing when all are. A package is printed when it is done: go-sqlite3, which is a large
# file of C, takes minutes. $(1): flags, $(2): packages.
define compile
packages="$$(go list -test -deps -f '{{if not (or .Standard .ForTest (eq .Name "main") (not .GoFiles))}}{{.ImportPath}}{{end}}' $(2))" && \
	go build -v $(1) $$packages
endef

# As root on Debian, what is missing is installed; elsewhere it is named.
tools:
	@echo "== tools: programs that the tests need"
	@.ci/tools

format:
	@echo "== format: gofmt"
	@unformatted="$$(gofmt -l .)"; \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	@echo "== vet: go vet and staticcheck; prints the packages that it has to compile"
	@$(call compile,,./... ./_example)
	go vet ./... ./_example
	@echo "staticcheck; the first time it analyses the dependencies, too: minutes without output"
	go run -v $(STATICCHECK) ./... ./_example
	@echo "the integration tests; compiling go-sqlite3, which is C, takes minutes"
	@cd integration && $(call compile,,./...)
	cd integration && go vet ./...
	cd integration && go run -v $(STATICCHECK) ./...

# COVERAGE % of the statements of the root and internal packages have to be run by some test.
# go test prints results in the order of its arguments; the root, which takes longest, is last.
unit:
	@echo "== unit: all packages, and their coverage; prints the packages that it has to compile for the race detector"
	@$(call compile,-race,./... ./_example)
	go test -race -count 1 -timeout 30m -coverpkg=github.com/logtogin/logtogin,github.com/logtogin/logtogin/internal/... -coverprofile=coverage.out $$(go list ./... | tac)
	@go tool cover -func=coverage.out | awk '/^total:/ { share = $$3 + 0 } \
		END { printf "%.1f %% of the root and internal packages is covered, %d %% has to be\n", share, $(COVERAGE); exit share < $(COVERAGE) }'

# "./..." does not see folders that begin with an underscore.
example:
	@echo "== example: the application in _example"
	go build -o /dev/null ./_example
	go test -race -count 1 -timeout 30m ./_example

# npm writes this file last.
$(OIDC_PROVIDER): integration/oidcprovider/package-lock.json
	@echo "== oidc-provider and its packages"
	cd integration/oidcprovider && npm ci --no-audit --no-fund --loglevel=error

# The faults and the browser have targets of their own, so that they have the machine for
# themselves.
integration: $(OIDC_PROVIDER)
	@echo "== integration: with oidc-provider, Redis, memcached and PostgreSQL; prints the packages that it has to compile (go-sqlite3 takes minutes)"
	@cd integration && $(call compile,-race,./...)
	cd integration && packages="$$(go list ./... | tac)" && \
		go test -race -count 1 -timeout 30m $$(grep -v -e /faults -e /browser <<<"$$packages")
	@# The stores for PostgreSQL and gorm race by themselves on plain reads.
	cd integration && go test -count 1 -timeout 30m ./stores

fuzz:
	@echo "== fuzz: each target for $(FUZZTIME), as go test -fuzztime; it is compiled for the fuzzer first"
	@packages="$$(go list ./...)"; \
	for package in $$packages; do \
		targets="$$(go test -list '^Fuzz' $$package)"; \
		for target in $$(grep '^Fuzz' <<<"$$targets" || true); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

bench:
	go test -run '^$$' -bench . -benchmem . ./internal/session
	cd integration && go test ./bench -count 1 -timeout 30m -run Comparison -write $(CURDIR)/docs/performance.md

conformance:
	go test -count 1 -run '^TestConformance$$' . -write-conformance docs/conformance.md

attacks:
	go test -count 1 -run '^TestEveryAttackIsTested$$' . -write-attacks docs/attacks.md

errors:
	go test -count 1 -run '^TestTheDocumentSaysWhatErrorsLeadTo$$' . -write-errors docs/errors.md

browser: $(OIDC_PROVIDER)
	@echo "== browser: a Chromium uses the example"
	cd integration && go test ./browser -count 1 -timeout 30m

faults:
	@echo "== faults: two instances while things fail, and under load"
	cd integration && go test -race ./faults -count 1 -timeout 30m

tabs:
	go test -count 1 -run '^TestAllTabsArriveAfterOneSignIn$$' . -write-tabs docs/tabs.md

soak: tabs
	cd integration && go test -race ./faults -count 1 -run Load
	cd integration && go test ./faults -count 1 -timeout 60m -write $(CURDIR)/docs
