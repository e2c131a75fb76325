# cython: allow_none_for_extension_args=False
"""Addition, subtraction, multiplication and division of tensors and numbers, with broadcasting and gradients.

Two tensors of one real dtype, or one and a number, go to kernels; everything else (integers, mixed dtypes) to NumPy by
torch's promotion rules.
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_rule
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, empty_dense_like, is_dense, same_layout
from fastnn.core.tape cimport Node, set_array_kernels
from fastnn.core.tensor cimport Tensor, as_tensor, attach, node_of, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.kernels.pointwise cimport MAX_DIMS, binary_code, put_grid, put_strides, unary_code
from fastnn.ops.arguments cimport is_real
from fastnn.ops.layout cimport contiguous, copy_into, copy_of, sum_to_shape
from fastnn.ops.region cimport adopt, check_view

from fastnn.core.tensor import install
from fastnn.ops.aliases import into as into_out
from fastnn.ops.promotion import computed_dtype, result_dtype

__all__ = ["add", "div", "divide", "mul", "multiply", "sub", "subtract", "true_divide"]

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

cdef const fn_kernel* BINARY = kernel_named("binary")
cdef const fn_kernel* UNARY = kernel_named("unary")
cdef const fn_kernel* ACCUMULATE = kernel_named("accumulate")

cdef int ADD = binary_code("add"), SUB = binary_code("sub"), MUL = binary_code("mul"), DIV = binary_code("div")
cdef int AFFINE = unary_code("affine"), DIVIDE_BY = unary_code("divide_by"), DIVIDE_INTO = unary_code("divide_into")


# ---- arrays --------------------------------------------------------------------------------------------------------
cdef np.ndarray binary(int code, np.ndarray x, np.ndarray y):
    """x (code) y in one real dtype; raises ValueError where shapes do not broadcast, returns None past MAX_DIMS axes."""
    cdef Launch L
    cdef np.ndarray z
    cdef np.npy_intp[32] shape
    cdef np.npy_intp n
    cdef int ndim, d, p = np.PyArray_NDIM(x), q = np.PyArray_NDIM(y)
    begin(&L, BINARY, fn_dtype_of(x))
    L.call.size[0] = code
    if same_layout(x, y) and is_dense(x):       # one run through memory
        z = empty_dense_like(x)
        n = np.PyArray_SIZE(x)
        L.call.size[1], L.call.size[2], L.call.size[8], L.call.size[8 + MAX_DIMS] = 1, n, 1, 1
    else:
        ndim = p if p > q else q
        if ndim > MAX_DIMS:
            return None
        for d in range(ndim):
            shape[d] = broadcast_size(x, p - ndim + d, y, q - ndim + d)
        z = empty(ndim, shape, np.PyArray_TYPE(x))
        put_grid(&L.call, ndim, shape)
        put_strides(&L.call, 0, ndim, x)
        put_strides(&L.call, 1, ndim, y)
    put(&L, 0, x)
    put(&L, 1, y)
    put(&L, 2, z)
    L.call.flops = np.PyArray_SIZE(z)
    L.call.bytes = np.PyArray_NBYTES(x) + np.PyArray_NBYTES(y) + np.PyArray_NBYTES(z)
    launch(&L)
    return z


cdef np.npy_intp broadcast_size(np.ndarray x, int i, np.ndarray y, int j) except -1:
    cdef np.npy_intp a = np.PyArray_DIM(x, i) if i >= 0 else 1, b = np.PyArray_DIM(y, j) if j >= 0 else 1
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    raise RuntimeError(f"The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension "
                       f"{max(i, j)} (shapes {(<object>x).shape} and {(<object>y).shape})")


cdef np.ndarray unary(int code, np.ndarray x, double a, double b):
    cdef Launch L
    if not is_dense(x):
        x = contiguous(x)
    cdef np.ndarray y = empty_dense_like(x)
    begin(&L, UNARY, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    L.call.size[0], L.call.size[1] = code, np.PyArray_SIZE(x)
    L.call.scalar[0], L.call.scalar[1] = a, b
    L.call.flops = np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    launch(&L)
    return y


# x * s is affine with -0 added: that keeps the sign of a zero product.
cdef np.ndarray scaled(np.ndarray x, double s):
    return unary(AFFINE, x, s, -0.0)


cdef int accumulate(np.ndarray target, np.ndarray source, double factor) except -1:
    """target += factor * source, same shape."""
    cdef Launch L
    if not (same_layout(target, source) and is_dense(target)):
        source = contiguous(source)
        if not PyArray_IS_C_CONTIGUOUS(target):
            z = binary(ADD, target, scaled(source, factor))
            return copy_into(target, z)
    begin(&L, ACCUMULATE, fn_dtype_of(target))
    put(&L, 0, source)
    put(&L, 1, target)
    L.call.size[0] = np.PyArray_SIZE(target)
    L.call.scalar[0] = factor
    L.call.flops = 2.0 * np.PyArray_SIZE(target)
    L.call.bytes = 3.0 * np.PyArray_NBYTES(target)
    return launch(&L)


cdef object add_arrays(np.ndarray a, np.ndarray b, bint in_place):
    """What the tape adds gradients with."""
    if not is_real(a) or np.PyArray_TYPE(a) != np.PyArray_TYPE(b):
        return host_call("add", np.add, (a, b))
    if in_place and np.PyArray_ISWRITEABLE(a):
        accumulate(a, b, 1.0)
        return a
    c = binary(ADD, a, b)
    return c if c is not None else host_call("add", np.add, (a, b))


cdef object copy_array(np.ndarray a):
    return copy_of(a)


set_array_kernels(add_arrays, copy_array)


# ---- rules ---------------------------------------------------------------------------------------------------------
cdef class Binary(Node):
    """What the rules share: the shapes of the operands, to which broadcast gradients are summed."""
    cdef tuple shape_x, shape_y

    cdef object shares(self, np.ndarray gx, np.ndarray gy):
        if gx is not None:
            gx = sum_to_shape(gx, self.shape_x)
        if gy is not None:
            gy = sum_to_shape(gy, self.shape_y)
        return gx, gy, None

    cdef object rule(self, str name, object grad, tuple wanted, tuple arrays=()):
        return by_rule(self, grad, wanted, name, arrays, (self.shape_x, self.shape_y))


@cython.final
cdef class AddBackward(Binary):
    cdef object backward(self, np.ndarray grad):
        return self.shares(grad if self.nodes[0] is not None else None, grad if self.nodes[1] is not None else None)

    cdef object derivative(self, object grad, tuple wanted):
        return self.rule("add", grad, wanted)

    cdef bint aliases(self):
        return True


@cython.final
cdef class SubBackward(Binary):
    cdef object backward(self, np.ndarray grad):
        return self.shares(grad if self.nodes[0] is not None else None,
                           scaled(grad, -1.0) if self.nodes[1] is not None else None)

    cdef object derivative(self, object grad, tuple wanted):
        return self.rule("sub", grad, wanted)

    cdef bint aliases(self):
        return True


@cython.final
cdef class MulBackward(Binary):
    cdef object backward(self, np.ndarray grad):
        return self.shares(binary(MUL, grad, self.b) if self.nodes[0] is not None else None,
                           binary(MUL, grad, self.a) if self.nodes[1] is not None else None)

    cdef object derivative(self, object grad, tuple wanted):
        return self.rule("mul", grad, wanted, (self.a, self.b))


@cython.final
cdef class DivBackward(Binary):
    """z = x / y: gx = g / y, gy = -g x / y^2.  a: x, b: y."""
    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray over_y = binary(DIV, grad, self.b), gy = None
        if self.nodes[1] is not None:
            gy = scaled(binary(DIV, binary(MUL, over_y, self.a), self.b), -1.0)
        return self.shares(over_y if self.nodes[0] is not None else None, gy)

    cdef object derivative(self, object grad, tuple wanted):
        return self.rule("div", grad, wanted, (self.a, self.b))


@cython.final
cdef class ScaleBackward(Node):
    """y = s x + t"""
    cdef double factor

    cdef object backward(self, np.ndarray grad):
        return grad if self.factor == 1.0 else scaled(grad, self.factor)

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "scale", (), (self.factor,))

    cdef bint aliases(self):
        return self.factor == 1.0


@cython.final
cdef class DivideByBackward(Node):
    """y = x / s"""
    cdef double divisor

    cdef object backward(self, np.ndarray grad):
        return unary(DIVIDE_BY, grad, self.divisor, 0.0)

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "divide_by", (), (self.divisor,))


@cython.final
cdef class DivideIntoBackward(Node):
    """y = s / x: gx = -g s / x^2.  a: x."""
    cdef double dividend

    cdef object backward(self, np.ndarray grad):
        return binary(DIV, binary(MUL, grad, unary(DIVIDE_INTO, self.a, -self.dividend, 0.0)), self.a)

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "divide_into", (self.a,), (self.dividend,))


# ---- tensors -------------------------------------------------------------------------------------------------------
cdef inline bint is_number(object x) noexcept:
    return type(x) is float or type(x) is int


cdef Tensor finish(np.ndarray z, Binary node, Tensor x, Tensor y, bint saves):
    node.shape_x, node.shape_y = (<object>x.array).shape, (<object>y.array).shape
    if saves:
        save_a(node, x)
        save_b(node, y)
    return attach(z, node, x, y)


cdef Tensor with_number(Tensor x, np.ndarray y, double factor):
    """y = factor x + something: the result of an operation with a number."""
    cdef ScaleBackward node
    if not recording(x):
        return wrap(y)
    node = ScaleBackward.__new__(ScaleBackward)
    node.factor = factor
    return attach(y, node, x)


cdef object general(str name, function, x, y):
    """Any operands by torch's promotion: casts with gradients, then the kernels or NumPy."""
    cdef Tensor a = operand(x), b = operand(y)
    dtype = result_dtype(x, y)
    if dtype.kind != "f" and name == "div":
        dtype = result_dtype(x, y, 1.0)
    if dtype.kind == "f":
        inner = computed_dtype(dtype)
        return pair(name, a.to(inner), b.to(inner)).to(dtype)
    if dtype.kind == "b" and name == "sub":
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")
    try:
        return wrap(np.asarray(host_call(name, lambda p, q: function(p.astype(dtype), q.astype(dtype)), (a.array, b.array))))
    except ValueError:
        raise shapes_differ(name, a, b) from None


