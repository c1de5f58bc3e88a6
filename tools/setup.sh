#!/usr/bin/env bash
# Installs what a part of the work needs and this machine lacks. Run as root:
#
#   tools/setup.sh run        to build and run Picket: runc, a static busybox, Node
#   tools/setup.sh test       the above, and a browser for the page's test
#   tools/setup.sh generate   the compiler that builds the BPF objects
#   tools/setup.sh bench      the compiler that builds the benchmark's load
#   tools/setup.sh slurm      a Slurm for the tests of its acts
#   tools/setup.sh kernels    the emulator that runs the sensor's tests on other kernels
#
# What is there already is left alone, so a second call does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

node_wanted=20.19.0
say() { printf 'setup: %s\n' "$*" >&2; }

# packages installs Debian packages that are missing.
packages() {
	local missing=() p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	((${#missing[@]})) || return 0
	if [[ $(id -u) != 0 ]]; then
		say "these packages are missing and installing them needs root: ${missing[*]}"
		exit 1
	fi
	say "installing ${missing[*]}"
	apt-get -o DPkg::Lock::Timeout=300 update -qq
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# have reports whether a command is there already, from a package or otherwise.
have() { command -v "$1" >/dev/null; }

static_busybox() { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }

node_is_new_enough() {
	have node && have npm && [[ $(printf '%s\n%s\n' "$node_wanted" "$(node --version | tr -d v)" | sort -V | head -1) == "$node_wanted" ]]
}

# node puts a Node that the page can be built with on the PATH: the machine's own, the
# distribution's, or, where that is too old, one from the npm registry below bin/node.
setup_node() {
	PATH="$PWD/bin/node/node_modules/.bin:$PATH"
	node_is_new_enough && return
	have npm || packages nodejs npm
	hash -r
	node_is_new_enough && return
	say "Node $(node --version) is too old for the page (want $node_wanted): fetching a newer one to bin/node"
	mkdir -p bin/node
	npm install --silent --no-fund --no-audit --no-save --prefix bin/node node@22
	hash -r
	node_is_new_enough && return
	say "no Node from $node_wanted on: install one from https://nodejs.org and start again"
	exit 1
}

case "${1:-}" in
run | test)
	have apt-get || { say "this script knows apt only; install runc, a static busybox and Node $node_wanted yourself"; exit 1; }
	have runc || packages runc
	static_busybox || packages busybox-static
	have git || packages git
	setup_node
	[[ $1 == run ]] || have chromium || packages chromium
	;;
generate)
	packages clang-14 llvm-14 libbpf-dev
	;;
bench)
	have gcc || packages gcc libc6-dev
	;;
slurm)
	have slurmctld && have slurmd && have scontrol && have munged || packages slurmctld slurmd slurm-client munge
	;;
kernels)
	have qemu-system-x86_64 || packages qemu-system-x86
	have cpio || packages cpio
	have runc || packages runc
	static_busybox || packages busybox-static
	;;
*)
	say "want run, test, generate, bench, slurm or kernels"
	exit 2
	;;
esac
