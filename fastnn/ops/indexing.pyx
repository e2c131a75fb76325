# cython: allow_none_for_extension_args=False
"""x[key] and x[key] = value by torch's rules.

Integers, slices, None and ... are taken first and give a view; what is left are index arrays and masks, which copy.
(NumPy would count an integer beside an index array as an index array, and order the axes differently.)
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_adjoint
from fastnn.core.launch cimport host_call
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, as_tensor, attach, attach_view, wants, wrap, wrap_view
from fastnn.ops.layout cimport sum_to_shape

import re

from fastnn.core.tensor import install
from fastnn.ops.host import change
from fastnn.ops.pieces import put_back

np.import_array()

cdef object ALL = slice(None)


@cython.final
cdef class SliceBackward(Node):
    """Zeros of the input's shape with the gradient at its place.  a: the input, of which only shape and dtype count; d: key."""
    cdef object backward(self, np.ndarray grad):
        shape, dtype = self.c
        if dtype in (np.float32, np.float64):
            return put_back(grad, shape, self.d)
        return host_call("slice_backward", place, (grad, self.c, self.d))

    cdef object derivative(self, object grad, tuple wanted):
        return by_adjoint(self, grad, self.again)

    def again(self, x):
        return getitem(x, self.d)


def place(grad, like, key):
    """Zeros shaped like `like` = (shape, dtype) with grad at a basic key."""
    full = np.zeros(*like)
    full[key] = grad
    return full


@cython.final
cdef class IndexBackward(Node):
    """The same for index arrays, where an element may be taken several times.  d: key."""
    cdef object backward(self, np.ndarray grad):
        return host_call("index_backward", scatter_add, (grad, self.c, self.d))

    cdef object derivative(self, object grad, tuple wanted):
        return by_adjoint(self, grad, self.again)

    def again(self, x):
        return take_elements(x, self.d)


def scatter_add(grad, like, key):
    """Zeros shaped like `like` = (shape, dtype) to which grad is added at an advanced key."""
    full = np.zeros(*like)
    if all([k.dtype == np.bool_ for k in key if isinstance(k, np.ndarray)]) and sum([isinstance(k, np.ndarray) for k in key]) == 1:
        full[key] = grad        # a mask takes no element twice
    else:
        np.add.at(full, key, grad)
    return full


cdef bint simple(object key) except -1:
    """Is the key one int or slice, or a tuple of only ints, slices, None and ...?"""
    cdef object k
    if type(key) is int or type(key) is slice or key is None or key is Ellipsis:
        return True
    if type(key) is not tuple:
        return False
    for k in <tuple>key:
        if not (type(k) is int or type(k) is slice or k is None or k is Ellipsis):
            return False
    return True


cdef object plain_index(object k):
    """An index as NumPy takes it: arrays for tensors, lists and masks."""
    cdef np.ndarray a
    if isinstance(k, Tensor):
        a = (<Tensor>k).array
    elif isinstance(k, (np.ndarray, list, tuple, range)):
        a = np.asarray([(<Tensor>i).array if isinstance(i, Tensor) else i for i in k]) if isinstance(k, (list, tuple)) else np.asarray(k)
        if np.PyArray_SIZE(a) == 0 and not isinstance(k, np.ndarray):
            a = (<object>a).astype(np.int64)
    elif isinstance(k, slice):
        if isinstance(k.start, Tensor) or isinstance(k.stop, Tensor) or isinstance(k.step, Tensor):
            return slice(*[None if i is None else int(i) for i in (k.start, k.stop, k.step)])
        return k
    elif k is None or k is Ellipsis or isinstance(k, (bool, int)):
        return k
    elif isinstance(k, np.bool_):
        return bool(k)
    elif hasattr(k, "__index__"):
        return k.__index__()
    elif isinstance(k, float) or isinstance(k, str):
        raise TypeError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                        f"(got {type(k).__name__})")
    else:
        a = as_tensor(k).array
    kind = (<object>a).dtype.kind
    if (<object>a).dtype == np.uint8:
        return (<object>a).astype(np.bool_)
    if kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if np.PyArray_NDIM(a) == 0 and kind != "b":
        return int(a.item())
    return a


