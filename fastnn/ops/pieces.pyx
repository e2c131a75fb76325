# cython: allow_none_for_extension_args=False
"""Arrays made of pieces: joining along an axis, and a gradient put back where a slice was taken, as kernel calls."""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.storage cimport empty
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, attach_list, wants, wrap
from fastnn.ops.layout cimport copy_into, fill

np.import_array()


cdef np.ndarray empty_of(tuple shape, int typenum):
    cdef np.npy_intp[32] dims
    cdef int i
    for i, n in enumerate(shape):
        dims[i] = n
    return empty(len(shape), dims, typenum)


@cython.final
cdef class CatBackward(Node):
    """Each input's part of the gradient is a view of it.  c: axis; d: sizes along it."""
    cdef object backward(self, np.ndarray grad):
        cdef list found = []
        cdef int axis = self.c, start = 0
        key = [slice(None)] * np.PyArray_NDIM(grad)
        for n in self.d:
            key[axis] = slice(start, start + n)
            found.append((<object>grad)[tuple(key)])
            start += n
        return tuple(found)

    cdef object derivative(self, object grad, tuple wanted):
        return grad.split(self.d, self.c)

    cdef bint aliases(self):
        return True


def join(list tensors, int axis):
    """Tensors of one float dtype, equal in all axes but one, as one tensor."""
    cdef np.ndarray first = (<Tensor>tensors[0]).array, part
    cdef list shape = list((<object>first).shape), sizes = []
    cdef int start = 0
    cdef bint record = False
    cdef CatBackward node
    for t in tensors:
        sizes.append(np.PyArray_DIM((<Tensor>t).array, axis))
        record = record or wants(<Tensor>t)
    shape[axis] = sum(sizes)
    cdef np.ndarray whole = empty_of(tuple(shape), np.PyArray_TYPE(first))
    key = [slice(None)] * len(shape)
    for t, n in zip(tensors, sizes):
        part = (<Tensor>t).array
        key[axis] = slice(start, start + n)
        copy_into((<object>whole)[tuple(key)], part)
        start += n
    if not (record and grad_enabled()):
        return wrap(whole)
    node = CatBackward.__new__(CatBackward)
    node.c, node.d = axis, sizes
    return attach_list(whole, node, tensors)


def put_back(np.ndarray grad, tuple shape, key):
    """Zeros of a shape with the gradient at a basic key (integers and slices)."""
    cdef np.ndarray full = empty_of(shape, np.PyArray_TYPE(grad))
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis not in key:
        key += (Ellipsis,)      # a view also where every axis has its integer
    fill(full, 0.0)
    copy_into((<object>full)[key], grad)
    return full
