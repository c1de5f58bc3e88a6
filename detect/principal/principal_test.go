package principal

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/detect/prompt"
	"picket/event"
)

var start = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// asked is a request to be seen.
type asked struct {
	w   *Watch
	now time.Time
	out []*event.Event
}

func (a *asked) see(after time.Duration, r event.Request) {
	a.now = a.now.Add(after)
	if r.PrincipalKind == "" {
		r.PrincipalKind = "key"
	}
	a.out = append(a.out, a.w.See(&event.Event{Kind: event.ServiceRequest, Time: a.now, Request: &r})...)
}

// told returns the events that were told and in which a score came to Suspicious.
func (a *asked) told() (out []*event.Event) {
	for _, e := range a.out {
		if _, v := e.Principal.Most(); v.Score.N >= Suspicious {
			out = append(out, e)
		}
	}
	return out
}

func client(addr string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(addr), 40000) }

var key = prompt.Key{7}

// text is how a prompt comes: as hash and template.
func text(r event.Request, s string) event.Request {
	if t := key.Template(s); t != (prompt.Template{}) {
		r.Template = t.String()
	}
	r.PromptHash = key.Hash(s)
	return r
}

func tokens(n int64) event.Measure { return event.Measured(n) }

// chat is an hour of ordinary use by many.
func (a *asked) chat(users int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("train oven river tax garden loop music letter winter school paper bridge doctor engine coffee holiday")
	for i := range 20 * users {
		var s []string
		for range 6 + rnd.IntN(20) {
			s = append(s, words[rnd.IntN(len(words))])
		}
		a.see(3500*time.Second/time.Duration(20*users), text(event.Request{
			Principal: fmt.Sprint("user-", i%users), Model: "llama", Route: "/v1/chat/completions", Status: event.Measured(200),
			TokensIn: tokens(100 + rnd.Int64N(400)), TokensOut: tokens(50 + rnd.Int64N(300)), Temperature: event.Measured(700), Finish: "stop",
			Client: client(fmt.Sprintf("10.%d.%d.9", i%users/250, i%users%250)),
		}, strings.Join(s, " ")))
	}
}

const aForm = "You are an expert annotator of reading tasks. Think step by step, show the whole chain of thought, and answer in JSON with the fields reasoning and answer. The task is: "

func TestACopiedModelIsSeen(t *testing.T) {
	a := &asked{w: New(), now: start}
	a.chat(12)
	a.now = start.Add(time.Hour)
	for i := range 900 {
		a.see(3500*time.Millisecond, text(event.Request{
			Principal: "k-77", Model: "llama", Route: "/v1/chat/completions", TokensIn: tokens(120), TokensOut: tokens(700), Temperature: event.Measured(0), LogProbs: event.Measured(5),
		}, aForm+fmt.Sprintf("say how item %c%c of list %d is made", 'a'+i%26, 'a'+i/26%26, i)))
	}
	told := a.told()
	if len(told) != 1 || told[0].Principal.Closed || told[0].Request.Principal != "k-77" {
		t.Fatalf("%d told", len(told))
	}
	p := told[0].Principal
	want := "different prompts (97 % of 208, from 90 %) +20; one template (100 % of the prompts, from 60 %) +25; " +
		"probabilities of tokens (wanted by 100 %, from 50 %) +20; temperature 0 (100 %, from 90 %) +10; long answers (700 tokens each, from 200) +10"
	if p.Extraction.Score.N != 85 || p.Extraction.Reasons != want {
		t.Errorf("%d: %s", p.Extraction.Score.N, p.Extraction.Reasons)
	}
}

