package artifact

import (
	"fmt"
	"slices"
	"strings"
)

// kerasObject is what an object in a Keras configuration says of the class that it makes.
type kerasObject struct {
	class, module, registered, config, function string
	at                                          int64
}

// set takes a member of the object.
func (o *kerasObject) set(key string, k token) {
	t := clip(k.text)
	switch key {
	case "class_name":
		o.class, o.at = t, k.at
	case "module":
		o.module = t
	case "registered_name":
		o.registered = t
	case "config":
		o.config = t
	case "function_type":
		o.function = t
	}
}

// kerasParts hold functions of numbers only.
var kerasParts = []string{"activations", "initializers", "losses", "metrics", "regularizers", "constraints", "ops", "layers", "optimizers", "applications", "random"}

// judge tells what making the class runs.
func (o *kerasObject) judge(c *config, end int64) {
	tell := func(v Verdict, name, text string) {
		at := o.at
		if at == 0 {
			at = end
		}
		c.tell(at, "keras-object", v, name, text)
	}
	switch {
	case o.class == "__lambda__" || o.function == "lambda":
		tell(Malicious, "Lambda", "A Lambda layer carries compiled Python code, which runs when the model is loaded or used.")
	case o.class == "":
	case o.class == "Lambda":
		tell(Suspicious, "Lambda", "A Lambda layer runs a Python function.")
	case o.class == "TorchModuleWrapper":
		tell(Suspicious, o.class, "The layer carries a pickle of a PyTorch module, which is loaded with the model.")
	case o.module != "":
		o.judgeModule(tell)
	case o.class == "function" || strings.Contains(o.registered, ">"):
		o.judgeRegistered(tell)
	}
}

func (o *kerasObject) judgeModule(tell func(Verdict, string, string)) {
	root, rest, _ := strings.Cut(o.module, ".")
	name := o.module + "." + o.class
	if o.class == "function" && o.config != "" {
		name = o.module + "." + o.config
	}
	switch {
	case o.module == "builtins" && (o.class == "function" || o.class == "tuple" || o.class == "slice" || o.class == "set"):
		o.judgeRegistered(tell)
	case root == "keras" || root == "keras_hub" || root == "keras_nlp" || root == "keras_cv" || root == "tf_keras" || o.module == "tensorflow" || strings.HasPrefix(o.module, "tensorflow.keras"):
		part, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(rest, "keras."), "src."), ".")
		switch {
		case strings.HasSuffix(name, "get_file") || part == "saving" || o.class == "function" && (part == "utils" || part == "models"):
			tell(Malicious, name, fmt.Sprintf("Loading the model calls %s, which reads files or fetches them.", name))
		case o.class == "function" && !slices.Contains(kerasParts, part) && part != "":
			tell(Suspicious, name, fmt.Sprintf("Loading the model takes the function %s.", name))
		}
	case stdlib[root] || strings.Contains(o.module, "__") || denied(name):
		tell(Malicious, name, fmt.Sprintf("Loading the model calls %s, which no model needs.", name))
	default:
		tell(Unknown, name, fmt.Sprintf("Loading the model imports %s, which is not of Keras.", name))
	}
}

// judgeRegistered tells of a class or function that the program must have registered itself.
func (o *kerasObject) judgeRegistered(tell func(Verdict, string, string)) {
	switch {
	case o.class == "function" && (stdlib[o.config] || lethalBuiltins[o.config]) || o.config == "get_file":
		tell(Malicious, o.config, "Loading the model calls "+o.config+", which no model needs.")
	case o.class == "function" && o.config != "":
		tell(Unknown, o.config, "The model uses a function that the program must bring, "+o.config+".")
	case strings.Contains(o.registered, ">") && !strings.HasPrefix(o.registered, "keras"):
		tell(Unknown, o.registered, "The model uses a class that the program must bring, "+o.registered+".")
	}
}
