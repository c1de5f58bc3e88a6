package sink

import (
	"encoding/json"
	"errors"
	"fmt"

	"picket/event"
)

// Action writes what Picket did on a host as a Remediation Activity: of a process (class 7003), of
// the network (7004), or of something else (7001). The same event always gives the same bytes.
func (m Mapping) Action(e *event.Event) (json.RawMessage, error) {
	if e.Kind != event.ActionDone || e.Action == nil || e.Action.ID == "" {
		return nil, errors.New("writing an OCSF record: the event is no act")
	}
	return fit(func(w *writer) object { return m.action(w, e) })
}

func (m Mapping) action(w *writer, e *event.Event) object {
	a := e.Action
	class, name := 7001, "Remediation Activity"
	switch {
	case a.Kind == "isolate" || a.Kind == "cut":
		class, name = 7004, "Network Remediation Activity"
	case a.PID != 0:
		class, name = 7003, "Process Remediation Activity"
	}
	activity, caption := remedy(a)
	o := base(class, activity, caption, name, event.Informational, e.Time)
	o["category_name"] = "Remediation"
	o["metadata"] = m.metadata(w, event.HashID("ocsf", "action", e.ID()), a.Incident, "host")
	o["command_uid"] = w.text(a.ID)
	o["message"] = w.text(e.Describe())
	o["device"] = w.device(e.Host)
	o["remediation"] = object{"desc": w.text(a.Kind + " of " + a.Target)}
	o["status_id"], o["status"] = outcome(a.State)
	o.text("status_detail", w.text(e.Message))
	if a.By != "" {
		o["actor"] = object{"user": object{"name": w.text(a.By)}}
	}
	switch class {
	case 7003:
		o["process"] = object{"pid": a.PID}
	case 7004:
		o["connection_info"] = object{"direction_id": 0, "direction": "Unknown"}
	}
	return o
}

// remedy says what an act is for OCSF.
func remedy(a *event.Action) (int, string) {
	if a.State == "undone" {
		return 3, "Restore"
	}
	switch a.Kind {
	case "freeze", "isolate", "quarantine", "exclude-gpu":
		return 1, "Isolate"
	case "kill", "cut":
		return 2, "Evict"
	}
	return 99, "Other"
}

func outcome(state string) (int, string) {
	switch state {
	case "done", "undone":
		return 1, "Success"
	case "failed", "refused":
		return 2, "Failure"
	case "gone":
		return 3, "Does Not Exist"
	}
	return 0, "Unknown"
}

// Action queues what Picket did for every output and returns when it is safely on disk.
func (o *Outbox) Action(e *event.Event) error {
	b, err := o.opt.Mapping.Action(e)
	if err != nil {
		o.metrics.unmapped.Inc()
		return fmt.Errorf("act: %w", err)
	}
	return o.Append(b)
}