cdef tuple split_key(object key, int ndim):
    """(basic key, advanced key or None): x[key] == x[basic][advanced]."""
    cdef list given = [plain_index(k) for k in (key if isinstance(key, tuple) else (key,))]
    cdef list basic = [], advanced = []
    cdef int used = 0
    cdef bint any_advanced = False
    for k in given:
        if isinstance(k, np.ndarray):
            used += k.ndim if k.dtype == np.bool_ else 1
        elif k is not None and k is not Ellipsis and not isinstance(k, bool):
            used += 1
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    for k in given:
        if isinstance(k, bool):
            k = np.array(k)
        if isinstance(k, np.ndarray):
            any_advanced = True
            if k.dtype == np.bool_ and k.ndim == 0:     # a new axis, of length 0 or 1
                basic.append(None)
                advanced.append(np.zeros(1 if k else 0, np.int64))
                continue
            basic += [ALL] * (k.ndim if k.dtype == np.bool_ else 1)
            advanced.append(k)
        elif k is Ellipsis:
            basic.append(k)
            advanced += [ALL] * (ndim - used)
        else:
            basic.append(k)
            if not isinstance(k, int):
                advanced.append(ALL)
    if not any_advanced:
        return tuple(basic), None
    return tuple(basic), tuple(advanced)


def translate(error, shape):
    """NumPy's IndexError in torch's words."""
    text = str(error)
    found = re.match(r"index (-?\d+) is out of bounds for axis (\d+) with size (\d+)", text)
    if found:
        return IndexError("index {} is out of bounds for dimension {} with size {}".format(*found.groups()))
    found = re.match(r"boolean index did not match indexed array along axis (\d+); size of axis is (\d+) but size of "
                     r"corresponding boolean axis is (\d+)", text)
    if found:
        axis, _, given = found.groups()
        return IndexError(f"The shape of the mask [{given}] at index {axis} does not match the shape of the indexed tensor "
                          f"{list(shape)} at index {axis}")
    if "too many indices" in text:
        return IndexError(f"too many indices for tensor of dimension {len(shape)}")
    if "shape mismatch: indexing arrays" in text:
        return IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes" +
                          text.rpartition("with shapes")[2])
    return IndexError(text)


cdef int check_steps(object key) except -1:
    for k in (key if isinstance(key, tuple) else (key,)):
        if type(k) is slice and k.step is not None and k.step <= 0:
            raise ValueError("step must be greater than zero")
    return 0


cdef np.ndarray basic_view(np.ndarray a, object key):
    """a[key] for a basic key, as an array also where NumPy would give a number."""
    check_steps(key)
    if np.PyArray_NDIM(a) == 0 and type(key) is int:
        raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                         "convert a 0-dim tensor to a number")
    try:
        y = a[key]
        if not isinstance(y, np.ndarray):
            y = a[(*key, Ellipsis) if isinstance(key, tuple) else (key, Ellipsis)]
    except IndexError as error:
        raise translate(error, (<object>a).shape) from None
    return y


def getitem(Tensor x, key):
    """x[key]: a view for integers, slices, None and ...; a copy for index arrays and masks."""
    cdef np.ndarray y
    cdef SliceBackward node
    if simple(key):
        y = basic_view(x.array, key)
        if not (grad_enabled() and wants(x)):
            return wrap_view(y, x)
        node = SliceBackward.__new__(SliceBackward)
        node.c = ((<object>x.array).shape, (<object>x.array).dtype)
        node.d = key
        return attach_view(y, node, x)
    basic, advanced = split_key(key, np.PyArray_NDIM(x.array))
    cdef Tensor v = x if is_identity(basic) else getitem(x, basic)
    return v if advanced is None else take_elements(v, advanced)


cdef bint is_identity(tuple basic):
    for k in basic:
        if not (k is Ellipsis or (type(k) is slice and k == ALL)):
            return False
    return True