func TestOrdinaryUseIsQuiet(t *testing.T) {
	a := &asked{w: New(), now: start}
	for h := range 8 {
		a.now = start.Add(time.Duration(h) * time.Hour)
		a.chat(40)
	}
	// A test of a model asks much, without randomness, but its prompts have many forms.
	words := strings.Fields("sum proof city verb atom melody contract enzyme orbit debt noun vector island ballad clause neuron")
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var s []string
		for range 25 {
			s = append(s, words[rnd.IntN(len(words))])
		}
		a.see(time.Second, text(event.Request{Principal: "evaluation", TokensIn: tokens(60), TokensOut: tokens(4), Temperature: event.Measured(0)}, strings.Join(s, " ")))
	}
	// One application asks with one template for many users.
	for i := range 400 {
		a.see(time.Second, text(event.Request{
			Principal: fmt.Sprint("shop-", i%50), TokensIn: tokens(300), TokensOut: tokens(80), Temperature: event.Measured(700), Client: client(fmt.Sprintf("192.0.%d.1", i%50)),
		}, aForm+fmt.Sprint("where is parcel ", i)))
	}
	a.out = append(a.out, a.w.Advance(a.now.Add(2*time.Hour))...)
	for _, e := range a.told() {
		name, v := e.Principal.Most()
		t.Errorf("%s is taken for %s: %s", e.Request.Principal, name, v.Reasons)
	}
	if len(a.out) == 0 {
		t.Error("no hour was told")
	}
}

func TestAModelCopiedByManyIsSeen(t *testing.T) {
	a := &asked{w: New(), now: start}
	for i := range 240 {
		a.see(20*time.Second, text(event.Request{
			Principal: fmt.Sprint("k-", i%12), TokensIn: tokens(120), TokensOut: tokens(400), Temperature: event.Measured(0), LogProbs: event.Measured(1),
			Client: client(fmt.Sprintf("198.51.%d.7", i%12)),
		}, aForm+fmt.Sprintf("say how item %c%c is made", 'a'+i%26, 'a'+i/26)))
	}
	told := a.told()
	if len(told) == 0 {
		t.Fatal("nothing was told")
	}
	p := told[0].Principal
	if told[0].Request.PrincipalKind != "template" || p.Others != 12 || p.Networks != 12 || !strings.Contains(p.Shared.Reasons, "newcomers (12 of 12") {
		t.Errorf("%+v %+v", told[0].Request, p)
	}
	if len(told) > 2 {
		t.Errorf("%d times told", len(told))
	}
}

func TestABillDrivenUpIsSeen(t *testing.T) {
	use := func(a *asked, n int64) {
		for range 20 {
			a.see(2*time.Minute, event.Request{Principal: "k-1", TokensIn: tokens(n), TokensOut: tokens(n)})
		}
	}
	a := &asked{w: New(), now: start}
	for h := range 10 {
		a.now = start.Add(time.Duration(h) * time.Hour)
		use(a, 1000+100*int64(h%3))
	}
	if told := a.told(); len(told) > 0 {
		t.Fatalf("its habit: %s", told[0].Principal.Wallet.Reasons)
	}
	a.now = start.Add(10 * time.Hour)
	use(a, 30_000)
	told := a.told()
	if len(told) != 1 || told[0].Principal.Wallet.Score.N != 70 || !strings.HasPrefix(told[0].Principal.Wallet.Reasons, "above its habit (960000 tokens, usually 4") {
		t.Fatalf("%d told: %+v", len(told), a.out[len(a.out)-1].Principal)
	}

	// One that is new is set against the others.
	a = &asked{w: New(), now: start}
	a.chat(12)
	for range 32 {
		a.see(time.Second, event.Request{Principal: "k-2", TokensIn: tokens(100_000), TokensOut: tokens(4000)})
	}
	if told := a.told(); len(told) != 1 || !strings.Contains(told[0].Principal.Wallet.Reasons, "a multiple of others") {
		t.Errorf("%d told", len(told))
	}
}

func TestAStolenKeyIsSeen(t *testing.T) {
	a := &asked{w: New(), now: start}
	for range 30 {
		a.see(4*time.Minute, event.Request{Principal: "k-1", Model: "llama", Client: client("10.1.2.3"), Status: event.Measured(200)})
	}
	for i := range 40 {
		r := event.Request{Principal: "k-1", Model: fmt.Sprint("model-", i%7), Client: client("203.0.113.9"), Status: event.Measured(200)}
		if i%2 == 0 {
			r.Status = event.Measured(400)
		}
		if i == 0 {
			r.Method, r.Route = "GET", "/v1/models"
		}
		a.see(time.Second, r)
	}
	told := a.told()
	if len(told) != 1 {
		t.Fatalf("%d told: %+v", len(told), a.out)
	}
	for _, want := range []string{"new network (203.0.113.0/24, known for 1h56m0s) +35", "many models (8, from 4) +25", "list of models (asked for) +10", "invalid requests ("} {
		if !strings.Contains(told[0].Principal.Stolen.Reasons, want) {
			t.Errorf("no %q in %s", want, told[0].Principal.Stolen.Reasons)
		}
	}
	// Somebody who travels only comes from elsewhere.
	a = &asked{w: New(), now: start}
	for i := range 60 {
		a.see(4*time.Minute, event.Request{Principal: "k-1", Model: "llama", Client: client(fmt.Sprintf("10.1.%d.3", i/20)), Status: event.Measured(200)})
	}
	if len(a.told()) > 0 {
		t.Errorf("told: %s", a.told()[0].Principal.Stolen.Reasons)
	}
}

