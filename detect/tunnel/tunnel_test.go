package tunnel

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// asked is what one process asks for.
type asked struct {
	t    *testing.T
	w    *Watch
	p    *event.Process
	now  time.Time
	said []*event.Event
}

func ask(t *testing.T) *asked {
	p := &event.Process{PID: 7, StartBoot: 1, UID: "p", Exe: "/usr/bin/python3", Container: &event.Container{ID: "c1"}}
	return &asked{t: t, w: New("h"), p: p, now: start}
}

func (a *asked) name(format string, args ...any) {
	e := &event.Event{Kind: event.NetDNS, Time: a.now, Process: a.p, Net: event.Net{DNS: &event.DNS{Name: fmt.Sprintf(format, args...), Type: "A"}}}
	if d := a.w.See(e); d != nil {
		a.said = append(a.said, d)
	}
	answer := e.Clone()
	answer.Net.DNS = &event.DNS{Name: e.Net.DNS.Name, Type: "A", Answer: true, Status: 3}
	if a.w.See(answer) != nil {
		a.t.Error("an answer is judged")
	}
}

// lines are the lines of a file as people have them.
const passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nbin:x:2:2:bin:/bin:/usr/sbin/nologin\n" +
	"sys:x:3:3:sys:/dev:/usr/sbin/nologin\nsync:x:4:65534:sync:/bin:/bin/sync\ngames:x:5:60:games:/usr/games:/usr/sbin/nologin\n" +
	"man:x:6:12:man:/var/cache/man:/usr/sbin/nologin\nlp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n" +
	"AWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY\nHF_TOKEN=hf_ExampleExampleExampleExample\n"

func TestDataInNamesIsTold(t *testing.T) {
	secret := make([]byte, 3000)
	_, _ = rand.Read(secret) // never fails
	b32 := func(b []byte) string {
		return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	}
	for name, do := range map[string]func(*asked){
		"a key file in hexadecimal, 30 bytes a name": func(a *asked) {
			for i := 0; i < len(passwd)*2; i += 30 {
				a.name("%s.%d.x.evil.example.com", hex.EncodeToString([]byte((passwd + passwd)[i:min(i+30, 2*len(passwd))])), i)
			}
		},
		"encrypted, in base 32, 100 bytes a name": func(a *asked) {
			for i := 0; i < len(secret); i += 100 {
				s := b32(secret[i : i+100])
				a.name("%s.%s.%s.t.h4ck.cfd", s[:60], s[60:120], s[120:])
			}
		},
		"text in base 32": func(a *asked) {
			for i := 0; i < 2*len(passwd); i += 35 {
				a.name("%s.evil.com", b32([]byte((passwd + passwd)[i:min(i+35, 2*len(passwd))])))
			}
		},
		"slowly, a name each ten minutes": func(a *asked) {
			for range 140 {
				a.now = a.now.Add(10 * time.Minute)
				part := make([]byte, 30)
				_, _ = rand.Read(part)
				a.name("%s.evil.com", hex.EncodeToString(part))
			}
		},
		"below a free name of a dynamic service": func(a *asked) {
			for i := 0; i < len(secret); i += 60 {
				s := hex.EncodeToString(secret[i : i+60])
				a.name("%s.%s.thief.duckdns.org", s[:60], s[60:])
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			do(a)
			if len(a.said) == 0 || len(a.said) > 2 {
				t.Fatalf("said %d times", len(a.said))
			}
			e := a.said[0]
			if d := e.Deviation; d.What != event.DeviantTunnel || strings.Count(d.Value, ".") > 2 || d.Sent.N < Least || e.ID() == "" || !strings.Contains(e.Describe(), d.Value) {
				t.Errorf("%s: %+v", e.Describe(), d)
			}
		})
	}
}

