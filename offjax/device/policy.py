"""Run a trained offloading policy on a board: Python 3.6 or newer, NumPy 1.13 or newer, nothing else.

As a script, in the folder of the bundle:

    python3 policy.py --info                            what it observes and decides
    python3 policy.py --self-test                       are all files as they were written, are the sums right
    python3 policy.py --observation 4000 4e7 9e8 ...    one decision

As a module:

    policy = Policy.load("bundle")
    place = policy.decide([4000, 4e7, 9e8])             # index into policy.decisions

Exit codes: 0 good; 1 the self-test found a difference; 2 a wrong argument or an unusable bundle, with
one line that names the file or field, its value and what is allowed.

offjax copies this file into every bundle as it is, so it imports nothing of offjax and keeps to the
syntax of Python 3.6.
"""

import argparse
import hashlib
import io
import json
import os
import sys

try:
    import numpy as np
except ImportError:
    if __name__ != "__main__":
        raise
    hint = "python3 -m pip install -r requirements-board.txt"
    sys.stderr.write("policy.py: numpy: 'missing' is not allowed; %s\n" % hint)
    sys.exit(2)

SCHEMA_VERSION = 1
MANIFEST, WEIGHTS, VECTORS = "manifest.json", "policy.npz", "selftest.npz"
ACTIVATIONS = ("tanh", "relu", "linear", "softmax")
OUTPUTS = ("probabilities", "q_values")
# Relative to the largest expected output: boards sum in another order than the machine that trained.
SELF_TEST_TOLERANCE = 1e-5


