# cython: allow_none_for_extension_args=False
"""Functions of one and two variables on tensors, comparisons and selection."""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_rule, input_of, output_of
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, empty_dense_like, is_dense
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.pointwise cimport (BINARY, COMPARE, MAX_DIMS, UNARY, UNARY_GRADIENT, WHERE, Unary, binary_code,
                                       put_grid, put_strides, saves_output)
from fastnn.ops.arguments cimport is_real
from fastnn.ops.copy cimport converted, in_order_of
from fastnn.ops.layout cimport contiguous, copy_of, fill, sum_to_shape

from fastnn.core.tensor import get_default_dtype, install
from fastnn.kernels.pointwise import COMPARISONS, UNARIES
from fastnn.ops.aliases import into
from fastnn.ops.host import result
from fastnn.ops.promotion import computed_dtype, result_dtype, type_name

np.import_array()


# ---- one variable ----------------------------------------------------------------------------------------------------
@cython.final
cdef class UnaryBackward(Node):
    """dx = g f'(saved).  a: what is saved, in a dense order; the gradient is brought into it."""
    cdef int code
    cdef double[3] scalar

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray saved = self.a, g = in_order_of(grad, saved), dx = empty_dense_like(saved)
        begin(&L, &UNARY_GRADIENT, fn_dtype_of(saved))
        put(&L, 0, saved)
        put(&L, 1, g)
        put(&L, 2, dx)
        fill_call(&L, self.code, saved, self.scalar)
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        kept = output_of(self, self.a) if saves_output(self.code) else input_of(self, 0, self.a)
        return by_rule(self, grad, wanted, "unary", (), (kept, list(UNARIES)[self.code], tuple(self.scalar)))

    @property
    def name(self):
        return list(UNARIES)[self.code].title().replace("_", "") + "Backward"


cdef inline void fill_call(Launch* L, int code, np.ndarray x, double* scalar) noexcept:
    L.call.size[0], L.call.size[1] = code, np.PyArray_SIZE(x)
    L.call.scalar[0], L.call.scalar[1], L.call.scalar[2] = scalar[0], scalar[1], scalar[2]
    L.call.flops = 10.0 * np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)


