package event

import "testing"

func TestSocketsOfTheHost(t *testing.T) {
	for path, runtime := range map[string]string{
		"/run/docker.sock": "docker", "/run/k3s/containerd/containerd.sock": "containerd", "@/containerd-shim/1.sock": "containerd",
		"/run/user/1000/podman/podman.sock": "podman", "/run/crio/crio.sock": "cri-o", "/var/lib/kubelet/device-plugins/gpu.sock": "kubelet",
		"/var/lib/kubelet/plugins/x/csi.sock": "csi", "docker.sock": "docker",
		"": "", "/": "", "/run/my-docker.sock": "", "/run/docker.sock/x": "", "@docker": "", "/containerd-shim/1.sock": "",
	} {
		if got := (&Unix{Path: path}).Runtime(); got != runtime {
			t.Errorf("%q is of %q, want %q", path, got, runtime)
		}
	}
	e := sample()
	e.Kind, e.Net = NetUnix, Net{Protocol: "unix", Initiated: true, Unix: &Unix{Path: "/run/docker.sock", Type: "stream", Peer: 1, Dev: 2, Ino: 3}}
	back, err := ParseRecord(e.AppendRecord(nil))
	if err != nil {
		t.Fatal(err)
	}
	if *back.Net.Unix != *e.Net.Unix || back.Describe() != "cat[11] connected to the socket /run/docker.sock" {
		t.Errorf("%+v: %s", back.Net.Unix, back.Describe())
	}
	other := *e
	other.Net.Unix = &Unix{Path: "/run/docker.sock", Type: "stream", Ino: 4}
	if other.ID() == e.ID() {
		t.Error("two sockets have one id")
	}
	if f, _ := Lookup("net.unix.runtime"); e.Value(f.Field).Str != "docker" {
		t.Error("the runtime is not a field")
	}
}
