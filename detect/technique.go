package detect

import (
	"strings"

	"picket/event"
)

// tactics lists the tactics of ATT&CK v19 by the name that Sigma tags use.
var tactics = map[string]string{
	"reconnaissance": "TA0043", "resource-development": "TA0042", "initial-access": "TA0001", "execution": "TA0002",
	"persistence": "TA0003", "privilege-escalation": "TA0004", "stealth": "TA0005", "defense-impairment": "TA0112",
	"credential-access": "TA0006", "discovery": "TA0007", "lateral-movement": "TA0008", "collection": "TA0009",
	"command-and-control": "TA0011", "exfiltration": "TA0010", "impact": "TA0040",
}

// atlasTactics lists the tactics of ATLAS that ATT&CK has no word for.
var atlasTactics = map[string]string{"ai-model-access": "AML.TA0000", "ai-attack-staging": "AML.TA0001"}

// known holds the techniques that our threats name: "tactic|name".
var known = map[string]string{
	"T1003":     "credential-access|OS Credential Dumping",
	"T1005":     "collection|Data from Local System",
	"T1006":     "stealth|Direct Volume Access",
	"T1014":     "stealth|Rootkit",
	"T1016":     "discovery|System Network Configuration Discovery",
	"T1020":     "exfiltration|Automated Exfiltration",
	"T1027":     "stealth|Obfuscated Files or Information",
	"T1030":     "exfiltration|Data Transfer Size Limits",
	"T1033":     "discovery|System Owner/User Discovery",
	"T1040":     "discovery|Network Sniffing",
	"T1557.002": "credential-access|ARP Cache Poisoning",
	"T1036":     "stealth|Masquerading",
	"T1046":     "discovery|Network Service Discovery",
	"T1041":     "exfiltration|Exfiltration Over C2 Channel",
	"T1048":     "exfiltration|Exfiltration Over Alternative Protocol",
	"T1049":     "discovery|System Network Connections Discovery",
	"T1053.003": "persistence|Cron",
	"T1055":     "privilege-escalation|Process Injection",
	"T1055.008": "privilege-escalation|Ptrace System Calls",
	"T1057":     "discovery|Process Discovery",
	"T1059":     "execution|Command and Scripting Interpreter",
	"T1059.004": "execution|Unix Shell",
	"T1059.006": "execution|Python",
	"T1059.013": "execution|Container CLI/API",
	"T1068":     "privilege-escalation|Exploitation for Privilege Escalation",
	"T1071":     "command-and-control|Application Layer Protocol",
	"T1070.004": "stealth|File Deletion",
	"T1074.001": "collection|Local Data Staging",
	"T1078":     "initial-access|Valid Accounts",
	"T1082":     "discovery|System Information Discovery",
	"T1090":     "command-and-control|Proxy",
	"T1095":     "command-and-control|Non-Application Layer Protocol",
	"T1098.004": "persistence|SSH Authorized Keys",
	"T1105":     "command-and-control|Ingress Tool Transfer",
	"T1110":     "credential-access|Brute Force",
	"T1133":     "initial-access|External Remote Services",
	"T1190":     "initial-access|Exploit Public-Facing Application",
	"T1195.002": "initial-access|Compromise Software Supply Chain",
	"T1222.002": "stealth|Linux and Mac File and Directory Permissions Modification",
	"T1204.002": "execution|Malicious File",
	"T1204.005": "execution|Malicious Library",
	"T1210":     "lateral-movement|Exploitation of Remote Services",
	"T1021.004": "lateral-movement|SSH",
	"T1071.004": "command-and-control|DNS",
	"T1195.001": "initial-access|Compromise Software Dependencies and Development Tools",
	"T1546":     "persistence|Event Triggered Execution",
	"T1546.018": "persistence|Python Startup Hooks",
	"T1213":     "collection|Data from Information Repositories",
	"T1485":     "impact|Data Destruction",
	"T1486":     "impact|Data Encrypted for Impact",
	"T1496":     "impact|Resource Hijacking",
	"T1496.001": "impact|Compute Hijacking",
	"T1496.004": "impact|Cloud Service Hijacking",
	"T1499":     "impact|Endpoint Denial of Service",
	"T1499.003": "impact|Application Exhaustion Flood",
	"T1528":     "credential-access|Steal Application Access Token",
	"T1537":     "exfiltration|Transfer Data to Cloud Account",
	"T1543.002": "persistence|Systemd Service",
	"T1543.005": "persistence|Container Service",
	"T1547.006": "persistence|Kernel Modules and Extensions",
	"T1552":     "credential-access|Unsecured Credentials",
	"T1552.001": "credential-access|Credentials In Files",
	"T1552.005": "credential-access|Cloud Instance Metadata API",
	"T1552.007": "credential-access|Container API",
	"T1595":     "reconnaissance|Active Scanning",
	"T1554":     "persistence|Compromise Host Software Binary",
	"T1560.001": "collection|Archive via Utility",
	"T1565.001": "impact|Stored Data Manipulation",
	"T1567":     "exfiltration|Exfiltration Over Web Service",
	"T1567.002": "exfiltration|Exfiltration to Cloud Storage",
	"T1570":     "lateral-movement|Lateral Tool Transfer",
	"T1572":     "command-and-control|Protocol Tunneling",
	"T1574":     "persistence|Hijack Execution Flow",
	"T1574.006": "persistence|Dynamic Linker Hijacking",
	"T1609":     "execution|Container Administration Command",
	"T1610":     "execution|Deploy Container",
	"T1611":     "privilege-escalation|Escape to Host",
	"T1620":     "stealth|Reflective Code Loading",

	"T1685":     "defense-impairment|Disable or Modify Tools",
	"T1685.006": "defense-impairment|Clear Linux or Mac System Logs",

	"AML.T0006":     "reconnaissance|Active Scanning",
	"AML.T0007":     "discovery|Discover AI Artifacts",
	"AML.T0010.003": "initial-access|Model",
	"AML.T0010.001": "initial-access|AI Software",
	"AML.T0011.001": "execution|Malicious Package",
	"AML.T0020":     "ai-attack-staging|Poison Training Data",
	"AML.T0059":     "impact|Erode Dataset Integrity",
	"AML.T0080":     "persistence|AI Agent Context Poisoning",
	"AML.T0081":     "persistence|Modify AI Agent Configuration",
	"AML.T0107":     "stealth|Exploitation for Defense Evasion",
	"AML.T0011.000": "execution|Unsafe AI Artifacts",
	"AML.T0055":     "credential-access|Unsecured Credentials",
	"AML.T0072":     "command-and-control|Reverse Shell",
	"AML.T0012":     "initial-access|Valid Accounts",
	"AML.T0018":     "persistence|Manipulate AI Model",
	"AML.T0018.000": "persistence|Poison AI Model",
	"AML.T0018.002": "persistence|Embed Malware",
	"AML.T0024.002": "exfiltration|Extract AI Model",
	"AML.T0025":     "exfiltration|Exfiltration via Cyber Means",
	"AML.T0029":     "impact|Denial of AI Service",
	"AML.T0031":     "impact|Erode AI Model Integrity",
	"AML.T0034":     "impact|Cost Harvesting",
	"AML.T0034.001": "impact|Resource-Intensive Queries",
	"AML.T0101":     "impact|Data Destruction via AI Agent Tool Invocation",
	"AML.T0035":     "collection|AI Artifact Collection",
	"AML.T0037":     "collection|Data from Local System",
	"AML.T0048.004": "impact|AI Intellectual Property Theft",
	"AML.T0040":     "ai-model-access|AI Model Inference API Access",
	"AML.T0049":     "initial-access|Exploit Public-Facing Application",
	"AML.T0050":     "execution|Command and Scripting Interpreter",
	"AML.T0051":     "execution|LLM Prompt Injection",
	"AML.T0051.001": "execution|Indirect",
	"AML.T0043":     "ai-attack-staging|Craft Adversarial Data",
	"AML.T0053":     "execution|AI Agent Tool Invocation",
	"AML.T0054":     "privilege-escalation|LLM Jailbreak",
	"AML.T0056":     "exfiltration|Extract LLM System Prompt",
	"AML.T0057":     "exfiltration|LLM Data Leakage",
	"AML.T0061":     "lateral-movement|LLM Prompt Self-Replication",
	"AML.T0068":     "stealth|LLM Prompt Obfuscation",
	"AML.T0077":     "exfiltration|LLM Response Rendering",
	"AML.T0082":     "credential-access|RAG Credential Harvesting",
	"AML.T0086":     "exfiltration|Exfiltration via AI Agent Tool Invocation",
	"AML.T0098":     "credential-access|AI Agent Tool Credential Harvesting",
	"AML.T0105":     "privilege-escalation|Escape to Host",
	"AML.T0109":     "initial-access|AI Supply Chain Rug Pull",
	"AML.T0110":     "persistence|AI Agent Tool Poisoning",
	"AML.T0112.000": "impact|Local AI Agent",
	"AML.T0112":     "impact|Machine Compromise",
}

