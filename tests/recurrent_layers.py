"""Layers of every kind with fixed weights, input and states, for the tests of recurrent networks."""
import numpy as np

import fastnn as fn
from fastnn import nn

torch = None
try:
    import torch
except ImportError:
    pass

KINDS = ["RNN", "RNN relu", "LSTM", "LSTM projected", "GRU"]


def options(kind):
    name, *variant = kind.split()
    more = {"relu": {"nonlinearity": "relu"}, "projected": {"proj_size": 3}}
    return name, (more[variant[0]] if variant else {})


def make(kind, inputs=5, hidden=7, seed=0, library=nn, **more):
    name, fixed = options(kind)
    fn.manual_seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    return getattr(library, name)(inputs, hidden, **fixed, **more)


def values(t):
    return t.detach().numpy()


def drawn(*shape, dtype="float32", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def as_tuple(states):
    return states if isinstance(states, tuple) else (states,)


def states_for(layer, batch, dtype="float32", seed=2):
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    wide = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    return [drawn(count, batch, w, dtype=dtype, seed=seed + i) for i, w in enumerate(wide)]


def pair(states):
    return tuple(states) if len(states) == 2 else states[0]