func TestALoopIsSeen(t *testing.T) {
	a := &asked{w: New(), now: start}
	for i := range 30 {
		a.see(2*time.Second, event.Request{Principal: "c-1", PrincipalKind: "conversation", Conversation: "c-1", Operation: "execute_tool", PromptHash: key.Hash("search", "weather")})
		a.see(2*time.Second, event.Request{Principal: "c-2", PrincipalKind: "conversation", Conversation: "c-2", Operation: "execute_tool", PromptHash: key.Hash("search", fmt.Sprint(i))})
	}
	told := a.told()
	if len(told) != 1 || told[0].Request.Principal != "c-1" || told[0].Principal.Requests != loopFrom ||
		told[0].Principal.Loop.Reasons != "the same call (20 times with the same arguments in one conversation, from 20) +70" {
		t.Errorf("%d told", len(told))
	}
}

func TestProbingIsSeen(t *testing.T) {
	a := &asked{w: New(), now: start}
	for range 5 { // who is refused now and then
		a.see(4*time.Minute, event.Request{Principal: "k-2", Finish: "refusal", TokensOut: tokens(20)})
	}
	for range 5 {
		a.see(time.Minute, event.Request{Principal: "k-1", Finish: "content_filter", TokensOut: tokens(20)})
	}
	if len(a.told()) > 0 {
		t.Fatal("told before anything was answered")
	}
	a.see(time.Minute, event.Request{Principal: "k-1", Finish: "stop", TokensOut: tokens(900)})
	a.see(time.Second, event.Request{Principal: "k-2", Finish: "stop", TokensOut: tokens(900)})
	told := a.told()
	if len(told) != 1 || told[0].Request.Principal != "k-1" ||
		told[0].Principal.Probing.Reasons != "refused (5 times within 10 minutes, from 5; 5 in the hour) +50; then answered (with 900 tokens, from 200) +30" {
		t.Errorf("%d told", len(told))
	}
}

