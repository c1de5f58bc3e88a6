package event

import "testing"

func TestInstallersAreKnownByWhatTheyAreToldToDo(t *testing.T) {
	for _, line := range []string{
		"pip install torch", "/usr/bin/pip3.11 install -r r.txt", "python3 -m pip install x", "/usr/bin/python3.11 -m pip --quiet install x",
		"/usr/bin/python3 /usr/local/bin/pip install --no-cache-dir x", "uv pip install x", "uv add x", "uvx ruff", "conda install -y x",
		"/usr/bin/python3 /opt/conda/bin/conda create -n x", "npm ci", "/usr/bin/node /usr/bin/npm install left-pad",
		"node /usr/lib/node_modules/npm/bin/npm-cli.js i x", "npx create-app", "poetry install",
		"python3 -m venv env", "/x/env/bin/python3.11 -Im ensurepip --upgrade --default-pip",
	} {
		if (&Process{Cmdline: line}).Installer() == "" {
			t.Errorf("%s is no installer", line)
		}
	}
	for _, line := range []string{
		"pip list", "python3 train.py install", "python3 -m http.server", "grep pip install", "sh pip install", "vim pip", "npm start", "uv --version",
		"node server.js", "bash -c pip install x", "python3 -c pip", "conda activate x", "pip", "node",
		"python3 /tmp/ensurepip", "/tmp/venv x", "python3 -c venv",
	} {
		if (&Process{Cmdline: line}).Installer() != "" {
			t.Errorf("%s is an installer", line)
		}
	}
	for name, p := range map[string]*Process{
		"pip":  {Args: []string{"/bin/bash", "/usr/local/bin/pip", "install", "x"}},
		"yarn": {Args: []string{"sh", "/usr/bin/yarn", "add", "x"}},
		"":     {Args: []string{"bash", "-c", "pip install x"}},
	} {
		if got := p.Installer(); got != name {
			t.Errorf("%q: %q", p.Args, got)
		}
	}
	if (&Process{}).Installer() != "" {
		t.Error("a process of which nothing is known is one")
	}
	pip := &Process{Cmdline: "pip install x"}
	build := &Process{Cmdline: "python3 _in_process.py", Parent: &Process{Cmdline: "pip install setuptools", Parent: &Process{Cmdline: "sh", Parent: pip}}}
	if build.OfInstaller() != pip || (&Process{Cmdline: "sh", Parent: &Process{}}).OfInstaller() != nil {
		t.Error("the installer above a process is another")
	}
}
