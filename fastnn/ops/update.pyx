"""Optimizer updates and gradient clipping on tensors: one kernel call per parameter."""
cimport numpy as np
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

import numpy as np

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport Storage, empty, empty_1d, empty_dense_like, is_dense, same_layout
from fastnn.core.tensor cimport Tensor, wrap
from fastnn.kernels.native cimport fn_kernel
from fastnn.kernels.update cimport CLIP_FACTOR, SCALE, SUM_OF_SQUARES, update_kernel
from fastnn.kernels.native import KERNELS

np.import_array()

# State that is one float32 number per parameter, whatever the parameter's dtype.
SCALARS = frozenset(["step", "mu_product", "eta", "mu"])
cdef int PARAMETER = 0, GRADIENT = 1, HYPER = 2, FIRST_STATE = 3


cdef int changed(Tensor t) except -1:
    """Count an in-place change, as autograd wants to know of it."""
    cdef Storage storage = t.storage()
    storage.version += 1
    return 0


cdef class Update:
    """An update kernel and the names of its state, which are its slots."""
    cdef const fn_kernel* kernel
    cdef tuple names
    cdef int scalars, arrays
    cdef bint counts_first      # the last slot tells the first step apart (see kernels/update.pyx)

    def __init__(self, str name):
        self.kernel = update_kernel(name)
        names = [slot for slot, _ in KERNELS[name][FIRST_STATE:]]
        self.counts_first = names[-1:] == ["first"]
        if self.counts_first:
            names.pop()
        self.names = tuple(names)
        self.scalars = sum(1 for n in names if n in SCALARS)    # they come first
        self.arrays = len(names) - self.scalars


cdef dict known = {}


def update(str name, list params, state, hyper, create, group, dict first=None):
    """Run the update kernel `name` on every parameter that has a gradient.

    Parameters
    ----------
    state : dict
        Per parameter its state tensors by torch's names; what is missing is asked of `create(parameter, group)`.
    hyper : ndarray
        The group's hyper-parameters, as `HYPER` in kernels/update.pyx lays them out.
    first : dict, optional
        Per parameter a float32 array that is 1 until its first step.
    """
    cdef Update u = known.get(name)
    cdef Tensor p
    if u is None:
        u = known[name] = Update(name)
    for p in params:
        if p._grad is not None:
            update_one(u, p, <Tensor>p._grad, state, hyper, create, group, first)


cdef int update_one(Update u, Tensor p, Tensor grad, object state, hyper, create, group, dict first) except -1:
    cdef Launch L
    cdef Tensor t
    cdef dict own
    cdef PyObject* found
    cdef np.ndarray array = p.array, gradient = grad.array
    cdef int64_t n = np.PyArray_SIZE(array)
    cdef int i
    cdef bint dense = is_dense(array)
    if not np.PyArray_ISWRITEABLE(array):
        raise RuntimeError("optimizer: a parameter is a read-only array; copy it first")
    if not dense:
        array = copied(array, array)
    if not same_layout(array, gradient):
        gradient = copied(gradient, array)
    begin(&L, u.kernel, fn_dtype_of(array))
    put(&L, PARAMETER, array)
    put(&L, GRADIENT, gradient)
    put(&L, HYPER, hyper)
    if u.names:
        found = PyDict_GetItem(state, p)        # state is a defaultdict
        if found == NULL:
            own = state[p] = {}
        else:
            own = <dict>found
        for i, name in enumerate(u.names):
            t = own.get(name)
            if t is None:
                t = created(name, p, own, create, group)
            if i < u.scalars:
                if np.PyArray_TYPE(t.array) != np.NPY_FLOAT32 or np.PyArray_SIZE(t.array) != 1:
                    t = own[name] = wrap(np.array(t.item(), np.float32))
            elif np.PyArray_TYPE(t.array) != np.PyArray_TYPE(array) or not same_layout(t.array, array):
                t = own[name] = state_like(p, t.array)
            put(&L, FIRST_STATE + i, t.array)
        if u.counts_first and first is not None:
            put(&L, FIRST_STATE + len(u.names), first.get(p))
    L.call.size[0] = n
    L.call.flops = 8 * n
    L.call.bytes = <double>n * np.PyArray_ITEMSIZE(array) * (3 + 2 * u.arrays)
    launch(&L)
    changed(p)
    if not dense:
        host_call("optimizer: a parameter with gaps in its memory", np.copyto, (p.array, array))
    return 0


