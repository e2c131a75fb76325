"""Batch normalisation folded into the layer before it, for inference."""
from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastnn.core.tensor import Parameter, from_array

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.nn.module import Module

M = TypeVar("M", bound="Module")

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def fuse_conv_bn_eval(conv: M, bn: Module, transpose: bool = False) -> M:
    """A copy of a convolution that also does the batch normalisation after it.

    Parameters
    ----------
    conv : Conv1d, Conv2d, Conv3d or a transposed one
    bn : BatchNorm with running statistics
    transpose : bool, default False
        Is the convolution a transposed one?

    Returns
    -------
    Module
        Of the type of `conv`, with new weight and bias.

    Raises
    ------
    AssertionError
        In training mode, or without running statistics.
    """
    return fused(fuse_conv_bn_weights, conv, bn, transpose)


def fuse_linear_bn_eval(linear: M, bn: Module) -> M:
    """A copy of a Linear layer that also does the batch normalisation after it: see `fuse_conv_bn_eval`."""
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1")
    return fused(fuse_linear_bn_weights, linear, bn)


def fused(rule, layer, bn, *options):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    result = copy.deepcopy(layer)
    result.weight, result.bias = rule(result.weight, result.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, *options)
    return result


def scale_and_shift(b, mean, var, eps, weight, bias):
    """The factor of the layer's output, and its new bias."""
    factor = 1 / np.sqrt(var.array + eps)
    if weight is not None:
        factor = factor * weight.array
    shift = ((0 if b is None else b.array) - mean.array) * factor
    return factor, shift if bias is None else shift + bias.array


def parameter(a, like):
    p = Parameter(from_array(a.astype(like.dtype)))
    p.requires_grad = like.requires_grad
    return p


def fuse_conv_bn_weights(conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
                         bn_w: Tensor | None, bn_b: Tensor | None,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution followed by batch normalisation with running mean and variance."""
    channels = bn_rm.shape[0]
    if channels % conv_w.shape[1] if transpose else channels != conv_w.shape[0]:
        raise RuntimeError(f"fuse_conv_bn: a batch normalisation of {channels} channels does not follow a convolution with weights "
                           f"{list(conv_w.shape)}")
    factor, shift = scale_and_shift(conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    if transpose:       # weights (in, out / groups, ...): the rows of a group have its channels' factors
        groups = channels // conv_w.shape[1]
        factor = factor.reshape(groups, -1).repeat(conv_w.shape[0] // groups, 0)
    factor = factor.reshape(factor.shape + (1,) * (conv_w.dim() - factor.ndim))
    return parameter(conv_w.array * factor, conv_w), parameter(shift, conv_w if conv_b is None else conv_b)


def fuse_linear_bn_weights(linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
                           bn_w: Tensor | None, bn_b: Tensor | None) -> tuple[Parameter, Parameter]:
    """Weight and bias of a Linear layer followed by batch normalisation with running mean and variance."""
    factor, shift = scale_and_shift(linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    return parameter(linear_w.array * factor[:, None], linear_w), parameter(shift, linear_w if linear_b is None else linear_b)
