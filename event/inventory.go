package event

import "time"

// Inventory is which AI workloads run on a host, and on what.
type Inventory struct {
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`
	Running []Running `json:"running"`
	Cut     int       `json:"cut,omitempty"` // workloads left out, as there are too many
}

// Running is an AI workload that runs.
type Running struct {
	Host      string       `json:"host"`
	ID        string       `json:"id"` // the workload's
	Kind      WorkloadKind `json:"kind"`
	Engine    string       `json:"engine"`
	Version   string       `json:"version,omitempty"` // of the engine
	Name      string       `json:"name"`
	Packages  []Package    `json:"packages,omitempty"` // frameworks beside the engine
	Container *Container   `json:"container,omitempty"`
	PID       uint32       `json:"pid"`
	Processes int          `json:"processes"` // of the server or job itself
	Started   time.Time    `json:"started"`
	Exe       string       `json:"exe"`
	Users     []string     `json:"users,omitempty"`
	Listens   []string     `json:"listens,omitempty"` // TCP, address:port
	GPUs      []string     `json:"gpus,omitempty"`    // device files that are open
	Job       *Job         `json:"job,omitempty"`
	Files     []ModelFile  `json:"files"`
	FilesCut  int          `json:"files_cut,omitempty"`
}

// Package is a framework that a workload has installed.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Job is what says of processes on one or several hosts that they work on one thing.
type Job struct {
	ID    string `json:"id"`             // of the scheduler or launcher; else the master's address
	Size  int    `json:"size,omitempty"` // how many ranks there are
	Ranks []int  `json:"ranks,omitempty"`
}

// ModelFile is a file that a workload has open, or used.
type ModelFile struct {
	Path     string   `json:"path"`
	Model    string   `json:"model,omitempty"` // the model's name
	Role     string   `json:"role"`            // model, adapter, dataset, tokenizer, template, code or configuration
	Format   string   `json:"format,omitempty"`
	Size     int64    `json:"size"`
	Open     bool     `json:"open"`
	Pending  bool     `json:"pending,omitempty"` // not judged yet
	Artifact Artifact `json:"artifact"`
}