cdef np.ndarray copied(np.ndarray source, np.ndarray like):
    """A copy in the layout of `like`, out of sight of a recorder, which is told."""
    cdef np.ndarray a = empty_dense_like(like)
    host_call("optimizer: gradient or parameter in another memory order", np.copyto, (a, source))
    return a


cdef Tensor created(name, Tensor p, dict own, create, group):
    for key, value in create(p, group).items():
        if own.get(key) is None:
            own[key] = value
    return own[name]


def state_like(Tensor p, values):
    """A tensor in dtype and memory order of parameter `p`, filled with `values` (a number or an array of its shape)."""
    cdef np.ndarray a = empty_dense_like(p.array)
    try:
        np.copyto(a, values, casting="unsafe")
    except ValueError:
        raise ValueError(f"optimizer state of shape {list(np.shape(values))} does not fit a parameter of shape "
                         f"{list(p.shape)}") from None
    return wrap(a)


def write_hyper(np.ndarray hyper, tuple values):
    """Write numbers (or one-element tensors) to the front of a float64 array."""
    cdef double* h = <double*>np.PyArray_DATA(hyper)
    cdef int i
    for i, v in enumerate(values):
        h[i] = v


def clear_gradients(list params, bint set_to_none):
    """Forget the gradients of parameters, or set them to zero."""
    cdef Tensor p, g
    for p in params:
        if set_to_none:
            p._grad = None
        elif p._grad is not None:
            g = p._grad
            g.detach_()
            host_call("zero_grad(set_to_none=False)", np.ndarray.fill, (g.array, 0))
            changed(g)


# ---- clipping ------------------------------------------------------------------------------------------------------
def norm_and_factor(list tensors, double max_norm):
    """Euclidean norm of all tensors together, and min(1, max_norm / (norm + 1e-6)), as a tensor and an array."""
    cdef Launch L
    cdef Tensor t
    cdef int i, count = len(tensors)
    cdef np.ndarray array, norm
    cdef np.ndarray totals = empty_1d(count, np.NPY_FLOAT64), factor = empty_1d(1, np.NPY_FLOAT64)
    for i in range(count):
        t = tensors[i]
        array = t.array if is_dense(t.array) else copied(t.array, t.array)
        begin(&L, &SUM_OF_SQUARES, fn_dtype_of(array))
        put(&L, 0, array)
        put(&L, 1, totals[i:i + 1])
        L.call.size[0] = np.PyArray_SIZE(array)
        L.call.flops = 2 * L.call.size[0]
        L.call.bytes = np.PyArray_NBYTES(array)
        launch(&L)
    norm = empty(0, NULL, np.PyArray_TYPE((<Tensor>tensors[0]).array))
    begin(&L, &CLIP_FACTOR, fn_dtype_of(norm))
    put(&L, 0, totals)
    put(&L, 1, norm)
    put(&L, 2, factor)
    L.call.size[0] = count
    L.call.scalar[0] = max_norm
    launch(&L)
    return wrap(norm), factor


def scale_(list tensors, np.ndarray factor):
    """Multiply tensors in place by the number in `factor` (float64)."""
    cdef Launch L
    cdef Tensor t
    for t in tensors:
        if not is_dense(t.array):
            host_call("clip: a gradient with gaps in its memory", np.multiply, (t.array, factor[0], t.array))
        else:
            begin(&L, &SCALE, fn_dtype_of(t.array))
            put(&L, 0, t.array)
            put(&L, 1, factor)
            L.call.size[0] = np.PyArray_SIZE(t.array)
            L.call.flops = L.call.size[0]
            L.call.bytes = 2 * np.PyArray_NBYTES(t.array)
            launch(&L)
        changed(t)
