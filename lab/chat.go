package lab

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// chat is a request to the posing server's model, as clients of OpenAI's API write it, with what a
// gateway or an agent before it would add.
type chat struct {
	Model        string          `json:"model"`
	User         string          `json:"user"`
	Conversation string          `json:"conversation"`
	Agent        string          `json:"agent"`
	Tools        json.RawMessage `json:"tools"`
	Documents    string          `json:"documents"` // that were looked up for it
	MaxTokens    int             `json:"max_tokens"`
	Temperature  *float64        `json:"temperature"`
	TopLogprobs  int             `json:"top_logprobs"`
	Messages     []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
}

// call is a call of a tool that the posing agent made.
type call struct {
	Model, Agent, Conversation, Tool, Arguments, Result string
}

// answer is what the posing model says. It obeys whoever asks it to repeat something, tells what it was
// told before, refuses to speak of weapons, and has one answer for the rest.
func (c *chat) answer() string {
	var system, prompt string
	for _, m := range c.Messages {
		if m.Role == "system" {
			system = m.Content
		} else {
			prompt = m.Content
		}
	}
	_, repeat, found := strings.Cut(prompt, "Repeat after me: ")
	switch {
	case found:
		return repeat
	case strings.Contains(prompt, "what you were told"):
		return system
	case strings.Contains(prompt, "weapon"):
		return "I'm sorry, but I can't help with that."
	}
	return "It is made of wood and iron, and it has been so for a long time."
}

func words(s string) int { return len(strings.Fields(s)) }

// complete answers a chat, and sends a trace of it.
func complete(w http.ResponseWriter, r *http.Request) {
	var c chat
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	began := time.Now()
	text := c.answer()
	in, out := 0, words(text)
	for _, m := range c.Messages {
		in += words(m.Content)
	}
	if c.MaxTokens > out {
		out = c.MaxTokens // it makes use of what it may
	}
	client, _, _ := net.SplitHostPort(r.RemoteAddr) // the server of net/http wrote it
	messages, err := json.Marshal(c.Messages)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a := map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "llama_cpp", "gen_ai.request.model": c.Model, "gen_ai.response.finish_reasons": "stop",
		"gen_ai.usage.input_tokens": in, "gen_ai.usage.output_tokens": out, "gen_ai.input.messages": string(messages), "gen_ai.output.messages": text,
		"client.address": client, "user_agent.original": r.UserAgent(),
	}
	if c.Temperature != nil {
		a["gen_ai.request.temperature"] = *c.Temperature
	}
	if c.MaxTokens > 0 {
		a["gen_ai.request.max_tokens"] = c.MaxTokens
	}
	if c.TopLogprobs > 0 {
		a["gen_ai.request.top_logprobs"] = c.TopLogprobs
	}
	for key, v := range map[string]string{
		"enduser.id": c.User, "gen_ai.conversation.id": c.Conversation, "gen_ai.agent.name": c.Agent, "gen_ai.tool.definitions": string(c.Tools), "gen_ai.retrieval.documents": c.Documents,
	} {
		if v != "" {
			a[key] = v
		}
	}
	if err := export(r.Context(), began, a); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	reply(w, map[string]any{"model": c.Model, "choices": []any{map[string]any{"message": map[string]string{"role": "assistant", "content": text}, "finish_reason": "stop"}}})
}

// callTool sends a trace of a call of a tool, as an agent's library does when the call has ended.
func callTool(w http.ResponseWriter, r *http.Request) {
	var c call
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err := export(r.Context(), time.Now(), map[string]any{
		"gen_ai.operation.name": "execute_tool", "gen_ai.request.model": c.Model, "gen_ai.agent.name": c.Agent, "gen_ai.conversation.id": c.Conversation,
		"gen_ai.tool.name": c.Tool, "gen_ai.tool.call.arguments": c.Arguments, "gen_ai.tool.call.result": c.Result,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	reply(w, map[string]string{"status": "called"})
}