func TestMemoryIsBoundedWhoeverAsks(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := &asked{w: New(), now: start}
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 60_000 {
		r := event.Request{
			Principal: fmt.Sprint(rnd.Uint64(), strings.Repeat("x", 500)), Model: fmt.Sprint(rnd.Uint64()), Route: fmt.Sprint(rnd.Uint64()),
			PromptHash: fmt.Sprint(i), Template: fmt.Sprintf("%016x%016x%016x%016x", rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64()),
			Conversation: fmt.Sprint(i), Operation: "execute_tool", TokensOut: tokens(1 << 62), TokensIn: tokens(-5),
		}
		if i%4 == 0 {
			r.Principal = "frequent" // who asks often is not pushed out
		}
		a.w.See(&event.Event{Kind: event.ServiceRequest, Time: a.now.Add(time.Duration(i) * time.Millisecond), Request: &r})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 20<<20 {
		t.Errorf("%d bytes are held", used)
	}
	if len(a.w.users.heap) != maxUsers || len(a.w.forms.heap) != maxForms || a.w.Replaced() != uint64(45_001-maxUsers) || a.w.Known() != maxUsers {
		t.Errorf("%d users, %d forms, %d replaced", len(a.w.users.heap), len(a.w.forms.heap), a.w.Replaced())
	}
	news := a.w.Advance(start.Add(time.Hour))
	if len(news) != maxTold+1 || news[0].Request.Principal != "frequent" || news[0].Principal.Requests != 15_000 {
		t.Fatalf("%d told, %+v", len(news), news[0].Principal)
	}
	others, sum := news[len(news)-1], int64(0)
	for _, one := range a.w.most() {
		sum += one.hour.requests
	}
	if others.Request.Principal != "others" || others.Principal.Others != int64(45_001-maxUsers) || sum != 0 {
		t.Errorf("others: %+v", others.Principal)
	}
	// About as many different prompts as there were: those of one who is gone are merged.
	if n := others.Principal.Prompts; n < 40_000 || n > 48_000 {
		t.Errorf("%d different prompts of others", n)
	}
	a.w.Advance(start.Add(26 * time.Hour))
	if len(a.w.users.heap)+len(a.w.users.at)+len(a.w.forms.heap) > 0 {
		t.Errorf("%d users, %d forms are kept for more than a day", len(a.w.users.heap), len(a.w.forms.heap))
	}
}

func TestNoRequestIsLostFromTheSums(t *testing.T) {
	a := &asked{w: New(), now: start}
	for i := range 3 * maxUsers {
		a.see(time.Millisecond, event.Request{Principal: fmt.Sprint(i), TokensIn: tokens(1)})
	}
	sum := a.w.other.tokensIn
	for _, u := range a.w.most() {
		sum += u.hour.tokensIn
	}
	if sum != 3*maxUsers {
		t.Errorf("%d tokens of %d", sum, 3*maxUsers)
	}
}

func TestRequestsToldTogetherAreAllCounted(t *testing.T) {
	w := New()
	r := event.Request{Principal: "10.0.0.5", PrincipalKind: "client", Route: "/x", Status: event.Measured(404)}
	w.See(&event.Event{Kind: event.ServiceRequest, Time: start, Request: &r})
	w.See(&event.Event{Kind: event.ServiceRequest, Time: start.Add(5 * time.Second), Request: &r, Count: 29})
	news := w.Advance(start.Add(time.Hour))
	if len(news) != 1 || news[0].Principal.Requests != 30 || news[0].Principal.Errors != 30 {
		t.Errorf("%+v", news)
	}
}

func TestManyNewNamesDoNotHaveOneForgottenWhoAsksMuch(t *testing.T) {
	a := &asked{w: New(), now: start}
	for range 200 {
		a.see(time.Second, event.Request{Principal: "anna"})
	}
	a.now = start.Add(time.Hour)
	for i := range 3 * maxUsers {
		a.see(time.Millisecond, event.Request{Principal: fmt.Sprint(i)})
	}
	if r := a.w.users.at[hash("key", "anna")]; r == nil || r.of.habit.hours != 1 {
		t.Errorf("%+v", r)
	}
}

func TestSketches(t *testing.T) {
	for _, n := range []int{0, 1, 10, 1000, 50_000} {
		var a, b, both sketch
		for i := range n {
			h := hash(fmt.Sprint(i))
			if both.add(h); i%3 == 0 {
				a.add(h)
			} else {
				b.add(h)
			}
		}
		a.merge(&b)
		if a != both {
			t.Errorf("%d: merged, two are not what one is that saw both", n)
		}
		if got := both.count(); got < int64(n)*92/100 || got > int64(n)*108/100 {
			t.Errorf("%d: counted %d", n, got)
		}
	}
}

func TestOneInputGivesOneOutput(t *testing.T) {
	run := func() (out []string) {
		a := &asked{w: New(), now: start}
		a.chat(1500)
		a.out = append(a.out, a.w.Advance(start.Add(2*time.Hour))...)
		for _, e := range a.out {
			out = append(out, string(e.AppendRecord(nil)))
		}
		return out
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkSee(b *testing.B) {
	w := New()
	requests := make([]event.Request, 1<<14)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range requests {
		// The square makes few ask much, as it is.
		who := rnd.IntN(3000)
		requests[i] = text(event.Request{
			Principal: fmt.Sprint(who * who / 3000), PrincipalKind: "key", Model: "llama", Route: "/v1/chat/completions", Status: event.Measured(200),
			TokensIn: tokens(100), TokensOut: tokens(100), Client: client("10.0.0.1"),
		}, fmt.Sprint("tell me about subject number ", i, " and what it has to do with subject ", i/2, " in a few words"))
	}
	e := event.Event{Kind: event.ServiceRequest, Time: start}
	i := 0
	for b.Loop() {
		e.Request = &requests[i%len(requests)]
		e.Time = e.Time.Add(50 * time.Millisecond)
		w.See(&e)
		i++
	}
}
