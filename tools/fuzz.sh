#!/usr/bin/env bash
# Fuzzes what reads rules and events: the parser, the condition grammar and the matcher for as long as
# $1 says (a minute if not given), the others for ten seconds each. What it finds is left in the
# package's testdata/fuzz, to be committed with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
long=${1:-60s}

# fuzz PACKAGE TARGET TIME shows the last line, or all of it where something was found.
fuzz() {
	local said
	if said=$(go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3" 2>&1); then
		printf '%-30s %-6s %s\n' "$1 $2" "$3" "$(grep -o 'execs: [0-9]*' <<<"$said" | tail -1)"
	elif grep -q 'context deadline exceeded' <<<"$said" && ! grep -q 'Failing input' <<<"$said"; then
		# What go test says where the time ended while a worker was slow to answer: nothing was found.
		printf '%-30s %-6s ended late\n' "$1 $2" "$3"
	else
		printf '%s\n' "$said"
		return 1
	fi
}

for target in Parse Condition Match; do
	fuzz sigma "Fuzz$target" "$long"
done
for target in "sigma FuzzFactors" "sigma FuzzRecord" "sigma FuzzPipeline" "sigma FuzzCorrelation" "sigma FuzzRestore" \
	"detect FuzzForeign" "detect FuzzAuditJoin" "detect FuzzExceptions" "detect/falco FuzzCondition" "detect/falco FuzzLoad" \
	"policy FuzzParse" "detect/prompt FuzzLook" "ingest/otlp FuzzSpans" "ingest FuzzParseAudit" "ingest/webhook FuzzList" "respond/action FuzzHeaders" "respond/action FuzzUpperOf" "detect/prompt FuzzCall" "detect/novel FuzzRestore" "detect/tunnel FuzzSplit" "sensor/gpu FuzzFDInfo" "sensor/gpu FuzzFault" "sensor/gpu FuzzDCGM" "sensor/enforce FuzzDiag" "sensor/kernel FuzzWitness" "sensor/kernel FuzzDNS" "sensor/kernel FuzzHello" "sensor/uprobe FuzzReadImage" \
	"cacao FuzzParse" "cacao FuzzCondition" "cacao FuzzSubstitute" "artifact/sign FuzzOpen" "artifact/sign FuzzKeyless" \
	"artifact FuzzPickle" "artifact FuzzArchive" "artifact FuzzJSON" "artifact FuzzSafetensors" "artifact FuzzGGUF" \
	"artifact FuzzHDF5" "artifact FuzzContainer" "artifact FuzzYAML" "artifact FuzzTemplate" "artifact FuzzConfig" "artifact FuzzProto" "artifact FuzzTensorRT" "artifact FuzzCode"; do
	fuzz $target 10s
done
