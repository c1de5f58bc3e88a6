package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// writer writes pickles as Python's pickler does: with a memo, in one of its protocols.
type writer struct {
	b     strings.Builder
	proto int
	memo  int
	r     *rand.Rand
}

func (w *writer) put(s string) {
	w.b.WriteString(s)
}

func (w *writer) memoize() {
	switch {
	case w.proto >= 4:
		w.put("\x94")
	case w.memo < 256:
		w.put("q" + string([]byte{byte(w.memo)}))
	default:
		w.put("r" + string(binary.LittleEndian.AppendUint32(nil, uint32(w.memo))))
	}
	w.memo++
}

func (w *writer) text(s string) {
	if w.proto >= 4 {
		w.put(text(s))
	} else {
		w.put("X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s)
	}
	w.memoize()
}

func (w *writer) global(full string) {
	module, name := split(full)
	if w.proto >= 4 {
		w.text(module)
		w.text(name)
		w.put("\x93")
	} else {
		if module == "builtins" {
			module = "__builtin__"
		}
		w.put("c" + module + "\n" + name + "\n")
	}
	w.memoize()
}

func (w *writer) value(deep int) {
	switch n := w.r.IntN(9); {
	case n == 0 && deep > 0:
		w.put("](")
		for range w.r.IntN(5) {
			w.value(deep - 1)
		}
		w.put("e")
	case n == 1 && deep > 0:
		w.put("}(")
		for i := range w.r.IntN(5) {
			w.text(fmt.Sprintf("key_%d", i))
			w.value(deep - 1)
		}
		w.put("u")
	case n == 2:
		w.text([]string{"os.system", "import os", "relu", "layers.0.weight", "eval", "exec", "builtins", "subprocess"}[w.r.IntN(8)])
	case n == 3:
		w.put("G" + string(binary.BigEndian.AppendUint64(nil, w.r.Uint64())))
	case n == 4:
		w.put("K\x01K\x02\x86")
	case n == 5:
		w.array()
	case n == 6 && deep > 0:
		w.object([]string{
			"sklearn.linear_model._logistic.LogisticRegression", "sklearn.ensemble._forest.RandomForestClassifier", "sklearn.preprocessing._data.StandardScaler",
			"sklearn.pipeline.Pipeline", "sklearn.svm._classes.SVC", "sklearn.tree._classes.DecisionTreeClassifier", "torch.nn.modules.linear.Linear", "torch.nn.modules.container.Sequential",
			"pandas.core.frame.DataFrame", "sklearn.feature_extraction.text.TfidfVectorizer", "torch.optim.adamw.AdamW",
		}[w.r.IntN(11)], deep-1)
	case n == 7:
		w.put("J" + string(binary.LittleEndian.AppendUint32(nil, w.r.Uint32())))
	default:
		w.put([]string{"N", "\x88", "\x89", "K\x07"}[w.r.IntN(4)])
	}
}

func (w *writer) object(class string, deep int) {
	w.global(class)
	w.put(")\x81}(")
	for i := range 1 + w.r.IntN(4) {
		w.text(fmt.Sprintf("attribute_%d_", i))
		w.value(deep)
	}
	w.put("ub")
}

func (w *writer) array() {
	core := []string{"numpy.core.multiarray", "numpy._core.multiarray"}[w.r.IntN(2)]
	w.global(core + "._reconstruct")
	w.global("numpy.ndarray")
	w.put("K\x00\x85")
	if w.proto >= 3 {
		w.put("C\x01b")
	} else {
		w.put("U\x01b")
	}
	w.put("\x87R(K\x01K\x04\x85")
	w.global("numpy.dtype")
	w.text("f4")
	w.put("\x89\x88\x87R(K\x03")
	w.text("<")
	w.put("NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
	raw := "\x2e\x63os\nsys\x52\x85R(....."[:16]
	if w.proto >= 3 {
		w.put("C" + string([]byte{16}) + raw)
	} else {
		w.put("U" + string([]byte{16}) + raw)
	}
	w.put("tb")
}

// tensor is one as torch.save writes it: its storage is a persistent id.
func (w *writer) tensor(key int) {
	w.global("torch._utils._rebuild_tensor_v2")
	w.put("((")
	w.text("storage")
	w.global("torch." + []string{"FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage"}[w.r.IntN(4)])
	w.text(fmt.Sprint(key))
	w.text("cpu")
	w.put("K\x04tQK\x00K\x04\x85K\x01\x85\x89")
	w.global("collections.OrderedDict")
	w.put(")RtR")
}

func (w *writer) begin() {
	if w.proto >= 2 {
		w.put("\x80" + string([]byte{byte(w.proto)}))
	}
}

func (w *writer) end() string { w.put("."); return w.b.String() }

func benign(n int) []sample {
	var out []sample
	add := func(class, name, data string) { out = append(out, sample{class, name, data, false, true}) }
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		name := fmt.Sprint(i)
		fresh := func() *writer {
			w := &writer{proto: 2 + i%4, r: r}
			w.begin()
			return w
		}
		w := fresh()
		w.put("}(")
		for k := range 5 {
			w.text(fmt.Sprintf("state_%d", k))
			w.value(4)
		}
		w.put("u")
		plain := w.end()
		add("state of objects", name, plain)
		add("state, packed", name, []func(string) string{gzipped, zlibbed, xzed, zstded, lz4ed}[i%5](plain))

		w = fresh()
		w.object("sklearn.pipeline.Pipeline", 4)
		add("model of sklearn's form", name, w.end())

		w = fresh()
		w.global("collections.OrderedDict")
		w.put(")R(")
		for k := range 1 + r.IntN(12) {
			w.text(fmt.Sprintf("base_model.model.layers.%d.self_attn.q_proj.lora_A.weight", k))
			w.tensor(k)
		}
		w.put("u}")
		w.text("_metadata")
		w.global("collections.OrderedDict")
		w.put(")Rsb")
		weights := w.end()
		add("weights, torch", name, torch(weights))
		add("weights, torch legacy", name, legacy(weights))

		w = fresh()
		w.put("}(")
		w.text("state")
		w.put("}(K\x00}(")
		w.text("exp_avg")
		w.tensor(0)
		w.text("step")
		w.tensor(1)
		w.put("uu")
		w.text("param_groups")
		w.put("]}(")
		w.text("lr")
		w.put("G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc")
		w.text("betas")
		w.put("G\x3f\xec\xcc\xcc\xcc\xcc\xcc\xcdG\x3f\xef\xf7\xce\xd9\x16\x87\x2b\x86uau")
		add("optimizer, torch", name, torch(w.end()))

		w = fresh()
		w.put("](")
		w.put(joblibArray("f8", string(make([]byte, 16))))
		w.put(joblibArray("O8", "\x80\x04](K\x01K\x02e."))
		w.put("e")
		add("joblib", name, w.end())
		add("npy of objects", name, npy("'|O'", plain))
	}
	return append(out, otherBenign()...)
}
