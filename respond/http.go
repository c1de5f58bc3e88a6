package respond

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"picket/respond/action"
)

// maxAnswer bounds what of an answer becomes the value of a variable.
const maxAnswer = 16 << 10

// NewTransport returns a transport for the requests of playbooks: no proxy, and no link-local address,
// under which clouds give out credentials.
func NewTransport() *http.Transport {
	dial := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if a, err := action.Receiver(address); err != nil {
			return fmt.Errorf("a playbook must not reach %s: %w", a, err)
		}
		return nil
	}}
	return &http.Transport{DialContext: dial.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
}

// send carries out a request over HTTP. An answer from 400 on is a failure; redirects are not followed.
func (e *Engine) send(ctx context.Context, b begun, i *item, o *outcome) *action.Result {
	res := &action.Result{ID: i.Request.ID, State: action.Failed, At: e.o.Now().UTC()}
	task := b.task
	filled := &order{p: task.Playbook, step: task.Playbook.Workflow[task.Step], index: task.Index, vars: task.Vars}
	req, base, err := filled.fill()
	if err != nil {
		res.Detail = err.Error()
		return res
	}
	h, err := http.NewRequestWithContext(ctx, req.Method, base+req.Path, strings.NewReader(req.Body))
	if err != nil {
		res.Detail = err.Error()
		return res
	}
	for name, list := range req.Headers {
		h.Header[http.CanonicalHeaderKey(name)] = list
	}
	if h.Header.Get("Content-Type") == "" && task.Command.Type == "openc2-http" {
		h.Header.Set("Content-Type", "application/openc2+json;version=1.0")
	}
	answer, err := e.http.Do(h)
	if err != nil {
		if i.Class != action.Observe && !refused(err) {
			res.State = action.Unknown // it may have come through
		}
		res.Detail = err.Error()
		return res
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	o.output, o.status = string(body), strconv.Itoa(answer.StatusCode)
	switch {
	case answer.StatusCode >= 300:
		res.Detail = "the answer was " + answer.Status
	case err != nil:
		res.Detail = "reading the answer: " + err.Error()
	case len(body) > maxAnswer && len(filled.step.OutArgs) > 0:
		res.Detail = fmt.Sprintf("the answer has more than %d bytes, which no variable takes", maxAnswer)
	default:
		res.State, res.Detail = action.Done, "the answer was "+answer.Status
	}
	return res
}

// refused reports whether a request did not reach its server at all.
func refused(err error) bool {
	op, is := errors.AsType[*net.OpError](err)
	return is && op.Op == "dial"
}
