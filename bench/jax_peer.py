"""The dense networks as JAX programs: one jitted function for the whole training step, from the same initial weights."""
import jax
import jax.numpy as jnp

import fastnn
from bench import models
from bench.case import array

# (gradient, state, parameter, step count) -> (new parameter, new state), as torch writes them


def sgd(options):
    lr, momentum, nesterov = options["lr"], options["momentum"], options["nesterov"]

    def update(g, state, p, t):
        if not momentum:
            return p - lr * g, state
        v = momentum * state[0] + g
        return p - lr * (g + momentum * v if nesterov else v), (v,)
    return update, 1


def adam(options):
    lr, (b1, b2), eps = options["lr"], options["betas"], options["eps"]

    def update(g, state, p, t):
        m, v = b1 * state[0] + (1 - b1) * g, b2 * state[1] + (1 - b2) * g * g
        return p - lr / (1 - b1 ** t) * m / (jnp.sqrt(v) / jnp.sqrt(1 - b2 ** t) + eps), (m, v)
    return update, 2


def adagrad(options):
    lr, eps = options["lr"], options["eps"]

    def update(g, state, p, t):
        total = state[0] + g * g
        return p - lr * g / (jnp.sqrt(total) + eps), (total,)
    return update, 1


UPDATES = {"SGD": sgd, "Adam": adam, "Adagrad": adagrad}
ACTIVATIONS = {"ReLU": jax.nn.relu, "Sigmoid": jax.nn.sigmoid}


def training_step(name):
    """A function that makes one step and returns the loss once all of it is computed."""
    fastnn.manual_seed(0)
    model, _, make, shape, classes, batch = models.CASES[name](fastnn.nn, fastnn.optim)
    optimizer = make(model.parameters())
    update, slots = UPDATES[type(optimizer).__name__](optimizer.param_groups[0])
    layers = [type(m).__name__ for m in model]
    weights = [jnp.array(array(p)) for p in model.parameters()]
    x, y = map(jnp.array, models.batch_of(shape, classes, batch))

    def loss_of(weights, x, y):
        left = iter(weights)
        for layer in layers:
            x = x @ next(left).T + next(left) if layer == "Linear" else ACTIVATIONS[layer](x)
        if classes is None:
            return jnp.mean((x - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))

    def step(weights, states, t, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        pairs = [update(g, s, p, t) for g, s, p in zip(gradients, states, weights)]
        return [p for p, _ in pairs], [s for _, s in pairs], t + 1, loss

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    now = [weights, [tuple(jnp.zeros_like(w) for _ in range(slots)) for w in weights], jnp.array(1.0)]

    def call():
        *now[:], loss = compiled(*now, x, y)
        return jax.block_until_ready((loss, now))[0]
    return call
