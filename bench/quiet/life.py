"""What goes on by day and night on a host that trains and serves models, done for real: all of it is harmless.

life.py DIR ROUNDS plays it below DIR and ends. Each act says its name; one that this host cannot do says why.
"""
import http.server, json, os, pickle, collections, random, shutil, signal, socket, struct, subprocess, sys, threading, time, urllib.request, zipfile

dir, rounds = sys.argv[1], int(sys.argv[2])
models, work = dir + "/models", dir + "/work"
real = os.path.realpath(sys.executable)


def act(name, how):
    try:
        how()
        print("did", name, flush=True)
    except Exception as e:
        print("left out", name + ":", str(e).replace("\n", " ")[:200], flush=True)


def sh(script, **more):
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=work, **more)
    if done.returncode:
        raise RuntimeError(f"{done.returncode}: {done.stdout[-80:]} {done.stderr[-120:]}")


def safetensors(path, n):
    head = json.dumps({"w": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}).encode()
    with open(path + ".tmp", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + os.urandom(n))
    os.rename(path + ".tmp", path)


SERVER = r'''
import http.server, json, mmap, os, pickle, sys, threading
model, port = sys.argv[2], int(sys.argv[4])
held = {}
def load(name):
    f = open(os.path.join(model, name), "rb")
    held[name] = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    sum(held[name][::4096])
load("model.safetensors")
json.load(open(os.path.join(model, "config.json"))); json.load(open(os.path.join(model, "tokenizer.json")))
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, f, *a): print("INFO:     127.0.0.1:%d - \"%s\" 200 OK" % (self.client_address[1], self.requestline), flush=True)
    def say(self, o):
        b = json.dumps(o).encode(); self.send_response(200); self.send_header("Content-Length", str(len(b))); self.end_headers(); self.wfile.write(b)
    def do_GET(self): self.say({"status": "ok"})
    def do_POST(self):
        q = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            pickle.load(open(os.path.join(q["lora_path"], "adapter_model.bin"), "rb")); json.load(open(os.path.join(q["lora_path"], "adapter_config.json")))
        if self.path == "/swap":   # a new version is put in the place of the one that is served
            new = os.path.join(model, "model.safetensors.new")
            with open(new, "wb") as f: f.write(held["model.safetensors"][:]); f.flush(); os.fsync(f.fileno())
            os.rename(new, new[:-4])
            load("model.safetensors")
        self.say({"choices": [{"message": {"content": "hello"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
http.server.ThreadingHTTPServer(("127.0.0.1", port), H).serve_forever()
'''

TRAINER = r'''
import collections, json, os, pickle, sys, time, urllib.request
out, data, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = open(out + "/train.log", "a")
for step in range(steps):
    with urllib.request.urlopen(data) as r:   # streamed, never stored
        n = 0
        while piece := r.read(1 << 20): n += len(piece)
    name = "%s/checkpoint-%d" % (out, step)
    os.makedirs(name, exist_ok=True)
    for part in "pytorch_model.bin", "optimizer.pt", "scheduler.pt":
        with open(name + "/" + part + ".tmp", "wb") as f:
            pickle.dump(collections.OrderedDict(w=[0.5] * 20000, step=step), f); f.flush(); os.fsync(f.fileno())
        os.rename(name + "/" + part + ".tmp", name + "/" + part)
    json.dump({"step": step, "loss": 1 / (step + 1)}, open(name + "/trainer_state.json", "w"))
    old = "%s/checkpoint-%d" % (out, step - 2)
    if os.path.isdir(old):
        for f in os.listdir(old): os.unlink(old + "/" + f)
        os.rmdir(old)
    print("step", step, n, file=log, flush=True)
pickle.load(open(name + "/pytorch_model.bin", "rb"))   # resumed
'''


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def prepare():
    for d in (models + "/llama", models + "/adapters/a", models + "/run", work, dir + "/log", dir + "/data"):
        os.makedirs(d, exist_ok=True)
    safetensors(models + "/llama/model.safetensors", 8 << 20)
    write(models + "/llama/config.json", '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    write(models + "/llama/tokenizer.json", '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}')
    write(models + "/adapters/a/adapter_config.json", '{"peft_type": "LORA", "r": 8}')
    with open(models + "/adapters/a/adapter_model.bin", "wb") as f:
        pickle.dump(collections.OrderedDict(lora_A=[0.1] * 1000), f)
    write(dir + "/venv/bin/vllm", SERVER)
    write(dir + "/venv/bin/torchrun", TRAINER)
    with open(dir + "/data/shard.bin", "wb") as f:
        f.write(os.urandom(16 << 20))


