package sink

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"picket/event"
)

// Schema is the version of OCSF that records follow.
const Schema = "1.8.0"

// The versions of the frameworks that techniques are named from.
const (
	attackVersion = "19"
	atlasVersion  = "5.6.0"
)

// Mapping writes findings and incidents as OCSF records.
type Mapping struct {
	// Version is Picket's.
	Version string
	// URL is the dashboard's address; "" leaves links out.
	URL string
	// Group is who incidents are assigned to, as OCSF demands somebody. Default Security Operations.
	Group string
}

const (
	maxRecord    = 1 << 20
	maxEvidences = 32
	maxList      = 256
	wholeText    = 32 << 10 // a text up to this long stays whole
	shortText    = 1 << 10  // unless the record would get larger than maxRecord
)

// Finding writes a Detection Finding (class 2004). The incident is the one that the finding belongs
// to, "" where it has none. The same finding always gives the same bytes.
func (m Mapping) Finding(f event.Finding, incident string) (json.RawMessage, error) {
	return fit(func(w *writer) object { return m.finding(w, f, incident) })
}

// Incident writes an Incident Finding (class 2005). The same version of an incident always gives the
// same bytes.
func (m Mapping) Incident(i event.Incident) (json.RawMessage, error) {
	return fit(func(w *writer) object { return m.incident(w, i) })
}

// fit writes a record, with long texts cut shorter where it would be larger than maxRecord.
func fit(build func(*writer) object) (json.RawMessage, error) {
	for _, limit := range []int{wholeText, shortText, 64} {
		w := &writer{limit: limit}
		o := build(w)
		if w.cut > 0 {
			o["metadata"].(object)["is_truncated"] = true
		}
		b, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("writing an OCSF record: %w", err)
		}
		if len(b) <= maxRecord {
			return b, nil
		}
	}
	return nil, fmt.Errorf("writing an OCSF record: larger than %d bytes with every text cut", maxRecord)
}

func (m Mapping) finding(w *writer, f event.Finding, incident string) object {
	o := base(2004, 1, "Create", "Detection Finding", f.Severity, f.Time)
	o["metadata"] = m.metadata(w, event.HashID("ocsf", "2004", f.ID, strconv.Itoa(f.Count)), incident, "host", "container", "security_control")
	o["message"] = w.text(f.Summary)
	o["count"] = max(f.Count, 1)
	o["status_id"], o["status"] = 1, "New"
	o["action_id"], o["action"] = 3, "Observed"
	o["disposition_id"], o["disposition"] = 15, "Detected"
	o["is_alert"] = f.Severity >= event.Low
	o["device"] = w.device(f.Host)
	o.list("attacks", attacks(w, f.Techniques))
	o["finding_info"] = m.info(w, f)
	o.list("evidences", w.evidences(f))
	o.list("resources", w.resources(f))
	o.list("observables", w.observables(f.Entities, f.Host))
	if len(f.Processes) > 0 {
		o["actor"] = object{"process": w.process(f.Processes, f.Container)}
	}
	if m.URL != "" {
		o["src_url"] = w.text(m.URL + "/findings/" + f.ID)
	}
	return o
}

// info says which detection found what.
func (m Mapping) info(w *writer, f event.Finding) object {
	o := object{
		"uid": w.text(f.ID), "title": w.text(f.Rule.Title), "desc": w.text(f.Summary),
		"created_time": millis(f.Time), "first_seen_time": millis(f.Time), "last_seen_time": millis(f.Time),
		"analytic": analytic(w, f.Rule.ID, f.Rule.Name, f.Rule.Threat), "related_events_count": max(f.Count, 1),
	}
	o.text("product_uid", "picket")
	if f.Rule.Threat != "" {
		o["types"] = []any{w.text(f.Rule.Threat)}
	}
	o.list("attacks", attacks(w, f.Techniques))
	var related []any
	for _, id := range f.EventIDs[:min(len(f.EventIDs), maxList)] {
		if id != "" {
			related = append(related, object{"uid": w.text(id)})
		}
	}
	o.list("related_events", related)
	if m.URL != "" {
		o["src_url"] = w.text(m.URL + "/findings/" + f.ID)
	}
	return o
}

