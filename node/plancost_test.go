package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/event"
	"picket/respond"
)

// A training job that writes a checkpoint fires a rule: its incident bears the tags of its asset, and a
// plan to hold it tells its ranks and the checkpoint, and that its GPUs are not known.
func TestAPlanTellsItsCosts(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: the job is recognised by it")
	}
	// A wrapper would be found first, and is another program once it has started the real one.
	real, err := exec.Command(python, "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	python = strings.TrimSpace(string(real))
	p := newProgram(t)
	old, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(old)+"assets: [{entities: [\"workload:finetune*\"], tags: [prod, crown-jewel]}, {entities: [\"workload:other\"], tags: [lab]}]\n")
	p.start()
	checkpoint := filepath.Join(p.dir, "models/m/step-7.safetensors")
	write(t, filepath.Join(p.dir, "torchrun"), "import sys, time\nwhile True:\n    open("+`"`+checkpoint+`"`+", 'wb').write(b'\\0' * 4096)\n    time.sleep(2)\n")
	work := exec.Command(python, filepath.Join(p.dir, "torchrun"), "finetune.py", "--"+mark+"cost")
	work.Env = append(os.Environ(), "MASTER_ADDR=10.0.0.1", "MASTER_PORT=29500", "RANK=3", "WORLD_SIZE=8")
	work.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := work.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = work.Process.Kill(); _ = work.Wait() })
	var inc event.Incident
	p.until(30*time.Second, "an incident of it", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{})
		for _, i := range list.Items {
			inc = i
		}
		return err == nil && len(list.Items) > 0
	})
	p.until(30*time.Second, "its tags", func() bool {
		i, err := p.client.Incident(t.Context(), inc.ID)
		return err == nil && slices.Equal(i.Tags, []string{"crown-jewel", "prod"})
	})
	var plan respond.Plan
	p.until(2*time.Minute, "a plan that knows of the job and its checkpoint", func() bool {
		var err error
		plan, err = p.client.Plan(t.Context(), "hold-workload", api.PlanQuery{Incident: inc.ID})
		return err == nil && strings.Contains(costOf(plan, "gpu-hours").Evidence, "newest checkpoint that it was seen to write: "+checkpoint)
	})
	if c := costOf(plan, "ranks"); !strings.Contains(c.Value, "ranks 3 of 8") {
		t.Errorf("%+v", plan.Costs)
	}
	if c := costOf(plan, "gpu-hours"); c.Value != respond.NotKnown {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(plan.Tags, []string{"crown-jewel", "prod"}) {
		t.Errorf("%v", plan.Tags)
	}
	if out := p.picket("playbook", "plan", "hold-workload", inc.ID); !strings.Contains(out, "What it would cost:") || !strings.Contains(out, "tags: crown-jewel, prod") {
		t.Error(out)
	}
	watch, err := p.client.Plan(t.Context(), "watch-miner", api.PlanQuery{Incident: inc.ID})
	if err != nil || len(watch.Costs) != 0 {
		t.Errorf("to look costs %+v %v", watch.Costs, err)
	}
}

func costOf(p respond.Plan, what string) respond.Cost {
	for _, c := range p.Costs {
		if c.What == what {
			return c
		}
	}
	return respond.Cost{}
}
