package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"picket/detect/prompt"
	"picket/event"
	"picket/ingest/otlp"
)

const (
	receiverMemory = 64 << 20 // soft limit of the receiver's Go heap
	maxTools       = 4 << 10  // bytes of the names and hashes of tools that one request offers
	toldFrom       = 30       // percent of a system prompt that an answer repeats
)

// secretsOfReceiver is what the agent hands its receiver.
type secretsOfReceiver struct {
	Token string
	Key   prompt.Key
}

// RunReceiver takes traces at the port that is open as descriptor 3, judges what is in them, and writes
// the requests that they tell of to out, one record a line, and now and then a line with counts.
// Descriptor 4 holds what it must know. The agent runs it without privilege.
func RunReceiver(ctx context.Context, out io.Writer) error {
	debug.SetMemoryLimit(receiverMemory)
	l, err := receiverPort()
	if err != nil {
		return err
	}
	secrets, err := readSecrets(os.NewFile(4, "secrets"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	told := &report{gone: cancel, out: out}
	s := otlp.New(otlp.Options{
		Token: secrets.Token, Judge: judgeContent(&secrets.Key, &memory{of: prompt.NewMemory()}),
		Told: told.tell,
	})
	return told.serve(ctx, func() any { return s.Counts() }, func(ctx context.Context) error { return s.Serve(ctx, l) })
}

func readSecrets(f *os.File) (s secretsOfReceiver, err error) {
	defer f.Close() //nolint:errcheck // it was only read
	var j struct{ Token, Key string }
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 64<<10)).Decode(&j); err != nil {
		return s, fmt.Errorf("what the agent hands over: %w", err)
	}
	key, err := hex.DecodeString(j.Key)
	if err != nil || copy(s.Key[:], key) != len(s.Key) {
		return s, errors.New("what the agent hands over: a key of another length")
	}
	s.Token = j.Token
	return s, nil
}

// memory is what the receiver remembers of threads, as hashes; several bodies are judged at once.
type memory struct {
	mu sync.Mutex
	of *prompt.Memory
}

// judge says what a call is about and whether an order spreads, and remembers what was told.
func (m *memory) judge(c *otlp.Content, r *event.Request, order bool) (spreads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Tool != "" {
		r.ToolDoes = listed(m.of.Call(c.Thread, r.Tool, c.Arguments))
	}
	m.of.Told(c.Thread, c.System+"\n"+c.Prompt, c.Outside)
	return order && m.of.Spreads(c.Thread, c.Prompt+"\n"+c.Outside, c.Answer)
}

// tools lists what a model was told of tools: names, and hashes of the rest.
func tools(key *prompt.Key, list []otlp.Definition) string {
	var b strings.Builder
	for _, d := range list {
		if b.Len() > maxTools {
			break
		}
		b.WriteString(strings.NewReplacer(";", "_", "=", "_").Replace(d.Name) + "=" + key.Hash("definition", d.Text)[:16] + ";")
	}
	return b.String()
}

// judgeContent returns what fills in a request what its content says: numbers, names and hashes.
func judgeContent(key *prompt.Key, mem *memory) func(otlp.Content, *event.Request) {
	return func(c otlp.Content, r *event.Request) {
		var attacks []string
		switch {
		case c.Tool != "":
			r.PromptHash = key.Hash("tool", c.Tool)
		case c.Prompt != "":
			looks := prompt.Look(c.Prompt)
			r.PromptHash, r.PromptLength, r.PromptScore = key.Hash("prompt", c.Prompt), event.Measured(int64(len(c.Prompt))), event.Measured(looks.Score)
			attacks = looks.Signs
			if t := key.Template(c.Prompt); t != (prompt.Template{}) {
				r.Template = t.String()
			}
		}
		if outside := prompt.Look(c.Outside); len(outside.Signs) > 0 && !slices.Equal(outside.Signs, []string{prompt.Encoded}) || outside.Score >= prompt.Suspicious {
			attacks = append(attacks, "indirect")
		}
		order := slices.Contains(attacks, "indirect") || slices.Contains(attacks, prompt.Phrase) || slices.Contains(attacks, prompt.Wrapped) || r.PromptScore.N >= prompt.Suspicious
		if mem.judge(&c, r, order) {
			attacks = append(attacks, "self-replicating")
		}
		if c.Prompt != "" {
			r.Noise = event.Measured(prompt.Noise(c.Prompt))
		}
		if c.Output != "" && c.Tool == "" {
			r.AnswerLength, r.Repeats = event.Measured(int64(len(c.Output))), event.Measured(prompt.Repeats(c.Output))
		}
		r.Tools = tools(key, c.Definitions)
		r.Found = listed(slices.DeleteFunc(prompt.Answer(c.Outside), func(kind string) bool { return !prompt.IsKey(kind) }))
		if prompt.Overlap(c.System, c.Answer) >= toldFrom {
			attacks = append(attacks, "system-prompt")
		}
		r.Attacks, r.Secrets = listed(attacks), listed(prompt.Answer(c.Answer))
		if (r.Finish == "" || r.Finish == "stop" || r.Finish == "end_turn") && prompt.Refuses(c.Answer) {
			r.Finish = "refusal"
		}
		if c.Key != "" {
			r.Principal, r.PrincipalKind = key.Hash("key", c.Key), "key"
		}
	}
}

// listed puts a semicolon behind each name.
func listed(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, ";") + ";"
}
