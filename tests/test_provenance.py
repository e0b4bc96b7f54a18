"""What a user can rely on: a result names the device that computed it, and how it rounds."""

import json

import jax

from offjax.runs.provenance import collect_provenance, describe_precision, device_name


def test_the_device_is_the_accelerator_or_the_processor():
    assert device_name({"name": "gpu", "device": "an accelerator", "processor": "its host"}) == "an accelerator"
    assert device_name({"name": "cpu", "device": "cpu", "processor": "a processor"}) == "a processor"
    assert device_name() == device_name(collect_provenance()["backend"])


def test_the_precision_is_what_jax_is_set_to():
    assert describe_precision() == {"parameters": "float32", "matmul": "default", "x64": False}
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        assert describe_precision() == {"parameters": "float64", "matmul": "highest", "x64": True}


def test_provenance_is_plain_json():
    known = collect_provenance()
    assert json.loads(json.dumps(known)) == known
    assert known["backend"]["processes"] == jax.process_count() == 1