cdef int unary_into(np.ndarray x, np.ndarray y, int code, double* scalar) except -1:
    cdef Launch L
    begin(&L, &UNARY, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    fill_call(&L, code, x, scalar)
    return launch(&L)


cdef np.ndarray unary_dense(np.ndarray x, int code, double* scalar):
    cdef np.ndarray y = empty_dense_like(x)
    unary_into(x, y, code, scalar)
    return y


cdef np.ndarray unary_array(np.ndarray x, int code, double a, double b, double c):
    cdef double[3] scalar
    scalar[0], scalar[1], scalar[2] = a, b, c
    return unary_dense(x if is_dense(x) else contiguous(x), code, scalar)


cdef Tensor unary(Tensor x, int code, double a=0, double b=0, double c=0):
    cdef np.ndarray dense = x.array, y
    cdef UnaryBackward node
    cdef double[3] scalar
    scalar[0], scalar[1], scalar[2] = a, b, c
    if not is_dense(dense):
        dense = contiguous(dense)
    y = unary_dense(dense, code, scalar)
    if not recording(x):
        return wrap(y)
    node = UnaryBackward.__new__(UnaryBackward)
    node.code, node.scalar[0], node.scalar[1], node.scalar[2] = code, a, b, c
    if not saves_output(code):
        save_a(node, x)
        node.a = dense
        return attach(y, node, x)
    cdef Tensor t = attach(y, node, x)
    save_a(node, t)
    return t


cdef Node unary_onto(Tensor x, int code, double a, double b, double c):
    """x = f(x) in x's own memory, which is dense; the node of the change if one is recorded."""
    cdef np.ndarray array = x.array
    cdef UnaryBackward node = None
    cdef double[3] scalar
    scalar[0], scalar[1], scalar[2] = a, b, c
    x.touch()
    if recording(x):
        node = UnaryBackward.__new__(UnaryBackward)
        node.code, node.scalar[0], node.scalar[1], node.scalar[2] = code, a, b, c
        attach(array, node, x)
        if not saves_output(code):          # what it needs is about to be overwritten
            node.a = copy_of(array)
    unary_into(array, array, code, scalar)
    if node is not None and saves_output(code):
        save_a(node, x)
    return node


cdef Tensor as_real(object input):
    """input in a dtype that the kernels compute: integers take the default dtype."""
    cdef Tensor x = as_tensor(input)
    if is_real(x.array):
        return x
    if x.dtype.kind == "f":
        return x.to(computed_dtype(x.dtype))
    return wrap(converted(x.array, (<object>get_default_dtype()).num))


# Integers stay integers under these.
INTEGER = {"abs": np.abs, "sign": np.sign, "floor": np.positive, "ceil": np.positive, "round": np.positive, "trunc": np.positive,
           "square": np.square, "neg": np.negative}


def make_unary(str name, str formula):
    """The function of one variable behind a line of activation.def."""
    cdef int code = (<Unary>UNARIES[name]).code
    cdef object integer = INTEGER.get(name)

    def function(input, *, out=None):
        cdef Tensor x
        if out is not None:
            return into(out, function(input))
        x = as_tensor(input)
        if not is_real(x.array):
            if x.dtype.kind == "f":
                return function(x.to(computed_dtype(x.dtype))).to(x.dtype)
            if integer is not None:
                return wrap(np.asarray(host_call(name, on_integers, (x.array, integer))))
            x = as_real(x)
        return unary(x, code)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {formula}."
    install(name, function)
    return function


def on_integers(a, function):
    """Keep bool as it is, but for its square (torch: int64); NumPy has no arithmetic on it."""
    if a.dtype == np.bool_:
        return a.astype(np.int64) if function is np.square else a
    return function(a)


FORMULAS = {
    "exp": "e^x", "exp2": "2^x", "expm1": "e^x - 1", "log": "natural logarithm", "log2": "logarithm to base 2",
    "log10": "logarithm to base 10", "log1p": "log(1 + x)", "erf": "error function", "erfc": "1 - erf(x)", "sin": "sine",
    "cos": "cosine", "tan": "tangent", "asin": "inverse sine", "acos": "inverse cosine", "atan": "inverse tangent",
    "sinh": "hyperbolic sine", "cosh": "hyperbolic cosine", "asinh": "inverse hyperbolic sine",
    "acosh": "inverse hyperbolic cosine", "atanh": "inverse hyperbolic tangent", "lgamma": "log |gamma(x)|",
    "digamma": "derivative of log gamma(x)",
    "sign": "sign: -1, 0 or 1", "floor": "rounding down", "ceil": "rounding up", "trunc": "rounding towards zero",
    "sqrt": "square root", "rsqrt": "1 / sqrt(x)", "square": "x^2", "reciprocal": "1 / x", "abs": "absolute value"}
FUNCTIONS = {name: make_unary(name, formula) for name, formula in FORMULAS.items()}
globals().update(FUNCTIONS)
cdef object round_integers = make_unary("round", "rounding to the nearest integer, half to even")


def round(input, *, int decimals=0):
    """Round to the nearest integer, half to even; or to some decimals."""
    if decimals == 0:
        return round_integers(input)
    cdef Tensor x = as_tensor(input)
    return result("round", np.round(x.array, decimals), lambda g: np.zeros_like(g), x)


def frac(input):
    """The fractional part, with the sign of x."""
    return input - FUNCTIONS["trunc"](input)


def logit(input, eps=None):
    """log(x / (1 - x)), of x limited to eps <= x <= 1 - eps where eps is given."""
    cdef Tensor x = as_real(input), given = as_tensor(input)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    y = FUNCTIONS["log"](x / (1 - x))
    return y.to(given.dtype) if given.dtype.kind == "f" else y


cdef int CLAMP = (<Unary>UNARIES["clamp"]).code


def clamp(input, min=None, max=None, *, out=None):
    """Limit to min <= x <= max; the gradient passes where x lies inside, bounds included.

    Parameters
    ----------
    min, max : number or Tensor, optional
    """
    if out is not None:
        return into(out, clamp(input, min, max))
    cdef Tensor x = as_tensor(input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = x if min is None else clamp_to(x, min, True)
        return x if max is None else clamp_to(x, max, False)
    if is_real(x.array):
        low = -np.inf if min is None else min
        high = np.inf if max is None else max
        return unary(x, CLAMP, low, high) if low == low and high == high else x * np.nan
    dtype = result_dtype(x, *[bound for bound in (min, max) if bound is not None])
    if (<object>dtype).kind != "f":
        return wrap(np.asarray(host_call("clamp", np.clip, (converted(x.array, dtype.num), min, max))))
    return clamp(x.to(computed_dtype(dtype)), min, max).to(dtype)


def clamp_to(Tensor x, bound, bint from_below):
    """clamp by a tensor of bounds: ties give their gradient to x."""
    inside = (x >= bound) if from_below else (x <= bound)
    nan = x != x
    return where(inside.logical_or(nan), x, bound)


def clamp_min(input, min):
    """Limit from below."""
    return clamp(input, min=min)


def clamp_max(input, max):
    """Limit from above."""
    return clamp(input, max=max)


# ---- two variables ---------------------------------------------------------------------------------------------------
cdef tuple broadcast_shape(np.ndarray x, np.ndarray y):
    cdef tuple a = (<object>x).shape, b = (<object>y).shape
    cdef int i, p = len(a), q = len(b), n = max(p, q)
    if a == b:
        return a
    cdef list out = [1] * n
    for i in range(1, n + 1):
        m = a[p - i] if i <= p else 1
        k = b[q - i] if i <= q else 1
        if m != k and m != 1 and k != 1:
            raise RuntimeError(f"The size of tensor a ({m}) must match the size of tensor b ({k}) at non-singleton dimension "
                               f"{n - i}")
        out[n - i] = k if m == 1 else m
    return tuple(out)


cdef np.ndarray number_array(double value, int typenum):
    """A number as a 0-d array, written by a kernel so that a plan can write it again."""
    cdef np.ndarray a = empty(0, NULL, typenum)
    fill(a, value)
    return a


cdef tuple operands(object x, object y, bint floating):
    cdef Tensor a = <Tensor>x if isinstance(x, Tensor) else None, b = <Tensor>y if isinstance(y, Tensor) else None
    cdef np.ndarray p, q
    if a is not None and b is not None and np.PyArray_TYPE(a.array) == np.PyArray_TYPE(b.array) and (
            is_real(a.array) or not floating):
        return a.array, b.array
    if a is not None and is_real(a.array) and (type(y) is float or type(y) is int):
        return a.array, number_array(y, np.PyArray_TYPE(a.array))
    if b is not None and is_real(b.array) and (type(x) is float or type(x) is int):
        return number_array(x, np.PyArray_TYPE(b.array)), b.array
    if not isinstance(x, (Tensor, int, float, np.number)):
        x = as_tensor(x)
    if not isinstance(y, (Tensor, int, float, np.number)):
        y = as_tensor(y)
    dtype = result_dtype(x, y)
    if floating:
        dtype = computed_dtype(dtype) if dtype.kind == "f" else get_default_dtype()
    p = converted((<Tensor>x).array, dtype.num) if isinstance(x, Tensor) else np.asarray(x).astype(dtype)
    q = converted((<Tensor>y).array, dtype.num) if isinstance(y, Tensor) else np.asarray(y).astype(dtype)
    return p, q


cdef bint strides_fit(np.ndarray a) noexcept:
    cdef int i
    for i in range(np.PyArray_NDIM(a)):
        if np.PyArray_STRIDE(a, i) % np.PyArray_ITEMSIZE(a):
            return False
    return True


cdef int call_grid(Launch* L, np.ndarray x, np.ndarray y, np.ndarray z, int code) except -1:
    cdef int ndim = np.PyArray_NDIM(z)
    put(L, 0, x)
    put(L, 1, y)
    put(L, 2, z)
    L.call.size[0] = code
    put_grid(&L.call, ndim, np.PyArray_DIMS(z))
    put_strides(&L.call, 0, ndim, x)
    put_strides(&L.call, 1, ndim, y)
    L.call.flops = np.PyArray_SIZE(z)
    L.call.bytes = 3.0 * np.PyArray_NBYTES(z)
    return launch(L)


cdef np.ndarray new_array(tuple shape, int typenum):
    cdef np.npy_intp[32] dims
    cdef int i
    for i in range(len(shape)):
        dims[i] = shape[i]
    return empty(len(shape), dims, typenum)


cdef np.ndarray binary_array(np.ndarray x, np.ndarray y, int code):
    cdef Launch L
    cdef tuple shape = broadcast_shape(x, y)
    if len(shape) > MAX_DIMS:
        return (<object>binary_array(contiguous(np.broadcast_to(x, shape)).reshape(-1),
                                     contiguous(np.broadcast_to(y, shape)).reshape(-1), code)).reshape(shape)
    x = x if strides_fit(x) else contiguous(x)
    y = y if strides_fit(y) else contiguous(y)
    cdef np.ndarray out = new_array(shape, np.PyArray_TYPE(x))
    begin(&L, &BINARY, fn_dtype_of(x))
    call_grid(&L, x, y, out, code)
    return out


cdef np.ndarray compare_array(np.ndarray x, np.ndarray y, int code, object function):
    cdef Launch L
    cdef tuple shape = broadcast_shape(x, y)
    if len(shape) > MAX_DIMS or not is_real(x):
        return np.asarray(host_call("compare", function, (x, y)))
    x = x if strides_fit(x) else contiguous(x)
    y = y if strides_fit(y) else contiguous(y)
    cdef np.ndarray out = new_array(shape, np.NPY_BOOL)
    begin(&L, &COMPARE, fn_dtype_of(x))
    call_grid(&L, x, y, out, code)
    return out


def make_comparison(str name, function, str formula):
    """A comparison: a bool tensor."""
    cdef int code = COMPARISONS[name]

    def compare(input, other):
        cdef np.ndarray x, y
        if not is_operand(input) or not is_operand(other):
            if name == "eq":
                return False
            if name == "ne":
                return True
            return NotImplemented
        x, y = operands(input, other, False)
        return wrap(compare_array(x, y, code, function))
    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"Elementwise {formula}, as a bool tensor."
    install(name, compare)
    install(f"__{name}__", compare)
    return compare


cdef bint is_operand(object x):
    return isinstance(x, (Tensor, int, float, np.ndarray, np.generic, list, tuple)) or hasattr(x, "__array__")


eq = make_comparison("eq", np.equal, "x == y")
ne = make_comparison("ne", np.not_equal, "x != y")
lt = make_comparison("lt", np.less, "x < y")
le = make_comparison("le", np.less_equal, "x <= y")
gt = make_comparison("gt", np.greater, "x > y")
ge = make_comparison("ge", np.greater_equal, "x >= y")


@cython.final
cdef class ExtremumBackward(Node):
    """The gradient of maximum or minimum goes to the larger (smaller), half to each on a tie.  a, b: operands; d: is max."""
    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray x = self.a, y = self.b, dx = None, dy = None
        cdef int share = binary_code("share"), mul = binary_code("mul")
        cdef bint largest = self.d
        if self.nodes[0] is not None:
            dx = binary_array(grad, binary_array(x, y, share) if largest else binary_array(y, x, share), mul)
            dx = converted(sum_to_shape(dx, (<object>x).shape), self.extra[0])
        if self.nodes[1] is not None:
            dy = binary_array(grad, binary_array(y, x, share) if largest else binary_array(x, y, share), mul)
            dy = converted(sum_to_shape(dy, (<object>y).shape), self.extra[1])
        return dx, dy

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "extremum", (self.a, self.b), (self.d, [dtype_of(number) for number in self.extra]))


cdef Tensor extremum(object input, object other, str name, bint largest):
    cdef np.ndarray p, q
    cdef ExtremumBackward node
    cdef Tensor x = as_tensor(input), y = as_tensor(other)
    p, q = operands(x, y, False)
    if not is_real(p):
        if p.dtype.kind == "f":
            inner = computed_dtype(p.dtype)
            return extremum(x.to(inner), y.to(inner), name, largest).to(p.dtype)
        broadcast_shape(p, q)
        return wrap(np.asarray(host_call(name, np.maximum if largest else np.minimum, (p, q))))
    z = binary_array(p, q, binary_code(name))
    if not recording(x, y):
        return wrap(z)
    node = ExtremumBackward.__new__(ExtremumBackward)
    save_a(node, x)
    save_b(node, y)
    node.a, node.b, node.d = p, q, largest
    node.extra = (np.PyArray_TYPE(x.array), np.PyArray_TYPE(y.array))
    return attach(z, node, x, y)


def maximum(input, other, *, out=None):
    """The larger of two elements; NaN wins."""
    y = extremum(input, other, "maximum", True)
    return y if out is None else into(out, y)


def minimum(input, other, *, out=None):
    """The smaller of two elements; NaN wins."""
    y = extremum(input, other, "minimum", False)
    return y if out is None else into(out, y)


# ---- selection ---------------------------------------------------------------------------------------------------------
@cython.final
cdef class WhereBackward(Node):
    """g goes to x where the condition holds, else to y.  a: condition; d: shapes and dtypes of x and y."""
    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray dx = None, dy = None, zero = number_array(0, np.PyArray_TYPE(grad))
        if self.nodes[0] is not None:
            dx = converted(sum_to_shape(choose(self.a, grad, zero), self.d[0]), self.d[1])
        if self.nodes[1] is not None:
            dy = converted(sum_to_shape(choose(self.a, zero, grad), self.d[2]), self.d[3])
        return dx, dy

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "where", (), (wrap(self.a), self.d[0], dtype_of(self.d[1]), self.d[2], dtype_of(self.d[3])))


