package kernel

import (
	"testing"

	"picket/event"
)

func TestEveryKindOfEventHasAHook(t *testing.T) {
	for k := range event.Kinds {
		switch k {
		case event.SensorHealth, event.PolicyViolation, event.ActionDone, event.GPUSample, event.GPUFault, event.ModelSeen,
			event.ServiceRequest, event.ServiceMetrics, event.PrincipalHour, event.ProfileDeviation, event.CUDACall, event.PythonAudit, event.KubernetesAudit, event.ModelDrift:
			continue // made by sensor/enforce, sensor/gpu, sensor/cuda, sensor/python, the inventory, ingest, what is learned and Picket's own acts
		}
		if len(Hooks(k)) == 0 {
			t.Errorf("no hook makes %s", k)
		}
	}
	if got := Hooks(event.FileRename, event.FileDelete); len(got) != 4 || got[0].Program != "on_rename" || got[1].Program != "on_unlink" || got[2].Feature != "file-uring" {
		t.Errorf("%+v", got)
	}
	if got := Hooks(event.SensorHealth); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
