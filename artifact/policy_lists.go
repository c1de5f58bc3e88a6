package artifact

// data are the callables that rebuild data and do nothing else.
var data = words(`
	builtins.object builtins.list builtins.dict builtins.tuple builtins.set builtins.frozenset builtins.int builtins.float
	builtins.complex builtins.bool builtins.str builtins.bytes builtins.bytearray builtins.range builtins.slice
	builtins.unicode builtins.long builtins.xrange builtins.Ellipsis builtins.NotImplemented builtins.NoneType builtins.memoryview
	collections.OrderedDict collections.defaultdict collections.deque collections.Counter collections.ChainMap
	collections.UserDict collections.UserList _collections.deque _collections.OrderedDict _collections.defaultdict types.SimpleNamespace
	datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone zoneinfo.ZoneInfo zoneinfo.ZoneInfo._unpickle
	decimal.Decimal _decimal.Decimal fractions.Fraction uuid.UUID uuid.SafeUUID re._compile re.compile _sre.compile random.Random
	array.array array._array_reconstructor time.struct_time argparse.Namespace string.Template itertools.count itertools.repeat
	io.BytesIO _io.BytesIO io.StringIO _io.StringIO pathlib.Path pathlib.PurePath pathlib.PosixPath pathlib.PurePosixPath
	pathlib.WindowsPath pathlib.PureWindowsPath pathlib._local.PosixPath pathlib._local.WindowsPath

	numpy.ndarray numpy.dtype numpy.matrix numpy.recarray numpy.ma.core.MaskedArray numpy.ma.core._mareconstruct
	numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct numpy.core._internal._reconstruct numpy.core.multiarray.scalar numpy._core.multiarray.scalar
	numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer numpy.core._multiarray_umath._reconstruct
	numpy.core._ufunc_reconstruct numpy._core._ufunc_reconstruct numpy._core._internal._convert_to_stringdtype_kwargs
	numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__bit_generator_ctor numpy.random._pickle.__generator_ctor
	numpy.random.__RandomState_ctor numpy.random.mtrand.RandomState numpy.bool_ numpy.bool numpy.int8 numpy.int16 numpy.int32 numpy.int64
	numpy.uint8 numpy.uint16 numpy.uint32 numpy.uint64 numpy.float16 numpy.float32 numpy.float64 numpy.longdouble numpy.complex64
	numpy.complex128 numpy.str_ numpy.bytes_ numpy.void numpy.datetime64 numpy.timedelta64 numpy.object_
	numpy.core.records.recarray numpy.core.records.record numpy._core.records.recarray numpy._core.records.record numpy.record
	numpy.matrixlib.defmatrix.matrix numpy.polynomial.polynomial.Polynomial

	torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_tensor_v3 torch._utils._rebuild_parameter
	torch._utils._rebuild_parameter_with_state torch._utils._rebuild_qtensor torch._utils._rebuild_sparse_tensor
	torch._utils._rebuild_sparse_csr_tensor torch._utils._rebuild_meta_tensor_no_storage torch._utils._rebuild_nested_tensor
	torch._utils._rebuild_device_tensor_from_numpy torch._utils._rebuild_device_tensor_from_cpu_tensor torch._utils._rebuild_wrapper_subclass
	torch._utils._rebuild_xla_tensor torch._tensor._rebuild_from_type_v2 torch._tensor._rebuild_from_type torch.tensor._rebuild_from_type
	torch.storage._load_from_bytes torch.storage.UntypedStorage torch.storage.TypedStorage torch.storage._TypedStorage
	torch.Size torch.device torch.dtype torch.Tensor torch.Generator torch.nn.parameter.Parameter torch.nn.Parameter torch.nn.parameter.Buffer
	torch.serialization._get_layout torch.jit._pickle.build_intlist torch.jit._pickle.build_tensorlist torch.jit._pickle.build_doublelist
	torch.jit._pickle.build_boollist torch.jit._pickle.build_tensor_from_id torch.jit._pickle.restore_type_tag
	torch.torch_version.TorchVersion torch.FloatStorage torch.distributed.fsdp.api.ShardingStrategy
	torch.amp.grad_scaler._refresh_per_optimizer_state torch.cuda.amp.grad_scaler._refresh_per_optimizer_state

	scipy.sparse._csr.csr_matrix scipy.sparse._csc.csc_matrix scipy.sparse._coo.coo_matrix scipy.sparse._lil.lil_matrix
	scipy.sparse._dok.dok_matrix scipy.sparse._bsr.bsr_matrix scipy.sparse._dia.dia_matrix scipy.sparse._csr.csr_array
	scipy.sparse._csc.csc_array scipy.sparse._coo.coo_array scipy.sparse.csr.csr_matrix scipy.sparse.csc.csc_matrix
	scipy.sparse.coo.coo_matrix scipy.sparse._matrix.spmatrix scipy.sparse.csr_matrix scipy.sparse.csc_matrix
	scipy.interpolate._interpolate.interp1d scipy.interpolate.interpolate.interp1d scipy.stats._distn_infrastructure.rv_frozen
	scipy.stats._distn_infrastructure.rv_continuous_frozen scipy.stats._distn_infrastructure.rv_discrete_frozen

	pandas._libs.internals._unpickle_block pandas.core.indexes.base._new_Index pandas._libs.tslibs.timestamps._unpickle_timestamp
	pandas._libs.tslibs.timedeltas._timedelta_unpickle pandas._libs.tslibs.period._unpickle_period
	pandas._libs.arrays.__pyx_unpickle_NDArrayBacked pandas.core.indexes.datetimes._new_DatetimeIndex
	pandas.core.indexes.period._new_PeriodIndex pandas._libs.interval.__pyx_unpickle_Interval pandas.core.indexes.multi.MultiIndex
	pandas._libs.tslibs.timezones.tz_standardize pandas._libs.missing.NAType pandas._libs.tslibs.nattype._nat_unpickle

	sklearn.neighbors._dist_metrics.newObj sklearn.metrics._dist_metrics.newObj sklearn.neighbors._kd_tree.newObj
	sklearn.neighbors._ball_tree.newObj sklearn.neighbors.kd_tree.newObj sklearn.neighbors.ball_tree.newObj
	sklearn._loss._loss.__pyx_unpickle_CyHalfSquaredError sklearn.tree._tree.Tree sklearn.utils._bunch.Bunch
	sklearn._loss._loss.__pyx_unpickle_CyHalfBinomialLoss sklearn._loss._loss.__pyx_unpickle_CyHalfMultinomialLoss

	joblib.numpy_pickle.NumpyArrayWrapper joblib.numpy_pickle.NDArrayWrapper joblib.numpy_pickle.ZNDArrayWrapper
	joblib.numpy_pickle_compat.NDArrayWrapper joblib.numpy_pickle_compat.ZNDArrayWrapper
	sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper sklearn.externals.joblib.numpy_pickle.NDArrayWrapper
`)

