package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"picket/event"
)

const (
	scrapeTime = 2 * time.Second
	scrapeMost = 2 << 20
)

// scraper reads the metrics of a DCGM exporter.
type scraper struct {
	url    string
	client *http.Client
}

func newScraper(url string) *scraper {
	return &scraper{url: url, client: &http.Client{
		Timeout: scrapeTime,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("it sends elsewhere, which is not followed")
		},
	}}
}

func (s *scraper) read(ctx context.Context) (r event.GPUReading, odd int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return r, 0, fmt.Errorf("DCGM exporter: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return r, 0, fmt.Errorf("DCGM exporter: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return r, 0, fmt.Errorf("DCGM exporter %s: status %d", s.url, resp.StatusCode)
	}
	body := io.LimitReader(resp.Body, scrapeMost+1).(*io.LimitedReader) //nolint:forcetypeassert // the type it has
	r, odd, err = parseDCGM(body)
	if body.N == 0 {
		return r, 0, fmt.Errorf("DCGM exporter %s: more than %d MiB of metrics", s.url, scrapeMost>>20)
	}
	if err != nil {
		return r, 0, fmt.Errorf("DCGM exporter %s: %w", s.url, err)
	}
	return r, odd, nil
}

// measures of a DCGM exporter: where each goes, and what one of its units is in ours. Both the names
// of DCGM 3 and those that DCGM 4.5 began are read, https://github.com/NVIDIA/dcgm-exporter.
var dcgmFields = map[string]struct {
	to    func(*event.GPUDevice) *event.Measure
	times float64
}{
	"DCGM_FI_DEV_GPU_UTIL":                    {func(d *event.GPUDevice) *event.Measure { return &d.Util }, 1},
	"DCGM_FI_DEV_GPU_UTIL_RATIO":              {func(d *event.GPUDevice) *event.Measure { return &d.Util }, 100},
	"DCGM_FI_DEV_FB_USED":                     {func(d *event.GPUDevice) *event.Measure { return &d.MemoryUsed }, 1 << 20},
	"DCGM_FI_DEV_FB_TOTAL":                    {func(d *event.GPUDevice) *event.Measure { return &d.MemoryTotal }, 1 << 20},
	"DCGM_FI_DEV_POWER_USAGE":                 {func(d *event.GPUDevice) *event.Measure { return &d.Power }, 1000},
	"DCGM_FI_DEV_SM_CLOCK":                    {func(d *event.GPUDevice) *event.Measure { return &d.ClockSM }, 1},
	"DCGM_FI_DEV_MEM_CLOCK":                   {func(d *event.GPUDevice) *event.Measure { return &d.ClockMemory }, 1},
	"DCGM_FI_DEV_GPU_TEMP":                    {func(d *event.GPUDevice) *event.Measure { return &d.Temperature }, 1},
	"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE":         {func(d *event.GPUDevice) *event.Measure { return &d.Tensor }, 100},
	"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": {func(d *event.GPUDevice) *event.Measure { return &d.Retired }, 1},
}

// parseDCGM reads metrics in the text format of Prometheus.
func parseDCGM(in io.Reader) (r event.GPUReading, odd int, err error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(in)
	if err != nil {
		return r, 0, err
	}
	byUUID := map[string]*event.GPUDevice{}
	free := map[string]float64{}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		field, ok := dcgmFields[name]
		if !ok && name != "DCGM_FI_DEV_FB_FREE" {
			continue
		}
		for _, m := range families[name].Metric {
			label := map[string]string{}
			for _, l := range m.Label {
				label[l.GetName()] = l.GetValue()
			}
			uuid := cmp.Or(label["UUID"], label["uuid"])
			if uuid == "" || len(byUUID) >= maxDevices && byUUID[uuid] == nil {
				continue
			}
			d := byUUID[uuid]
			if d == nil {
				d = &event.GPUDevice{GPU: event.GPU{UUID: uuid, Source: "dcgm"}}
				d.Index, _ = strconv.Atoi(label["gpu"]) // 0 where it is no number
				byUUID[uuid] = d
			}
			d.Name, d.PCI = cmp.Or(d.Name, label["modelName"]), cmp.Or(d.PCI, label["pci_bus_id"])
			value := gauge(m)
			if !ok {
				free[uuid] = value * (1 << 20)
				continue
			}
			if value *= field.times; value >= -1e15 && value <= 1e15 { // not NaN, nor what DCGM says for unknown
				*field.to(d) = event.Measured(int64(value))
			}
		}
	}
	for _, uuid := range slices.Sorted(maps.Keys(byUUID)) {
		d := byUUID[uuid]
		if f := free[uuid]; !d.MemoryTotal.Known && d.MemoryUsed.Known && f > 0 && f < 1e15 {
			d.MemoryTotal = event.Measured(d.MemoryUsed.N + int64(f))
		}
		r.Devices = append(r.Devices, *d)
	}
	return r, tidy(&r), nil
}

func gauge(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return m.Untyped.GetValue()
}
