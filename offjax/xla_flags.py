"""How XLA compiles programs that step worlds for a CPU.

A slot of the world is many small elementwise results from the same inputs. XLA writes each in a pass of its own unless
told to fuse them: with multi-output fusion a slot takes a sixth of the time and a world compiles in two thirds of it
(measured on two cores, jax 0.10.2, 200,000 devices: 25 ns instead of 145 ns per device), and with it the agents that
learn in it. Worlds are the same bits either way, sums over them are added up in another order.

It is not for everybody: that pass of jax 0.10.2 aborts the process at the compilation of two scatters of one shape that
share their indices (``symbolic_map.cc: Check failed: GetNumDims() == other.GetNumResults()``), as replay memories with
an array for every field have them: rejax's and jaxnasium's DQN fail. Ours is one matrix (:mod:`offjax.replay.ring`); so
it is set for commands, which run nothing else, and never by ``import offjax``.
"""

from collections.abc import MutableMapping

FLAGS = {
    "--xla_backend_extra_options": "xla_cpu_use_multi_output_fusion",
    "--xla_cpu_prefer_vector_width": "512",  # a further tenth where there is AVX-512, nothing elsewhere
}


def set_flags(environment: MutableMapping[str, str]) -> None:
    """Add the flags to ``XLA_FLAGS``, but for those that the user has set; XLA reads them once, when jax starts."""
    given = environment.get("XLA_FLAGS", "")
    if "--xla_cpu_use_fusion_emitters=false" in given:
        return  # without the emitters the same programs take minutes to compile
    missing = [f"{name}={value}" for name, value in FLAGS.items() if name not in given]
    environment["XLA_FLAGS"] = " ".join([*given.split(), *missing])
