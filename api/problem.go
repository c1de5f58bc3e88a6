package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Problem is an error as the API answers it: RFC 9457, application/problem+json.
type Problem = huma.ErrorModel //nolint:errname // RFC 9457 calls it a problem

func encode(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) } // escapes <, > and &

func problem(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(status)
	_ = encode(w, &Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}

// fail turns an error of a part into an answer. What is not one of the API's own errors goes to
// the log and not to the client: it may tell of paths and addresses.
func (s *Server) fail(ctx context.Context, tried string, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return huma.Error404NotFound(tried + ": " + err.Error())
	case errors.Is(err, ErrConflict):
		return huma.Error409Conflict(tried + ": " + err.Error() + "; read it again and repeat the change")
	case errors.Is(err, ErrInvalid):
		return huma.Error400BadRequest(tried + ": " + err.Error())
	case errors.Is(err, ErrAway), errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable(tried + ": " + err.Error() + "; GET /api/v1/health says which part is away")
	case ctx.Err() != nil:
		return huma.NewError(499, "the client went away")
	}
	s.log.Error("request failed", "tried", tried, "err", err)
	return huma.Error500InternalServerError(tried + " failed; the server's log says why")
}