cdef Tensor take_elements(Tensor x, tuple key):
    """x[key] for an advanced key: a copy."""
    cdef np.ndarray y
    cdef IndexBackward node
    try:
        y = np.asarray(host_call("index", fetch, (x.array, key)))
    except IndexError as error:
        raise translate(error, (<object>x.array).shape) from None
    if not (grad_enabled() and wants(x)):
        return wrap(y)
    node = IndexBackward.__new__(IndexBackward)
    node.c = ((<object>x.array).shape, (<object>x.array).dtype)
    node.d = tuple([k.copy() if isinstance(k, np.ndarray) else k for k in key])
    return attach(y, node, x)


def fetch(a, key):
    return a[key]


def setitem(Tensor x, key, value):
    """x[key] = value, in place; gradients flow into value and out of what was overwritten."""
    cdef np.ndarray a = x.array, v
    cdef Tensor given = as_tensor(value)
    basic, advanced = (key, None) if simple(key) else split_key(key, np.PyArray_NDIM(a))
    target = basic_view(a, basic)       # finds errors before anything changes
    shape = (<object>target).shape
    if advanced is not None:
        try:
            shape = np.broadcast_to(np.empty((), np.bool_), shape)[advanced].shape
        except IndexError as error:
            raise translate(error, shape) from None
    v = value_array(given, shape, advanced is None)
    vshape = (<object>given.array).shape
    vdtype = (<object>given.array).dtype
    key_copy = None if advanced is None else tuple([k.copy() if isinstance(k, np.ndarray) else k for k in advanced])

    def write(array):
        part = basic_view(array, basic)
        if advanced is None:
            np.copyto(part, v, casting="unsafe")
        else:
            part[advanced] = v

    def rule(grad):
        rest = grad.copy()
        part = basic_view(rest, basic)
        if key_copy is None:
            taken = part.copy()
            part[...] = 0
        else:
            taken = part[key_copy]
            part[key_copy] = 0
        while taken.ndim < len(vshape):
            taken = taken[None]
        return rest, np.asarray(sum_to_shape(taken, vshape)).astype(vdtype, copy=False)

    change("index_put", x, write, rule, given)


cdef np.ndarray value_array(Tensor given, tuple shape, bint is_basic):
    """The array to assign, checked to broadcast to `shape`."""
    cdef np.ndarray v = given.array
    have = (<object>v).shape
    while len(have) > len(shape) and have[0] == 1:
        v = v[0] if len(have) > 1 else v[0:1].reshape(())
        have = (<object>v).shape
    if len(have) <= len(shape) and all([m == n or m == 1 for m, n in zip(reversed(have), reversed(shape))]):
        return v
    have = (<object>given.array).shape
    if not is_basic:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(have)} cannot be broadcast to indexing result of shape "
                           f"{list(shape)}")
    for i in range(1, min(len(have), len(shape)) + 1):
        if have[len(have) - i] not in (1, shape[len(shape) - i]):
            raise RuntimeError(f"The expanded size of the tensor ({shape[len(shape) - i]}) must match the existing size "
                               f"({have[len(have) - i]}) at non-singleton dimension {len(shape) - i}.  Target sizes: "
                               f"{list(shape)}.  Tensor sizes: {list(have)}")
    raise RuntimeError(f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the number of "
                       f"dimensions in the tensor ({len(have)})")


def select(input, dim, index):
    """The slice at `index` along `dim`, without that axis."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    if ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    if not -ndim <= dim < ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})")
    axis = dim % ndim
    n = (<object>x.array).shape[axis]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list((<object>x.array).shape)} at dimension {axis}")
    return getitem(x, (ALL,) * axis + (int(index),))


def narrow(input, dim, start, length):
    """The part start .. start+length of axis `dim`."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    if ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if not -ndim <= dim < ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})")
    axis = dim % ndim
    n = (<object>x.array).shape[axis]
    start = int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return getitem(x, (ALL,) * axis + (slice(start, start + length),))


install("__getitem__", getitem)
install("__setitem__", setitem)
install("select", select)
install("narrow", narrow)

__all__ = ["narrow", "select"]
