// Package playbooks holds the playbooks that come with Picket: NAME.json in CACAO 2.0, and beside each
// the runbook NAME.md, which a person can follow without it.
package playbooks

import "embed"

// FS holds the playbooks and their runbooks.
//
//go:embed *.json *.md
var FS embed.FS