class PolicyError(ValueError):
    """A wrong file, field or observation: its name, the value that it had, what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        text = "%s: %s is not allowed; %s" % (field, _short(value), allowed)
        super().__init__(" ".join(text.split()))


class Policy:
    """A multi-layer perceptron that maps an observation in physical units to a decision.

    Attributes:
        manifest: the checked content of manifest.json.
        observation: one dict {name, unit, low, high} per entry of the observation, F of them.
        decisions: K names; the index is what ``decide`` returns.
    """

    def __init__(self, manifest: dict, arrays: dict) -> None:
        """Take a manifest's dictionary and the arrays of policy.npz by name.

        ``arrays`` holds layer_0_kernel [inputs, outputs] float32, layer_0_bias [outputs] float32, ...
        Errors: PolicyError where a field, shape or number is wrong.
        """
        check_manifest(manifest)
        _check_weights(manifest["layers"], arrays)
        self.manifest = manifest
        self.observation = tuple(manifest["observation"])
        self.decisions = tuple(manifest["decisions"])
        self._shift = np.asarray(manifest["normaliser"]["shift"], dtype=np.float32)
        self._scale = np.asarray(manifest["normaliser"]["scale"], dtype=np.float32)
        self._layers = [
            (arrays["layer_%d_kernel" % i], arrays["layer_%d_bias" % i], layer["activation"])
            for i, layer in enumerate(manifest["layers"])
        ]

    @classmethod
    def load(cls, folder: str) -> "Policy":
        """Read a bundle; the weights must have the hash that the manifest gives.

        Errors: PolicyError for a missing, damaged or unsupported file.
        """
        manifest = read_manifest(folder)
        content = _read(folder, WEIGHTS)
        expected = manifest["files"][WEIGHTS]
        if _sha256(content) != expected:
            raise PolicyError(WEIGHTS, "sha256 " + _sha256(content), _must_hash(expected))
        return cls(manifest, _arrays(WEIGHTS, content))

    def outputs(self, observations: object) -> np.ndarray:
        """Probabilities or values of every decision.

        Args: observations [F] or [n, F], physical units, any real type; the sums are float32.
        Returns: [K] or [n, K] float32.
        Errors: PolicyError for a wrong number of entries or one that is not finite.
        """
        rows = self._rows(observations)
        # Emulated boards raise floating-point flags that mean nothing (OpenBLAS under qemu).
        with np.errstate(all="ignore"):
            values = (rows - self._shift) / self._scale
            for kernel, bias, activation in self._layers:
                values = _activate(activation, np.dot(values, kernel) + bias)
        if not np.isfinite(values).all():
            raise PolicyError("outputs", "overflow", "observations must stay near the ranges of --info")
        return values

    def decide(self, observation: object) -> int:
        """Index of the best decision for one observation [F]; the first of equals.

        Errors: PolicyError as in ``outputs``.
        """
        values = self.outputs(observation)
        if values.ndim != 1:
            raise PolicyError("observation", "shape %s" % (values.shape,), "decide takes one observation")
        return int(np.argmax(values))

    def _rows(self, observations: object) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):  # 1e39 becomes inf, which is refused below
                rows = np.asarray(observations, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            raise PolicyError("observation", observations, "it must be numbers") from None
        names = [entry["name"] for entry in self.observation]
        if rows.ndim not in (1, 2) or rows.shape[-1] != len(names):
            allowed = "it must be %d numbers: %s" % (len(names), " ".join(names))
            value = "%d numbers" % rows.size if rows.ndim == 1 else "shape %s" % (rows.shape,)
            raise PolicyError("observation", value, allowed)
        if not np.isfinite(rows).all():
            first = tuple(np.argwhere(~np.isfinite(rows))[0])
            raise PolicyError("observation " + names[first[-1]], float(rows[first]), "it must be a finite float32")
        return rows


def _activate(name: str, values: np.ndarray) -> np.ndarray:
    if name == "tanh":
        return np.tanh(values)
    if name == "relu":
        return np.maximum(values, np.float32(0))
    if name == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return values


def read_manifest(folder: str) -> dict:
    """The checked content of ``folder``/manifest.json; PolicyError where it is missing or wrong."""
    try:
        manifest = json.loads(_read(folder, MANIFEST).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(MANIFEST, str(error), "it must be JSON") from None
    check_manifest(manifest)
    _check_files(manifest.get("files"))
    return manifest


def _read(folder: str, name: str) -> bytes:
    try:
        with open(os.path.join(str(folder), name), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise PolicyError(name, "missing", "%s must hold it: copy the whole bundle" % folder) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PolicyError(name, reason, "it must be a readable file in %s" % folder) from None


def _arrays(name: str, content: bytes) -> dict:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    # Damage surfaces as one of ten exceptions, another one in every version of zipfile, zlib and NumPy.
    except Exception as error:
        raise PolicyError(name, str(error) or type(error).__name__, "it must be an intact npz") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _must_hash(expected: str) -> str:
    return "manifest.json says %s: the file was changed or damaged, copy the bundle again" % expected


def check_manifest(manifest: dict) -> None:
    """Check every field that the sums rely on; PolicyError names the first wrong one."""
    _require(isinstance(manifest, dict), MANIFEST, manifest, "it must be a JSON object")
    version = manifest.get("schema_version")
    known = "this policy.py reads %d; use the one of the same bundle" % SCHEMA_VERSION
    _require(type(version) is int and version == SCHEMA_VERSION, "schema_version", version, known)
    _one_of("kind", manifest.get("kind"), ("mlp",))
    _text("algorithm", manifest.get("algorithm"))
    layers = _list("layers", manifest.get("layers"))
    _check_layers(layers)
    _check_observation(_list("observation", manifest.get("observation"), layers[0]["inputs"]))
    _check_normaliser(manifest.get("normaliser"), layers[0]["inputs"])
    decisions = _list("decisions", manifest.get("decisions"), layers[-1]["outputs"])
    for i, name in enumerate(decisions):
        _text("decisions[%d]" % i, name)
    _require(len(set(decisions)) == len(decisions), "decisions", decisions, "names must differ")
    _check_output(manifest.get("output"), layers[-1]["activation"])
    for field in ("provenance", "parity"):
        value = manifest.get(field, {})
        _require(isinstance(value, dict), field, value, "it must be an object")


def _check_layers(layers: list) -> None:
    inputs = None
    for i, layer in enumerate(layers):
        field = "layers[%d]" % i
        _require(isinstance(layer, dict), field, layer, "it must be {inputs, outputs, activation}")
        for side in ("inputs", "outputs"):
            size = layer.get(side)
            ok = type(size) is int and size > 0
            _require(ok, "%s.%s" % (field, side), size, "it must be a whole number above 0")
        chained = inputs is None or layer["inputs"] == inputs
        _require(chained, field + ".inputs", layer["inputs"], "the layer before has %s outputs" % inputs)
        last = i == len(layers) - 1
        _one_of(field + ".activation", layer.get("activation"), ACTIVATIONS if last else ACTIVATIONS[:3])
        inputs = layer["outputs"]


def _check_observation(entries: list) -> None:
    for i, entry in enumerate(entries):
        field = "observation[%d]" % i
        _require(isinstance(entry, dict), field, entry, "it must be {name, unit, low, high}")
        _text(field + ".name", entry.get("name"))
        _require(isinstance(entry.get("unit"), str), field + ".unit", entry.get("unit"), "it must be text")
        low, high = _number(field + ".low", entry.get("low")), _number(field + ".high", entry.get("high"))
        _require(low <= high, field + ".low", low, "it must not be above high, %r" % high)
    names = [entry["name"] for entry in entries]
    _require(len(set(names)) == len(names), "observation", names, "names must differ")


def _check_normaliser(normaliser: "dict | None", length: int) -> None:
    _require(isinstance(normaliser, dict), "normaliser", normaliser, "it must be {shift, scale}")
    assert isinstance(normaliser, dict)
    for part in ("shift", "scale"):
        field = "normaliser." + part
        for i, value in enumerate(_list(field, normaliser.get(part), length)):
            number = _number("%s[%d]" % (field, i), value)
            usable = part == "shift" or number != 0
            _require(usable, "%s[%d]" % (field, i), value, "a float32 other than 0 divides")


def _check_output(output: "dict | None", activation: str) -> None:
    _require(isinstance(output, dict), "output", output, "it must be {kind, unit}")
    assert isinstance(output, dict)
    kind = output.get("kind")
    _one_of("output.kind", kind, OUTPUTS)
    _require(isinstance(output.get("unit"), str), "output.unit", output.get("unit"), "it must be text")
    fits = (kind == "probabilities") == (activation == "softmax")
    _require(fits, "output.kind", kind, "softmax gives probabilities, any other last layer q_values")


def _check_files(files: object) -> None:
    _require(isinstance(files, dict), "files", files, "it must be {name: sha256}")
    assert isinstance(files, dict)
    for name, digest in sorted(files.items()):
        # A name from the manifest is opened: it must not lead out of the folder.
        plain = name == os.path.basename(name) and "\\" not in name and name not in ("", ".", "..")
        _require(plain, "files", name, "names must be plain file names")
        hexadecimal = isinstance(digest, str) and len(digest) == 64 and not digest.strip("0123456789abcdef")
        _require(hexadecimal, "files." + name, digest, "it must be 64 hexadecimal digits")
    for name in (WEIGHTS, VECTORS):
        _require(name in files, "files", sorted(files), "it must list " + name)


def _check_weights(layers: list, arrays: dict) -> None:
    shapes = {}  # type: dict
    for i, layer in enumerate(layers):
        shapes["layer_%d_kernel" % i] = (layer["inputs"], layer["outputs"])
        shapes["layer_%d_bias" % i] = (layer["outputs"],)
    _check_arrays(WEIGHTS, arrays, shapes)


def _check_arrays(name: str, arrays: dict, shapes: dict) -> None:
    """Every array float32, finite and of the given shape (None = any length), and no other array."""
    _require(set(arrays) == set(shapes), name, sorted(arrays), "it must hold " + ", ".join(sorted(shapes)))
    for key, shape in sorted(shapes.items()):
        array = arrays[key]
        label = "%s in %s" % (key, name)
        right = len(array.shape) == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape))
        _require(right, label, "shape %s" % (array.shape,), "manifest.json says %s" % (shape,))
        _require(array.dtype == np.float32, label, str(array.dtype), "it must be float32")
        _require(bool(np.isfinite(array).all()), label, "NaN or inf", "every number must be finite")


def _number(field: str, value: object) -> float:
    """``value`` as the float32 that the sums use."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        with np.errstate(all="ignore"):
            number = float(np.float32(value)) if real else float("nan")  # type: ignore[arg-type]
    except OverflowError:
        number = float("inf")
    _require(bool(np.isfinite(number)), field, value, "it must be a finite float32")
    return number


