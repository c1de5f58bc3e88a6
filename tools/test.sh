#!/usr/bin/env bash
# Runs every test: Go, the page's units, and the browser against a running Picket. Ends with the
# skips and their reasons and one line of numbers; its status is 0 where nothing failed.
#
# PICKET_REQUIRE names features whose absence is a failure and not a skip (root,bpf,runc,browser…).
set -uo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/bin/node/node_modules/.bin:$PATH"

export NO_COLOR=1
out=bin/test
rm -rf "$out"
mkdir -p "$out"

echo "== go test"
go test -json -timeout 15m ./... >"$out/go.json" 2>"$out/go.err" || true
cat "$out/go.err" >&2

echo "== page"
if [[ -f ui/package.json ]]; then
	(cd ui && npx vitest run --reporter=default --reporter=json --outputFile="../$out/vitest.json") ||
		[[ -f $out/vitest.json ]] || echo "fail vitest it did not run" >>"$out/shell.list"
else
	echo "skip vitest there is no ui/" >>"$out/shell.list"
fi

echo "== browser and command line, end to end"
tools/e2e.sh "$out/shell.list"

go run tools/testlist/main.go "$out"
