"""Operations composed of simpler ones, for gradients of gradients (create_graph=True) of those that are one kernel call.

A formula takes the tensors that the node kept of its inputs (None for absent ones) and the node's parameters, and gives its output.
"""
from __future__ import annotations

from fastnn.core.tape import no_derivative
from fastnn.ops.activation import logsigmoid, softplus
from fastnn.ops.elementwise import where as choose
from fastnn.ops.softmax import log_softmax


# ---- pointwise losses: those of csrc/loss.def that have second derivatives of their own -------------------------------
def huber(x, t, z, p, q):
    d = (x - t).abs()
    return (0.5 * d * d).where(d.detach() <= p, p * (d - 0.5 * p))


def smooth_l1(x, t, z, p, q):
    d = (x - t).abs()
    return (0.5 * d * d / p).where(d.detach() < p, d - 0.5 * p) if p else d


def gaussian_nll(x, t, z, p, q):
    v = z.clamp_min(p)
    return 0.5 * (v.log() + (x - t) ** 2 / v) + q


def cosine_embedding(x, t, z, p, q):
    return (1 - x).where(t == 1, 0.0) + (x - p).clamp_min(0).where(t == -1, 0.0)


def hinge_embedding(x, t, z, p, q):
    return choose(t == 1, 0.0, (p - x).clamp_min(0)) + choose(t == -1, 0.0, x)


LOSSES = {
    "mse": lambda x, t, z, p, q: (x - t) ** 2,
    "l1": lambda x, t, z, p, q: (x - t).abs(),
    "smooth_l1": smooth_l1, "huber": huber, "gaussian_nll": gaussian_nll,
    "cosine_embedding": cosine_embedding, "hinge_embedding": hinge_embedding,
    "binary_cross_entropy": lambda x, t, z, p, q: (t - 1) * (-x).log1p().clamp_min(-100) - t * x.log().clamp_min(-100),
    "binary_cross_entropy_with_logits": lambda x, t, z, p, q: (1 - t) * x - logsigmoid(x),
    "binary_cross_entropy_with_pos_weight": lambda x, t, z, p, q: (1 - t) * x - (1 + (z - 1) * t) * logsigmoid(x),
    "kl_div_log_target": lambda x, t, z, p, q: t.exp() * (t - x),
    "soft_margin": lambda x, t, z, p, q: softplus(-t * x),
    "margin_ranking": lambda x, t, z, p, q: (p - z * (x - t)).clamp_min(0),
    "triplet_margin": lambda x, t, z, p, q: (p + x - t).clamp_min(0),
}


def pointwise_loss(x, t, z, name, p, q, reduced, scale, weight, weights_sum):
    """`scale` times the sum, or every element; a weighted mean is divided by the sum of the weights."""
    if name not in LOSSES:
        raise no_derivative(name)
    loss = LOSSES[name](x, t, z, p, q)
    if weight is not None:
        loss = loss * weight
    if not reduced:
        return loss * scale if scale != 1 else loss
    return loss.sum() * scale if weights_sum is None else loss.sum() / weights_sum


# ---- cross-entropy -----------------------------------------------------------------------------------------------------
def cross_entropy(x, shares, divisor, reduced, shape):
    return nll_loss(log_softmax(x.reshape(shares.shape), 1), shares, divisor, reduced, shape)


def soft_cross_entropy(x, p, weight, smoothing, scale, reduced):
    """Of probabilities p over the last axis."""
    if smoothing:
        p = p * (1 - smoothing) + smoothing / p.shape[-1]
    loss = -((p if weight is None else p * weight) * log_softmax(x, -1)).sum(-1)
    return loss.sum() * scale if reduced else loss


def nll_loss(x, shares, divisor, reduced, shape):
    """`shares`: weight of every class's log-probability, shape (N, C, inner)."""
    loss = -(shares * x.reshape(shares.shape)).sum(1)
    if not reduced:
        return loss.reshape(shape)
    return loss.sum() if divisor is None else loss.sum() / divisor


# ---- normalisation -----------------------------------------------------------------------------------------------------
def per_channel(vector, x):
    return vector.reshape((-1,) + (1,) * (x.dim() - 2))


def batch_norm(x, weight, bias, mean, variance, eps):
    """Statistics of the batch where none are given."""
    if mean is None:
        axes = (0, *range(2, x.dim()))
        centred = x - x.mean(axes, keepdim=True)
        y = centred * ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()
    else:
        y = (x - per_channel(mean, x)) * per_channel((variance + eps).rsqrt(), x)
    return affine(y, weight, bias, per_channel)


def affine(y, weight, bias, shaped=lambda vector, x: vector):
    if weight is not None:
        y = y * shaped(weight, y)
    return y if bias is None else y + shaped(bias, y)


def layer_norm(x, weight, bias, axes, rms, eps):
    """Over the last `axes` axes."""
    axes = tuple(range(-axes, 0))
    centred = x if rms else x - x.mean(axes, keepdim=True)
    return affine(centred * ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt(), weight, bias)


def group_norm(x, weight, bias, groups, eps):
    rows = x.reshape(x.shape[0], groups, -1)
    centred = rows - rows.mean(2, keepdim=True)
    y = centred * ((centred * centred).mean(2, keepdim=True) + eps).rsqrt()
    return affine(y.reshape(x.shape), weight, bias, per_channel)


# ---- activations, distances ----------------------------------------------------------------------------------------------
def glu(x, axis):
    p, q = x.chunk(2, axis)
    return p * q.sigmoid()


def prelu(x, weight, shape):
    """`shape`: how the slopes broadcast to x."""
    return choose(x.detach() > 0, x, weight.reshape(shape) * x)


def normalize(x, p, eps):
    """Over the last axis."""
    return x / x.norm(p, -1, keepdim=True).clamp_min(eps)


def pair(x, y, cosine, inside, p, eps):
    """A number for every pair of rows: distance, or cosine with eps `inside` the roots or as their least size."""
    if not cosine:
        return (x - y + eps).norm(p, -1)
    product = (x * y).sum(-1)
    if inside:
        return product * (((x * x).sum(-1) + eps) * ((y * y).sum(-1) + eps)).rsqrt()
    return product / (x.norm(2, -1).clamp_min(eps) * y.norm(2, -1).clamp_min(eps))
