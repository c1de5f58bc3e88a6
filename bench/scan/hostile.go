package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// sample is a file of the corpus.
type sample struct {
	class, name, data string
	hostile, pickle   bool // pickle: of that family
}

// payloads are callables that start programs, run code, load more, write, read or talk, each with an argument
// that would do nothing good and that nothing here runs.
func payloads() []call {
	var out []call
	for line := range strings.Lines(`
os.system posix.system nt.system os.popen os.execv os.execvp os.spawnl os.posix_spawn os.remove os.unlink os.putenv os.startfile
subprocess.Popen subprocess.run subprocess.call subprocess.check_output subprocess.getoutput _posixsubprocess.fork_exec commands.getoutput popen2.popen3
builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.open builtins.setattr builtins.breakpoint __builtin__.eval __builtin__.execfile __builtin__.apply
runpy.run_path runpy.run_module runpy._run_code importlib.import_module importlib._bootstrap._call_with_frames_removed importlib.util.spec_from_file_location imp.load_source
pty.spawn timeit.timeit timeit.main bdb.Bdb.run pdb.run pdb.Pdb cProfile.run cProfile.runctx profile.Profile.runctx trace.Trace.run doctest.debug_script doctest.testsource
code.interact code.InteractiveInterpreter.runcode codeop.compile_command webbrowser.open antigravity.webbrowser.open pydoc.pipepager pydoc.locate pydoc.tempfilepager
shutil.rmtree shutil.copyfile shutil.move tempfile.NamedTemporaryFile pathlib.Path.write_text pathlib.Path.unlink io.open io.FileIO _io.FileIO _io.open codecs.open gzip.open bz2.BZ2File lzma.open zipfile.ZipFile tarfile.open
urllib.request.urlopen urllib.request.urlretrieve urllib2.urlopen urllib.urlretrieve http.client.HTTPSConnection xmlrpc.client.ServerProxy ftplib.FTP smtplib.SMTP telnetlib.Telnet socket.create_connection socket.socket ssl.get_server_certificate
asyncio.run asyncio.subprocess.create_subprocess_shell asyncio.unix_events._UnixSubprocessTransport._start multiprocessing.util.spawnv_passfds multiprocessing.Process concurrent.futures.ProcessPoolExecutor threading.Thread _thread.start_new_thread
ctypes.CDLL ctypes.cdll.LoadLibrary _ctypes.dlopen marshal.loads types.FunctionType types.CodeType pickle.loads pickle.load _pickle.loads shelve.open dbm.open sqlite3.connect
zipimport.zipimporter pkgutil.resolve_name inspect.getsource linecache.getlines fileinput.input glob.glob platform.popen mailcap.findmatch site.addsitedir venv.create ensurepip._run_pip
functools.reduce itertools.starmap builtins.map builtins.filter builtins.exec builtins.globals builtins.vars builtins.getattr builtins.delattr builtins.input operator.call sys.setprofile sys.settrace atexit.register signal.signal gc.get_objects weakref.finalize
lib2to3.pgen2.pgen.ParserGenerator lib2to3.pgen2.grammar.Grammar.loads idlelib.pyshell.ModifiedInterpreter.runcode idlelib.autocomplete.AutoComplete.get_entity idlelib.calltip.get_entity idlelib.debugobj.ObjectTreeItem.SetText distutils.file_util.write_file distutils.spawn.spawn
logging.config.dictConfig logging.config.listen logging.FileHandler unittest.main unittest.mock._importer wsgiref.simple_server.make_server cgitb.lookup tkinter.Tcl turtle.mainloop sched.scheduler uuid._popen ctypes.util._findLib_gcc
numpy.load numpy.loadtxt numpy.fromfile numpy.memmap numpy.save numpy.testing._private.utils.runstring numpy.testing.rundocs numpy.f2py.crackfortran.myeval numpy.f2py.capi_maps.load_f2cmap_file numpy.distutils.exec_command.exec_command numpy.lib.npyio.DataSource
torch.load torch.save torch.hub.load torch.hub.load_state_dict_from_url torch.jit.load torch.ops.load_library torch.classes.load_library torch.utils.cpp_extension.load torch.utils.collect_env.run torch.utils.model_zoo.load_url torch.utils.bottleneck.__main__.run_cprofile torch.serialization.load torch.package.PackageImporter
torch.fx.graph_module._exec_with_source torch.fx.graph_module.reduce_graph_module torch.jit.unsupported_tensor_ops.execWrapper torch._inductor.codecache.compile_file torch._dynamo.guards.GuardBuilder.get torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression torch.utils._config_module.ConfigModule.load_config torch.utils.data.datapipes.utils.decoder.basichandlers torch.distributed.rpc.internal._internal_rpc_pickler torch.from_file torch.compile torch.testing._internal.common_utils.run_tests
torch.serialization.os.system torch.storage.io.open torch.os.system numpy.os.system numpy.sys.modules sklearn.utils.os.system pandas.io.common.os.system joblib.os.popen
pandas.read_pickle pandas.read_csv pandas.eval pandas.core.computation.eval.eval pandas.io.pickle.read_pickle pandas.DataFrame.query joblib.load joblib.numpy_pickle.load joblib.memory.Memory dill.loads dill._dill._create_function dill._dill._create_code dill._dill._import_module dill._dill._eval_repr dill.source.getsource cloudpickle.loads cloudpickle.cloudpickle._builtin_type cloudpickle.cloudpickle.subimport cloudpickle.cloudpickle._make_function
sklearn.datasets.fetch_openml sklearn.utils.fixes.parse_version_and_run sklearn.datasets._base.load_files scipy.io.loadmat scipy._lib._util.eval
transformers.pipeline transformers.dynamic_module_utils.get_class_from_dynamic_module huggingface_hub.snapshot_download keras.models.load_model tensorflow.keras.utils.get_file tensorflow.io.read_file
requests.get httpx.get aiohttp.request paramiko.SSHClient.connect fabric.run pip.main pip._internal.cli.main.main setuptools.sandbox.run_setup pkg_resources.load_entry_point pexpect.spawn invoke.run IPython.start_ipython pytest.main _pytest.config.main ansible.module_utils.basic.run nose.main
mypackage.evil.run somelib.helpers.execute payload.go
`) {
		for word := range strings.FieldsSeq(line) {
			module, name := split(word)
			out = append(out, call{module, name, text("id")})
		}
	}
	return out
}

