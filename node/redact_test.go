package node

import "testing"

func TestSecretsOfALine(t *testing.T) {
	for line, want := range map[string]string{
		`/bin/true --token=s3cr3t`:                              `/bin/true --token=***`,
		`curl -H "Authorization: Bearer s3cr3t" http://x/`:      `curl -H "Authorization: Bearer ***" http://x/`,
		"export API_KEY=s3cr3t;\ttrue --password s3cr3t":        `export API_KEY=*** --password ***`,
		`git clone https://me:s3cr3t@example.com/x.git && true`: `git clone https://me:***@example.com/x.git && true`,
		`ls -l /tmp`: `ls -l /tmp`,
	} {
		if got := redactLine(line); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
