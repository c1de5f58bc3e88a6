package sign

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	payloadType = "application/vnd.in-toto+json"
)

// bundle is a sigstore bundle as far as it is read here.
type bundle struct {
	MediaType    string   `json:"mediaType"`
	Verification material `json:"verificationMaterial"`
	Envelope     envelope `json:"dsseEnvelope"`
}

type material struct {
	PublicKey   *publicKey  `json:"publicKey,omitempty"`
	Chain       *chain      `json:"x509CertificateChain,omitempty"`
	Certificate *rawCert    `json:"certificate,omitempty"` // keyless
	Tlog        []tlogEntry `json:"tlogEntries"`
}

type (
	publicKey struct {
		Hint string `json:"hint,omitempty"` // SHA-256 of the key's PEM text
	}
	chain struct {
		Certificates []rawCert `json:"certificates"` // the signer's first
	}
	rawCert struct {
		Raw []byte `json:"rawBytes"` // DER
	}
	tlogEntry = json.RawMessage
)

type envelope struct {
	Payload    []byte      `json:"payload"`
	Type       string      `json:"payloadType"`
	Signatures []signature `json:"signatures"`
}

type signature struct {
	Sig   []byte `json:"sig"`
	KeyID string `json:"keyid"`
}

// parseBundle reads a bundle, and refuses what is none or has other than one signature.
func parseBundle(data []byte) (*bundle, error) {
	var b bundle
	if len(data) > MaxBundle {
		return nil, refuse("it is larger than %d MiB", MaxBundle>>20)
	}
	if err := decode(data, &b); err != nil {
		return nil, refuse("it is no sigstore bundle: %v", err)
	}
	if !strings.HasPrefix(b.MediaType, "application/vnd.dev.sigstore.bundle") {
		return nil, refuse("its mediaType is %q, not a sigstore bundle's", b.MediaType)
	}
	if b.Envelope.Type != payloadType {
		return nil, refuse("what was signed is of type %q, not %s", b.Envelope.Type, payloadType)
	}
	if n := len(b.Envelope.Signatures); n != 1 {
		return nil, refuse("it has %d signatures, and one is what is expected", n)
	}
	return &b, nil
}

// pae is the text that a DSSE signature is over, by
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
func pae(payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), payload...)
}

// oldPAE is what writers before v1.0 signed: a capital V, and the payload as Python prints bytes.
func oldPAE(payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEV1 %d %s %d ", len(payloadType), payloadType, len(payload)), pythonBytes(payload)...)
}

func pythonBytes(p []byte) []byte {
	quote := byte('\'')
	text := string(p)
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = '"'
	}
	out := []byte{'b', quote}
	for _, c := range p {
		switch {
		case c == quote || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c < 0x20 || c >= 0x7f:
			out = fmt.Appendf(out, `\x%02x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, quote)
}
