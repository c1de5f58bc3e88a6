"""Writes real models, and the same with a call in them, for bench/scan -dir DIR.

    python3 bench/scan/real.py DIR

It uses what is installed of numpy, scikit-learn, joblib, torch and h5py, and says what it left out. The calls are of
harmless programs, and nothing here loads what it wrote.
"""

import collections
import datetime
import decimal
import fractions
import gzip
import importlib
import io
import os
import pathlib
import pickle
import random
import sys
import uuid

root = pathlib.Path(sys.argv[1])


def have(name):
    try:
        return importlib.import_module(name)
    except Exception as why:
        print(f"without {name}: {why}", file=sys.stderr)
        return None


def write(kind, group, name, data):
    to = root / kind / group
    to.mkdir(parents=True, exist_ok=True)
    (to / name).write_bytes(data)


class Call:
    def __init__(self, fn, *args):
        self.fn, self.args = fn, args

    def __reduce__(self):
        return self.fn, self.args


def calls():
    import builtins
    import runpy
    import shutil
    import subprocess
    import timeit
    import webbrowser

    return [
        Call(os.system, "true"), Call(subprocess.Popen, ["true"]), Call(builtins.eval, "1"), Call(builtins.exec, "x=1"),
        Call(runpy.run_path, "/nowhere"), Call(shutil.rmtree, "/nowhere"), Call(timeit.timeit, "1"), Call(webbrowser.open, "x"),
        Call(getattr, os, "system"), Call(__import__, "os"),
    ]


def standard():
    random.seed(1)
    values = {
        "numbers": list(range(300)) + [random.random() for _ in range(300)] + [2**70, -1, True, None, 1j],
        "texts": ["é", "x" * 300, b"y" * 300, bytearray(b"z")],
        "sets": {1, 2}, "frozen": frozenset([3]), "deque": collections.deque([1]), "counter": collections.Counter("aab"),
        "ordered": collections.OrderedDict(a=1), "default": collections.defaultdict(list, a=[1]), "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        "delta": datetime.timedelta(1), "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 3), "uuid": uuid.UUID(int=1),
        "path": pathlib.PurePosixPath("/a"), "range": range(3), "slice": slice(1, 2), "complex": 1 + 2j,
    }
    values["itself"] = [values["sets"]] * 3
    for proto in range(6):
        write("benign", "pickle", f"standard-{proto}.pkl", pickle.dumps(values, proto))
        write("benign", "pickle", f"standard-{proto}.pkl.gz", gzip.compress(pickle.dumps(values, proto)))
        for k, v in values.items():
            write("benign", "pickle", f"{k}-{proto}.pkl", pickle.dumps(v, proto))
        for i, c in enumerate(calls()):
            if isinstance(c.args[0], type(os)):
                continue  # a module cannot be pickled
            write("hostile", "pickle", f"call-{i}-{proto}.pkl", pickle.dumps({"a": [1, c]}, proto))
            write("hostile", "pickle", f"call-{i}-{proto}.pkl.gz", gzip.compress(pickle.dumps(c, proto)))


def arrays(np):
    for name, a in {
        "float": np.zeros((3, 4)), "int": np.arange(5), "text": np.array(["a", "bb"]), "bool": np.array([True]), "half": np.zeros(3, "f2"), "complex": np.zeros(2, "c8"),
        "date": np.array(["2026-01-01"], "M8[D]"), "record": np.zeros(2, [("a", "f4"), ("b", "i8")]), "fortran": np.asfortranarray(np.zeros((3, 4))), "scalar": np.float64(3),
        "objects": np.array([{"a": 1}, None], object), "masked": np.ma.array([1, 2], mask=[0, 1]), "random": np.random.RandomState(1), "generator": np.random.default_rng(1), "dtype": np.dtype("f4"),
    }.items():
        for proto in range(6):
            write("benign", "numpy", f"{name}-{proto}.pkl", pickle.dumps(a, proto))
        if isinstance(a, np.ndarray) and name != "masked":
            b = io.BytesIO()
            np.save(b, a, allow_pickle=True)
            write("benign", "numpy", f"{name}.npy", b.getvalue())
            b = io.BytesIO()
            np.savez_compressed(b, a=a, b=np.zeros(3))
            write("benign", "numpy", f"{name}.npz", b.getvalue())
    for i, c in enumerate(calls()[:8]):
        b = io.BytesIO()
        np.save(b, np.array([1, c], object), allow_pickle=True)
        write("hostile", "numpy", f"{i}.npy", b.getvalue())
        b = io.BytesIO()
        np.savez(b, a=np.zeros(3), b=np.array([c], object))
        write("hostile", "numpy", f"{i}.npz", b.getvalue())


