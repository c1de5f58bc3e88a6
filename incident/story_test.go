package incident

import (
	"testing"
	"time"

	"picket/event"
)

// theft is the steal-weights case as the rules of threats/steal-weights find it.
func theft() []event.Finding {
	const container = "3f9c1d5e8a7b4c2d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f"
	in := ", in container 3f9c1d5e8a7b of the inference server llama-3-8b (llama.cpp), "
	at := func(d time.Duration, rule, title string, s event.Severity, name, summary string, techniques ...event.Technique) event.Finding {
		f := acting(event.Finding{
			ID: event.HashID(rule), Time: t0.Add(d), Host: "gpu-1", Severity: s, Summary: summary, Count: 1, Techniques: techniques,
			Rule: event.Rule{ID: rule, Name: rule, Title: title, Threat: "steal-weights"}, Container: &event.Container{ID: container},
			Entities: []event.Entity{
				{Kind: event.EntityProcess, ID: "uid-" + name, Name: name},
				{Kind: event.EntityContainer, ID: container, Name: container[:12]},
				{Kind: event.EntityWorkload, ID: "w1", Name: "llama-3-8b"},
				{Kind: event.EntityUser, ID: "gpu-1/app", Name: "app"},
				{Kind: event.EntityHost, ID: "gpu-1", Name: "gpu-1"},
			},
		}, name, "sh", "llama-server", "containerd-shim-runc-v2", "systemd")
		if name == "sh" {
			f.Processes = f.Processes[1:]
		}
		return f
	}
	attack := func(id, name, tactic string) event.Technique {
		return event.Technique{Framework: "attack", ID: id, Name: name, Tactic: tactic}
	}
	atlas := func(id, name, tactic string) event.Technique {
		return event.Technique{Framework: "atlas", ID: id, Name: name, Tactic: tactic}
	}
	shell := at(0, "shell_spawned_by_model_server", "Shell Started By A Model Server", event.High, "sh", "llama-server (pid 10)"+in+"started a shell",
		attack("T1190", "Exploit Public-Facing Application", "initial-access"), attack("T1059.004", "Unix Shell", "execution"),
		atlas("AML.T0049", "Exploit Public-Facing Application", "initial-access"), atlas("AML.T0050", "Command and Scripting Interpreter", "execution"))
	read := at(3*time.Second, "weights_read_by_stranger", "Model Weights Read By A Stranger", event.Medium, "tar", "tar (pid 40)"+in+"read the weights",
		attack("T1005", "Data from Local System", "collection"), atlas("AML.T0035", "AI Artifact Collection", "collection"))
	sent := at(41*time.Second, "weights_sent_out", "Much Data Sent To A Public Address By A Program That Is No Server", event.Low, "curl", "curl (pid 44)"+in+"sent 8.4 MB to 203.0.113.66:80",
		attack("T1041", "Exfiltration Over C2 Channel", "exfiltration"), atlas("AML.T0025", "Exfiltration via Cyber Means", "exfiltration"))
	stolen := at(41*time.Second, "weights_stolen", "Model Weights Stolen", event.Critical, "curl", "the weights were read, then curl (pid 44) sent 8.4 MB to 203.0.113.66:80",
		attack("T1041", "Exfiltration Over C2 Channel", "exfiltration"), atlas("AML.T0025", "Exfiltration via Cyber Means", "exfiltration"),
		atlas("AML.T0048.004", "AI Intellectual Property Theft", "impact"))
	model := event.Entity{Kind: event.EntityModel, ID: "gpu-1:/models/llama-3-8b:w1", Name: "llama-3-8b"}
	remote := event.Entity{Kind: event.EntityAddress, ID: "203.0.113.66", Name: "203.0.113.66"}
	read.Entities = append(read.Entities, model)
	sent.Entities = append(sent.Entities, remote)
	stolen.Entities = append(stolen.Entities, model, remote)
	return []event.Finding{shell, read, sent, stolen}
}