def wheel():
    w = work + "/dist/quiet_life-1.0-py3-none-any.whl"
    os.makedirs(work + "/dist", exist_ok=True)
    with zipfile.ZipFile(w, "w") as z:
        z.writestr("quiet_life/__init__.py", "def main():\n    print('quiet')\n")
        z.writestr("quiet_life-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: quiet-life\nVersion: 1.0\n")
        z.writestr("quiet_life-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: life\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("quiet_life-1.0.dist-info/entry_points.txt", "[console_scripts]\nquiet-life = quiet_life:main\n")
        z.writestr("quiet_life-1.0.dist-info/RECORD", "")
    sh(f"test -d env || {real} -m venv env; env/bin/pip install --quiet --disable-pip-version-check --no-index --force-reinstall {w} && env/bin/quiet-life && env/bin/python -m compileall -q env/lib >/dev/null")


def rotate():
    sh(f"""cd {dir}/log; for i in $(seq 200); do echo "line $i" >> app.log; done
           [ -f app.log.1.gz ] && mv app.log.1.gz app.log.2.gz; mv app.log app.log.1; touch app.log; chmod 640 app.log; gzip -f app.log.1; find . -name '*.gz' -mtime +7 -delete""")


def clone():
    sh("""rm -rf origin copy; git init -q origin && cd origin && git config user.email a@b.c && git config user.name a
          for i in 1 2 3; do echo $i > f$i; git add .; git commit -qm "add $i"; done
          cd .. && git clone -q origin copy && cd copy && git log --oneline >/dev/null && git checkout -qb topic && echo x > g && git add g && git -c user.email=a@b.c -c user.name=a commit -qm g && git diff HEAD~1 --stat >/dev/null && git gc -q""")


def package():
    sh("""rm -rf pkg root; mkdir -p pkg/DEBIAN pkg/usr/lib/quiet pkg/usr/bin root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/log
          printf 'Package: quiet\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: a <a@b.c>\\nDescription: nothing\\n' > pkg/DEBIAN/control
          cp /bin/true pkg/usr/bin/quiet-tool; echo data > pkg/usr/lib/quiet/data; : > root/var/lib/dpkg/status
          dpkg-deb --build --root-owner-group pkg quiet.deb >/dev/null && dpkg --root=$PWD/root --force-depends --force-not-root -i quiet.deb >/dev/null 2>&1; root/usr/bin/quiet-tool && apt-cache policy bash >/dev/null""")


def cron():
    write(work + "/daily/backup", f"#!/bin/sh\ntar -czf {work}/backup.tgz -C {dir} log venv/bin\nfind {dir}/log -name '*.tmp' -delete\ndf -h / | tail -1 >> {dir}/log/disk\n", 0o755)
    write(work + "/daily/stat", f"#!/bin/sh\nps -eo pid,comm,%cpu | sort -k3 -r | head -5 >> {dir}/log/top\nsync\n", 0o755)
    sh(f"exec /bin/sh -c 'run-parts {work}/daily'")


def session():
    sh(f"""exec bash -l -c '
        ls -la / {models} {models}/llama; ps aux | grep -c python; df -h; free -m; uptime; uname -a; id; whoami; date; env | wc -l; cat /etc/os-release; du -sh {models}
        tail -n 3 {dir}/log/app.log; wc -l {dir}/log/*; find {models} -name "*.json" | head; stat {models}/llama/model.safetensors; nproc; top -b -n 1 | head -3; ss -ltn | head; ip addr | head -3
        command -v nvidia-smi && nvidia-smi; python3 -c "print(1)"; hostname; cat /proc/loadavg; grep -r llama {models}/llama/config.json; mount | head -2; lsof -v; true' >/dev/null 2>&1""")


def main():
    prepare()
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=dir + "/data"))
    http.server.SimpleHTTPRequestHandler.log_message = lambda *a: None
    threading.Thread(target=files.serve_forever, daemon=True).start()
    at = port()
    server = subprocess.Popen([real, dir + "/venv/bin/vllm", "serve", models + "/llama", "--port", str(at)], stdout=open(dir + "/log/vllm.log", "w"), stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{at}"

    def post(path, what):
        q = urllib.request.Request(url + path, json.dumps(what).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(q, timeout=30).read()

    for _ in range(300):
        try:
            urllib.request.urlopen(url + "/health", timeout=5).read()
            break
        except OSError:
            time.sleep(0.1)
    over = threading.Event()
    checks = [0]

    def health():
        while not over.wait(1):
            checks[0] += subprocess.run(["curl", "-fsS", "-o", "/dev/null", url + "/health"]).returncode == 0

    pulse = threading.Thread(target=health)
    pulse.start()
    for n in range(rounds):
        act("chat", lambda: [post("/v1/chat/completions", {"model": "llama", "messages": [{"role": "user", "content": f"What is {i} and {n}?"}]}) for i in range(20)])
        act("training with checkpoints, from a stream", lambda: subprocess.run([real, dir + "/venv/bin/torchrun", models + "/run", f"http://127.0.0.1:{files.server_address[1]}/shard.bin", "6"], check=True, capture_output=True))
        act("adapter", lambda: post("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": models + "/adapters/a"}))
        act("model swap by its server", lambda: post("/swap", {}))
        act("wheel into a venv", wheel)
        act("log rotation", rotate)
        act("git", clone)
        act("package", package)
        act("cron", cron)
        act("shell session", session)
    over.set()
    pulse.join()
    print("did", checks[0], "health checks", flush=True)
    server.send_signal(signal.SIGTERM)
    server.wait()


main()
