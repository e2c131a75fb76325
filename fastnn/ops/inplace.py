"""Operations that overwrite their tensor: the out-of-place operation, written into the tensor's memory."""
from fastnn.core.tensor import Tensor, install
from fastnn.ops import creation, elementwise, gather, linalg, logic, power, sorting, special  # noqa: F401 (install what is wrapped)
from fastnn.ops.host import overwrite

NAMES = """abs absolute acos acosh addbmm addcdiv addcmul addmm addmv addr asin asinh atan atanh atan2 baddbmm bitwise_and
bitwise_not bitwise_or bitwise_xor ceil clamp clamp_max clamp_min clip cos cosh cumprod cumsum deg2rad eq erf erfc erfinv exp exp2 expm1
float_power floor floor_divide fmod frac ge gt hypot index_add index_copy index_fill le lerp lgamma log log10 log1p log2
logical_and logical_not logical_or logical_xor lt masked_fill masked_scatter nan_to_num ne neg negative pow rad2deg reciprocal
remainder round rsqrt scatter scatter_add scatter_reduce sign sin sinc sinh sqrt square tan tril triu trunc
xlogy""".split()
OPERATORS = {"__ipow__": "pow", "__iand__": "bitwise_and", "__ior__": "bitwise_or"}


def _in_place(name):
    function = getattr(Tensor, name)

    def operation(self, *args, **kwargs):
        return overwrite(name + "_", self, function, args, kwargs)
    operation.__name__ = operation.__qualname__ = name + "_"
    operation.__doc__ = f"`{name}`, in place."
    operation.__wrapped__ = function        # whose signature it has
    return install(name + "_", operation)


FUNCTIONS = {name + "_": _in_place(name) for name in NAMES}
for _operator, _name in OPERATORS.items():
    install(_operator, FUNCTIONS[_name + "_"])


def _reshaping(name):
    """squeeze_ and the like: the tensor takes another shape of its own memory."""
    function = getattr(Tensor, name)

    def operation(self, *args, **kwargs):
        return overwrite(name + "_", self, function, args, kwargs, True)
    operation.__name__ = operation.__qualname__ = name + "_"
    operation.__doc__ = f"`{name}`, of the tensor itself."
    operation.__wrapped__ = function
    return install(name + "_", operation)


for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims"):
    FUNCTIONS[_name + "_"] = _reshaping(_name)
globals().update(FUNCTIONS)

__all__ = [*FUNCTIONS]
