"""Muon."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import HostOptimizer

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Muon"]


class Muon(HostOptimizer):
    r"""Momentum whose direction is made orthogonal; for the matrices of hidden layers.

    ::

        b <- momentum * b + (1 - momentum) * g
        u  = b                              (nesterov: (1 - momentum) * g + momentum * b)
        p <- p * (1 - lr * weight_decay) - lr * scale * orthogonal(u)

    The orthogonal factor comes from a few Newton-Schulz iterations in bfloat16, as in torch.

    Parameters
    ----------
    params : iterable of Tensor or dict
        Matrices; leave biases, embeddings and the last layer to another optimizer.
    lr : float, default 1e-3
    weight_decay : float, default 0.1
        Decoupled.
    momentum : float, default 0.95
    nesterov : bool, default True
    ns_coefficients : (float, float, float), default (3.4445, -4.775, 2.0315)
    eps : float, default 1e-7
        Smallest norm that u is divided by.
    ns_steps : int, default 5
    adjust_lr_fn : {None, 'original', 'match_rms_adamw'}, default None
        Scale: sqrt(max(1, rows / columns)), or 0.2 * sqrt(max(rows, columns)).

    References
    ----------
    Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    Liu et al., Muon is scalable for LLM training, arXiv:2502.16982.
    """

    def __init__(self, params: Params, lr: float | Tensor = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None) -> None:
        if not float(lr) >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
                                      ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps,
                                      adjust_lr_fn=adjust_lr_fn))
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape}")

    def _init_state(self, p, group):
        return {"momentum_buffer": state_like(p, 0)}

    def _update(self, p, g, state, group):
        real, lr, momentum = p.dtype.type, float(group["lr"]), group["momentum"]
        buffer = state["momentum_buffer"].array
        buffer += real(1 - momentum) * (g - buffer)
        direction = buffer + real(1 - momentum) * (g - buffer) if group["nesterov"] else buffer
        rows, columns = p.shape
        scale = math.sqrt(max(1, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        p *= real(1 - lr * group["weight_decay"])
        p -= real(lr * scale) * orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"]).astype(p.dtype)


def bfloat16(x):
    """Round to the nearest bfloat16, ties to even; the values stay float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & np.uint32(0xffff0000)
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32))


def orthogonal(x, coefficients, steps, eps):
    """The nearest semi-orthogonal matrix, roughly: singular values are driven towards 1 by a polynomial of degree 5."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = (np.float32(k) for k in coefficients)
    tall = x.shape[0] > x.shape[1]
    x = bfloat16(x.T if tall else x)
    x = bfloat16(x / np.maximum(bfloat16(np.sqrt(np.sum(x * x))), np.float32(eps)))
    for _ in range(steps):
        gram = bfloat16(x @ x.T)
        x = bfloat16(a * x + bfloat16(b * gram + c * (gram @ gram)) @ x)
    return x.T if tall else x