// dataClasses are modules of the standard library whose classes hold data.
var dataClasses = words(`
	builtins collections datetime decimal fractions uuid pathlib enum ipaddress numbers statistics zoneinfo string
	collections.abc typing _thread.LockType
`)

// dataPrefixes begin the modules whose classes are models, layers and tables.
var dataPrefixes = []string{
	"sklearn.", "scipy.sparse.", "scipy.spatial.", "scipy.stats.", "scipy.interpolate.", "pandas.core.", "pandas._libs.", "pandas.arrays.", "pandas.tseries.",
	"torch.nn.", "torch.optim.", "torch.distributions.", "torch.ao.nn.", "numpy.random.", "numpy.polynomial.", "torch._C._distributed_c10d.",
}

// deniedNames are functions of the numeric libraries that load, run or write.
var deniedNames = words(`
	numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap numpy.save numpy.savez numpy.savetxt numpy.fromregex numpy.DataSource
	numpy.core.memmap.memmap numpy.lib.npyio.load numpy.lib._npyio_impl.load numpy.lib._datasource.DataSource
	numpy.testing._private.utils.runstring numpy.testing.runstring numpy.testing.rundocs numpy.testing._private.utils.rundocs
	pandas.eval pandas.core.computation.eval.eval pandas.read_csv pandas.read_hdf pandas.io.pickle.read_pickle pandas.io.common.get_handle
	pandas.core.frame.DataFrame.eval pandas.core.frame.DataFrame.query pandas.core.api.HDFStore pandas.core.api.ExcelFile pandas.core.api.ExcelWriter
	torch.save torch.from_file torch.compile torch.jit.load torch.jit.script torch.jit.CompilationUnit torch.ops.load_library torch.classes.load_library
	torch._ops.load_library torch.utils.collect_env.run torch.utils.model_zoo.load_url torch.utils.bundled_inputs.eval
	torch.serialization._open_file torch.serialization.load torch.serialization._load torch.serialization._legacy_load torch.serialization.save
	torch.fx.graph_module.reduce_graph_module torch.fx.graph_module.reduce_package_graph_module torch.fx.graph_module.reduce_deploy_graph_module
	torch.fx.graph_module._exec_with_source torch.fx.graph_module._forward_from_src torch.package.package_importer.PackageImporter torch.package.PackageImporter
	torch._dynamo.guards.GuardBuilder.get torch._guards.Source.__repr__ torch.multiprocessing.spawn
	joblib.numpy_pickle.load joblib.load joblib.dump joblib.memory.Memory joblib.externals.cloudpickle.loads
	dill._dill._create_function dill._dill._create_code dill._dill._import_module dill._dill._eval_repr dill._dill._load_type
	dill._dill._get_attr dill._dill._create_type dill._dill._create_cell dill._dill._create_filehandle
	cloudpickle.cloudpickle._make_function cloudpickle.cloudpickle._builtin_type cloudpickle.cloudpickle._make_skel_func
	cloudpickle.cloudpickle._make_skeleton_class cloudpickle.cloudpickle.subimport cloudpickle.cloudpickle.dynamic_subimport
	cloudpickle.cloudpickle._fill_function cloudpickle.cloudpickle_fast._function_setstate cloudpickle.cloudpickle._make_cell
	cloudpickle.cloudpickle._make_empty_cell cloudpickle.cloudpickle._function_setstate cloudpickle.cloudpickle._make_code
	keras.models.load_model tensorflow.keras.models.load_model keras.saving.load_model keras.utils.get_file
	transformers.dynamic_module_utils.get_class_from_dynamic_module huggingface_hub.snapshot_download huggingface_hub.hf_hub_download
`)