func (m Mapping) incident(w *writer, i event.Incident) object {
	activity, name := 2, "Update"
	switch {
	case i.Status == event.IncidentClosed:
		activity, name = 3, "Close"
	case i.Version <= 1:
		activity, name = 1, "Create"
	}
	at := i.LastSeen
	for _, c := range i.Log {
		if c.Time.After(at) {
			at = c.Time
		}
	}
	o := base(2005, activity, name, "Incident Finding", i.Severity, at)
	o["metadata"] = m.metadata(w, event.HashID("ocsf", "2005", i.ID, strconv.FormatInt(i.Version, 10)), i.ID, "incident", "host", "security_control")
	o["message"] = w.text(i.Title)
	o.text("desc", w.text(i.Summary))
	o["count"] = max(i.FindingN, 1)
	o["start_time"], o["end_time"] = millis(i.FirstSeen), millis(i.LastSeen)
	if d := i.LastSeen.Sub(i.FirstSeen); d >= 0 {
		o["duration"] = d.Milliseconds()
	}
	o["is_alert"] = i.Severity >= event.Low
	o["action_id"], o["action"] = 3, "Observed"
	o["disposition_id"], o["disposition"] = 15, "Detected"
	o["risk_score"] = i.Risk
	o["risk_level_id"], o["risk_level"] = below(i.Severity, "Info")
	o["priority_id"], o["priority"] = below(i.Severity, "Unknown")
	o["status_id"], o["status"] = status(i.Status)
	o["verdict_id"], o["verdict"] = verdict(i.Verdict)
	o["assignee_group"] = object{"name": w.text(m.group())}
	if n := len(i.Log); n > 0 {
		o.text("comment", w.text(i.Log[n-1].Note))
	}
	if len(i.Hosts) > 0 {
		o["device"] = w.device(i.Hosts[0])
	}
	if len(i.Processes) > 0 {
		o["actor"] = object{"process": w.node(i.Processes[0], nil)}
	}
	o.list("attacks", attacks(w, i.Techniques))
	o["finding_info_list"] = m.infos(w, i)
	host := ""
	if len(i.Hosts) > 0 {
		host = i.Hosts[0]
	}
	o.list("observables", w.observables(i.Entities, host))
	if left := len(i.Findings) - maxList; left > 0 {
		o["unmapped"] = object{"findings_left_out": left}
	}
	if m.URL != "" {
		o["src_url"] = w.text(m.URL + "/incidents/" + i.ID)
	}
	return o
}

// infos lists the incident's findings, each with its sentence of the story. OCSF demands at least
// one: an incident that names none stands for itself.
func (m Mapping) infos(w *writer, i event.Incident) []any {
	story := map[string]event.Passage{}
	for _, p := range i.Story {
		if _, ok := story[p.Finding]; !ok {
			story[p.Finding] = p
		}
	}
	var out []any
	for _, f := range i.Findings[:min(len(i.Findings), maxList)] {
		o := object{
			"uid": w.text(f.ID), "title": w.text(f.Title), "created_time": millis(f.Time), "first_seen_time": millis(f.Time),
			"analytic": analytic(w, "", f.Rule, ""), "related_events_count": max(f.Count, 1),
		}
		o.text("product_uid", "picket")
		o.text("desc", w.text(story[f.ID].Text))
		out = append(out, o)
	}
	if out == nil {
		out = []any{object{"uid": w.text(i.ID), "title": w.text(i.Title), "first_seen_time": millis(i.FirstSeen)}}
	}
	return out
}

func (m Mapping) group() string {
	if m.Group == "" {
		return "Security Operations"
	}
	return m.Group
}

func (m Mapping) metadata(w *writer, uid, correlation string, profiles ...string) object {
	version := m.Version
	if version == "" {
		version = "dev"
	}
	slices.Sort(profiles)
	o := object{
		"version": Schema, "uid": uid, "profiles": profiles, "log_name": "picket", "log_provider": "picket",
		"product": object{"name": "Picket", "vendor_name": "Picket", "uid": "picket", "version": version},
	}
	o.text("correlation_uid", w.text(correlation))
	return o
}

// base holds what every class demands.
func base(class, activity int, activityName, className string, s event.Severity, at time.Time) object {
	id, caption := severity(s)
	return object{
		"class_uid": class, "class_name": className, "category_uid": class / 1000, "category_name": "Findings",
		"activity_id": activity, "activity_name": activityName,
		"type_uid": class*100 + activity, "type_name": className + ": " + activityName,
		"severity_id": id, "severity": caption, "time": millis(at), "timezone_offset": 0,
	}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func severity(s event.Severity) (int, string) {
	switch s {
	case event.Informational:
		return 1, "Informational"
	case event.Low:
		return 2, "Low"
	case event.Medium:
		return 3, "Medium"
	case event.High:
		return 4, "High"
	case event.Critical:
		return 5, "Critical"
	}
	return 0, "Unknown"
}

// below is a scale of risk or priority: that of severity, one lower, with its own word for the lowest.
func below(s event.Severity, lowest string) (int, string) {
	if s <= event.Informational {
		return 0, lowest
	}
	id, caption := severity(s)
	return id - 1, caption
}

func status(s event.IncidentStatus) (int, string) {
	switch s {
	case event.IncidentAcknowledged:
		return 2, "In Progress"
	case event.IncidentClosed:
		return 5, "Closed"
	}
	return 1, "New"
}

func verdict(v event.Verdict) (int, string) {
	switch v {
	case event.FalsePositive:
		return 1, "False Positive"
	case event.TruePositive:
		return 2, "True Positive"
	}
	return 0, "Unknown"
}
