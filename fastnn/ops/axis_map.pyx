"""Sparse linear maps along the axes of a tensor, with gradient.

A map is a pair (rows, back): (first, place, weight) as kernels/axis.pyx has them, and the same of the transposed map, its gradient;
taps.py makes them.
"""
cimport cython
cimport numpy as np

import numpy as np

import fastnn.kernels.axis  # no-cython-lint: declares the kernel

from fastnn.core.backward cimport by_adjoint
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport arranged, empty, empty_dense_like, is_dense
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport is_real
from fastnn.ops.layout cimport contiguous, copy_into

from fastnn.ops.promotion import computed_dtype

np.import_array()

cdef const fn_kernel* AXIS_MAP = kernel_named("axis_map")


cdef np.ndarray apply(np.ndarray x, int axis, rows):
    """One axis; the result keeps the memory order."""
    cdef Launch L
    cdef int ndim = np.PyArray_NDIM(x), i, at = 0
    cdef np.npy_intp[32] memory
    cdef list order
    cdef np.npy_intp outer = 1, inner = 1, targets = len(rows[0]) - 1
    if not is_dense(x):
        x = contiguous(x)
    order = sorted(range(ndim), key=lambda a: (-(<object>x).strides[a], a))
    for i in range(ndim):
        memory[i] = np.PyArray_DIM(x, order[i])
        if order[i] == axis:
            at = i
    for i in range(ndim):
        if i < at:
            outer *= memory[i]
        elif i > at:
            inner *= memory[i]
    memory[at] = targets
    cdef np.ndarray y = empty(ndim, memory, np.PyArray_TYPE(x))
    begin(&L, AXIS_MAP, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, rows[0])
    put(&L, 2, rows[1])
    put(&L, 3, rows[2])
    put(&L, 4, y)
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = outer, np.PyArray_DIM(x, axis), targets, inner
    L.call.flops = 2.0 * outer * inner * len(rows[1])
    L.call.bytes = <double>(np.PyArray_NBYTES(x) + np.PyArray_NBYTES(y))
    launch(&L)
    return arranged((<object>y).transpose(tuple(np.argsort(order))))


@cython.final
cdef class AxisMapBackward(Node):
    """extra: [(axis, transposed map)], last applied first; d: the maps."""

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray g = grad
        for axis, rows in self.extra:
            g = apply(g, axis, rows)
        return g

    cdef object derivative(self, object grad, tuple wanted):
        return by_adjoint(self, grad, self.again)

    def again(self, x):
        return axis_maps(x, self.d)


cdef Tensor taken(Tensor x, list maps):
    """Integers: maps that only move elements, one tap each."""
    y = x.array
    for axis, ((_, place, _), _) in maps:
        y = np.take(y, place, axis)
    return wrap(y if maps else y.copy())


def axis_maps(input, list maps):
    """Apply [(axis, map)] one after the other."""
    cdef Tensor x = as_tensor(input)
    if not is_real(x.array):
        if x.dtype.kind == "f":
            return axis_maps(x.to(computed_dtype(x.dtype)), maps).to(x.dtype)
        return taken(x, maps)
    cdef np.ndarray y = x.array
    cdef list back = []
    cdef bint records = recording(x)
    cdef AxisMapBackward node
    for axis, (rows, transposed) in maps:
        if records:
            back.insert(0, (axis, transposed))
        y = apply(y, axis, rows)
    if not maps:
        y = empty_dense_like(y)
        copy_into(y, x.array)
    if not records:
        return wrap(y)
    node = AxisMapBackward.__new__(AxisMapBackward)
    node.extra, node.d = back, maps
    return attach(y, node, x)