// deniedPrefixes begin the names of whole families that do.
var deniedPrefixes = []string{
	"torch.hub.", "torch._inductor.", "torch.utils.cpp_extension.", "torch.utils._cpp_extension_versioner.", "torch.distributed.rpc.",
	"torch.distributed.elastic.", "torch.distributed.launch", "torch.distributed.run.", "torch.testing._internal.", "torch.utils._config_module.", "torch.utils.benchmark.",
	"torch.utils.bottleneck.", "torch.utils.data.datapipes.utils.decoder.", "torch.jit.unsupported_tensor_ops.execWrapper", "torch.jit.frontend.", "torch.cuda.jiterator",
	"numpy.distutils.", "numpy.f2py.", "numpy.lib.npyio.", "pandas.io.", "pandas.core.computation.", "dill._dill._exec", "setuptools.", "pip.", "pkg_resources.", "_pytest.", "pytest.",
	"IPython.", "pexpect.", "paramiko.", "fabric.", "invoke.", "requests.", "aiohttp.", "httpx.", "urllib3.", "ansible.",
}

// lethalModules are the modules of which no honest file mentions a thing.
var lethalModules = words(`
	os posix nt subprocess _posixsubprocess pty commands popen2 runpy importlib imp ctypes _ctypes code codeop marshal socket _socket webbrowser
	shutil pickle _pickle shelve pdb bdb timeit cProfile profile trace doctest pydoc multiprocessing platform sys _io_open
	telnetlib ftplib smtplib poplib imaplib nntplib urllib urllib2 http xmlrpc asyncio ensurepip venv zipimport zipapp pkgutil
	posixpath ntpath tempfile signal fcntl _winapi winreg msvcrt antigravity idlelib lib2to3 distutils compileall py_compile test
`)

// lethalBuiltins are the same of the built-in functions.
var lethalBuiltins = words(`eval exec compile __import__ execfile open input breakpoint delattr globals locals vars apply file`)

// riskyClasses are modules whose classes do more than hold data.
var riskyClasses = words(`
	threading _thread concurrent logging zipfile tarfile gzip bz2 lzma sqlite3 dbm tkinter ssl selectors socketserver mmap cmd curses turtle
	unittest types io _io fileinput linecache glob mailbox wsgiref cgi code inspect functools operator weakref contextlib sched pipes xml
	msilib ossaudiodev readline rlcompleter site smtpd asyncore asynchat queue
`)

// renamed are the modules of Python 2, and the C halves of modules, by today's name.
var renamed = map[string]string{
	"__builtin__": "builtins", "__builtins__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "cPickle": "pickle", "commands": "subprocess",
	"_functools": "functools", "_operator": "operator", "UserDict": "collections", "UserList": "collections",
	"Queue": "queue", "StringIO": "io", "cStringIO": "io", "UserString": "collections", "httplib": "http.client", "Cookie": "http.cookies",
	"cookielib": "http.cookiejar", "BaseHTTPServer": "http.server", "SimpleHTTPServer": "http.server", "CGIHTTPServer": "http.server",
	"urllib2": "urllib.request", "urlparse": "urllib.parse", "robotparser": "urllib.robotparser", "xmlrpclib": "xmlrpc.client",
	"SimpleXMLRPCServer": "xmlrpc.server", "DocXMLRPCServer": "xmlrpc.server", "SocketServer": "socketserver", "HTMLParser": "html.parser",
	"ConfigParser": "configparser", "Tkinter": "tkinter", "thread": "_thread", "dummy_thread": "_thread", "repr": "reprlib",
	"anydbm": "dbm", "whichdb": "dbm", "dbhash": "dbm", "dumbdbm": "dbm.dumb", "gdbm": "dbm.gnu",
}
