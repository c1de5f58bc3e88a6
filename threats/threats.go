// Package threats holds the ways of attack that Picket covers, one folder each: a README.md, Sigma
// rules with sample events, and an attack.yml that the lab plays.
package threats

import "embed"

// FS holds the threat folders.
//
//go:embed */*.md */*.yml */*.events
var FS embed.FS
