// Package ui holds the dashboard: a page built by npm from src, embedded where it has been built.
package ui

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS // all: takes .gitignore too, so the pattern matches in a fresh clone

//go:embed unbuilt.html
var unbuilt []byte

// Handler serves the dashboard, or, built without it, a page that says how to build it.
func Handler() http.Handler {
	app, err := fs.Sub(dist, "dist/app")
	if err != nil { // only an invalid path is an error, and this one is valid
		panic(err)
	}
	return serve(app)
}

// Built reports whether the dashboard is inside this binary.
func Built() bool {
	_, err := fs.Stat(dist, "dist/app/index.html")
	return err == nil
}

// serve answers with the files of app, and with its index.html for every route of the dashboard.
func serve(app fs.FS) http.Handler {
	index, err := fs.ReadFile(app, "index.html")
	if err != nil {
		index = unbuilt
	}
	files := http.FileServerFS(app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the dashboard is only read", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		st, err := fs.Stat(app, name)
		switch {
		case err == nil && !st.IsDir() && name != "index.html":
			if strings.HasPrefix(name, "assets/") { // Vite puts a hash in these names
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			files.ServeHTTP(w, r)
		case strings.HasPrefix(name, "assets/") || path.Ext(name) != "" && !strings.Contains(name, "/") && name != "index.html":
			http.NotFound(w, r) // a missing file is a 404, a route is the app
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(index)
		}
	})
}
