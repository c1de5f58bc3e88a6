package sigma

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// comparison is an ordering.
type comparison uint8

const (
	equal comparison = iota
	less
	lessEqual
	greater
	greaterEqual
)

// holds reports whether c is true of the result of a three-way comparison.
func (c comparison) holds(order int) bool {
	switch c {
	case equal:
		return order == 0
	case less:
		return order < 0
	case lessEqual:
		return order <= 0
	case greater:
		return order > 0
	}
	return order >= 0
}

// number is a sign and 64 bits, or a float. Integers are compared as integers: a float cannot
// tell apart inodes above 2⁵³.
type number struct {
	float bool
	neg   bool
	mag   uint64
	f     float64
}

func integerNumber(i int64) number {
	if i < 0 {
		return number{neg: true, mag: -uint64(i)}
	}
	return number{mag: uint64(i)}
}

// parseNumber reads an integer, 0x hexadecimal or a float.
func parseNumber(s string) (number, bool) {
	digits, neg := s, false
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		neg, digits = digits[0] == '-', digits[1:]
	}
	if digits == "" || len(digits) > 400 || !numeric(digits) {
		return number{}, false
	}
	if mag, ok := parseDigits(digits); ok {
		return number{neg: neg && mag != 0, mag: mag}, true
	}
	if len(digits) > 1 && (digits[1] == 'x' || digits[1] == 'X') {
		return number{}, false
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return number{}, false
	}
	if neg {
		f = -f
	}
	return number{float: true, f: f}, true
}

// numeric keeps texts that cannot be numbers away from the parsers, which allocate their errors.
func numeric(s string) bool {
	if s[0] != '.' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !wordByte(c) && c != '.' && c != '-' && c != '+' || c == '_' || c > 'f' && c != 'x' || c > 'F' && c < 'a' && c != 'X' {
			return false
		}
	}
	return true
}

func parseDigits(s string) (uint64, bool) {
	base := uint64(10)
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		base, s = 16, s[2:]
	}
	var n uint64
	for i := range len(s) {
		d := digit(s[i])
		if d >= base || n > (math.MaxUint64-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	}
	return math.MaxUint64
}

// compare returns -1, 0 or 1.
func (a number) compare(b number) int {
	switch {
	case a.float && b.float:
		return order(a.f, b.f)
	case a.float:
		return -b.compare(a)
	case b.float:
		return a.compareFloat(b.f)
	case a.neg != b.neg:
		if a.neg {
			return -1
		}
		return 1
	case a.neg:
		return order(b.mag, a.mag)
	}
	return order(a.mag, b.mag)
}

// compareFloat compares the integer a with f without rounding a.
func (a number) compareFloat(f float64) int {
	neg := math.Signbit(f) && f != 0
	if a.neg != neg {
		if a.neg {
			return -1
		}
		return 1
	}
	size := math.Abs(f)
	result := -1
	if size < 1<<64 {
		whole := math.Floor(size)
		if result = order(a.mag, uint64(whole)); result == 0 && size > whole {
			result = -1
		}
	}
	if a.neg {
		return -result
	}
	return result
}

func order[T uint64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ruleNumber reads a number as rules may write it: also with underscores, 0o and 0b.
func ruleNumber(v value) (number, bool) {
	s := strings.ReplaceAll(v.text, "_", "")
	if v.kind == valueNumber && len(s) > 2 && s[0] == '0' && (s[1] == 'o' || s[1] == 'b') {
		mag, err := strconv.ParseUint(s, 0, 64)
		return number{mag: mag}, err == nil
	}
	if v.kind != valueText && v.kind != valueNumber {
		return number{}, false
	}
	return parseNumber(s)
}

// datePart is a part of a date.
type datePart uint8

const (
	noPart datePart = iota
	minute
	hour
	day
	week
	month
	year
)

// of returns the part of a date written year first, with or without a time: the figures that
// stand there, whatever the zone.
func (p datePart) of(s string) (number, bool) {
	y, ok1 := figures(s, 0, 4)
	m, ok2 := figures(s, 5, 2)
	d, ok3 := figures(s, 8, 2)
	if !ok1 || !ok2 || !ok3 || s[4] != s[7] || s[4] != '-' && s[4] != '/' || m < 1 || m > 12 || d < 1 || d > 31 {
		return number{}, false
	}
	n := 0
	switch p {
	case year:
		n = y
	case month:
		n = m
	case day:
		n = d
	case week:
		_, n = time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).ISOWeek()
	default:
		hh, ok1 := figures(s, 11, 2)
		mm, ok2 := figures(s, 14, 2)
		if !ok1 || !ok2 || s[13] != ':' || s[10] != 'T' && s[10] != 't' && s[10] != ' ' || hh > 23 || mm > 59 {
			return number{}, false
		}
		if n = hh; p == minute {
			n = mm
		}
	}
	return integerNumber(int64(n)), true
}

func figures(s string, from, n int) (int, bool) {
	if len(s) < from+n {
		return 0, false
	}
	v := 0
	for _, c := range []byte(s[from : from+n]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}
