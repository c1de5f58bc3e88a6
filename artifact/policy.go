package artifact

import (
	"fmt"
	"slices"
	"strings"
)

// judge says what a call of module.name makes of a file, and why. The first rule that fits wins:
// what the user allows, what rebuilds data, what must not be called, and then by the look of the name,
// as nothing is imported: a class only makes an object, a function may do anything.
func (s *scan) judge(module, name string) (Verdict, string) {
	full := module + "." + name
	top, _, _ := strings.Cut(module, ".")
	switch {
	case s.allowed(module, name) || data[full] || dataModule(module, name):
		return Clean, ""
	case traverses(name):
		return Malicious, "reaches through an object to what it was made with"
	case denied(full):
		return Malicious, "loads or runs what it is given"
	case stdlib[top] && isClass(name) && !lethalModules[top] && !riskyClasses[top]:
		return Unknown, "is a class of the standard library that models seldom hold"
	case stdlib[top] && isClass(name) && !lethalModules[top]:
		return Suspicious, "is a class of the standard library that no model needs"
	case stdlib[top]:
		return Malicious, "is a function of the standard library that no model needs"
	case reexports(name):
		return Malicious, "reaches the standard library through another module"
	case isClass(name):
		return Unknown, "is a class outside the lists: its code runs"
	}
	return Suspicious, "is a function outside the lists: its code runs"
}

// allowed tells whether the user trusts a callable.
func (s *scan) allowed(module, name string) bool {
	return slices.ContainsFunc(s.o.Allow, func(a string) bool {
		prefix, star := strings.CutSuffix(a, ".*")
		return a == module+"."+name || star && !strings.Contains(name, ".") && prefix == module
	})
}

// CheckAllow says what is wrong with an entry of Options.Allow.
func CheckAllow(a string) error {
	module, name := a, ""
	if i := strings.LastIndexByte(a, '.'); i > 0 {
		module, name = a[:i], a[i+1:]
	}
	if name == "" || module == "*" || strings.ContainsAny(module, "* ") {
		return fmt.Errorf("%q: want module.name, such as mylib.models.Net, or module.* for all that stands directly in it", a)
	}
	return nil
}

// isClass tells a class from a function by how Python programs spell them.
func isClass(name string) bool {
	last := strings.TrimLeft(name[strings.LastIndexByte(name, '.')+1:], "_")
	return last != "" && last[0] >= 'A' && last[0] <= 'Z' && (len(last) == 1 || strings.ToUpper(last) != last || !strings.Contains(last, "_"))
}

// traverses tells of a dotted name that goes through Python's insides.
func traverses(name string) bool {
	for p := range strings.SplitSeq(name, ".") {
		switch p {
		case "__reduce__", "__reduce_ex__", "__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor", "__newobj__", "__newobj_ex__", "__import__":
		default:
			if strings.HasPrefix(p, "__") && (strings.Contains(name, ".") || strings.HasSuffix(p, "__")) {
				return true
			}
		}
	}
	return false
}

// reexports tells of a name that leads back into the standard library: torch.serialization has an os.
func reexports(name string) bool {
	for p := range strings.SplitSeq(name, ".") {
		if lethalModules[p] || p == "sys" || p == "builtins" {
			return true
		}
	}
	first, _, dotted := strings.Cut(name, ".")
	return dotted && stdlib[first]
}

// lethal tells of names that no honest file as much as mentions.
func lethal(module, name string) bool {
	top, _, _ := strings.Cut(module, ".")
	if lethalModules[top] || reexports(name) && !stdlib[top] {
		return true
	}
	return module == "builtins" && lethalBuiltins[name]
}

// canonical undoes the names that modules had, or have besides.
func canonical(module string) string {
	if now, ok := renamed[module]; ok {
		return now
	}
	return module
}

func denied(full string) bool {
	if loaders[full] && full != "torch.storage._load_from_bytes" {
		return true
	}
	return deniedNames[full] || slices.ContainsFunc(deniedPrefixes, func(p string) bool { return strings.HasPrefix(full, p) })
}

// dataModule tells of the parts of the numeric libraries whose classes hold data.
func dataModule(module, name string) bool {
	if strings.Contains(name, ".") {
		return false
	}
	if dataClasses[module] && isClass(name) {
		return true
	}
	if (module == "__torch__" || strings.HasPrefix(module, "__torch__.")) && isClass(name) { // of TorchScript's code in the archive, which is judged itself
		return true
	}
	if module == "torch" && (strings.HasSuffix(name, "Storage") || strings.HasSuffix(name, "Tensor")) && isClass(name) {
		return true
	}
	return isClass(name) && slices.ContainsFunc(dataPrefixes, func(p string) bool { return module+"." == p || strings.HasPrefix(module, p) }) &&
		!strings.Contains(module, ".utils.cpp") && !strings.HasSuffix(module, "test_utils") && !denied(module+"."+name)
}
