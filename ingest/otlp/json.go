package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxJSON is how much of a body of JSON is taken: what it decodes to is many times as large.
const maxJSON = 1 << 20

type jsonAttribute struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// jsonSpansOf is spansOf of OTLP's JSON.
func jsonSpansOf(body []byte, do func(*span) error) error {
	var request struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []json.RawMessage `json:"spans"`
			} `json:"scopeSpans"`
		} `json:"resourceSpans"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return jsonError(body, err)
	}
	for _, r := range request.ResourceSpans {
		for _, s := range r.ScopeSpans {
			for _, raw := range s.Spans {
				one, err := jsonSpanOf(raw)
				if err != nil {
					return err
				}
				if err := do(one); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// jsonError says where in the body a mistake is.
func jsonError(body []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := body[:min(int(syntax.Offset), len(body))]
		return fmt.Errorf("%w: line %d: %w", errWire, 1+bytes.Count(before, []byte("\n")), err)
	}
	return fmt.Errorf("%w: %w", errWire, err)
}

func jsonSpanOf(raw []byte) (*span, error) {
	var j struct {
		Trace      string          `json:"traceId"`
		Start      json.RawMessage `json:"startTimeUnixNano"`
		End        json.RawMessage `json:"endTimeUnixNano"`
		Attributes []jsonAttribute `json:"attributes"`
		Events     []struct {
			Name       string          `json:"name"`
			Attributes []jsonAttribute `json:"attributes"`
		} `json:"events"`
		Status struct {
			Code json.RawMessage `json:"code"`
		} `json:"status"`
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, jsonError(raw, err)
	}
	code := string(bytes.Trim(j.Status.Code, `"`))
	s := &span{start: jsonNumber(j.Start), end: jsonNumber(j.End), failed: code == "2" || code == "STATUS_CODE_ERROR", attributes: map[string]value{}}
	s.trace = strings.ToLower(j.Trace[:min(len(j.Trace), 2*maxTrace)])
	left := maxValues
	jsonAttributes(s.attributes, j.Attributes, &left)
	for _, e := range j.Events[:min(len(j.Events), maxEvents)] {
		one := spanEvent{name: e.Name, attributes: map[string]value{}}
		jsonAttributes(one.attributes, e.Attributes, &left)
		s.events = append(s.events, one)
	}
	return s, nil
}

// jsonNumber reads a 64-bit number, which OTLP writes as a text.
func jsonNumber(raw []byte) uint64 {
	n, _ := strconv.ParseUint(string(bytes.Trim(raw, `"`)), 10, 64) // 0 is what is not there
	return n
}

func jsonAttributes(to map[string]value, from []jsonAttribute, left *int) {
	for _, a := range from {
		if len(to) < maxAttributes && len(a.Key) <= 128 && wanted(a.Key) {
			to[a.Key] = jsonValue(a.Value, 0, left)
		}
	}
}

// jsonValue reads an AnyValue as JSON. What is no such value is none.
func jsonValue(raw []byte, depth int, left *int) (v value) {
	if *left--; depth > maxDepth || *left < 0 {
		return v
	}
	var j struct {
		Text   *string         `json:"stringValue"`
		Truth  *bool           `json:"boolValue"`
		Int    json.RawMessage `json:"intValue"`
		Double json.RawMessage `json:"doubleValue"`
		Array  *struct {
			Values []json.RawMessage `json:"values"`
		} `json:"arrayValue"`
		Map *struct {
			Values []jsonAttribute `json:"values"`
		} `json:"kvlistValue"`
	}
	if json.Unmarshal(raw, &j) != nil {
		return v
	}
	switch {
	case j.Text != nil:
		return value{is: aText, text: *j.Text}
	case j.Truth != nil:
		v.is = aTruth
		if *j.Truth {
			v.num = 1
		}
	case j.Int != nil || j.Double != nil:
		raw := j.Int
		if raw == nil {
			raw = j.Double
		}
		n, err := strconv.ParseFloat(string(bytes.Trim(raw, `"`)), 64)
		if err == nil && !math.IsNaN(n) {
			return value{is: aNumber, num: n}
		}
	case j.Array != nil:
		v.is = aList
		for _, raw := range j.Array.Values {
			if *left > 0 {
				v.list = append(v.list, jsonValue(raw, depth+1, left))
			}
		}
	case j.Map != nil:
		v.is = aMap
		for _, a := range j.Map.Values {
			if *left > 0 {
				v.keys, v.list = append(v.keys, a.Key), append(v.list, jsonValue(a.Value, depth+1, left))
			}
		}
	}
	return v
}