def models(np):
    if not have("sklearn"):
        return []
    from sklearn import cluster, compose, datasets, decomposition, ensemble, feature_extraction, gaussian_process, impute, isotonic, linear_model, mixture, model_selection, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree

    x, y = datasets.load_iris(return_X_y=True)
    out = [
        linear_model.LogisticRegression(max_iter=500), linear_model.LinearRegression(), linear_model.Ridge(), linear_model.Lasso(), linear_model.SGDClassifier(), linear_model.Perceptron(),
        ensemble.RandomForestClassifier(5), ensemble.GradientBoostingClassifier(n_estimators=3), ensemble.HistGradientBoostingClassifier(max_iter=3), ensemble.AdaBoostClassifier(n_estimators=3), ensemble.IsolationForest(n_estimators=3),
        ensemble.ExtraTreesRegressor(3), ensemble.VotingClassifier([("a", tree.DecisionTreeClassifier()), ("b", naive_bayes.GaussianNB())]), ensemble.StackingClassifier([("a", tree.DecisionTreeClassifier())]),
        svm.SVC(), svm.LinearSVC(), svm.OneClassSVM(), tree.DecisionTreeClassifier(), tree.DecisionTreeRegressor(), naive_bayes.GaussianNB(), naive_bayes.MultinomialNB(),
        neighbors.KNeighborsClassifier(), neighbors.KNeighborsClassifier(algorithm="kd_tree"), neighbors.KNeighborsClassifier(algorithm="ball_tree"), neighbors.LocalOutlierFactor(novelty=True), neighbors.KernelDensity(),
        neural_network.MLPClassifier(max_iter=5), cluster.KMeans(3, n_init=1), cluster.DBSCAN(), cluster.AgglomerativeClustering(), cluster.MiniBatchKMeans(3, n_init=1), decomposition.PCA(2), decomposition.TruncatedSVD(2), decomposition.NMF(2),
        mixture.GaussianMixture(2), gaussian_process.GaussianProcessClassifier(), isotonic.IsotonicRegression(), impute.SimpleImputer(), impute.KNNImputer(), preprocessing.StandardScaler(), preprocessing.MinMaxScaler(),
        preprocessing.OneHotEncoder(handle_unknown="ignore"), preprocessing.PolynomialFeatures(), preprocessing.KBinsDiscretizer(3), preprocessing.QuantileTransformer(n_quantiles=10), preprocessing.FunctionTransformer(np.log1p),
        pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC(probability=True)), model_selection.GridSearchCV(svm.SVC(), {"C": [1, 2]}, cv=2), compose.ColumnTransformer([("a", preprocessing.StandardScaler(), [0])]),
        pipeline.make_union(decomposition.PCA(1), preprocessing.StandardScaler()),
    ]
    import warnings

    warnings.simplefilter("ignore")
    for m in out:
        if type(m).__name__ == "IsotonicRegression":
            m.fit(x[:, 0], y)
        else:
            m.fit(x, y)
    text = feature_extraction.text.TfidfVectorizer().fit(["a bc de", "bc fg"])
    return out + [text, feature_extraction.text.CountVectorizer().fit(["ab cd"]), preprocessing.LabelEncoder().fit(["a", "b"]), datasets.load_iris()]


