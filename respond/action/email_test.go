package action

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailServer is as much of SMTP as a letter takes.
type mailServer struct {
	addr  string
	roots *x509.CertPool
	mu    sync.Mutex
	lines []string // what was said to it
	plain bool     // no STARTTLS
	busy  int      // so many letters are refused for now
}

func serveMail(t *testing.T) *mailServer {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	config := &tls.Config{Certificates: web.TLS.Certificates}
	s := &mailServer{roots: x509.NewCertPool()}
	s.roots.AddCert(web.Certificate())
	web.Close()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = l.Close() })
	s.addr = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(c, config)
		}
	}()
	return s
}

func (s *mailServer) talk(c net.Conn, config *tls.Config) {
	defer func() { _ = c.Close() }()
	say := func(line string) { _, _ = io.WriteString(c, line+"\r\n") }
	say("220 mail.example.org")
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, strings.TrimRight(line, "\r\n"))
		plain, busy := s.plain, s.busy
		s.mu.Unlock()
		switch _, secure := c.(*tls.Conn); {
		case strings.HasPrefix(line, "EHLO") && secure:
			say("250-mail.example.org\r\n250 AUTH PLAIN")
		case strings.HasPrefix(line, "EHLO") && plain:
			say("250 mail.example.org")
		case strings.HasPrefix(line, "EHLO"):
			say("250-mail.example.org\r\n250 STARTTLS")
		case strings.HasPrefix(line, "STARTTLS"):
			say("220 go on")
			c = tls.Server(c, config)
			in = bufio.NewReader(c)
		case strings.HasPrefix(line, "AUTH"):
			say("235 welcome")
		case strings.HasPrefix(line, "MAIL") && busy > 0:
			s.mu.Lock()
			s.busy--
			s.mu.Unlock()
			say("451 later")
		case strings.HasPrefix(line, "DATA"):
			say("354 go on")
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
				s.mu.Lock()
				s.lines = append(s.lines, strings.TrimRight(line, "\r\n"))
				s.mu.Unlock()
			}
			say("250 taken")
		default:
			say("250 fine")
		}
	}
}

func TestEmailContract(t *testing.T) {
	s := serveMail(t)
	s.busy = 1
	a := reached(t, NewNotify, Channel{
		Name: "mail", Type: "email", URL: "smtp://" + s.addr, User: "picket", Secret: "env:KEY", From: "Picket <picket@example.org>", To: []string{"soc@example.org", "on-call@example.org"},
	})
	wireOf(a.channels["mail"].receiver).roots = s.roots
	r := told("mail")
	r.Params["title"] = "Gewichte hinausgeschickt: ü\r\nBcc: x@example.org"
	if res := must(a.Do(t.Context(), r))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	all := strings.Join(s.lines, "\n")
	for _, want := range []string{"STARTTLS", "AUTH PLAIN AHBpY2tldABodW50ZXIy", "MAIL FROM:<picket@example.org>", "RCPT TO:<soc@example.org>", "RCPT TO:<on-call@example.org>"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q was not said", want)
		}
	}
	_, letter, _ := strings.Cut(all, "\nDATA\n")
	m := must(mail.ReadMessage(strings.NewReader(letter)))(t)
	subject := must((&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject")))(t)
	if subject != "TLP:AMBER [high] Gewichte hinausgeschickt: ü Bcc: x@example.org" || m.Header.Get("Bcc") != "" || m.Header.Get("To") != "<soc@example.org>, <on-call@example.org>" {
		t.Errorf("subject %q, headers %v", subject, m.Header)
	}
	if id := m.Header.Get("Message-ID"); !strings.HasSuffix(id, "@example.org>") {
		t.Errorf("id %s", id)
	}
	body := string(must(io.ReadAll(quotedprintable.NewReader(m.Body)))(t))
	if !strings.HasPrefix(body, strings.TrimSuffix(wantText, " ")) || !strings.Contains(body, "incident: inc-7") {
		t.Errorf("%q", body)
	}
}

func TestEmailOnlyOverTLS(t *testing.T) {
	s := serveMail(t)
	s.plain = true
	a := reached(t, NewNotify, Channel{Name: "mail", Type: "email", URL: "smtp://" + s.addr, User: "picket", Secret: "env:KEY", From: "p@example.org", To: []string{"soc@example.org"}})
	if res := must(a.Do(t.Context(), told("mail")))(t); res.State != Failed || !strings.Contains(res.Detail, "STARTTLS") {
		t.Errorf("%+v", res)
	}
	if all := strings.Join(s.lines, "\n"); strings.Contains(all, "AUTH") || strings.Contains(all, "MAIL") {
		t.Errorf("said in the clear: %s", all)
	}
	other := serveMail(t) // its certificate is not known
	a = reached(t, NewNotify, Channel{Name: "mail", Type: "email", URL: "smtp://" + other.addr, From: "p@example.org", To: []string{"soc@example.org"}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if res := must(a.Do(ctx, told("mail")))(t); res.State != Failed || !strings.Contains(res.Detail, "certificate") {
		t.Errorf("%+v", res)
	}
}
