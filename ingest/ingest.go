// Package ingest reads what AI services tell of themselves: the requests in their access logs, and
// their metrics.
//
// What a log holds is a client's to choose, and who runs in a container chooses the log. So every
// length is bounded, nothing is believed but the place at which a server writes a thing, and what is
// not read is counted.
package ingest
