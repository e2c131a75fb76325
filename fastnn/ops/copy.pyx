# cython: allow_none_for_extension_args=False
"""Copies between memory orders, conversions between dtypes, and the in-place fills."""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.launch cimport Launch, begin, host_call, launch, put
from fastnn.core.storage cimport arranged, empty, empty_dense_like, is_dense, same_layout
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, as_tensor, attach, wants, wrap
from fastnn.kernels.native cimport FN_BOOL, FN_F32, FN_F64, FN_I32, FN_I64, FN_U8
from fastnn.kernels.pointwise cimport CONVERT
from fastnn.ops.arguments cimport is_real
from fastnn.ops.layout cimport contiguous, copy_into, fill, sum_to_shape

from fastnn.core.tensor import install
from fastnn.ops.host import change
from fastnn.ops.promotion import FLOAT32, FLOAT64, INT64, check_device, number_in, type_name

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

cdef inline int kernel_dtype(int typenum) noexcept:
    """The kernels' name of a NumPy dtype; -1 where they have none."""
    if typenum == np.NPY_FLOAT32:
        return FN_F32
    if typenum == np.NPY_FLOAT64:
        return FN_F64
    if typenum == np.NPY_INT64:
        return FN_I64
    if typenum == np.NPY_INT32:
        return FN_I32
    if typenum == np.NPY_UINT8:
        return FN_U8
    if typenum == np.NPY_BOOL:
        return FN_BOOL
    return -1


cdef np.ndarray in_order_of(np.ndarray a, np.ndarray like):
    if same_layout(a, like):
        return a
    cdef np.ndarray b = empty_dense_like(like)
    copy_into(b, a)
    return b


cdef np.ndarray converted(np.ndarray a, int typenum):
    cdef Launch L
    cdef np.ndarray b
    cdef int source = kernel_dtype(np.PyArray_TYPE(a)), target = kernel_dtype(typenum)
    if np.PyArray_TYPE(a) == typenum:
        return a
    if source < 0 or target < 0 or source == FN_F32 and target == FN_U8 or source == FN_F64 and target == FN_U8:
        return host_call("convert", to_dtype, (a, np.PyArray_DescrFromType(typenum)))
    if not PyArray_IS_C_CONTIGUOUS(a):
        if is_dense(a):         # convert in memory order: the result keeps it
            order = sorted(range(np.PyArray_NDIM(a)), key=lambda d: -np.PyArray_STRIDE(a, d))
            return arranged(converted((<object>a).transpose(order), typenum).transpose(np.argsort(order)))
        a = contiguous(a)
    b = empty(np.PyArray_NDIM(a), np.PyArray_DIMS(a), typenum)
    begin(&L, &CONVERT, source)
    put(&L, 0, a)
    put(&L, 1, b)
    L.call.size[0], L.call.size[1], L.call.size[2] = np.PyArray_SIZE(a), source, target
    L.call.bytes = <double>(np.PyArray_NBYTES(a) + np.PyArray_NBYTES(b))
    launch(&L)
    return b


def to_dtype(a, dtype):
    """a in another dtype; floats out of an integer's range wrap without a warning, as a C cast does."""
    with np.errstate(invalid="ignore", over="ignore"):
        return a.astype(dtype)


# ---- operations ----------------------------------------------------------------------------------------------------
@cython.final
cdef class CopyBackward(Node):
    """The gradient in the dtype of the input.  d: its type number."""
    cdef object backward(self, np.ndarray grad):
        return converted(grad, <int>self.d)

    cdef object derivative(self, object grad, tuple wanted):
        return grad.to(np.PyArray_DescrFromType(<int>self.d))

    cdef bint aliases(self):
        return True


cdef Tensor recorded(np.ndarray y, Tensor x):
    """A copy or conversion y of x, with its gradient rule where one is wanted."""
    cdef CopyBackward node
    if not (grad_enabled() and wants(x) and (<object>y).dtype.kind == "f"):
        return wrap(y)
    node = CopyBackward.__new__(CopyBackward)
    node.d = np.PyArray_TYPE(x.array)
    return attach(y, node, x)


cdef Tensor convert(Tensor x, object dtype):
    cdef np.ndarray y = converted(x.array, (<object>np.dtype(dtype)).num)
    return x if y is x.array else recorded(y, x)


def clone(input, *, memory_format=None):
    """A copy with its own memory; gradients flow through it."""
    cdef Tensor x = as_tensor(input)
    cdef np.ndarray y = empty_dense_like(x.array)
    copy_into(y, x.array)
    return recorded(y, x)


def in_c_order(Tensor input, *, memory_format=None):
    """The tensor itself when its memory is in C order, else a copy that is."""
    cdef np.ndarray y = contiguous(input.array)
    return input if y is input.array else recorded(y, input)


