# cython: allow_none_for_extension_args=False
"""Optimizer updates and gradient clipping on tensors: one kernel call per parameter."""
cimport numpy as np
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

import numpy as np

from fastnn.core.guard cimport tag_of
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport Storage, empty, empty_1d, empty_dense_like, is_dense, same_layout
from fastnn.core.tensor cimport Tensor, wrap
from fastnn.kernels.native cimport fn_kernel
from fastnn.kernels.update cimport CLAMP, CLIP_FACTOR, SCALE, SUM_OF_SQUARES, update_kernel
from fastnn.ops.layout cimport copy_into
from fastnn.kernels.native import KERNELS
from fastnn.kernels.update import HYPER, HYPER_LENGTH

np.import_array()

# State that is one float32 number per parameter, whatever the parameter's dtype.
SCALARS = frozenset(["step", "mu_product", "eta", "mu"])
NUMBERS = (float, int, bool)        # options that are one of these, or a pair, change with their group only
cdef enum: PARAMETER, GRADIENT, HYPER_SLOT, FIRST_STATE


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

# Per family of kernels, which options of a group its hyper array holds.
cdef dict options = {family: tuple(names.split()) for family, names in HYPER.items()}


cdef class Options:
    """A group's options where its kernels read them."""
    cdef np.ndarray array
    cdef dict group
    cdef uint64_t tag           # of the group when they were written; 0 where one of them can change while the group does not

    cdef int write(self, dict group, tuple names) except -1:
        cdef double* h = <double*>np.PyArray_DATA(self.array)
        cdef bint plain = True
        cdef int i = 0
        for name in names:
            value = group.get(name, 0)
            if isinstance(value, tuple) or isinstance(value, list):
                plain = plain and type(value) is tuple and type(value[0]) in NUMBERS and type(value[1]) in NUMBERS
                h[i], h[i + 1] = value[0], value[1]
                i += 2
            else:
                plain = plain and type(value) in NUMBERS
                h[i] = value
                i += 1
        self.group, self.tag = group, tag_of(<PyObject*>group) if plain else 0
        return 0


def refresh(str family, list groups, list hypers):
    """Write every group's options, which the user may have changed, into its array, where the kernels read them."""
    cdef int g
    cdef dict group
    cdef Options own
    while len(hypers) < len(groups):
        own = Options()
        own.array = np.zeros(HYPER_LENGTH)
        hypers.append(own)
    for g in range(len(groups)):
        group = groups[g]
        own = hypers[g]
        if not own.tag or own.group is not group or own.tag != tag_of(<PyObject*>group):
            own.write(group, options[family])


def options_of(family):
    """Names of the options that a family's kernels read from a group's array."""
    return frozenset(options.get(family, ()))


def step(optimizer):
    """Update all parameters of an optimizer that have a gradient.

    The optimizer names its family of kernels (`_family`) and the kernel for a group (`_kernel(group)`), and makes state
    that is missing (`_init_state(parameter, group)`).
    """
    cdef Tensor p
    cdef dict group
    cdef Update u
    cdef int g
    cdef list groups = optimizer.param_groups, hypers = optimizer._hyper_arrays
    state, create = optimizer.state, optimizer._init_state
    refresh(optimizer._family, groups, hypers)
    for g in range(len(groups)):
        group = groups[g]
        name = optimizer._kernel(group)
        u = known.get(name)
        if u is None:
            u = known[name] = Update(name)
        for p in <list>group["params"]:
            if p._grad is not None:
                update_one(u, p, <Tensor>p._grad, state, (<Options>hypers[g]).array, create, group, optimizer)


def prepare(optimizer):
    """Make the state that a step would make, for all parameters that want a gradient; returns those that had none."""
    cdef Tensor p
    cdef list made = []
    for group in optimizer.param_groups:
        name = optimizer._kernel(group)
        if name not in known:
            known[name] = Update(name)
        for p in <list>group["params"] if (<Update>known[name]).names else ():
            if p.requires and not optimizer.state.get(p):
                optimizer.state[p] = optimizer._init_state(p, group)
                made.append(p)
    return made


cdef int update_one(Update u, Tensor p, Tensor grad, object state, hyper, create, dict group,
                    optimizer) except -1:
    cdef Launch L
    cdef Tensor t
    cdef dict own
    cdef PyObject* found
    cdef np.ndarray array = p.array, gradient = grad.array
    cdef int64_t n = np.PyArray_SIZE(array)
    cdef int i
    cdef bint dense = is_dense(array)
    check(array, gradient)
    if not dense:
        array = copied(array, array)
    if not same_layout(array, gradient):
        gradient = copied(gradient, array)
    begin(&L, u.kernel, fn_dtype_of(array))
    put(&L, PARAMETER, array)
    put(&L, GRADIENT, gradient)
    put(&L, HYPER_SLOT, hyper)
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
        if u.counts_first:
            put(&L, FIRST_STATE + len(u.names), optimizer._first.get(p))
    L.call.size[0] = n
    L.call.flops = 8 * n
    L.call.bytes = <double>n * np.PyArray_ITEMSIZE(array) * (3 + 2 * u.arrays)
    launch(&L)
    changed(p)
    if not dense:
        copy_into(p.array, array)
    return 0