def learned(np, joblib):
    for i, m in enumerate(models(np)):
        name = f"{i}-{type(m).__name__}"
        for proto in (2, 4, 5):
            write("benign", "sklearn", f"{name}-{proto}.pkl", pickle.dumps(m, proto))
        if joblib is None:
            continue
        for how in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3), ("lz4", 3)):
            if how not in (0, 3) and i % 5:
                continue
            b = io.BytesIO()
            try:
                joblib.dump(m, b, compress=how)
            except Exception as why:
                print(f"joblib {how}: {why}", file=sys.stderr)
                continue
            write("benign", "joblib", f"{name}-{how if isinstance(how, int) else how[0]}.joblib", b.getvalue())
        if i < 8:
            c = calls()[i]
            for how in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)):
                b = io.BytesIO()
                joblib.dump({"a": m, "b": np.arange(100.0), "c": np.array([1, None], object), "d": c}, b, compress=how)
                write("hostile", "joblib", f"{i}-{how if isinstance(how, int) else how[0]}.joblib", b.getvalue())


def tensors(torch):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4), torch.nn.Dropout(), torch.nn.Linear(4, 2))
    lstm = torch.nn.LSTM(3, 4, 2)
    attention = torch.nn.TransformerEncoderLayer(8, 2)
    convolution = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Embedding(4, 5))
    optimizers = []
    for make in (torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.LBFGS):
        o = make(net.parameters(), lr=0.1)

        def closure():
            o.zero_grad()
            loss = net(torch.ones(4, 3)).sum()
            loss.backward()
            return loss

        o.step(closure)
        optimizers.append(o)
    things = {
        "state": net.state_dict(), "module": net, "lstm": lstm, "attention": attention, "convolution": convolution, "tensor": torch.ones(3), "half": torch.ones(3, dtype=torch.bfloat16), "sparse": torch.eye(3).to_sparse(),
        "parameter": torch.nn.Parameter(torch.ones(2)), "size": torch.Size([1, 2]), "dtype": torch.float16, "device": torch.device("cpu"), "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "checkpoint": {"epoch": 3, "model": net.state_dict(), "optimizer": optimizers[0].state_dict(), "args": __import__("argparse").Namespace(lr=1), "rng": torch.get_rng_state()},
        "lora": {f"base_model.model.layers.{i}.lora_A.weight": torch.zeros(2, 3) for i in range(5)},
        "distribution": torch.distributions.Normal(torch.zeros(1), torch.ones(1)), "generator": torch.Generator().get_state(),
    }
    things.update({f"optimizer-{i}": o.state_dict() for i, o in enumerate(optimizers)})
    for name, t in things.items():
        for new in (True, False):
            b = io.BytesIO()
            torch.save(t, b, _use_new_zipfile_serialization=new)
            write("benign", "torch" if new else "torch-legacy", name + ".pt", b.getvalue())
        if name not in ("generator",):
            write("benign", "torch-in-pickle", name + ".pkl", pickle.dumps(t))
    for i, (name, m) in enumerate({"script": net, "lstm": lstm, "convolution": convolution[:3]}.items()):
        b = io.BytesIO()
        torch.jit.save(torch.jit.script(m), b)
        write("benign", "torchscript", name + ".pt", b.getvalue())
    for i, c in enumerate(calls()[:8]):
        for new in (True, False):
            b = io.BytesIO()
            torch.save({"state": net.state_dict(), "x": c}, b, _use_new_zipfile_serialization=new)
            write("hostile", "torch" if new else "torch-legacy", f"{i}.pt", b.getvalue())


standard()
np, joblib = have("numpy"), have("joblib")
if np:
    arrays(np)
    learned(np, joblib)
torch = have("torch")
if torch:
    tensors(torch)