cdef Tensor operand(object x):
    if isinstance(x, Tensor):
        return <Tensor>x
    return as_tensor(x)


cdef object shapes_differ(str name, Tensor a, Tensor b):
    return RuntimeError(f"{name}: shapes {(<object>a.array).shape} and {(<object>b.array).shape} do not broadcast")


cdef Tensor pair(str name, Tensor x, Tensor y):
    """Two tensors of one real dtype."""
    cdef np.ndarray z
    cdef int code = ADD if name == "add" else SUB if name == "sub" else MUL if name == "mul" else DIV
    z = binary(code, x.array, y.array)
    if z is None:       # more axes than the kernel walks
        z = host_call(name, [np.add, np.subtract, np.multiply, np.divide][[ADD, SUB, MUL, DIV].index(code)], (x.array, y.array))
    if not recording(x, y):
        return wrap(z)
    if code == ADD:
        return finish(z, AddBackward.__new__(AddBackward), x, y, False)
    if code == SUB:
        return finish(z, SubBackward.__new__(SubBackward), x, y, False)
    if code == MUL:
        return finish(z, MulBackward.__new__(MulBackward), x, y, True)
    return finish(z, DivBackward.__new__(DivBackward), x, y, True)


cdef inline bint same_reals(object x, object y):
    return (isinstance(x, Tensor) and isinstance(y, Tensor) and is_real((<Tensor>x).array)
            and np.PyArray_TYPE((<Tensor>x).array) == np.PyArray_TYPE((<Tensor>y).array))