cdef object dtype_of(int number):
    return np.PyArray_DescrFromType(number)


cdef np.ndarray choose(np.ndarray c, np.ndarray x, np.ndarray y):
    """x where c, else y, broadcast."""
    cdef Launch L
    cdef tuple shape
    if (<object>c).shape == (<object>x).shape == (<object>y).shape:
        shape = (<object>c).shape
    else:
        shape = broadcast_shape(np.broadcast_to(np.empty((), np.bool_), broadcast_shape(c, x)), y)
    if len(shape) > MAX_DIMS or not is_real(x):
        return np.asarray(host_call("where", np.where, (c, x, y)))
    x = x if strides_fit(x) else contiguous(x)
    y = y if strides_fit(y) else contiguous(y)
    cdef np.ndarray z = new_array(shape, np.PyArray_TYPE(x))
    cdef int ndim = len(shape)
    begin(&L, &WHERE, fn_dtype_of(x))
    put(&L, 0, c)
    put(&L, 1, x)
    put(&L, 2, y)
    put(&L, 3, z)
    put_grid(&L.call, ndim, np.PyArray_DIMS(z))
    put_strides(&L.call, 0, ndim, c)
    put_strides(&L.call, 1, ndim, x)
    put_strides(&L.call, 2, ndim, y)
    L.call.flops = np.PyArray_SIZE(z)
    L.call.bytes = 4.0 * np.PyArray_NBYTES(z)
    launch(&L)
    return z


