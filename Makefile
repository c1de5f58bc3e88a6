# The few commands, by name. As root, on Debian or Ubuntu with Go: `make run` is all it takes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/bin/node/node_modules/.bin:$(PATH)

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
go_build := CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(version)"
ui_source := $(shell find ui -path ui/node_modules -prune -o -path ui/dist -prune -o -type f -print 2>/dev/null)

.PHONY: run build ui test test-gpu lint generate bench kernels orchestrators clean setup
.DEFAULT_GOAL := build

run: build ## install what is missing, build, start Picket; Ctrl-C stops it
	exec bin/picket run

setup:
	@tools/setup.sh run

build: setup ui ## bin/picket, with the page and the reader of NVIDIA GPUs inside
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o sensor/gpu/helper/built/picket-gpu ./cmd/picket-gpu
	$(go_build) -o bin/picket ./cmd/picket

ui: setup ui/dist/app/index.html

ui/node_modules/.package-lock.json: ui/package-lock.json
	cd ui && npm ci --no-fund --no-audit

ui/dist/app/index.html: ui/node_modules/.package-lock.json $(ui_source)
	cd ui && npm run build

test: ## every test there is, as root; ends with what was skipped and why
	tools/setup.sh test
	$(MAKE) --no-print-directory build
	tools/test.sh

test-gpu: ## what only a machine with an NVIDIA GPU can show, as root; needs Go, gcc and the driver
	tools/gpu.sh

lint: ## golangci-lint, pinned in tools/go.mod
	go tool -modfile=tools/go.mod golangci-lint run ./...

generate: ## rebuild the BPF objects with the one compiler they are compared with
	tools/setup.sh generate
	go generate ./...

bench: build ## what Picket costs and how fast it is: see bench/README.md
	tools/setup.sh bench
	for b in overhead latency ingest rest saturate; do go run ./bench/$$b -picket bin/picket; done

kernels: ## the sensor's tests on Debian's stock kernels 6.1 and 6.12, emulated; a quarter of an hour
	tools/kernels.sh

orchestrators: ## the acts on Kubernetes and Slurm against real ones; builds a kube-apiserver the first time
	tools/setup.sh slurm
	tools/kube.sh
	go test ./respond/action ./node -run 'TestKubernetes|TestSlurm|TestAPodIsCutOffInItsCluster|TestAClusterSendsItsAuditLog' -count 1 -v

clean: ## remove what was built; data in /var/lib/picket stays
	rm -rf bin ui/dist/app sensor/gpu/helper/built/picket-gpu ui/node_modules
