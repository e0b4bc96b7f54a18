"""What a user can rely on: no message is lost without a cause, none comes twice, and weights are as the order says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offjax.errors import ConfigError
from offjax.learning.access_point import Links, Versions, free_row, publish, receive
from offjax.learning.messages import DOWN, UP, Loss, Mail, draw_fate, move, no_mail, post
from offjax.world import Link

PLACES, DEVICES, RATE, POWER, SLOT = 2, 3, 10.0, 0.5, 1.0
flags = st.lists(st.booleans(), min_size=DEVICES, max_size=DEVICES)
# A slot: who sends how much, what works, and who has energy.
slots = st.lists(
    st.tuples(flags, st.sampled_from([0.0, 4.0, 15.0]), st.sampled_from([0.0, 0.3, 1.6]), flags, flags, flags),
    min_size=1,
    max_size=12,
)


def _slot(mail, number, wanted, air, wire, up, wire_up, alive, seed, loss, legs, waits):
    """Post, and let go on."""
    load = number * DEVICES + jnp.arange(DEVICES)
    link = Link(rate=jnp.full(DEVICES, RATE), up=up, power=jnp.float32(POWER))
    chance = jax.random.uniform(jax.random.key(seed), (2, DEVICES))
    fate = draw_fate(chance[0] < loss, chance[1] < loss)
    before, refused = post(mail, load, jnp.float32(air), jnp.full(DEVICES, wire), fate, wanted)
    after, moved = move(before, legs, link, wire_up, alive, waits, jnp.float32(SLOT))
    return before, after, moved, refused


jit_slot = jax.jit(_slot, static_argnames=("legs", "waits"))


@pytest.mark.parametrize(("legs", "waits"), [(UP, True), (UP, False), (DOWN, True)], ids=["wait", "lose", "down"])
@settings(max_examples=25, deadline=None)
@given(history=slots, loss=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 1000))
def test_sent_is_arrived_and_lost_and_under_way(legs, waits, history, loss, seed):
    mail = no_mail(jnp.zeros(DEVICES, jnp.int32), PLACES, DEVICES)
    sent, lost, come = set(), np.zeros(len(Loss), int), []
    for number, (wanted, air, wire, up, wire_up, alive) in enumerate(history):
        masks = [jnp.array(mask) for mask in (wanted, up, wire_up, alive)]
        before, mail, moved, refused = jit_slot(
            mail, number, masks[0], air, wire, *masks[1:], seed + number, loss, legs=legs, waits=waits
        )
        sent |= {number * DEVICES + device for device in range(DEVICES) if wanted[device]}
        lost = lost + np.array(moved.lost)
        lost[Loss.NO_PLACE] += int(refused)
        come += np.array(before.load)[np.array(moved.arrived)].tolist()
        under_way = np.array(mail.load)[np.array(mail.there)].tolist()
        assert len(sent) == len(come) + lost.sum() + len(under_way)
        assert len(set(come + under_way)) == len(come + under_way), "twice"
        assert set(come + under_way) <= sent
        assert lost[Loss.LINK] == 0 or loss > 0
        assert lost[Loss.OUTAGE] == 0 or not waits
        assert not np.array(moved.joules)[~np.array(up)].any(), "a link that is down costs nothing"


def test_time_and_energy_of_a_message():
    """15 bit at 10 bit/s, then 0.7 s: it takes 2.2 s, so it is there in the third slot, with 0.8 s of it left."""
    mail, on, off = no_mail(jnp.zeros(DEVICES, jnp.int32), PLACES, DEVICES), jnp.ones(DEVICES, bool), []
    joules, none = np.zeros(DEVICES), jnp.zeros(DEVICES, bool)
    for number in range(3):
        wanted = on if number == 0 else none
        _, mail, moved, _ = jit_slot(mail, number, wanted, 15.0, 0.7, on, on, on, 0, 0.0, legs=UP, waits=True)
        off.append(bool(moved.arrived.any()))
        joules += np.array(moved.joules)
    assert off == [False, False, True]
    np.testing.assert_allclose(moved.rest[moved.arrived], 0.8, rtol=1e-5)
    np.testing.assert_allclose(joules, POWER * 15.0 / RATE, rtol=1e-6)


# ------------------------------------------------------------------------------------------ weights

ROWS = 4
numbers = st.permutations(range(10)).map(lambda order: order[:ROWS])
rows_of = st.lists(st.lists(st.integers(0, ROWS - 1), min_size=DEVICES, max_size=DEVICES), min_size=2, max_size=2)
rests = st.lists(
    st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=DEVICES, max_size=DEVICES), min_size=2, max_size=2
)
jit_receive = jax.jit(receive, static_argnames=("order",))


def _versions(number, held) -> Versions:
    return Versions({"w": jnp.array(number, jnp.float32)}, jnp.array(number), jnp.zeros(ROWS, jnp.int32), held)


@settings(max_examples=80, deadline=None)
@given(
    numbers,
    rows_of,
    rests,
    st.lists(flags, min_size=2, max_size=2),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_weights_late_twice_and_out_of_order(number, rows, rest, arrived, held):
    """The same by hand: per device, messages in the order in which they come."""
    versions = _versions(number, jnp.array(held))
    for order in ("newest", "as_they_come"):
        after, applied = jit_receive(versions, jnp.array(rows), jnp.array(arrived), jnp.array(rest), order=order)
        expected = []
        for device in range(DEVICES):
            come = [(-rest[k][device], number[rows[k][device]], rows[k][device]) for k in (0, 1) if arrived[k][device]]
            mine = held[device]
            for _, version, row in sorted(come):
                if order == "as_they_come" or version > number[mine]:
                    mine = row
            expected.append(mine)
        assert after.held.tolist() == expected
        assert int(applied) == sum(new != old for new, old in zip(expected, held, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=3, max_size=3), rows_of, st.lists(flags, min_size=2, max_size=2), flags)
def test_no_network_is_overwritten_that_somebody_needs(held, rows, there, alive):
    zero = jnp.zeros((PLACES, DEVICES))
    none = zero.astype(jnp.int8)
    mail = Mail(jnp.array(rows), jnp.array(there), none, zero, zero, none)
    versions = _versions(range(ROWS), jnp.array(held))
    row, free = free_row(versions, mail, jnp.array(alive))
    needed = {held[d] for d in range(DEVICES) if alive[d]}
    needed |= {rows[k][d] for k in (0, 1) for d in range(DEVICES) if there[k][d]}
    assert bool(free) == (len(needed) < ROWS)
    assert not free or int(row) not in needed
    after = publish(versions, row, {"w": jnp.float32(9)}, jnp.int32(9), jnp.int32(5), free)
    for number in needed:
        assert float(after.policies["w"][number]) == number
    assert int(after.number[row]) == (9 if free else int(row))


def test_no_places_are_refused():
    with pytest.raises(ConfigError, match=r"links\.places: 0 is not allowed; a whole number of at least 1"):
        Links(places=0)
