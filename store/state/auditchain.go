package state

import (
	"fmt"
	"strconv"
	"strings"
)

// AuditHead names the end of an audit log. Kept where the log is not, it tells that the log was cut off.
type AuditHead struct {
	Seq  int64
	Hash string
}

// String is how a head is written: its number, a colon, its hash.
func (h AuditHead) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseAuditHead is the reverse of String.
func ParseAuditHead(text string) (AuditHead, error) {
	number, hash, _ := strings.Cut(strings.TrimSpace(text), ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return AuditHead{}, fmt.Errorf("%q is no end of an audit log: want NUMBER:HASH, as picket audit verify prints it", text)
	}
	return AuditHead{n, hash}, nil
}

// AuditChain checks entries that are handed to it in the order in which a log has them.
type AuditChain struct {
	Heads []AuditHead // entries that must be there, and so many before them

	last  AuditHead
	wrong []string
}

// Next takes the next entry. It says what is wrong with it or before it, "" where nothing is.
func (c *AuditChain) Next(e AuditEntry) string {
	row := auditRow{Seq: e.Seq, Time: nanos(e.Time), Who: e.Who, Origin: e.From, What: e.What, Object: e.Object, OK: number(e.OK), Detail: e.Detail, Prev: e.Prev}
	what := ""
	switch next := c.last.Seq + 1; {
	case e.Seq == next+1:
		what = fmt.Sprintf("entry %d is gone", next)
	case e.Seq > next:
		what = fmt.Sprintf("entries %d to %d are gone", next, e.Seq-1)
	case e.Seq < next:
		what = fmt.Sprintf("entry %d stands behind entry %d: the order was changed, or it is there twice", e.Seq, c.last.Seq)
	case row.sum() != e.Hash:
		what = fmt.Sprintf("entry %d was changed", e.Seq)
	case e.Prev != c.last.Hash:
		what = fmt.Sprintf("entry %d does not follow from the one before: one of them was put in another's place", e.Seq)
	}
	for _, h := range c.Heads {
		if what == "" && h.Seq == e.Seq && h.Hash != e.Hash {
			what = fmt.Sprintf("entry %d is another than was noted: it and what follows was written anew", e.Seq)
		}
	}
	if e.Seq > c.last.Seq { // one that was moved to the back is not what the next follows from
		c.last = AuditHead{e.Seq, e.Hash}
	}
	if what != "" {
		c.wrong = append(c.wrong, what)
	}
	return what
}

// End says what is missing behind the last entry.
func (c *AuditChain) End() {
	var most int64
	for _, h := range c.Heads {
		most = max(most, h.Seq)
	}
	if most > c.last.Seq {
		c.wrong = append(c.wrong, fmt.Sprintf("the log was cut off behind entry %d: there were %d", c.last.Seq, most))
	}
}

// Head returns the last entry so far.
func (c *AuditChain) Head() AuditHead { return c.last }

// Wrong tells all that is wrong, in its order.
func (c *AuditChain) Wrong() []string { return c.wrong }