func TestOrdinaryNamesAreNoTunnel(t *testing.T) {
	pod := func(i int) string {
		return hex.EncodeToString([]byte{byte(i), byte(i * 7), byte(i * 13), byte(i * 31), byte(i >> 3)})
	}
	for name, do := range map[string]func(*asked){
		"search paths of Kubernetes": func(a *asked) {
			for i := range 400 {
				host := fmt.Sprintf("bucket-%s-%d.s3.us-east-1.amazonaws.com", pod(i), i)
				for _, search := range []string{"", ".ml.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ".eu-west-1.compute.internal"} {
					a.name("%s%s", host, search)
				}
			}
		},
		"search paths of a cluster with a domain of its own": func(a *asked) {
			for i := range 50 {
				for _, search := range []string{"ml.svc.", "svc.", ""} {
					a.name("cas-%s%s.xethub.hf.co.%sk8s.company.com", pod(i), pod(i+1), search)
				}
			}
		},
		"pods of a headless service": func(a *asked) {
			for i := range 500 {
				a.name("worker-%s-%d.workers.ml.svc.cluster.local", pod(i), i)
			}
		},
		"distributions of content networks": func(a *asked) {
			for i := range 500 {
				a.name("d%s.cloudfront.net", pod(i))
				a.name("%s-%s.azureedge.net", "assets", pod(i))
				a.name("r%d---sn-4g5e%s.googlevideo.com", i%8, pod(i % 40)[:8])
				a.name("e%d.dsc%c.akamaiedge.net", 1000+i, 'a'+rune(i%26))
			}
		},
		"buckets and accounts of clouds": func(a *asked) {
			for i := range 300 {
				a.name("training-shard-%05d.s3.amazonaws.com", i)
				a.name("prodmodels%04d.blob.core.windows.net", i)
			}
		},
		"the same long name again and again": func(a *asked) {
			for range 5000 {
				a.name("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.k8s.elb.amazonaws.com")
				a.name("cdn-lfs-us-1.hf.co")
			}
		},
		"addresses that are looked up backwards": func(a *asked) {
			for i := range 400 {
				a.name("%d.%d.0.10.in-addr.arpa", i%256, i/256)
				a.name("%s.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", strings.Join(strings.Split(pod(i), ""), "."))
			}
		},
		"a crawl over pages of people": func(a *asked) {
			for i := range 2000 {
				a.name("someones-photo-page-%d.tumblr.com", i)
				a.now = a.now.Add(time.Second)
			}
		},
		"nodes of a cloud by their names": func(a *asked) {
			for i := range 800 {
				a.name("ip-10-0-%d-%d.eu-west-1.compute.amazonaws.com", i/256, i%256)
				a.name("ec2-203-0-113-%d.compute-1.amazonaws.com", i%256)
			}
		},
		"a few services behind random names": func(a *asked) {
			for i := range 20 {
				a.name("%s.gr7.us-east-1.eks.amazonaws.com", strings.ToUpper(pod(i)+pod(i+1)))
				a.name("o%d.ingest.us.sentry.io", 4500000+i)
			}
		},
		"what cannot be a name": func(a *asked) {
			for _, n := range []string{"", ".", "com", "localhost", "...", "\xff\xfe", strings.Repeat("a", 300)} {
				a.name("%s", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			do(a)
			for _, e := range a.said {
				t.Error(e.Describe())
			}
		})
	}
}

func TestMemoryIsBoundedAndTheTunnelStaysInIt(t *testing.T) {
	a := ask(t)
	part := make([]byte, 30)
	for i := range 20_000 { // a flood of domains, to push out the one that gets data
		a.name("a.flood%d.com", i)
		if i%500 == 0 {
			_, _ = rand.Read(part)
			a.name("%s.evil.com", hex.EncodeToString(part))
		}
	}
	if a.w.domains > maxDomains || a.w.Dropped() == 0 {
		t.Errorf("%d domains, %d dropped", a.w.domains, a.w.Dropped())
	}
	if len(a.said) != 1 || a.said[0].Deviation.Value != "evil.com" {
		t.Errorf("said %d times", len(a.said))
	}
	for i := range 3 * maxScopes {
		a.p = &event.Process{PID: uint32(i + 10), UID: fmt.Sprint(i)}
		a.name("www.example.com")
	}
	if len(a.w.scopes) > maxScopes || a.w.domains > maxDomains {
		t.Errorf("%d scopes, %d domains", len(a.w.scopes), a.w.domains)
	}
	a.w.Advance(start.Add(2 * keep))
	if len(a.w.scopes)+a.w.domains != 0 {
		t.Errorf("%d scopes, %d domains are kept", len(a.w.scopes), a.w.domains)
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a.b.co.uk", "..", "x.cluster.local", "A.EVIL.com."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		below, parent := split(s)
		if (below == "") != (parent == "") {
			t.Errorf("%q: %q, %q", s, below, parent)
		}
		looksLikeData(below)
	})
}