cdef inline int check(np.ndarray array, np.ndarray gradient) except -1:
    """What `.grad` was checked for when it was set may have changed since, through `.data`."""
    check_float("optimizer", array)
    if np.PyArray_TYPE(array) != np.PyArray_TYPE(gradient):
        raise RuntimeError(f"optimizer: a parameter is {(<object>array).dtype}, its gradient "
                           f"{(<object>gradient).dtype}")
    if not np.PyArray_SAMESHAPE(array, gradient):
        raise RuntimeError(f"optimizer: a parameter has the shape {list((<object>array).shape)}, its gradient "
                           f"{list((<object>gradient).shape)}")
    if not np.PyArray_ISWRITEABLE(array):
        raise RuntimeError("optimizer: a parameter is a read-only array; copy it first")
    return 0


cdef inline int check_float(str where, np.ndarray array) except -1:
    if np.PyArray_TYPE(array) != np.NPY_FLOAT32 and np.PyArray_TYPE(array) != np.NPY_FLOAT64:
        raise TypeError(f"{where}: float32 and float64 are supported, got {(<object>array).dtype}")
    return 0


cdef np.ndarray copied(np.ndarray source, np.ndarray like):
    """A copy in the layout of `like`."""
    cdef np.ndarray a = empty_dense_like(like)
    copy_into(a, source)
    return a


cdef Tensor created(name, Tensor p, dict own, create, dict group):
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


def on_host(str name, function, *inputs):
    """Call a function that no kernel replaces, in sight of a recorder."""
    return host_call(name, function, inputs)


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
def total_norm(list tensors, double norm_type, double max_norm):
    """Norm of all tensors together as a tensor, and min(1, max_norm / (norm + 1e-6)) as a float64 array of length 1."""
    cdef Launch L
    cdef Tensor t
    cdef int i, count = len(tensors), dtype = np.NPY_FLOAT32
    for t in tensors:
        check_float("clip", t.array)
        if np.PyArray_TYPE(t.array) == np.NPY_FLOAT64:
            dtype = np.NPY_FLOAT64
    cdef np.ndarray norm = empty(0, NULL, dtype), factor = empty_1d(1, np.NPY_FLOAT64)
    cdef np.ndarray totals = empty_1d(count, np.NPY_FLOAT64)
    if norm_type != 2:
        host_call("clip: a norm other than the Euclidean", other_norm, (tensors, norm_type, max_norm, norm, factor))
        return wrap(norm), factor
    for i in range(count):
        sum_of_squares((<Tensor>tensors[i]).array, totals[i:i + 1])
    begin(&L, &CLIP_FACTOR, fn_dtype_of(norm))
    put(&L, 0, totals)
    put(&L, 1, norm)
    put(&L, 2, factor)
    L.call.size[0] = count
    L.call.scalar[0] = max_norm
    launch(&L)
    return wrap(norm), factor


cdef int sum_of_squares(np.ndarray array, np.ndarray total) except -1:
    cdef Launch L
    if not is_dense(array):
        array = copied(array, array)
    begin(&L, &SUM_OF_SQUARES, fn_dtype_of(array))
    put(&L, 0, array)
    put(&L, 1, total)
    L.call.size[0] = np.PyArray_SIZE(array)
    L.call.flops = 2 * L.call.size[0]
    L.call.bytes = np.PyArray_NBYTES(array)
    launch(&L)
    return 0


def other_norm(tensors, norm_type, max_norm, norm, factor):
    """The norm of the tensors' norms, into arrays."""
    def one(x):
        return np.linalg.norm(x.ravel().astype(np.float64), norm_type) if x.size else 0.0
    norm[...] = one(np.array([one(t.array) for t in tensors]))
    factor[0] = np.minimum(1.0, max_norm / (norm + 1e-6))


def scale_(list tensors, np.ndarray factor):
    """Multiply tensors in place by the number in `factor` (float64)."""
    cdef Launch L
    cdef Tensor t
    for t in tensors:
        if not is_dense(t.array):
            host_call("clip: a gradient with gaps in its memory", np.multiply, (t.array, factor[0], t.array))
        else:
            in_place(&L, &SCALE, t.array)
            put(&L, 1, factor)
            launch(&L)
        changed(t)


def clamp_(list tensors, double lower, double upper):
    """Clamp tensors in place."""
    cdef Launch L
    cdef Tensor t
    for t in tensors:
        if not is_dense(t.array):
            host_call("clip: a gradient with gaps in its memory", np.clip, (t.array, lower, upper, t.array))
        else:
            in_place(&L, &CLAMP, t.array)
            L.call.scalar[0], L.call.scalar[1] = lower, upper
            launch(&L)
        changed(t)


cdef int in_place(Launch* L, const fn_kernel* kernel, np.ndarray array) except -1:
    check_float("clip", array)
    begin(L, kernel, fn_dtype_of(array))
    put(L, 0, array)
    L.call.size[0] = np.PyArray_SIZE(array)
    L.call.flops = L.call.size[0]
    L.call.bytes = 2 * np.PyArray_NBYTES(array)
    return 0
