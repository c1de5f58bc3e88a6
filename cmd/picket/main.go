// Picket is runtime security and monitoring for AI workloads: one program that watches a host from
// the kernel up, judges what it sees, keeps it, shows it and proves that it would catch an attack.
package main

import (
	"context"
	"early"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"picket/lab"
	"picket/node"
)

// version is set when the program is built.
var version = "dev"

func main() {
	early.Done()
	if role := os.Getenv(lab.RoleEnv); role != "" { // inside the lab's sandbox this program plays other programs
		os.Exit(lab.Role(role, os.Args))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// CLI is the command line.
type CLI struct {
	Config string `placeholder:"FILE" help:"Configuration file. Default: /etc/picket/picket.yaml where it exists, else none."`
	Data   string `placeholder:"DIR" help:"Data directory. Default: /var/lib/picket."`

	Run        runCmd        `cmd:"" help:"Run all of Picket on this host: agent, server and store."`
	Agent      agentCmd      `cmd:"" help:"Run the agent alone: it sees, judges and reports to a server elsewhere."`
	Server     serverCmd     `cmd:"" help:"Run the server alone, or let agents on other hosts join it."`
	Store      storeCmd      `cmd:"" help:"Run the event store alone."`
	Doctor     doctorCmd     `cmd:"" help:"Say what this host can and cannot do, and what to do about it."`
	ConfigCmd  configCmd     `cmd:"" name:"config" help:"Check, show or explain the configuration."`
	Signin     signinCmd     `cmd:"" help:"Make a one-time link to sign in to the page."`
	Incidents  incidentsCmd  `cmd:"" help:"List incidents, read one, or close it."`
	Findings   findingsCmd   `cmd:"" help:"List findings, or read one."`
	GPU        gpuCmd        `cmd:"" name:"gpu" help:"List the GPUs, and who uses them."`
	Events     eventsCmd     `cmd:"" help:"Follow events as they come, or list the newest."`
	Hunt       huntCmd       `cmd:"" help:"Search the stored events."`
	Rule       ruleCmd       `cmd:"" help:"List, check and test detection rules."`
	Threats    threatsCmd    `cmd:"" help:"Say which attacks on AI workloads are seen, which are not, and why."`
	Policy     policyCmd     `cmd:"" help:"Say what workloads may do, and stop the rest in the kernel."`
	Profile    profileCmd    `cmd:"" help:"Say what is usual for AI workloads, as it was learned, and what deviated."`
	Inventory  inventoryCmd  `cmd:"" help:"List the AI workloads that run, with their models, or write a bill of materials."`
	Audit      auditCmd      `cmd:"" help:"List who did what, export that, and find what was tampered with."`
	Action     actionCmd     `cmd:"" help:"Act on a host by hand: hold workloads, end them, and take that back."`
	Model      modelCmd      `cmd:"" help:"Sign models, and check what was signed."`
	Playbook   playbookCmd   `cmd:"" help:"Plan, run and undo playbooks for incidents; check and sign them."`
	Replay     replayCmd     `cmd:"" help:"Run the rules over recorded events, of Picket or of other programs."`
	Scan       scanCmd       `cmd:"" help:"Say what model files would do to the program that loads them."`
	Lab        labCmd        `cmd:"" help:"Attack a sandbox on this host and see what Picket sees."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

// app is what every command is handed.
type app struct {
	ctx      context.Context
	cli      *CLI
	out, err io.Writer
	kong     *kong.Kong
	stay     func() error // what a command does for good; what read the command line, a megabyte, is let go first
}

// examples stand below a command's own help, by its path.
var examples = map[string]string{
	"":                  "picket run\npicket lab attack steal-weights\npicket incidents",
	"run":               "picket run\npicket run --data /srv/picket --config picket.yaml",
	"agent":             "picket agent --config /etc/picket/picket.yaml\npicket agent --bundle host-7.json",
	"server":            "picket server run\npicket server enrol gpu-node-7 > gpu-node-7.json",
	"store":             "picket store --listen 127.0.0.1:7422",
	"gpu":               "picket gpu\npicket gpu --watch --host gpu-node-7",
	"doctor":            "picket doctor\npicket doctor --output json | jq '.[] | select(.ok|not)'",
	"config":            "picket config default > picket.yaml\npicket config check picket.yaml",
	"signin":            "picket signin",
	"incidents":         "picket incidents\npicket incidents list --status open --output json\npicket incidents show 3f2a\npicket incidents close 3f2a --verdict false-positive --note 'our own backup'",
	"findings":          "picket findings\npicket findings list --rule weights_read_by_stranger\npicket findings show 9c1e",
	"events":            "picket events\npicket events --follow\npicket events --follow 'class:net'",
	"hunt":              "picket hunt weights\npicket hunt 'process.name:curl class:net' --since 6h\npicket hunt 'ai.workload.kind:inference | stats by (process.name) count()' --output json",
	"rule":              "picket rule list\npicket rule lint threats/\npicket rule test steal-weights",
	"threats":           "picket threats\npicket threats DX01 MT04\npicket threats --by attack\npicket threats --coverage dark --output json | jq -r '.[].gap' | sort | uniq -c",
	"playbook":          "picket playbook validate playbooks/*.json\npicket playbook new stop-miner --in /etc/picket/playbooks\npicket playbook show --output dot stop-miner.json | dot -Tsvg > stop-miner.svg\npicket playbook sign --key soc.pem --signee 'SOC' stop-miner.json > signed.json\npicket playbook verify --key soc.pub signed.json\npicket playbook plan contain-weights 3f2a\npicket playbook run contain-weights 3f2a --reason 'weights leave'\npicket playbook approve 9c1e --hash 679fbca7…\npicket playbook undo 9c1e",
	"playbook list":     "picket playbook list\npicket playbook list --output json | jq -r '.[].name'",
	"playbook validate": "picket playbook validate playbooks/*.json\npicket playbook validate --output json stop-miner.json | jq '.[] | select(.severity == \"error\")'",
	"playbook show":     "picket playbook show contain-weights\npicket playbook show --output dot stop-miner.json | dot -Tsvg > stop-miner.svg",
	"playbook new":      "picket playbook new stop-miner --from contain-miner --in /etc/picket/playbooks",
	"playbook sign":     "openssl genpkey -algorithm ed25519 -out soc.pem\npicket playbook sign --key soc.pem --signee SOC --for 8760h stop-miner.json > signed.json",
	"playbook verify":   "openssl pkey -in soc.pem -pubout -out soc.pub\npicket playbook verify --key soc.pub signed.json",
	"playbook export":   "picket playbook export contain-weights > contain-weights.json",
	"playbook import":   "picket playbook import stop-miner.json\npicket playbook import --into /etc/picket/playbooks --name stop-miner - < from-a-friend.json",
	"playbook plan":     "picket playbook plan contain-weights 3f2a\npicket playbook plan end-workload 3f2a --leave-out 8d01,77af   # ids of acts, as the plan has them",
	"playbook run":      "picket playbook run contain-weights 3f2a --reason 'weights leave' --wait 30s\npicket playbook run end-workload 3f2a --leave-out 8d01",
	"playbook edit":     "picket playbook show-run 9c1e                             # the plan, its hash, and the ids of its acts\npicket playbook edit 9c1e --hash 679fbca7… --leave-out 8d01 --reason 'that job is ours'",
	"playbook approve":  "picket playbook show-run 9c1e                   # the plan, and its hash\npicket playbook approve 9c1e --hash 679fbca7… --reason 'seen, go on'",
	"playbook reject":   "picket playbook reject 9c1e --reason 'our own backup'",
	"playbook answer":   "picket playbook answer 9c1e --yes\npicket playbook answer 9c1e --no --text 'a job of ours'",
	"playbook undo":     "picket playbook undo 9c1e",
	"playbook history":  "picket playbook history\npicket playbook history --incident 3f2a --output json",
	"playbook show-run": "picket playbook show-run 9c1e\npicket playbook show-run 9c1e --output json | jq '.records[] | select(.what == \"outcome\")'",
	"playbook simulate": "picket playbook simulate contain-weights --since 30d\npicket playbook simulate end-workload --severity high --output json | jq .acts",
	"playbook stop":     "picket playbook stop\npicket playbook stop --release",
	"model sign":        "openssl ecparam -name prime256v1 -genkey -noout -out signing.pem\npicket model sign /models/llama --private-key signing.pem\npicket model sign /models/llama --private-key release.pem --certificate release-chain.pem",
	"model verify":      "picket model verify /models/llama --public-key signing.pub\npicket model verify /models/llama --roots ca.pem --subject release@example.org\npicket model verify /models/llama --trusted-root trusted_root.json --identity release@example.org --issuer https://accounts.example.org",
	"model manifest":    "picket model manifest /models/llama\npicket model manifest --signed /models/llama/model.sig --output json",
	"audit verify":      "picket audit verify\npicket audit verify --head 4711:9f3c…\npicket audit verify --file audit.jsonl",
	"audit":             "picket audit list\npicket audit export > audit.jsonl\npicket audit verify --head 4711:9f3c…\npicket audit verify --file audit.jsonl",
	"policy":            "picket policy learn --container 3f2a… > /etc/picket/policies/llama.yml\npicket policy check\npicket policy enforce llama --for 1h\npicket policy enforce --off",
	"profile":           "picket profile\npicket profile show 3f2a\npicket profile freeze 3f2a\npicket profile list --output json | jq '.[] | select(.strange)'",
	"action":            "picket action freeze --cgroup /system.slice/ollama.service --for 10m --reason 'odd reads'\npicket action kill --pid 4711 --lineage --dry-run\npicket action isolate --container 3f2a9c… --host gpu-node-7\npicket action list\npicket action undo k3v9…",
	"action freeze":     "picket action freeze --cgroup /system.slice/ollama.service --for 10m\npicket action freeze --pid 4711 --lineage --dry-run\npicket action freeze --container 3f2a9c… --host gpu-node-7 --incident 5d1c… --output json",
	"action cordon":     "picket action cordon gpu-node-7 --dry-run\npicket action cordon gpu-node-7 --for 2h --reason 'a miner on it'\npicket action undo k3v9… --host @server",
	"action scale":      "picket action scale deployment ml/serve --replicas 0 --dry-run",
	"action evict":      "picket action evict ml/serve-0 --incident 3f2a…",
	"action cancel-job": "picket action cancel-job 4711 --host login-1",
	"action kill":       "picket action kill --pid 4711 --dry-run\npicket action kill --pid 4711 --lineage --reason 'reverse shell'\npicket action kill --container 3f2a9c…",
	"action isolate":    "picket action isolate --cgroup /system.slice/ollama.service --for 1h\npicket action isolate --pid 4711 --lineage",
	"action cut":        "picket action cut --container 3f2a9c… --address 192.0.2.7 --port 443\npicket action cut --cgroup /system.slice/ollama.service --dry-run",
	"action capture":    "picket action capture --pid 4711 --lineage --incident 5d1c…\npicket action capture --container 3f2a9c… --dry-run",
	"action quarantine": "picket action quarantine /models/llama/model.pt --reason 'a pickle that runs commands'\npicket action quarantine /app/x.pkl --pid 4711 --for 24h --dry-run",
	"action undo":       "picket action undo k3v9… --reason 'a false alarm'",
	"action extend":     "picket action extend k3v9… --for 2h",
	"action list":       "picket action list\npicket action list --all-hosts --output json",
	"replay":            "picket replay events.jsonl\nzcat audit.log.json.gz | picket replay --format auditd -\npicket replay --rules sigma/rules/linux --output json sysmon.jsonl.gz\npicket replay --mapping our-names.yml --logsource category=process_creation,product=linux --fail-on high events.jsonl",
	"inventory":         "picket inventory\npicket inventory --output wide --host gpu-node-7\npicket inventory --verdict malicious --output json\npicket inventory --output cyclonedx > bom.json",
	"model":             "picket model sign /models/llama --private-key signing.pem\npicket model verify /models/llama --public-key signing.pub\npicket model verify /models/llama --roots ca.pem --subject release@example.org\npicket model manifest /models/llama --output json",
	"scan":              "picket scan model.pt\npicket scan ~/.cache/huggingface --fail-on malicious\npicket scan models/ --allow 'mylib.models.*' --output sarif > scan.sarif",
	"lab":               "picket lab list\npicket lab attack steal-weights",
	"completion":        "picket completion bash > /etc/bash_completion.d/picket\npicket completion zsh > ~/.zfunc/_picket",
	"version":           "picket version --output json",
	"incidents list":    "picket incidents list --status open --severity high",
	"incidents show":    "picket incidents show 3f2a",
	"incidents ack":     "picket incidents ack 3f2a --note 'looking at it'",
	"incidents close":   "picket incidents close 3f2a --verdict true-positive --note 'isolated, rotated the keys'",
	"lab attack":        "picket lab attack steal-weights\npicket lab attack tamper-weights --keep --output json",
	"rule lint":         "picket rule lint\npicket rule lint ./my-threats\npicket rule lint --exceptions /etc/picket/exceptions",
	"rule test":         "picket rule test\npicket rule test steal-weights",
	"rule list":         "picket rule list\npicket rule list --rules ~/sigma --active --output json\npicket rule list --stats",
	"rule except":       "picket rule except preview /etc/picket/exceptions\npicket rule except preview backup.yml recording.jsonl",
	"rule bench":        "picket rule bench\npicket hunt class:process --since 1h --output json | picket rule bench - --rules ~/sigma",
	"rule new":          "picket rule new steal-prompts --in /etc/picket/threats",
	"rule explain":      "picket rule explain weights_sent_out\npicket rule explain weights_stolen --output json",
	"server enrol":      "picket server enrol gpu-node-7 > gpu-node-7.json",
	"config check":      "picket config check ./picket.yaml",
	"findings show":     "picket findings show 9c1e",

	"action exclude-gpu": "picket action exclude-gpu --container 3f2a9c… --for 1h\npicket action exclude-gpu --pid 4711 --lineage --dry-run",
	"action reset-gpu":   "picket action reset-gpu GPU-5c3e… --dry-run\npicket action reset-gpu GPU-5c3e… --host gpu-node-7 --reason 'Xid 95 on it'",

	"rule import": "picket rule import falco /etc/falco/falco_rules.yaml > falco.yml",
	"rule import falco": "picket rule import falco /etc/falco/falco_rules.yaml > falco.yml\n" +
		"picket rule import falco falco_rules.yaml falco_rules.local.yaml --out ./falco-rules\n" +
		"picket rule import falco falco_rules.yaml --output json | jq '.[] | select(.status == \"not carried\")'",
}

// run parses args and runs a command. It returns the exit code: 0 for success, 1 for a failure,
// 2 for a mistake on the command line, and the codes of package node.
func run(args []string, out, errw io.Writer) (code int) {
	node.Version = version
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cli := &CLI{}
	exited := -1
	k, err := kong.New(cli,
		kong.Name("picket"),
		kong.Description("Runtime security and monitoring for AI workloads."),
		kong.UsageOnError(),
		kong.Writers(out, errw),
		kong.Exit(func(c int) { exited = c; panic(exit(c)) }),
		kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	)
	if err != nil {
		fmt.Fprintln(errw, "picket:", err) //nolint:errcheck // nowhere left to report to
		return node.ExitFailure
	}
	defer func() { // --help ends the parse through kong.Exit
		if r := recover(); r != nil {
			if _, ok := r.(exit); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(errw, "picket: %v\n  %s\n", err, whereHelpIs(err)) //nolint:errcheck // nowhere left to report to
		return node.ExitUsage
	}
	a := &app{ctx: ctx, cli: cli, out: out, err: errw, kong: k}
	err = parsed.Run(a)
	if err == nil && a.stay != nil {
		err = a.stay()
	}
	if err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return 128 + int(syscall.SIGINT)
		}
		fmt.Fprintf(errw, "picket: %s\n", printable(strings.ReplaceAll(err.Error(), "\n\t", "\n      "), true)) //nolint:errcheck // nowhere left to report to
		return node.Code(err)
	}
	return 0
}

// whereHelpIs names the help of the command that a mistake was made in.
func whereHelpIs(err error) string {
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil {
		if path := commands(p.Context); len(path) > 0 {
			return "picket " + strings.Join(path, " ") + " --help explains it"
		}
	}
	return "picket --help lists the commands; picket COMMAND --help explains one"
}

// commands returns the names of the commands that were read, from the outermost.
func commands(ctx *kong.Context) (path []string) {
	for _, p := range ctx.Path {
		if p.Command != nil {
			path = append(path, p.Command.Name)
		}
	}
	return path
}

type exit int

// help prints kong's help and then the command's examples.
func help(o kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(o, ctx); err != nil {
		return err
	}
	path := commands(ctx)
	for n := len(path); n >= 0; n-- {
		if ex, ok := examples[strings.Join(path[:n], " ")]; ok {
			_, err := fmt.Fprintf(ctx.Stdout, "\nExamples:\n  %s\n", strings.ReplaceAll(ex, "\n", "\n  "))
			return err
		}
	}
	return nil
}

// config reads the configuration that the global flags name.
func (a *app) config() (*node.Config, error) {
	c, err := node.Load(a.cli.Config)
	if err != nil {
		return nil, err
	}
	if a.cli.Data != "" {
		c.Data = a.cli.Data
	}
	return c, c.Complete()
}