func TestTheStoryOfStolenWeights(t *testing.T) {
	c := New(Options{})
	all := theft()
	var inc event.Incident
	for _, i := range []int{0, 3, 1, 2} {
		inc, _, _ = c.Process(all[i])
	}
	if want := "Model weights stolen in llama-3-8b"; inc.Title != want {
		t.Errorf("title %q, want %q", inc.Title, want)
	}
	want := "In llama-3-8b (container 3f9c1d5e8a7b on host gpu-1), 4 findings within 41s show initial access, execution, collection, exfiltration and impact" +
		" by sh, tar and curl. Involved: model llama-3-8b; remote address 203.0.113.66." +
		" Techniques: Exploit Public-Facing Application (T1190), Unix Shell (T1059.004), Data from Local System (T1005)," +
		" Exfiltration Over C2 Channel (T1041), Command and Scripting Interpreter (AML.T0050), AI Artifact Collection (AML.T0035) and 2 more."
	if inc.Summary != want {
		t.Errorf("summary\n%s\nwant\n%s", inc.Summary, want)
	}
	for i, p := range inc.Story {
		if f := all[i]; p.Text != f.Summary || p.Finding != f.ID || p.Severity != f.Severity || p.Tactic != f.Techniques[0].Tactic || !p.Time.Equal(f.Time) {
			t.Errorf("passage %d is %+v, want it to tell of %s", i, p, f.Rule.Name)
		}
	}
	if inc.Severity != event.Critical || inc.Risk < 90 {
		t.Errorf("severity %s, risk %d", inc.Severity, inc.Risk)
	}
}

func TestTitleAndSummary(t *testing.T) {
	for _, tt := range []struct {
		name           string
		f              []event.Finding
		title, summary string
	}{
		{
			"on a host",
			[]event.Finding{finding("a", 0)},
			"Title of a on host gpu-1", "On host gpu-1, 1 finding.",
		},
		{
			"in a container without a workload",
			[]event.Finding{finding("a", 0, "container:c1")},
			"Title of a in container c1", "In container c1 (host gpu-1), 1 finding.",
		},
		{
			"by somebody",
			[]event.Finding{acting(finding("a", 0, "container:c1"), "curl")},
			"Title of a in container c1", "In container c1 (host gpu-1), 1 finding shows something wrong with curl.",
		},
		{
			"on several hosts",
			[]event.Finding{on("b", finding("a", 0, "model:m")), on("a", finding("b", 90*time.Minute/4, "model:m")), on("c", finding("c", 0, "model:m")), on("d", finding("d", 0, "model:m"))},
			"Title of a on hosts a, b, c and 1 more", "On hosts a, b, c and 1 more, 4 findings within 23m. Involved: model m.",
		},
		{"nowhere", []event.Finding{{ID: "x", Rule: event.Rule{ID: "r"}}}, "r", "1 finding."},
	} {
		c := New(Options{})
		var inc event.Incident
		for _, f := range tt.f {
			inc, _, _ = c.Process(f)
		}
		if inc.Title != tt.title || inc.Summary != tt.summary {
			t.Errorf("%s: %q, %q\nwant %q, %q", tt.name, inc.Title, inc.Summary, tt.title, tt.summary)
		}
	}
}

func TestPlain(t *testing.T) {
	for title, want := range map[string]string{
		"Model Weights Stolen":                           "Model weights stolen",
		"Shell Started By A Model Server":                "Shell started by a model server",
		"Mining Pool Port Reached From An AI Workload":   "Mining pool port reached from an AI workload",
		"Linux Reverse Shell Indicator":                  "Linux reverse shell indicator",
		"Suspicious Curl File Upload - Linux":            "Suspicious curl file upload - Linux",
		"OMIGOD SCX RunAsProvider ExecuteScript":         "OMIGOD SCX RunAsProvider ExecuteScript",
		"Cat /etc/passwd By LD_PRELOAD":                  "Cat /etc/passwd by LD_PRELOAD",
		"A model server started a shell at Example Corp": "A model server started a shell at Example Corp",
		"": "",
	} {
		if got := plain(title); got != want {
			t.Errorf("%q: %q, want %q", title, got, want)
		}
	}
}

func TestLasted(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 41400 * time.Millisecond: "41s", 61 * time.Second: "1m1s", 12*time.Minute + 20*time.Second: "12m",
		3 * time.Hour: "3h", 3*time.Hour + 20*time.Minute: "3h20m", 30 * time.Hour: "30h", 59*time.Minute + 50*time.Second: "1h",
	} {
		if got := lasted(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