// renumbered maps the techniques that ATT&CK v19 gave a new number.
var renumbered = map[string]string{
	"T1562": "T1685", "T1562.001": "T1685", "T1562.006": "T1685", "T1562.002": "T1685.001", "T1562.008": "T1685.002",
	"T1562.012": "T1685.004", "T1070.001": "T1685.005", "T1070.002": "T1685.006", "T1562.003": "T1690", "T1562.004": "T1686",
	"T1562.007": "T1686.001", "T1562.010": "T1689", "T1656": "T1684.001", "T1547.011": "T1647",
}

// impairs reports whether a technique of ATT&CK v19 is one that the old tactic Defense Evasion
// held and Defense Impairment now holds.
func impairs(id string) bool {
	for _, prefix := range []string{"T1685", "T1686", "T1689", "T1690"} {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	return false
}

// Techniques reads ATT&CK and ATLAS out of a rule's tags, such as attack.t1041, attack.exfiltration
// and atlas.aml.t0025, in the numbering and with the tactics of ATT&CK v19. A technique outside
// our own table serves the tactic tag written before it, or else the first one. A rule that names
// tactics but no technique yields the tactics.
func Techniques(tags []string) []event.Technique {
	var out []event.Technique
	var named []string
	for _, tag := range tags {
		space, id, ok := strings.Cut(strings.ToLower(tag), ".")
		if !ok || space != "attack" && space != "atlas" {
			continue
		}
		if technique, ok := techniqueID(space, id); ok {
			out = append(out, event.Technique{Framework: space, ID: technique, Tactic: last(named)})
			continue
		}
		if t := tacticName(id); t != "" {
			named = append(named, t)
		}
	}
	for i := range out {
		complete(&out[i], named)
	}
	if len(out) > 0 {
		return out
	}
	for _, t := range named {
		out = append(out, tacticOnly(t))
	}
	return out
}

// complete gives a technique its name and tactic, where named are the tactics of its rule.
func complete(t *event.Technique, named []string) {
	tactic, name, _ := strings.Cut(known[t.ID], "|")
	t.Name = name
	switch {
	case tactic != "":
		t.Tactic = tactic
	case t.Tactic == "" && len(named) > 0:
		t.Tactic = named[0]
	}
	if t.Tactic == oldEvasion {
		t.Tactic = "stealth"
		if impairs(t.ID) {
			t.Tactic = "defense-impairment"
		}
	}
}

// oldEvasion is the tactic that ATT&CK v19 split into stealth and defense-impairment.
const oldEvasion = "defense-evasion"

// techniqueID reads the part of a tag behind its framework, in lower case: t1059.004, aml.t0025.
func techniqueID(framework, s string) (string, bool) {
	prefix := "t"
	if framework == "atlas" {
		prefix = "aml.t"
	}
	digits, ok := strings.CutPrefix(s, prefix)
	number, sub, hasSub := strings.Cut(digits, ".")
	if !ok || len(number) != 4 || !allDigits(number) || hasSub && (len(sub) != 3 || !allDigits(sub)) {
		return "", false
	}
	id := strings.ToUpper(s)
	if now, ok := renumbered[id]; ok {
		id = now
	}
	return id, true
}

// tacticName returns the tactic that a tag names, "" if there is none of that name. Sigma once
// wrote underscores.
func tacticName(s string) string {
	s = strings.ReplaceAll(s, "_", "-")
	if tactics[s] != "" || atlasTactics[s] != "" || s == oldEvasion {
		return s
	}
	for name, id := range tactics {
		if strings.EqualFold(id, s) {
			return name
		}
	}
	return ""
}

func tacticOnly(name string) event.Technique {
	if name == oldEvasion {
		name = "stealth"
	}
	if id := atlasTactics[name]; id != "" {
		return event.Technique{Framework: "atlas", ID: id, Tactic: name}
	}
	return event.Technique{Framework: "attack", ID: tactics[name], Tactic: name}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}