cdef inline bint real_and_number(object x, object y):
    return isinstance(x, Tensor) and is_number(y) and is_real((<Tensor>x).array)


def add(input, other, *, alpha=1, out=None):
    """Add: input + alpha * other.

    Operands broadcast and promote as in torch; a gradient of a broadcast operand is summed to its shape.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.add(fastnn.tensor([1.0, 2.0]), 10)
    tensor([11., 12.])
    """
    if out is not None:
        return into_out(out, add(input, other, alpha=alpha))
    if alpha != 1:
        other = mul(other, alpha)
    if same_reals(input, other):
        return pair("add", <Tensor>input, <Tensor>other)
    if real_and_number(input, other):
        return with_number(<Tensor>input, unary(AFFINE, (<Tensor>input).array, 1.0, other), 1.0)
    if real_and_number(other, input):
        return with_number(<Tensor>other, unary(AFFINE, (<Tensor>other).array, 1.0, input), 1.0)
    return general("add", np.add, input, other)


def sub(input, other, *, alpha=1, out=None):
    """Subtract: input - alpha * other."""
    if out is not None:
        return into_out(out, sub(input, other, alpha=alpha))
    if alpha != 1:
        other = mul(other, alpha)
    if same_reals(input, other):
        return pair("sub", <Tensor>input, <Tensor>other)
    if real_and_number(input, other):
        return with_number(<Tensor>input, unary(AFFINE, (<Tensor>input).array, 1.0, -<double>other), 1.0)
    if real_and_number(other, input):
        return with_number(<Tensor>other, unary(AFFINE, (<Tensor>other).array, -1.0, input), -1.0)
    return general("sub", np.subtract, input, other)