def where(condition, input=None, other=None, *, out=None):
    """input where the condition holds, else other, broadcast; with the condition alone, `nonzero(as_tuple=True)`."""
    if out is not None:
        return into(out, where(condition, input, other))
    cdef Tensor c = as_tensor(condition), x, y
    cdef WhereBackward node
    cdef np.ndarray p, q
    if input is None and other is None:
        return tuple([wrap(a) for a in np.nonzero(c.array)])
    if np.PyArray_TYPE(c.array) == np.NPY_UINT8:
        c = wrap((<object>c.array).astype(np.bool_))
    if np.PyArray_TYPE(c.array) != np.NPY_BOOL:
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {type_name(c.dtype)}")
    p, q = operands(input, other, False)
    z = choose(c.array, p, q)
    x = <Tensor>input if isinstance(input, Tensor) else None
    y = <Tensor>other if isinstance(other, Tensor) else None
    if not (recording(x) or recording(y)):
        return wrap(z)
    node = WhereBackward.__new__(WhereBackward)
    save_a(node, c)
    node.d = ((<object>p).shape, p.dtype.num if x is None else np.PyArray_TYPE(x.array),
              (<object>q).shape, q.dtype.num if y is None else np.PyArray_TYPE(y.array))
    return attach_pair(z, node, x, y)


