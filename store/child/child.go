// Package child runs the event store: VictoriaLogs' engine behind its own HTTP API.
//
// It is a program of its own, started as `picket store`, for three reasons: the engine keeps its
// flags and its state in globals, it ends the process on a damaged or locked directory, and a
// large query must not take the memory of those who watch. No other package imports the engine.
package child

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vlinsert"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/fs"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/httpserver"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"

	"picket/store/events"
)

// Main runs the store with the flags of events.Args until it is told to stop by SIGTERM or SIGINT.
// It parses the process's global flags, so it must be the only thing that the process does.
// Where the address or the directory cannot be used the engine ends the process with a message.
func Main(args []string) error {
	os.Args = append([]string{"picket-store"}, args...)
	listen := flag.String("listen", "127.0.0.1:7422", "address to listen on")
	flag.CommandLine.Init("picket-store", flag.ContinueOnError)
	if err := flag.CommandLine.Parse(args); err != nil { // before all else: the engine reads its flags
		return fmt.Errorf("store: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	logger.Init()

	vlstorage.Init()
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{}) // before vlinsert, or inserts find no storage
	vlinsert.Init()
	addrs := []string{*listen}
	go httpserver.Serve(addrs, handle, httpserver.ServeOptions{})

	<-stop
	// Requests end first, then those who serve them, from the outside in: the storage writes out
	// what it was given when it stops.
	err := httpserver.Stop(addrs)
	vlinsert.Stop()
	vlselect.Stop()
	vlstorage.Stop()
	fs.MustStopDirRemover()
	if err != nil {
		return errors.Join(errors.New("store: some requests were cut off"), err)
	}
	return nil
}

// generation differs from one start of the store to the next.
var generation = rand.Text()

func handle(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == events.GenerationPath {
		_, _ = io.WriteString(w, generation) // a client that went away asks again
		return true
	}
	return vlinsert.RequestHandler(w, r) || vlselect.RequestHandler(w, r) || vlstorage.RequestHandler(w, r)
}
