package lab

import (
	"math/rand/v2"
	"strconv"
)

// Seeds are the names that `seeded` may list, with what stands in their place.
// Another seed gives other values, so that no rule can be fitted to a literal.
var seedNames = []string{"attacker_host", "pool_host", "dir", "tool_name", "file_name", "inside_host", "far_host", "pool_name", "drop_name"}

// assetNames are what a sandbox may hold. The last four are there where they are listed only.
var assetNames = []string{modelStore, baitCredentials, largeModel, shardedModel, dataset, python}

const (
	modelStore      = "model-store"
	baitCredentials = "bait-credentials"
	largeModel      = "large-model"   // the model has 72 MiB, not 8
	shardedModel    = "sharded-model" // a second one, of five files
	dataset         = "dataset"       // four files of training data
	python          = "python"        // the host's Python
)

func seedValue(name string, r *rand.Rand) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	switch name {
	case "attacker_host":
		return pick("203.0.113.66", "198.51.100.77", "203.0.113.140")
	case "pool_host":
		return pick("203.0.113.67", "198.51.100.33", "203.0.113.201")
	case "dir":
		return pick("/tmp", "/var/tmp", "/dev/shm")
	case "tool_name":
		return pick("xmrig", "kworkerd", "node-exporter", "nvcheck")
	case "file_name":
		return pick("backup", "cache", "core", "logs") + strconv.Itoa(r.IntN(900)+100)
	case "inside_host":
		return "10.20." + strconv.Itoa(r.IntN(250)) + "." + strconv.Itoa(r.IntN(250)+1)
	case "far_host": // of a network that no other attack uses (RFC 2544), another one each time
		return "198." + strconv.Itoa(18+r.IntN(2)) + "." + strconv.Itoa(r.IntN(250)) + ".7"
	case "pool_name":
		return pick("pool", "eu", "rx") + pick(".supportxmr.com", ".moneroocean.stream", ".nanopool.org")
	case "drop_name":
		return pick("transfer.sh", "file.io", "0x0.st", "webhook.site")
	}
	return ""
}