cdef Tensor attach_pair(np.ndarray z, Node node, Tensor x, Tensor y):
    """attach, where the first input may be absent too."""
    return attach(z, node, wrap(z) if x is None else x, y)


def method_where(self, condition, other):
    """self where the condition holds, else other."""
    return where(condition, self, other)


for name, function in {"round": round, "frac": frac, "clamp": clamp, "clip": clamp, "clamp_min": clamp_min,
                       "clamp_max": clamp_max, "maximum": maximum, "minimum": minimum, "where": method_where, "logit": logit,
                       "__abs__": FUNCTIONS["abs"], "absolute": FUNCTIONS["abs"], "arcsin": FUNCTIONS["asin"],
                       "arccos": FUNCTIONS["acos"], "arctan": FUNCTIONS["atan"]}.items():
    install(name, function)

absolute, arcsin, arccos, arctan, clip = FUNCTIONS["abs"], FUNCTIONS["asin"], FUNCTIONS["acos"], FUNCTIONS["atan"], clamp
__all__ = [*FUNCTIONS, "absolute", "arccos", "arcsin", "arctan", "clamp", "clamp_max", "clamp_min", "clip", "eq", "frac", "ge", "gt",
           "le", "logit", "lt", "maximum", "minimum", "ne", "round", "where"]
