// Package sigma reads Sigma rules, correlations and filters, compiles them and matches events against
// them.
//
// Parse turns the YAML documents of a file into a Collection, Compile turns rules and the filters on
// them into an Engine, and Engine.Match tells which rules an event fires. A Correlator counts what
// fired in windows of time and tells which correlations that fulfils. What cannot be evaluated is refused when it is
// loaded, with its position and a reason; the other rules load. A rule that loads means exactly
// what the specification (2.1.0) says it means: nothing is silently skipped.
//
// The specification leaves a few things open. This package decides them so:
//   - neq is true only of a field that has a value; a missing field is never "different".
//   - A pattern such as "sel*" does not reach identifiers that begin with "_" unless it does too.
//   - Numbers match by the text they are written with: 00000429 is not 429.
//   - Field names are case-sensitive, values are not.
//   - A correlation without group-by has one window for all events; an event that lacks a field of
//     group-by is not counted.
//   - value_percentile takes "percentile: N" in its condition, 50 if it is not there, and interpolates.
//   - A condition with an upper bound is judged when its window closes, a timespan after the first
//     event in it. An empty window never fires.
//   - A filter hides what its condition matches; one that begins with not is added to the rule's.
//
// The package knows nothing of where events come from: they are given as an Event, and the
// numbers of their fields by a Schema. For events that are lines of JSON there are Record and Names.
// A Pipeline rewrites rules for events that have other names, values or log sources.
package sigma
