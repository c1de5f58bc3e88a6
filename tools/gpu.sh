#!/usr/bin/env bash
# The checks that need a real NVIDIA GPU: what the driver tells of it and of who uses it, how long a look
# takes, probes on the driver's own libcuda, a fault, and a workload that is kept from it. Needs root, Go,
# gcc and the driver. It resets nothing and changes no setting; one small program of its own faults on purpose.
# Without a GPU it says so, and is done.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -e /dev/nvidiactl && ! -e /proc/driver/nvidia/version ]]; then
	echo "test-gpu: skipped: there is no NVIDIA GPU here (no /dev/nvidiactl, no /proc/driver/nvidia/version)"
	exit
fi
for need in go gcc; do
	command -v "$need" >/dev/null || { echo "test-gpu: $need is missing"; exit 1; }
done
[[ $(id -u) == 0 ]] || { echo "test-gpu: needs root: probes and cgroups do"; exit 1; }
cat /proc/driver/nvidia/version 2>/dev/null || true
PICKET_REQUIRE=${PICKET_REQUIRE:+$PICKET_REQUIRE,}gpu,root \
	go test -count 1 -v -timeout 10m -run '^TestRealGPU$' ./sensor/gpu/nvml ./sensor/gpu ./sensor/cuda ./node