def to(Tensor input, *args, dtype=None, device=None, non_blocking=False, bint copy=False, memory_format=None):
    """Convert: `to(dtype)`, `to(device, dtype)` or `to(other)`.  Itself when there is nothing to change.

    The only device is the CPU.
    """
    for a in args:
        if isinstance(a, Tensor):
            dtype = (<object>(<Tensor>a).array).dtype
        elif isinstance(a, bool) or a is None:
            continue
        elif is_device(a):
            device = a
        else:
            dtype = a
    check_device(device)
    cdef Tensor y = input if dtype is None else convert(input, dtype)
    return clone(y) if copy and y is input else y


def is_device(a):
    """Is this argument of `to` a device rather than a dtype?"""
    if isinstance(a, str):
        return a.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta")
    return hasattr(a, "type") and hasattr(a, "index")


def type_(Tensor input, dtype=None, non_blocking=False):
    """Convert to a dtype; without one, the name of the tensor's type."""
    if dtype is None:
        return f"torch.{type_name((<object>input.array).dtype)}Tensor"
    return convert(input, dtype)


def type_as(Tensor input, Tensor other):
    """Convert to the dtype of another tensor."""
    return convert(input, (<object>other.array).dtype)


def make_conversion(str name, dtype):
    """The method that converts to one dtype."""
    def method(Tensor self, memory_format=None):
        return convert(self, dtype)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Convert to {dtype}."
    return method


def cpu(Tensor input, memory_format=None):
    """Itself: there is no other device."""
    return input


def cuda(Tensor input, *args, **kwargs):
    """Not supported: the only device is the CPU."""
    raise RuntimeError("cuda: fastnn computes on the CPU only")


def copy_(Tensor input, src, non_blocking=False):
    """Overwrite with the values of src, broadcast and converted."""
    cdef Tensor s = as_tensor(src)
    shape, own = (<object>input.array).shape, (<object>s.array).shape
    if not is_real(input.array):        # integers have no gradient
        s = wrap(s.array)
    if own != shape:
        try:
            fits = np.broadcast_shapes(own, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise RuntimeError(expand_message(own, shape))
    typenum = np.PyArray_TYPE(s.array)
    cdef np.ndarray given = s.array if own == shape else np.broadcast_to(s.array, shape)

    def write(np.ndarray array):
        copy_into(array, converted(given, np.PyArray_TYPE(array)))

    def rule(np.ndarray grad):
        return None, converted(sum_to_shape(grad, own), typenum)
    return overwrite("copy_", input, write, rule, s)


def expand_message(own, shape):
    """torch's words for sizes that cannot be expanded."""
    if len(own) > len(shape):
        return (f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in "
                f"the tensor ({len(own)})")
    for i in range(1, len(own) + 1):
        if own[-i] not in (1, shape[-i]):
            return (f"The size of tensor a ({shape[-i]}) must match the size of tensor b ({own[-i]}) at non-singleton dimension "
                    f"{len(shape) - i}")


cdef object overwrite(str name, Tensor x, write, rule, Tensor source):
    """Write into x through kernels (which a plan can replay), then put the change on the tape."""
    if grad_enabled() and (wants(x) or wants(source)):
        return change(name, x, write, rule, source)
    x.touch()
    write(x.array)
    return x


def fill_(Tensor input, value):
    """Set every element to a value."""
    if isinstance(value, Tensor):
        if (<Tensor>value).ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
        return copy_(input, value)
    if grad_enabled() and wants(input):
        return change("fill_", input, lambda a: a.fill(value), lambda g: np.zeros_like(g))
    input.touch()
    fill_array(input.array, value)
    return input


cdef int fill_array(np.ndarray a, value) except -1:
    if is_real(a) and is_dense(a):
        return fill(a, value)
    host_call("fill", fill_host, (a, value))
    return 0


def filled(shape, Tensor like, value):
    """A new tensor in the dtype of `like`, every element `value`; None: undefined."""
    cdef np.npy_intp[32] sizes
    cdef int ndim = len(shape), i
    for i in range(ndim):
        sizes[i] = shape[i]
    cdef np.ndarray y = empty(ndim, sizes, np.PyArray_TYPE(like.array))
    if value is not None and np.PyArray_SIZE(y):
        fill_array(y, value)
    return wrap(y)


def fill_host(a, value):
    a.fill(number_in(value, a.dtype))


def zero_(Tensor input):
    """Set every element to zero."""
    return fill_(input, 0)


for name, function in {
        "clone": clone, "contiguous": in_c_order, "to": to, "type": type_, "type_as": type_as, "cpu": cpu, "cuda": cuda,
        "copy_": copy_, "fill_": fill_, "zero_": zero_, "float": make_conversion("float", FLOAT32),
        "double": make_conversion("double", FLOAT64), "half": make_conversion("half", np.dtype(np.float16)),
        "long": make_conversion("long", INT64),
        "int": make_conversion("int", np.dtype(np.int32)), "short": make_conversion("short", np.dtype(np.int16)),
        "char": make_conversion("char", np.dtype(np.int8)), "byte": make_conversion("byte", np.dtype(np.uint8)),
        "bool": make_conversion("bool", np.dtype(np.bool_)), "astype": to}.items():
    install(name, function)

__all__ = ["clone"]
