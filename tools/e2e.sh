#!/usr/bin/env bash
# Starts bin/picket in a data directory of its own, plays an attack and checks what a person sees:
# the command line, the OCSF output and, in a browser, the page. One line a check goes to the file
# given as $1: pass|fail|skip NAME REASON. It stops what it started and leaves nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(realpath "${1:-/dev/stdout}")
work=$(mktemp -d)
chmod 755 "$work" # server and store run as another user and must get through
log=$work/run.log
picket_pid=
note() { echo "$*" | tee -a "$results" >/dev/null; echo "   $*"; }

stop() {
	if [[ -n $picket_pid ]] && kill -INT "$picket_pid" 2>/dev/null; then
		wait "$picket_pid"
		local code=$?
		((code == 0)) && note "pass e2e/stop" || note "fail e2e/stop Ctrl-C ended picket run with status $code; its log: $(tail -3 "$log" | tr '\n' ' ')"
	fi
	[[ -n ${PICKET_E2E_KEEP:-} ]] && echo "   kept $work" || rm -rf "$work"
}
trap stop EXIT

required() { [[ ",${PICKET_REQUIRE:-}," == *",$1,"* ]] && echo fail || echo skip; }

if [[ $(id -u) != 0 ]]; then
	note "$(required root) e2e picket run needs root"
	exit 0
fi

free_port() { command node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
cat >"$work/picket.yaml" <<YAML
data: $work/data
api: {listen: "127.0.0.1:$(free_port)"}
stream: {listen: "127.0.0.1:$(free_port)"}
YAML
picket() { bin/picket --config "$work/picket.yaml" "$@"; }

bin/picket --config "$work/picket.yaml" run >"$log" 2>&1 &
picket_pid=$!
link=
for ((i = 0; i < 300; i++)); do
	link=$(grep -oE 'https?://[^ ]+/[^ ]*(signin|sign-in|login)[^ ]*' "$log" | head -1)
	[[ -n $link ]] && break
	kill -0 "$picket_pid" 2>/dev/null || break
	sleep 0.2
done
if [[ -z $link ]]; then
	note "fail e2e/start no sign-in link from picket run: $(tail -5 "$log" | tr '\n' ' ')"
	exit 1
fi
note "pass e2e/start"

# check NAME COMMAND… passes where the command succeeds, and says the end of its output where not.
check() {
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then
		note "pass e2e/$name"
	else
		note "fail e2e/$name $(tail -5 <<<"$said" | tr '\n' ' ')"
	fi
}

one_incident() {
	picket incidents list --output json >"$work/incidents.json" || return
	command node -e '
		const all = JSON.parse(require("fs").readFileSync(process.argv[1]));
		const list = Array.isArray(all) ? all : all.items ?? all.incidents;
		const mine = list.filter(i => i.status !== "closed" && JSON.stringify(i.entities ?? i).includes("picket-lab-"));
		if (mine.length !== 1) { console.log(`want one incident of the lab, have ${mine.length} of ${list.length}`); process.exit(1) }
		if (!(mine[0].techniques ?? []).length) { console.log("the incident names no technique"); process.exit(1) }
	' "$work/incidents.json"
}
hunt_finds() {
	for ((i = 0; i < 60; i++)); do
		picket hunt "$1" --output json >"$work/hunt.json" && grep -q "$2" "$work/hunt.json" && return 0
		sleep 0.5
	done
	echo "picket hunt $1 found no $2: $(head -c 300 "$work/hunt.json")"
	return 1
}
ocsf_has() {
	for ((i = 0; i < 60; i++)); do
		grep -q "\"class_uid\":$1" "$work/data/server/findings.ocsf.jsonl" 2>/dev/null && return 0
		sleep 0.5
	done
	echo "no record of class $1 in findings.ocsf.jsonl"
	return 1
}

check attack picket lab attack steal-weights
check incidents one_incident
check hunt hunt_finds weights safetensors
check ocsf-finding ocsf_has 2004
check ocsf-incident ocsf_has 2005
if [[ ! -f ui/test/walk.mjs ]]; then
	note "skip e2e/browser there is no ui/test/walk.mjs"
elif ! command -v chromium >/dev/null; then
	note "$(required browser) e2e/browser chromium is not installed"
else
	check browser env PICKET_SIGNIN_URL="$link" node ui/test/walk.mjs
	check browser-odd-cases node ui/test/walk.mjs
fi
check attack-tamper picket lab attack tamper-weights
check attack-mine picket lab attack mine-on-the-node
check attack-escape picket lab attack escape-container
check attack-command picket lab attack command-the-server
check attack-credentials picket lab attack steal-credentials
check attack-look picket lab attack look-around
check attack-open picket lab attack open-service
check attack-change picket lab attack change-the-server
check attack-probe picket lab attack probe-the-service
check attack-poison picket lab attack poison-model
check attack-blind picket lab attack blind-picket
check doctor picket doctor
