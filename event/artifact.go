package event

// Artifact is what one version of a model file is: the object of a ModelSeen, beside File.
type Artifact struct {
	Use       string `json:"use,omitempty"`    // UseRead or UseWritten: what the process of the event did with it
	Digest    string `json:"digest,omitempty"` // SHA-256 in hexadecimal; "" where the file was not read whole
	Verdict   string `json:"verdict"`          // as picket scan says it: clean, unsupported, unknown, failed, suspicious or malicious
	Issue     string `json:"issue,omitempty"`  // the worst that the scan found, in one sentence
	Signature string `json:"signature"`        // Unsigned, Signed, Invalid or Untrusted; "" where the file was not read whole
	Signer    string `json:"signer,omitempty"` // of one that is signed: the key's digest, the certificate's subject or the identity
	Refusal   string `json:"refusal,omitempty"`
}

// What a process did with a model file.
const (
	UseRead    = "read"
	UseWritten = "written"
)

// The states of a model file's signature.
const (
	Unsigned  = "unsigned"
	Signed    = "signed"    // by who is trusted, and the file is what was signed
	Invalid   = "invalid"   // the file is not what was signed, or the signature is broken
	Untrusted = "untrusted" // signed by somebody whom the configuration does not name
)

// Hostile reports whether loading the file may run what no model needs.
func (a *Artifact) Hostile() bool { return a.Verdict == "malicious" || a.Verdict == "suspicious" }

// describe says what the process did with the file, and what the file is.
func (a *Artifact) describe(path string) string {
	s := "read " + path
	if a.Use == UseWritten {
		s = "wrote " + path
	}
	s += ": " + a.Verdict
	if a.Signature != "" {
		s += ", " + a.Signature
	}
	if a.Issue != "" {
		s += " (" + a.Issue + ")"
	}
	return s
}

// artifactFields say what a model file is.
var artifactFields = []Info{
	art("ai.model.use", "what the process did with the model file: read or written", func(a *Artifact) *string { return &a.Use }),
	art("ai.model.digest", "SHA-256 of the model file", func(a *Artifact) *string { return &a.Digest }),
	art("ai.model.verdict", "what loading the model file would do: clean, unsupported, unknown, failed, suspicious or malicious", func(a *Artifact) *string { return &a.Verdict }),
	art("ai.model.issue", "the worst that the scan of the model file found", func(a *Artifact) *string { return &a.Issue }),
	art("ai.model.signature", "signature of the model file: unsigned, signed, invalid or untrusted", func(a *Artifact) *string { return &a.Signature }),
	art("ai.model.signer", "who signed the model file: a key's digest, a certificate's subject or an identity", func(a *Artifact) *string { return &a.Signer }),
	art("ai.model.refusal", "why the signature of the model file does not count", func(a *Artifact) *string { return &a.Refusal }),
}

func (e *Event) artifact() *Artifact {
	if e.Artifact == nil {
		e.Artifact = new(Artifact)
	}
	return e.Artifact
}

func art(name, doc string, member func(*Artifact) *string) Info {
	return part(name, "", doc, func(e *Event) *Artifact { return e.Artifact }, (*Event).artifact, member)
}