def _text(field: str, value: object) -> None:
    _require(isinstance(value, str) and value != "", field, value, "it must be a text that is not empty")


def _one_of(field: str, value: object, allowed: tuple) -> None:
    _require(isinstance(value, str) and value in allowed, field, value, "use " + " or ".join(allowed))


def _list(field: str, value: object, length: "int | None" = None) -> list:
    _require(isinstance(value, (list, tuple)), field, value, "it must be a list")
    entries = list(value)  # type: ignore[call-overload]
    _require(len(entries) > 0, field, entries, "it must not be empty")
    if length is not None:
        _require(len(entries) == length, field, "%d entries" % len(entries), "layers says %d" % length)
    return entries


def _require(ok: bool, field: str, value: object, allowed: str) -> None:
    if not ok:
        raise PolicyError(field, value, allowed)


def _short(value: object, limit: int = 80) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def self_test(folder: str) -> list:
    """One line per difference between the bundle and what was written: hashes, then test vectors.

    Errors: PolicyError where the manifest or, despite right hashes, the arrays cannot be used.
    """
    manifest = read_manifest(folder)
    damaged = {}
    for name, expected in sorted(manifest["files"].items()):
        try:
            found = _sha256(_read(folder, name))
        except PolicyError as error:
            damaged[name] = str(error)
            continue
        if found != expected:
            damaged[name] = str(PolicyError(name, "sha256 " + found, _must_hash(expected)))
    differences = [damaged[name] for name in sorted(damaged)]
    if WEIGHTS in damaged or VECTORS in damaged:
        return differences
    return differences + _vector_differences(Policy.load(folder), _arrays(VECTORS, _read(folder, VECTORS)))


