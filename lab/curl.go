package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// curlPath is where the image has its curl: the picket executable again, because busybox's wget
// cannot send a binary file and images of inference servers do carry curl.
const curlPath = "/usr/bin/curl"

// isCurl reports whether the process was started by the name curl.
func isCurl(args []string) bool { return len(args) > 0 && filepath.Base(args[0]) == "curl" }

// transfer is what curl's arguments ask for.
type transfer struct {
	method, url, upload, text, output string
	fail, blind                       bool // blind: whatever certificate the server has
}

// curl knows -s -S -f -L -k -X -d --data-binary -T -o and an address: enough to carry a file in or out.
func curl(args []string) error {
	t, err := parseCurl(args[1:])
	if err != nil {
		return err
	}
	var body io.Reader
	if t.text != "" {
		body = strings.NewReader(t.text)
	}
	if t.upload != "" {
		f, err := os.Open(t.upload)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it was only read
		body = f
	}
	req, err := http.NewRequest(t.method, t.url, body)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: t.blind}}} //nolint:gosec // as curl -k
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	out := os.Stdout
	if t.output != "" {
		if out, err = os.Create(t.output); err != nil {
			return err
		}
		defer out.Close() //nolint:errcheck // a short file shows in what the attack does next
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	if t.fail && resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil
}

func parseCurl(args []string) (transfer, error) {
	t := transfer{method: http.MethodGet}
	for i := 0; i < len(args); i++ {
		a := args[i]
		value := func() string {
			i++
			if i < len(args) {
				return args[i]
			}
			return ""
		}
		switch {
		case a == "-X" || a == "--request":
			t.method = value()
		case a == "-d" || a == "--data" || a == "--data-binary":
			t.method = http.MethodPost
			if v := value(); strings.HasPrefix(v, "@") {
				t.upload = v[1:]
			} else {
				t.text = v
			}
		case a == "-T" || a == "--upload-file":
			t.method, t.upload = http.MethodPut, value()
		case a == "-o" || a == "--output":
			t.output = value()
		case a == "-H" || a == "--header" || a == "-m" || a == "--max-time":
			value() // taken, and without meaning here
		case a == "--fail":
			t.fail = true
		case strings.HasPrefix(a, "--"):
		case strings.HasPrefix(a, "-"):
			t.fail, t.blind = t.fail || strings.Contains(a, "f"), t.blind || strings.Contains(a, "k")
		default:
			t.url = a
		}
	}
	if t.url == "" {
		return t, errors.New("no URL specified")
	}
	if !strings.Contains(t.url, "://") {
		t.url = "http://" + t.url
	}
	return t, nil
}
