package artifact

import "strings"

// stdlib are the modules of Python's standard library, of 2.7 to 3.14.
var stdlib = words(`
	BaseHTTPServer ConfigParser HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter UserDict UserList
	UserString __builtin__ __future__ _abc _aix_support _ast _asyncio _bisect _blake2 _bootsubprocess _bz2 _codecs
	_codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections _collections_abc _compat_pickle
	_compression _contextvars _crypt _csv _ctypes _curses _curses_panel _datetime _dbm _decimal _dummy_thread
	_elementtree _frozen_importlib _frozen_importlib_external _functools _gdbm _hashlib _heapq _imp _io _json _locale
	_lsprof _lzma _markupbase _md5 _msi _multibytecodec _multiprocessing _opcode _operator _osx_support _overlapped
	_pickle _posixshmem _posixsubprocess _py_abc _pydecimal _pyio _pyrepl _queue _random _scproxy _sha1 _sha256 _sha3
	_sha512 _signal _sitebuiltins _socket _sqlite3 _sre _ssl _stat _statistics _string _strptime _struct _symtable
	_thread _threading_local _tkinter _tokenize _tracemalloc _typing _uuid _warnings _weakref _weakrefset _winapi
	_zoneinfo abc aifc annotationlib antigravity anydbm argparse array ast asynchat asyncio asyncore atexit audioop
	base64 bdb binascii binhex bisect builtins bz2 cPickle cProfile cStringIO calendar cgi cgitb chunk cmath cmd code
	codecs codeop collections colorsys commands compileall compiler compression concurrent configparser contextlib
	contextvars cookielib copy copy_reg copyreg crypt csv ctypes curses dataclasses datetime dbhash dbm decimal difflib
	dis distutils doctest dumbdbm dummy_thread dummy_threading email encodings ensurepip enum errno exceptions
	faulthandler fcntl filecmp fileinput fnmatch formatter fractions ftplib functools future_builtins gc gdbm
	genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac hotshot html htmllib http httplib
	idlelib ihooks imaplib imghdr imp importlib imputil inspect io ipaddress itertools json keyword lib2to3 linecache
	locale logging lzma macpath mailbox mailcap marshal math md5 mimetools mimetypes mimewriter mmap modulefinder
	msilib msvcrt multifile multiprocessing netrc new nis nntplib nt ntpath nturl2path numbers opcode operator optparse
	os os2emxpath ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib popen2 poplib posix
	posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline
	repr reprlib resource rfc822 rlcompleter runpy sched secrets select selectors sets sgmllib sha shelve shlex shutil
	signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat
	statistics statvfs string stringprep struct subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile
	telnetlib tempfile termios textwrap this thread threading time timeit tkinter token tokenize tomllib trace
	traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib urllib2 urlparse user uu uuid
	venv warnings wave weakref webbrowser whichdb winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport
	zlib zoneinfo
`)

// words makes a set of the words in a text.
func words(text string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(text) {
		set[w] = true
	}
	return set
}