// split parts a dotted name into module and name: methods of classes, and what modules import, stay in the name.
func split(full string) (module, name string) {
	parts := strings.Split(full, ".")
	for i, p := range parts[:len(parts)-1] {
		inner := i > 0 && slices.Contains([]string{"os", "sys", "io", "webbrowser", "cdll"}, p)
		if p[0] >= 'A' && p[0] <= 'Z' && p != "IPython" || inner {
			return strings.Join(parts[:i], "."), strings.Join(parts[i:], ".")
		}
	}
	return strings.Join(parts[:len(parts)-1], "."), parts[len(parts)-1]
}

// carriers are the ways in which a pickle calls something. Each returns a whole pickle.
var carriers = map[string]func(c call) string{
	"GLOBAL, protocol 0": func(c call) string { return global(c) + "(S'id'\ntR." },
	"GLOBAL, protocol 2": func(c call) string { return "\x80\x02" + reduce(global(c), c.args) + "." },
	"STACK_GLOBAL":       func(c call) string { return "\x80\x04" + reduce(stackGlobal(c), c.args) + "." },
	"STACK_GLOBAL, protocol 5, framed": func(c call) string {
		body := reduce(text(c.module)+"\x94"+text(c.name)+"\x94\x93\x94", c.args) + "."
		return "\x80\x05\x95" + string(append([]byte{byte(len(body))}, 0, 0, 0, 0, 0, 0, 0)) + body
	},
	"STACK_GLOBAL from the memo": func(c call) string {
		return "\x80\x04" + text(c.module) + "q\x00" + text(c.name) + "q\x01" + "00" + reduce("h\x00h\x01\x93", c.args) + "."
	},
	"STACK_GLOBAL, memo by MEMOIZE after PUT": func(c call) string {
		return "\x80\x04" + text(c.module) + "q\x07" + text(c.name) + "\x94" + "00" + reduce("h\x07h\x01\x93", c.args) + "."
	},
	"memo put again": func(c call) string {
		return "\x80\x04" + text("collections") + "q\x000" + text("OrderedDict") + "q\x010" + text(c.module) + "q\x000" + text(c.name) + "q\x010" + reduce("h\x00h\x01\x93", c.args) + "."
	},
	"texts dropped between": func(c call) string {
		return "\x80\x04" + text(c.module) + text(c.name) + text("collections") + text("OrderedDict") + "00" + "\x93" + "(" + c.args + "tR."
	},
	"name from protocol 0 with escapes": func(c call) string {
		var b strings.Builder
		for _, r := range c.name {
			fmt.Fprintf(&b, `\x%02x`, r)
		}
		return "S'" + c.module + "'\nS'" + b.String() + "'\n\x93(" + c.args + "tR."
	},
	"name as UNICODE with escapes": func(c call) string {
		var b strings.Builder
		for _, r := range c.name {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return "V" + c.module + "\nV" + b.String() + "\n\x93(" + c.args + "tR."
	},
	"name as long text": func(c call) string {
		return "\x80\x04" + text(c.module) + "\x8d" + string(append([]byte{byte(len(c.name))}, 0, 0, 0, 0, 0, 0, 0)) + c.name + "\x93(" + c.args + "tR."
	},
	"DUP":            func(c call) string { return "\x80\x04" + stackGlobal(c) + "2(" + c.args + "tR0(" + c.args + "tR." },
	"INST":           func(c call) string { return "(S'id'\ni" + c.module + "\n" + c.name + "\n." },
	"OBJ":            func(c call) string { return "(" + global(c) + "S'id'\no." },
	"NEWOBJ":         func(c call) string { return "\x80\x02" + global(c) + "(" + c.args + "t\x81." },
	"NEWOBJ_EX":      func(c call) string { return "\x80\x04" + stackGlobal(c) + "(" + c.args + "t}\x92." },
	"popped at once": func(c call) string { return "\x80\x04" + reduce(stackGlobal(c), c.args) + "0" + "}." },
	"POP of a mark":  func(c call) string { return "\x80\x04(0" + reduce(stackGlobal(c), c.args) + "." },
	"POP_MARK":       func(c call) string { return "\x80\x04}(" + reduce(stackGlobal(c), c.args) + "1." },
	"in a list in a dict": func(c call) string {
		return "\x80\x04}(" + text("state") + "](K\x01" + reduce(stackGlobal(c), c.args) + "eu."
	},
	"as a key": func(c call) string { return "\x80\x04}" + reduce(stackGlobal(c), c.args) + "K\x01s." },
	"state of an object": func(c call) string {
		return "\x80\x04" + reduce(text("collections")+text("OrderedDict")+"\x93", "") + "}" + text("x") + reduce(stackGlobal(c), c.args) + "sb."
	},
	"broken behind the call": func(c call) string { return "\x80\x04" + reduce(stackGlobal(c), c.args) + "\xff\xff\xff" },
	"cut behind the call":    func(c call) string { return "\x80\x04" + reduce(stackGlobal(c), c.args) },
	"no PROTO":               func(c call) string { return reduce(global(c), "S'id'\n") + "." },
	"PROTO in the middle":    func(c call) string { return "\x80\x02}0\x80\x04" + reduce(stackGlobal(c), c.args) + "." },
	"frame that lies": func(c call) string {
		return "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + reduce(stackGlobal(c), c.args) + "."
	},
	"frame too short": func(c call) string {
		return "\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00" + reduce(stackGlobal(c), c.args) + "."
	},
	"second pickle": func(c call) string { return "\x80\x04]." + "\x80\x04" + reduce(stackGlobal(c), c.args) + "." },
	"second pickle behind noise": func(c call) string {
		return "\x80\x04].\x00\x01\x02noise" + "\x80\x04" + reduce(stackGlobal(c), c.args) + "."
	},
	"handed to map": func(c call) string {
		return "\x80\x04" + reduce("cbuiltins\nlist\n", reduce("cbuiltins\nmap\n", global(c)+"]"+c.args+"a")) + "."
	},
	"functools.partial": func(c call) string {
		return "\x80\x04" + reduce(reduce("cfunctools\npartial\n", global(c)+c.args), "") + "."
	},
	"getattr of the module": func(c call) string {
		return "\x80\x04" + reduce(reduce("cbuiltins\ngetattr\n", reduce("cbuiltins\n__import__\n", text(c.module))+text(c.name)), c.args) + "."
	},
	"getattr of sys.modules": func(c call) string {
		return "\x80\x04" + reduce(reduce("cbuiltins\ngetattr\n", reduce("csys\nmodules.__getitem__\n", text(c.module))+text(c.name)), c.args) + "."
	},
	"operator.attrgetter": func(c call) string {
		return "\x80\x04" + reduce(reduce(reduce("coperator\nattrgetter\n", text(c.name)), reduce("cimportlib\nimport_module\n", text(c.module))), c.args) + "."
	},
	"operator.methodcaller": func(c call) string {
		return "\x80\x04" + reduce(reduce("coperator\nmethodcaller\n", text(c.name)+c.args), reduce("cimportlib\nimport_module\n", text(c.module))) + "."
	},
	"copyreg._reconstructor": func(c call) string {
		return "\x80\x02" + reduce("ccopy_reg\n_reconstructor\n", global(c)+"c__builtin__\nobject\nN") + "."
	},
	"__setstate__ by BUILD": func(c call) string {
		return "\x80\x04" + text("mylib.models") + text("Net") + "\x93)\x81}" + text("__setstate__") + global(c) + "sb" + c.args + "b."
	},
	"attribute of a class by BUILD": func(c call) string {
		return "\x80\x04" + "ctorch\nTensor\nN}" + text("__init__") + global(c) + "s\x86b."
	},
	"numpy's reconstruct": func(c call) string {
		return "\x80\x04" + reduce("cnumpy.core.multiarray\n_reconstruct\n", "cnumpy\nndarray\nK\x00\x85C\x01b") + "0" + reduce(stackGlobal(c), c.args) + "."
	},
	"within _load_from_bytes": func(c call) string {
		return "\x80\x02" + reduce("ctorch.storage\n_load_from_bytes\n", blob("\x80\x02"+reduce(global(c), c.args)+".")) + "."
	},
	"within bytes as a text": func(c call) string {
		in := global(c) + "(S'i'\ntR."
		return "\x80\x02" + reduce("ctorch.storage\n_load_from_bytes\n", reduce("c_codecs\nencode\n", text(in)+text("latin1"))) + "."
	},
	"within base64 and zlib": func(c call) string {
		in := base64.StdEncoding.EncodeToString([]byte(zlibbed("\x80\x02" + reduce(global(c), c.args) + ".")))
		return "\x80\x04" + reduce("cpickle\nloads\n", reduce("czlib\ndecompress\n", reduce("cbase64\nb64decode\n", text(in)))) + "."
	},
	"torch.load of BytesIO": func(c call) string {
		return "\x80\x04" + reduce("ctorch\nload\n", reduce("cio\nBytesIO\n", blob(torch("\x80\x02"+reduce(global(c), c.args)+".")))) + "."
	},
	"behind a megabyte": func(c call) string {
		return "\x80\x04" + blob(string(make([]byte, 1<<20))) + "0" + reduce(stackGlobal(c), c.args) + "."
	},
	"behind 100,000 opcodes": func(c call) string {
		return "\x80\x04" + strings.Repeat("N0", 50_000) + reduce(stackGlobal(c), c.args) + "."
	},
	"extension registry": func(c call) string { return "\x80\x02\x82\x01(" + c.args + "tR." },
	"module of two parts by dots": func(c call) string {
		root, rest, _ := strings.Cut(c.module+"."+c.name, ".")
		return "\x80\x04" + reduce(text(root)+text(rest)+"\x93", c.args) + "."
	},
}

// containers are the files that a pickle may come in.
var containers = map[string]func(pickle string) string{
	"torch":                        torch,
	"torch, first of two":          func(p string) string { return zipped("m/data.pkl", p, "m/data.pkl", "\x80\x02}.", "m/version", "3\n") },
	"torch, last of two":           func(p string) string { return zipped("m/data.pkl", "\x80\x02}.", "m/data.pkl", p, "m/version", "3\n") },
	"torch, encrypted flag":        func(p string) string { return flip(torch(p), "PK\x03\x04", 6, 1) },
	"torch, flag in the directory": func(p string) string { return flip(torch(p), "PK\x01\x02", 8, 1) },
	"torch, wrong checksum":        func(p string) string { return flip(torch(p), "PK\x01\x02", 16, 0x55) },
	"torch, wrong local name":      func(p string) string { return flip(torch(p), "PK\x03\x04", 30, 1) },
	"torch, other member":          func(p string) string { return zipped("m/data.pkl", "\x80\x02}.", "m/other.pkl", p, "m/version", "3\n") },
	"torch, name of a tensor": func(p string) string {
		return zipped("m/data.pkl", "\x80\x02}.", "m/data/0.pkl", p, "m/version", "3\n")
	},
	"torch, cut directory": func(p string) string { t := torch(p); return t[:len(t)-30] },
	"torch legacy":         legacy,
	"torch legacy, last pickle": func(p string) string {
		return strings.Replace(legacy("\x80\x02}."), "\x80\x02]q\x00.", p, 1)
	},
	"torch tar":            func(p string) string { return tarred("sys_info", "\x80\x02}.", "pickle", p, "storages", "\x80\x02].") },
	"pickle, then archive": func(p string) string { return p + torch("\x80\x02}.") },
	"archive, then pickle": func(p string) string { return torch("\x80\x02}.") + p },
	"gzip":                 gzipped, "zlib": zlibbed, "xz": xzed, "zstd": zstded, "lz4": lz4ed,
	"zstd in gzip in zip":   func(p string) string { return zipped("a", gzipped(zstded(p))) },
	"tar in gzip":           func(p string) string { return gzipped(tarred("m/weights", p)) },
	"npy of objects":        func(p string) string { return npy("'|O'", p) },
	"npy, field of objects": func(p string) string { return npy("[('a', '<f4'), ('b', '|O')]", p) },
	"npz": func(p string) string {
		return zipped("a.npy", npy("'<f4'", "\x00\x00\x00\x00\x00\x00\x00\x00"), "b.npy", npy("'|O'", p))
	},
	"joblib, array of objects": func(p string) string { return "\x80\x04}" + text("a") + joblibArray("O8", p) + "s." },
	"joblib, behind an array": func(p string) string {
		return "\x80\x04](" + joblibArray("f8", string(make([]byte, 16))) + strings.TrimSuffix(strings.TrimPrefix(p, "\x80\x04"), ".") + "e."
	},
	"joblib in lz4":     func(p string) string { return lz4ed("\x80\x04}" + text("a") + joblibArray("O8", p) + "s.") },
	"name of a picture": func(p string) string { return p },
}

// flip sets bits of a byte behind the first place where a mark stands.
func flip(s, mark string, off int, bits byte) string {
	b := []byte(s)
	b[strings.Index(s, mark)+off] ^= bits
	return string(b)
}

func hostile() []sample {
	var out []sample
	add := func(class, name, data string) {
		out = append(out, sample{class, name, data, true, true})
	}
	all := payloads()
	for _, c := range all {
		add("callable", c.module+"."+c.name, carriers["STACK_GLOBAL"](c))
		add("callable, protocol 2", c.module+"."+c.name, carriers["GLOBAL, protocol 2"](c))
	}
	some := []call{{"os", "system", text("id")}, {"builtins", "exec", text("x=1")}, {"subprocess", "Popen", text("id")}, {"webbrowser", "open", text("x")}, {"runpy", "run_path", text("x")}, {"ctypes", "CDLL", text("x")}, {"torch.hub", "load", text("x")}, {"numpy.testing._private.utils", "runstring", text("x")}}
	for name, carry := range carriers {
		for _, c := range some {
			add("way: "+name, c.module+"."+c.name, carry(c))
		}
	}
	for name, contain := range containers {
		for _, carrier := range []string{"STACK_GLOBAL", "GLOBAL, protocol 2", "broken behind the call", "STACK_GLOBAL from the memo", "OBJ", "second pickle"} {
			if strings.HasPrefix(name, "joblib, behind") && carrier != "STACK_GLOBAL" {
				continue // only that one can go on
			}
			if name == "torch legacy, last pickle" && carrier == "second pickle" {
				continue // torch reads no sixth
			}
			c := some[0]
			add("file: "+name, carrier, contain(carriers[carrier](c)))
		}
	}
	return append(out, otherHostile()...)
}
