package otlp

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Where traces are sent: the paths of OTLP/HTTP and of gRPC's service.
const (
	tracesPath = "/v1/traces"
	grpcPath   = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
)

// encoding is how a body is written, and its answer.
type encoding uint8

const (
	asProto encoding = iota
	asJSON
	asGRPC
	asOther
)

var (
	errTooLarge = fmt.Errorf("body: more than %d MiB, or than %d MiB of JSON, unpacked: send smaller batches", maxBody>>20, maxJSON>>20)
	errMedia    = errors.New("want the content type application/x-protobuf, application/json or application/grpc, packed by gzip or not at all")
)

// answer writes what came of a body, in the way that its sender understands.
type answer struct {
	w    http.ResponseWriter
	kind encoding
}

func answerOf(w http.ResponseWriter, r *http.Request) *answer {
	kind := asOther
	switch media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media {
	case "application/x-protobuf":
		kind = asProto
	case "application/json":
		kind = asJSON
	case "application/grpc", "application/grpc+proto":
		kind = asGRPC
	}
	return &answer{w, kind}
}

// read returns the body, unpacked.
func (a *answer) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := int64(maxBody)
	if a.kind == asJSON {
		most = maxJSON
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most+5))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, errTooLarge
		}
		return nil, fmt.Errorf("body: %w", err)
	}
	packed := false
	switch a.kind {
	case asOther:
		return nil, errMedia
	case asGRPC:
		if len(raw) < 5 || int64(binary.BigEndian.Uint32(raw[1:5])) != int64(len(raw)-5) || raw[0] > 1 {
			return nil, errors.New("body: not one message of gRPC")
		}
		packed, raw = raw[0] == 1, raw[5:]
		if packed && r.Header.Get("Grpc-Encoding") != "gzip" {
			return nil, errMedia
		}
	default:
		switch r.Header.Get("Content-Encoding") {
		case "gzip":
			packed = true
		case "", "identity":
		default:
			return nil, errMedia
		}
	}
	if !packed {
		if int64(len(raw)) > most {
			return nil, errTooLarge
		}
		return raw, nil
	}
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(zip, most+1))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if int64(len(body)) > most {
		return nil, errTooLarge
	}
	return body, nil
}

// accepted says that a body was taken, and how many of its spans were not.
func (a *answer) accepted(w http.ResponseWriter, dropped int64) {
	why := fmt.Sprintf("more than %d requests in a second", maxPerSecond)
	if a.kind == asJSON {
		var out struct {
			Partial *struct {
				Rejected string `json:"rejectedSpans"`
				Error    string `json:"errorMessage"`
			} `json:"partialSuccess,omitempty"`
		}
		if dropped > 0 {
			out.Partial = &struct {
				Rejected string `json:"rejectedSpans"`
				Error    string `json:"errorMessage"`
			}{strconv.FormatInt(dropped, 10), why}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // who has gone needs no answer
		return
	}
	var message []byte
	if dropped > 0 {
		partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(dropped))
		partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), why)
		message = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	}
	if a.kind == asGRPC {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		message = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
		_, _ = w.Write(message) // as above
		w.Header().Set("Grpc-Status", "0")
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(message) // as above
}

// refused says why a body was not taken. Text cannot be mistaken for anything else by a browser.
func (a *answer) refused(status int, why string) {
	h := a.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if a.kind != asGRPC {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		a.w.WriteHeader(status)
		_, _ = io.WriteString(a.w, why+"\n") // as above
		return
	}
	code := "3" // invalid argument
	switch status {
	case http.StatusUnauthorized:
		code = "16"
	case http.StatusServiceUnavailable:
		code = "14" // unavailable: senders try again
	case http.StatusNotFound:
		code = "12" // unimplemented
	}
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", code)
	h.Set("Grpc-Message", url.PathEscape(why))
	a.w.WriteHeader(http.StatusOK)
}
