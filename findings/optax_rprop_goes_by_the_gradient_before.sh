#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2 and numpy 2.4.6, 2026-11-30: rprop takes each step one update late, the first not at all.
#
# Guess: rprop moves each weight against the sign of its gradient, by a step that grows by 1.2 while the sign stays and
# halves where it turns, as Riedmiller's paper and torch's Rprop do. Seen: what it returns is the step that was worked
# out at the update before (scale_by_rprop in _src/transform.py returns state.prev_updates). The first update is 0.
# After a turn of the sign nothing moves for two updates instead of one, so that a weight whose gradients go +, +, -, -
# never moves again. Fits of a few steps lag behind.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check optax==0.2.8 jax==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PY'
import jax.numpy as jnp
import numpy as np
import optax

RATE, SHRINK, GROW = 0.1, 0.5, 1.2


def by_optax(slope, steps):
    optimizer = optax.rprop(RATE)
    weight = jnp.zeros(1)
    state, moves = optimizer.init(weight), []
    for step in range(steps):
        update, state = optimizer.update(slope(step, weight), state, weight)
        weight = optax.apply_updates(weight, update)
        moves.append(float(update[0]))
    return np.array(moves)


def by_hand(slope, steps):
    """Riedmiller's Rprop, without a step where the sign has turned, as in torch."""
    weight, size, before, moves = np.zeros(1), RATE, 0.0, []
    for step in range(steps):
        now = float(slope(step, weight)[0])
        if now * before > 0:
            size *= GROW
        elif now * before < 0:
            size, now = size * SHRINK, 0.0
        moves.append(-size * np.sign(now))
        weight, before = weight + moves[-1], now
    return np.array(moves)


signs = [1, 1, 1, -1, -1, -1, 1, 1]
own, true = (each(lambda step, weight: jnp.array([float(signs[step])]), len(signs)) for each in (by_optax, by_hand))
print("gradients", signs, "\noptax  ", np.round(own, 3) + 0.0, "\nby hand", np.round(true, 3) + 0.0)
assert np.allclose(true, [-0.1, -0.12, -0.144, 0, 0.072, 0.0864, 0, -0.0432], atol=1e-4), "by hand"
assert np.allclose(own, [0, -0.1, -0.12, 0, 0, 0.072, 0, 0], atol=1e-4), "this has changed"
late = np.where(np.array(signs) * np.r_[0, true[:-1]] > 0, 0, np.r_[0, true[:-1]])
assert np.allclose(own, late, atol=1e-4), "this has changed: the steps by hand, one later, but none across a turn"

swings = [each(lambda step, weight: jnp.array([(1.0, 1.0, -1.0, -1.0)[step % 4]]), 16) for each in (by_optax, by_hand)]
print("updates that move with gradients +, +, -, -:", [int((each[2:] != 0).sum()) for each in swings], "of 14")
assert (swings[0][2:] == 0).all() and (swings[1][2:] != 0).sum() == 7, "this has changed"

own, true = (each(lambda step, weight: 2 * (weight - 3), 10).cumsum() for each in (by_optax, by_hand))
print(f"(weight - 3)² from 0: after five steps {own[4]:.3f}, by hand {true[4]:.3f}")
assert own[4] < 0.75 * true[4], "this has changed"
PY
echo "still so"
