package event

import (
	"strconv"
	"strings"
)

// Kubernetes is one request to the API server of a cluster, as its audit log tells of it. Of the object
// that was handed in it holds what reaches beyond a pod, and nothing else: no environment, no data.
type Kubernetes struct {
	AuditID      string
	Stage        string // ResponseComplete, ResponseStarted or Panic
	Verb         string
	URI          string // with values of the query only where those are names of programs
	User         string
	Impersonated string // in whose name the user asked
	Groups       string // of the user, each with a semicolon behind it
	Source       string // address that the request came from
	UserAgent    string
	APIGroup     string
	Resource     string
	Subresource  string
	Namespace    string
	Name         string
	Status       Measure
	Decision     string // allow or forbid

	Images         string // each with a semicolon behind it, as are the lists below
	HostPaths      string
	Capabilities   string // that containers add
	Claims         string // for volumes
	ServiceAccount string
	GPUs           Measure // asked for by one pod
	Reach          string  // how a pod gets at its node: privileged, device, kubelet, runtime…
	Engine         string  // which AI engine an image, or the name, says
	Volume         string  // that a snapshot, claim or volume is made of
	VolumeOwner    string  // namespace of that, where it is another one
	Unusual        string  // what nobody asked for before
}

// describe is the sentence of Describe about a request to the API server.
func (k *Kubernetes) describe() string {
	var b strings.Builder
	who := k.User
	if who == "" {
		who = "somebody"
	}
	b.WriteString(who + " asked the cluster to " + k.Verb)
	what := k.Resource
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if what == "" {
		what = k.URI
	}
	b.WriteString(" " + what)
	if name := strings.Trim(k.Namespace+"/"+k.Name, "/"); name != "" {
		b.WriteString(" " + name)
	}
	if k.Reach != "" {
		b.WriteString(" with " + strings.ReplaceAll(strings.TrimSuffix(k.Reach, ";"), ";", ", "))
	}
	if k.Status.Known {
		b.WriteString(": " + strconv.FormatInt(k.Status.N, 10))
	}
	return b.String()
}

// text tells requests to the API server apart.
func (k *Kubernetes) text() string {
	return strings.Join([]string{k.AuditID, k.Stage, k.Verb, k.User, k.Source, k.Resource, k.Namespace, k.Name, k.Status.String()}, "\x00")
}
