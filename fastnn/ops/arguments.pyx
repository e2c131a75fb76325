"""Checks that several families share: reductions, axes, index arrays, dtypes."""
cimport numpy as np

import warnings

import numpy as np

from fastnn.core.launch cimport host_call
from fastnn.core.storage cimport empty
from fastnn.core.tensor cimport Tensor, as_tensor
from fastnn.ops.layout cimport contiguous

from fastnn.ops.promotion import type_name, unsupported

np.import_array()


def legacy_reduction(size_average, reduce):
    """The reduction that torch's old arguments size_average and reduce mean; warns."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    reduction = "none" if not reduce else "mean" if size_average else "sum"
    warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
                  stacklevel=3)
    return reduction


cdef int reduction_of(object reduction, object size_average=None, object reduce=None) except -1:
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction == "mean":
        return MEAN
    if reduction == "sum":
        return SUM
    if reduction == "none":
        return NONE
    raise ValueError(f"{reduction} is not a valid value for reduction")


cdef int axis_of(object dim, int ndim) except -1:
    cdef int n = max(ndim, 1), d = dim
    if not -n <= d < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return d + n if d < 0 else d


def to_int64(a):
    return a.astype(np.int64)


cdef np.ndarray index_array(np.ndarray t, str expected):
    if np.PyArray_TYPE(t) == np.NPY_INT64:
        return contiguous(t)
    if (<object>t).dtype.kind not in "iu":
        raise RuntimeError(f"{expected}, but got {type_name((<object>t).dtype)}")
    return host_call("to_int64", to_int64, (t,))


cdef np.ndarray scalar(int typenum):
    return empty(0, NULL, typenum)


cdef np.ndarray broadcast(np.ndarray a, tuple shape):
    if (<object>a).shape == shape:
        return contiguous(a)
    return contiguous(np.broadcast_to(a, shape))


cdef np.ndarray unbroadcast(np.ndarray a, tuple shape):
    if a is None or (<object>a).shape == shape:
        return a
    return a[(0,) * (np.PyArray_NDIM(a) - len(shape)) + tuple([slice(0, 1) if n == 1 else slice(None) for n in shape])]


cdef Tensor optional(object x):
    return None if x is None else as_tensor(x)


cdef int check_real(str op, np.ndarray a) except -1:
    if not is_real(a):
        raise unsupported(op, (<object>a).dtype, "float32 or float64")
    return 0


cdef int check_same_dtype(str op, np.ndarray a, np.ndarray b, str what) except -1:
    if np.PyArray_TYPE(a) != np.PyArray_TYPE(b):
        raise RuntimeError(f"{op}: expected {what} of dtype {type_name((<object>a).dtype)} as the input, but got "
                           f"{type_name((<object>b).dtype)} (convert it, e.g. x.astype('{(<object>a).dtype}'))")
    return 0
