package api

// grant is who may use a route.
type grant struct {
	role     Role
	loopback bool // anybody on this machine may too, without signing in
}

// access is the one table of who may do what: the pattern of each route and the least role that may
// use it. A route that is not here is refused for everybody.
var access = map[string]grant{
	// What works before somebody has signed in.
	"/":                      {role: Public}, // the dashboard's files; they hold no data
	"/api/":                  {role: Public}, // unknown API paths: 404
	"GET /healthz":           {role: Public},
	"GET /signin":            {role: Public},
	"GET /api/v1/session":    {role: Public}, // 401 with how to sign in
	"POST /api/v1/session":   {role: Public},
	"DELETE /api/v1/session": {role: Public},
	"GET /api/openapi.json":  {role: Public},

	"POST /api/v1/hooks/{name}":     {role: Public}, // it is signed, see hook
	"POST /.well-known/openc2":      {role: Viewer}, // what changes something: Analyst, see consume
	"POST /api/v1/session/password": {role: Viewer},
	"GET /api/v1/incidents":         {role: Viewer},
	"GET /api/v1/incidents/{id}":    {role: Viewer},
	"GET /api/v1/findings":          {role: Viewer},
	"GET /api/v1/findings/{id}":     {role: Viewer},
	"GET /api/v1/events":            {role: Viewer},
	"GET /api/v1/events/hits":       {role: Viewer},
	"GET /api/v1/events/fields":     {role: Viewer},
	"GET /api/v1/fleet":             {role: Viewer},
	"GET /api/v1/gpus":              {role: Viewer},
	"GET /api/v1/inventory":         {role: Viewer},
	"GET /api/v1/health":            {role: Viewer},
	"GET /api/v1/rules":             {role: Viewer},
	"GET /api/v1/threats":           {role: Viewer},
	"GET /api/v1/stream":            {role: Viewer},
	"GET /metrics":                  {role: Viewer, loopback: true},

	"GET /api/v1/playbooks":         {role: Viewer},
	"GET /api/v1/playbooks/{name}":  {role: Viewer},
	"GET /api/v1/runs":              {role: Viewer},
	"GET /api/v1/runs/{id}":         {role: Viewer},
	"GET /api/v1/runs/{id}/records": {role: Viewer},
	"GET /api/v1/respond":           {role: Viewer},

	"PATCH /api/v1/incidents/{id}":           {role: Analyst},
	"POST /api/v1/playbooks/{name}/plan":     {role: Analyst}, // asks agents
	"POST /api/v1/playbooks/{name}/simulate": {role: Analyst},
	"POST /api/v1/runs":                      {role: Analyst},
	"POST /api/v1/runs/{id}/edit":            {role: Analyst},
	"POST /api/v1/runs/{id}/approve":         {role: Analyst},
	"POST /api/v1/runs/{id}/reject":          {role: Analyst},
	"POST /api/v1/runs/{id}/answer":          {role: Analyst},
	"POST /api/v1/runs/{id}/undo":            {role: Analyst},
	"POST /api/v1/runs/{id}/extend":          {role: Analyst},
	"PUT /api/v1/respond":                    {role: Analyst},

	"GET /api/v1/actions":              {role: Viewer},
	"GET /api/v1/actions/{id}":         {role: Viewer},
	"POST /api/v1/actions/plan":        {role: Analyst},
	"POST /api/v1/actions":             {role: Analyst}, // what cannot be taken back: Admin, see doAction
	"POST /api/v1/actions/{id}/undo":   {role: Analyst},
	"POST /api/v1/actions/{id}/extend": {role: Analyst},
	"POST /api/v1/actions/{id}/answer": {role: Analyst},
	"POST /api/v1/actions/stop":        {role: Analyst},
	"POST /api/v1/actions/resume":      {role: Admin},

	"GET /api/v1/users":              {role: Admin},
	"POST /api/v1/users":             {role: Admin},
	"DELETE /api/v1/users/{name}":    {role: Admin},
	"POST /api/v1/users/{name}/link": {role: Admin},
	"GET /api/v1/tokens":             {role: Admin},
	"POST /api/v1/tokens":            {role: Admin},
	"DELETE /api/v1/tokens/{id}":     {role: Admin},
	"GET /api/v1/audit":              {role: Admin},
	"GET /debug/pprof/":              {role: Admin},
	"GET /debug/pprof/cmdline":       {role: Admin},
	"GET /debug/pprof/profile":       {role: Admin},
	"GET /debug/pprof/symbol":        {role: Admin},
	"GET /debug/pprof/trace":         {role: Admin},
}