def mul(input, other, *, out=None):
    """Multiply elementwise: input * other."""
    if out is not None:
        return into_out(out, mul(input, other))
    if same_reals(input, other):
        return pair("mul", <Tensor>input, <Tensor>other)
    if real_and_number(input, other):
        return with_number(<Tensor>input, scaled((<Tensor>input).array, other), other)
    if real_and_number(other, input):
        return with_number(<Tensor>other, scaled((<Tensor>other).array, input), input)
    return general("mul", np.multiply, input, other)


def div(input, other, *, rounding_mode=None, out=None):
    """Divide elementwise: input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
    cdef DivideByBackward by
    cdef DivideIntoBackward into
    if out is not None:
        return into_out(out, div(input, other, rounding_mode=rounding_mode))
    if rounding_mode is not None:
        return rounded(div(input, other), rounding_mode, result_dtype(input, other))
    if same_reals(input, other):
        return pair("div", <Tensor>input, <Tensor>other)
    if real_and_number(input, other):
        y = unary(DIVIDE_BY, (<Tensor>input).array, other, 0.0)
        if not recording(<Tensor>input):
            return wrap(y)
        by = DivideByBackward.__new__(DivideByBackward)
        by.divisor = other
        return attach(y, by, <Tensor>input)
    if real_and_number(other, input):
        y = unary(DIVIDE_INTO, (<Tensor>other).array, input, 0.0)
        if not recording(<Tensor>other):
            return wrap(y)
        into = DivideIntoBackward.__new__(DivideIntoBackward)
        into.dividend = input
        save_a(into, <Tensor>other)
        return attach(y, into, <Tensor>other)
    return general("div", np.divide, input, other)


def rounded(quotient, mode, dtype):
    if mode not in ("floor", "trunc"):
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'")
    result = quotient.floor() if mode == "floor" else quotient.trunc()
    return result if dtype.kind == "f" else result.to(dtype)


def reflected_sub(self, other):
    return sub(other, self)


def reflected_div(self, other):
    return div(other, self)


# ---- in place ------------------------------------------------------------------------------------------------------
def in_place(str name, function, Tensor x, other):
    """x = function(x, other), written into x's memory; x becomes the output of the operation."""
    cdef Tensor before = x, y
    if name in ("mul", "div") and recording(x, other if isinstance(other, Tensor) else None):
        before = wrap(copy_of(x.array))     # the rule holds the values that x has now
        before.node, before.index, before.requires = node_of(x), x.index, x.requires
    y = function(before, other)
    if (<object>y.array).shape != (<object>x.array).shape:
        raise RuntimeError(f"{name}_: output with shape {list(x.shape)} doesn't match the broadcast shape {list(y.shape)}")
    if y.dtype != x.dtype:
        if x.dtype.kind != "f" and y.dtype.kind == "f":
            raise RuntimeError(f"result type {y.dtype} can't be cast to the desired output type {x.dtype} ({name}_)")
        y = y.to(x.dtype)
    if y.node is not None:
        check_view(x)
    x.touch()
    copy_into(x.array, y.array)
    if y.node is not None:
        adopt(x, y.node, y.index)
    return x


def add_(self, other, *, alpha=1):
    """Add in place."""
    if (alpha == 1 or is_number(alpha)) and same_reals(self, other) and not recording(<Tensor>self, <Tensor>other) and (
            (<Tensor>self).shape == (<Tensor>other).shape):
        (<Tensor>self).touch()
        accumulate((<Tensor>self).array, (<Tensor>other).array, alpha)
        return self
    return in_place("add", lambda x, y: add(x, y, alpha=alpha), self, other)


def sub_(self, other, *, alpha=1):
    """Subtract in place."""
    return in_place("sub", lambda x, y: sub(x, y, alpha=alpha), self, other)


def mul_(self, other):
    """Multiply in place."""
    return in_place("mul", mul, self, other)


def div_(self, other, *, rounding_mode=None):
    """Divide in place."""
    return in_place("div", lambda x, y: div(x, y, rounding_mode=rounding_mode), self, other)


subtract, multiply, divide, true_divide = sub, mul, div, div

for method, function in [("add", add), ("sub", sub), ("mul", mul), ("div", div), ("subtract", sub), ("multiply", mul),
                         ("divide", div), ("true_divide", div), ("add_", add_), ("sub_", sub_), ("mul_", mul_), ("div_", div_),
                         ("__add__", add), ("__radd__", add), ("__sub__", sub), ("__rsub__", reflected_sub), ("__mul__", mul),
                         ("__rmul__", mul), ("__truediv__", div), ("__rtruediv__", reflected_div), ("__iadd__", add_),
                         ("__isub__", sub_), ("__imul__", mul_), ("__itruediv__", div_)]:
    install(method, function)