def _vector_differences(policy: Policy, vectors: dict) -> list:
    vectors = dict(vectors)
    expected_decisions = vectors.pop("decisions", np.zeros(0))
    features, choices = len(policy.observation), len(policy.decisions)
    _check_arrays(VECTORS, vectors, {"observations": (None, features), "outputs": (None, choices)})
    rows = len(vectors["observations"])
    same = rows > 0 and expected_decisions.shape == (rows,) == vectors["outputs"].shape[:1]
    _require(same, VECTORS, "%d observations" % rows, "as many outputs and decisions, and at least one")
    outputs, expected = policy.outputs(vectors["observations"]), vectors["outputs"]
    tolerance = SELF_TEST_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    difference = np.abs(outputs - expected).max(axis=1)
    best_two = np.sort(expected, axis=1)[:, -2:]
    tied = best_two[:, -1] - best_two[:, 0] <= tolerance if choices > 1 else np.ones(rows, dtype=bool)
    lines = []
    if (difference > tolerance).any():
        line = "outputs of %d of %d test vectors differ by up to %.3g, allowed is %.3g"
        lines.append(line % ((difference > tolerance).sum(), rows, difference.max(), tolerance))
    wrong = (outputs.argmax(axis=1) != expected_decisions) & ~tied
    if wrong.any():
        lines.append("decisions of %d of %d test vectors differ" % (wrong.sum(), rows))
    return lines


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, "policy.py: %s; see --help\n" % " ".join(message.split()))


def _parse(arguments: list) -> argparse.Namespace:
    parser = _OneLineParser(prog="policy.py", description="Decide where a task runs, with a trained policy.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--observation", nargs="*", metavar="X", help="the observation, in the units of --info")
    what.add_argument("--self-test", action="store_true", help="check hashes and stored test vectors")
    what.add_argument("--info", action="store_true", help="what the policy observes, decides, comes from")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--folder", default=here, help="the bundle; default: where this file lies")
    # argparse takes -1e5 or -inf for an option; with a space in front it takes them for values.
    return parser.parse_args([" " + a if a.startswith("-") and _is_number(a) else a for a in arguments])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _print_decision(folder: str, texts: list) -> int:
    policy = Policy.load(folder)
    for text in texts:
        _require(_is_number(text), "observation", text, "it must be a number")
    observation = [float(text) for text in texts]
    values = policy.outputs(observation)
    place = policy.decide(observation)
    for entry, value in zip(policy.observation, observation):
        if not entry["low"] <= value <= entry["high"]:
            note = "note: %s %g lies outside %g .. %g %s, the range of training"
            _say(note % (entry["name"], value, entry["low"], entry["high"], entry["unit"]), sys.stderr)
    _say("decision: %s (index %d)" % (policy.decisions[place], place))
    pairs = ", ".join("%s %.7g" % pair for pair in zip(policy.decisions, values))
    _say("%s: %s" % (policy.manifest["output"]["kind"], pairs))
    return 0


def _print_self_test(folder: str) -> int:
    differences = self_test(folder)
    for line in differences:
        _say("differs: " + line)
    if not differences:
        _say("ok: every file and every test vector is as it was written")
    return 1 if differences else 0


def _print_info(folder: str) -> int:
    policy = Policy.load(folder)
    manifest, layers = policy.manifest, policy.manifest["layers"]
    sizes = " -> ".join("%d %s" % (layer["outputs"], layer["activation"]) for layer in layers)
    parameters = sum((layer["inputs"] + 1) * layer["outputs"] for layer in layers)
    _say("%s policy: %d -> %s" % (manifest["algorithm"], layers[0]["inputs"], sizes))
    _say("size: %d parameters, %d bytes of float32" % (parameters, 4 * parameters))
    _say("observes, in this order:")
    for entry in policy.observation:
        row = (entry["name"], "[%s]" % entry["unit"], entry["low"], entry["high"])
        _say("  %-24s %-8s %g .. %g" % row)
    _say("decides: " + ", ".join("%d = %s" % pair for pair in enumerate(policy.decisions)))
    _say("outputs: %s [%s]" % (manifest["output"]["kind"], manifest["output"]["unit"]))
    for title in ("provenance", "parity"):
        for key, value in sorted(manifest.get(title, {}).items()):
            _say("%s: %s = %s" % (title, key, value))
    for name in sorted(manifest["files"]):
        path = os.path.join(str(folder), name)
        _say("file: %s, %s" % (name, "%d bytes" % os.path.getsize(path) if os.path.isfile(path) else "missing"))
    return 0


def _say(text, stream=None):
    """Print, also where the terminal of the board knows ASCII only."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def main(arguments: "list | None" = None) -> int:
    """Run the script with ``arguments`` (default: the command line); returns the exit code."""
    chosen = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        if chosen.self_test:
            return _print_self_test(chosen.folder)
        if chosen.info:
            return _print_info(chosen.folder)
        return _print_decision(chosen.folder, chosen.observation)
    except PolicyError as error:
        _say("policy.py: %s" % error, sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
