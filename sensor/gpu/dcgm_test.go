package gpu

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

const dcgmText = `# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-9",pci_bus_id="00000000:3B:00.0",device="nvidia1",modelName="Sim 80GB",Hostname="h",pod="p"} 42
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-9"} 1024
# TYPE DCGM_FI_DEV_FB_FREE gauge
DCGM_FI_DEV_FB_FREE{gpu="1",UUID="GPU-9"} 3072
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-9"} 350.5
# TYPE DCGM_FI_PROF_PIPE_TENSOR_ACTIVE gauge
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="1",UUID="GPU-9"} 0.25
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-9"} NaN
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="1",UUID="GPU-9"} 9.223372036854775794e+18
# TYPE other gauge
other{UUID="GPU-9"} 1
`

func serve(t *testing.T, answer http.HandlerFunc) *scraper {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return newScraper(s.URL + "/metrics")
}

func TestMetricsOfADCGMExporterAreRead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, dcgmText) })
	r, _, err := s.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := event.Measured
	want := []event.GPUDevice{{GPU: event.GPU{
		UUID: "GPU-9", Index: 1, Name: "Sim 80GB", PCI: "0000:3b:00.0", Source: "dcgm",
		Util: m(42), MemoryUsed: m(1 << 30), MemoryTotal: m(4 << 30), Power: m(350_500), Tensor: m(25),
	}}}
	if d := cmp.Diff(want, r.Devices); d != "" {
		t.Error(d)
	}
	both := event.GPUReading{Devices: []event.GPUDevice{{GPU: event.GPU{UUID: "GPU-9", Source: "nvml", Util: m(90)}}}}
	merge(&both, append(r.Devices, event.GPUDevice{GPU: event.GPU{UUID: "GPU-10"}}))
	if d := both.Devices; len(d) != 2 || d[0].Util != m(90) || d[0].Tensor != m(25) || d[0].Source != "nvml" {
		t.Errorf("%+v", d)
	}
}

func TestAnExporterIsNotTrusted(t *testing.T) {
	for want, answer := range map[string]http.HandlerFunc{
		"status 503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"not followed": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"more than 2 M":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("# x\n", 1<<20)) },
		"Client.Timeout": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"2 MiB of metrics": func(w http.ResponseWriter, _ *http.Request) { // a gigabyte, packed into one megabyte
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			for b := bytes.Repeat([]byte("# x\n"), 1<<18); ; {
				if _, err := zip.Write(b); err != nil {
					return
				}
			}
		},
		"text format": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{{{{") },
	} {
		if _, _, err := serve(t, answer).read(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	var many strings.Builder
	for range 3000 {
		many.WriteString("DCGM_FI_DEV_GPU_UTIL{UUID=\"" + strings.Repeat("x", many.Len()%300) + "\"} 1e300\n")
	}
	r, odd, err := parseDCGM(strings.NewReader(many.String()))
	if err != nil || len(r.Devices) > maxDevices || len(r.Devices) > 0 && len(r.Devices[0].UUID) > maxText {
		t.Errorf("%d devices, %d odd, %v", len(r.Devices), odd, err)
	}
}

func FuzzDCGM(f *testing.F) {
	f.Add(dcgmText)
	f.Fuzz(func(t *testing.T, text string) {
		if r, _, err := parseDCGM(strings.NewReader(text)); err == nil && len(r.Devices) > maxDevices {
			t.Errorf("%d devices", len(r.Devices))
		}
	})
}
