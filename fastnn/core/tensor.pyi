from builtins import bool as _bool  # names that Tensor has methods of
from builtins import float as _float
from builtins import int as _int
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, overload

from numpy.typing import ArrayLike, DTypeLike

from fastnn.core.device import device
from fastnn.core.hooks import RemovableHook
from fastnn.core.size import Size as Size
from fastnn.core.tape import Leaf, Node
from fastnn.core.types import Array, DType, Key, Operand
from fastnn.ops import (
    activation,
    arithmetic,
    copy,
    creation,
    elementwise,
    factorization,
    filling,
    indexing,
    inplace,
    joining,
    linalg,
    linear,
    logic,
    matrix_functions,
    placement,
    power,
    random,
    reduce,
    reduction,
    sorting,
    special,
    statistics,
)
from fastnn.ops import gather as gather_ops  # the class has a gather of its own
from fastnn.ops import shape as shape_ops  # the class has a shape of its own
from fastnn.ops import softmax as softmax_ops  # the class has a softmax of its own

DEFAULT_DTYPE: DType
OPERATORS: list[str]

class Tensor:
    __array_priority__: _int
    @property
    def array(self) -> Array: ...
    def __init__(self, *data: ArrayLike) -> None: ...

    # ---- data
    @property
    def shape(self) -> Size: ...
    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: _int) -> _int: ...
    def dim(self) -> _int: ...
    def ndimension(self) -> _int: ...
    @property
    def ndim(self) -> _int: ...
    @property
    def dtype(self) -> DType: ...
    @property
    def device(self) -> device: ...
    @property
    def itemsize(self) -> _int: ...
    @property
    def nbytes(self) -> _int: ...
    @property
    def T(self) -> Tensor: ...
    @property
    def mT(self) -> Tensor: ...
    def element_size(self) -> _int: ...
    def numel(self) -> _int: ...
    def nelement(self) -> _int: ...
    @overload
    def stride(self, dim: None = None) -> tuple[_int, ...]: ...
    @overload
    def stride(self, dim: _int) -> _int: ...
    def storage_offset(self) -> _int: ...
    def is_contiguous(self, *, memory_format: object = None) -> _bool: ...
    def data_ptr(self) -> _int: ...
    def is_floating_point(self) -> _bool: ...
    @property
    def is_cuda(self) -> _bool: ...
    @property
    def is_mps(self) -> _bool: ...
    @property
    def is_sparse(self) -> _bool: ...
    @property
    def is_quantized(self) -> _bool: ...
    @property
    def is_meta(self) -> _bool: ...
    @property
    def is_cpu(self) -> _bool: ...
    def numpy(self, *, force: _bool = False) -> Array: ...
    def tolist(self) -> Any: ...
    def item(self) -> Any: ...
    def __array__(self, dtype: DTypeLike | None = None, copy: _bool | None = None) -> Array: ...
    def __dlpack__(self, **options: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[_int, _int]: ...
    def __float__(self) -> _float: ...
    def __int__(self) -> _int: ...
    def __complex__(self) -> complex: ...
    def __index__(self) -> _int: ...
    def __bool__(self) -> _bool: ...
    def __len__(self) -> _int: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __contains__(self, item: Operand, /) -> _bool: ...
    def __hash__(self) -> _int: ...
    def __format__(self, spec: str) -> str: ...

    # ---- gradient
    @property
    def requires_grad(self) -> _bool: ...
    @requires_grad.setter
    def requires_grad(self, on: _bool) -> None: ...
    def requires_grad_(self, requires_grad: _bool = True) -> Self: ...
    @property
    def is_leaf(self) -> _bool: ...
    @property
    def grad_fn(self) -> Node | None: ...
    @property
    def grad(self) -> Tensor | None: ...
    @grad.setter
    def grad(self, value: Tensor | None) -> None: ...
    @grad.deleter
    def grad(self) -> None: ...
    @property
    def retains_grad(self) -> _bool: ...
    def retain_grad(self) -> None: ...
    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHook: ...
    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHook: ...
    def backward(self, gradient: Operand | None = None, retain_graph: _bool | None = None, create_graph: _bool = False,
                 inputs: Sequence[Tensor] | None = None) -> None: ...
    def detach(self) -> Tensor: ...
    def detach_(self) -> Self: ...
    @property
    def data(self) -> Tensor: ...
    @data.setter
    def data(self, value: Tensor | Array) -> None: ...
    @property
    def _version(self) -> _int: ...
    def _touch(self) -> None: ...
    def __deepcopy__(self, memo: dict[_int, Any]) -> Self: ...

    # ---- operators
    def __add__(self, other: Operand, /) -> Tensor: ...
    def __radd__(self, other: Operand, /) -> Tensor: ...
    def __sub__(self, other: Operand, /) -> Tensor: ...
    def __rsub__(self, other: Operand, /) -> Tensor: ...
    def __mul__(self, other: Operand, /) -> Tensor: ...
    def __rmul__(self, other: Operand, /) -> Tensor: ...
    def __truediv__(self, other: Operand, /) -> Tensor: ...
    def __rtruediv__(self, other: Operand, /) -> Tensor: ...
    def __floordiv__(self, other: Operand, /) -> Tensor: ...
    def __rfloordiv__(self, other: Operand, /) -> Tensor: ...
    def __mod__(self, other: Operand, /) -> Tensor: ...
    def __rmod__(self, other: Operand, /) -> Tensor: ...
    def __pow__(self, other: Operand, modulo: None = None, /) -> Tensor: ...
    def __rpow__(self, other: Operand, modulo: None = None, /) -> Tensor: ...
    def __iadd__(self, other: Operand, /) -> Self: ...
    def __isub__(self, other: Operand, /) -> Self: ...
    def __imul__(self, other: Operand, /) -> Self: ...
    def __itruediv__(self, other: Operand, /) -> Self: ...
    def __ipow__(self, other: Operand, /) -> Self: ...      # type: ignore[misc]
    def __matmul__(self, other: Tensor | Array, /) -> Tensor: ...
    def __rmatmul__(self, other: Tensor | Array, /) -> Tensor: ...
    def __and__(self, other: Operand, /) -> Tensor: ...
    def __rand__(self, other: Operand, /) -> Tensor: ...
    def __or__(self, other: Operand, /) -> Tensor: ...
    def __ror__(self, other: Operand, /) -> Tensor: ...
    def __xor__(self, other: Operand, /) -> Tensor: ...
    def __rxor__(self, other: Operand, /) -> Tensor: ...
    def __lshift__(self, other: Operand, /) -> Tensor: ...
    def __rshift__(self, other: Operand, /) -> Tensor: ...
    def __iand__(self, other: Operand, /) -> Self: ...
    def __ior__(self, other: Operand, /) -> Self: ...
    def __neg__(self) -> Tensor: ...
    def __pos__(self) -> Tensor: ...
    def __abs__(self) -> Tensor: ...
    def __invert__(self) -> Tensor: ...
    def __lt__(self, other: Operand, /) -> Tensor: ...
    def __le__(self, other: Operand, /) -> Tensor: ...
    def __gt__(self, other: Operand, /) -> Tensor: ...
    def __ge__(self, other: Operand, /) -> Tensor: ...
    def __eq__(self, other: Operand, /) -> Tensor: ...  # type: ignore[override]
    def __ne__(self, other: Operand, /) -> Tensor: ...  # type: ignore[override]
    def __getitem__(self, key: Key, /) -> Tensor: ...
    def __setitem__(self, key: Key, value: Operand, /) -> None: ...

    # ---- conversions
    def float(self, memory_format: object = None) -> Tensor: ...
    def half(self, memory_format: object = None) -> Tensor: ...
    def double(self, memory_format: object = None) -> Tensor: ...
    def long(self, memory_format: object = None) -> Tensor: ...
    def int(self, memory_format: object = None) -> Tensor: ...
    def short(self, memory_format: object = None) -> Tensor: ...
    def char(self, memory_format: object = None) -> Tensor: ...
    def byte(self, memory_format: object = None) -> Tensor: ...
    def bool(self, memory_format: object = None) -> Tensor: ...

    # Operations are methods too: function and method are one, so their types stand with the functions.
    # ---- ops/creation
    new_tensor = creation.new_tensor
    new_zeros = creation.new_zeros
    new_ones = creation.new_ones
    new_empty = creation.new_empty
    new_full = creation.new_full
    tril = creation.tril
    triu = creation.triu
    diagonal = creation.diagonal
    diag_embed = creation.diag_embed
    diag = creation.diag
    # ---- ops/random
    bernoulli = random.bernoulli
    bernoulli_ = random.bernoulli_
    cauchy_ = random.cauchy_
    exponential_ = random.exponential_
    geometric_ = random.geometric_
    log_normal_ = random.log_normal_
    multinomial = random.multinomial
    normal_ = random.normal_
    random_ = random.random_
    uniform_ = random.uniform_
    # ---- ops/copy
    clone = copy.clone
    contiguous = copy.in_c_order
    to = copy.to
    astype = copy.to
    type = copy.type_
    type_as = copy.type_as
    cpu = copy.cpu
    cuda = copy.cuda
    copy_ = copy.copy_
    fill_ = copy.fill_
    zero_ = copy.zero_
    # ---- ops/shape
    reshape = shape_ops.reshape
    reshape_as = shape_ops.reshape_as
    view = shape_ops.view
    view_as = shape_ops.view_as
    flatten = shape_ops.flatten
    unflatten = shape_ops.unflatten
    permute = shape_ops.permute
    transpose = shape_ops.transpose
    swapaxes = shape_ops.transpose
    swapdims = shape_ops.transpose
    t = shape_ops.t
    movedim = shape_ops.movedim
    moveaxis = shape_ops.movedim
    unsqueeze = shape_ops.unsqueeze
    squeeze = shape_ops.squeeze
    expand = shape_ops.expand
    expand_as = shape_ops.expand_as
    broadcast_to = shape_ops.broadcast_to
    # ---- ops/indexing
    select = indexing.select
    narrow = indexing.narrow
    # ---- ops/gather
    unfold = gather_ops.windows
    gather = gather_ops.gather
    take_along_dim = gather_ops.take_along_dim
    scatter = gather_ops.scatter
    scatter_add = gather_ops.scatter_add
    scatter_reduce = gather_ops.scatter_reduce
    index_select = gather_ops.index_select
    index_add = gather_ops.index_add
    index_copy = gather_ops.index_copy
    index_fill = gather_ops.index_fill
    index_put = gather_ops.index_put
    index_put_ = gather_ops.index_put_
    masked_fill = gather_ops.masked_fill
    masked_select = gather_ops.masked_select
    masked_scatter = gather_ops.masked_scatter
    take = gather_ops.take
    nonzero = gather_ops.nonzero
    argwhere = gather_ops.argwhere
    # ---- ops/joining
    split = joining.split
    split_with_sizes = joining.split
    chunk = joining.chunk
    tensor_split = joining.tensor_split
    unbind = joining.unbind
    repeat = joining.repeat
    tile = joining.tile
    repeat_interleave = joining.repeat_interleave
    flip = joining.flip
    fliplr = joining.fliplr
    flipud = joining.flipud
    roll = joining.roll
    rot90 = joining.rot90
    hsplit = joining.hsplit
    vsplit = joining.vsplit
    dsplit = joining.dsplit
    # ---- ops/arithmetic
    add = arithmetic.add
    sub = arithmetic.sub
    mul = arithmetic.mul
    div = arithmetic.div
    subtract = arithmetic.sub
    multiply = arithmetic.mul
    divide = arithmetic.div
    true_divide = arithmetic.div
    add_ = arithmetic.add_
    sub_ = arithmetic.sub_
    mul_ = arithmetic.mul_
    div_ = arithmetic.div_
    # ---- ops/elementwise
    exp = elementwise.exp
    exp2 = elementwise.exp2
    expm1 = elementwise.expm1
    log = elementwise.log
    log2 = elementwise.log2
    log10 = elementwise.log10
    log1p = elementwise.log1p
    erf = elementwise.erf
    erfc = elementwise.erfc
    sin = elementwise.sin
    cos = elementwise.cos
    tan = elementwise.tan
    asin = elementwise.asin
    acos = elementwise.acos
    atan = elementwise.atan
    sinh = elementwise.sinh
    cosh = elementwise.cosh
    asinh = elementwise.asinh
    acosh = elementwise.acosh
    atanh = elementwise.atanh
    lgamma = elementwise.lgamma
    digamma = elementwise.digamma
    sign = elementwise.sign
    floor = elementwise.floor
    ceil = elementwise.ceil
    trunc = elementwise.trunc
    sqrt = elementwise.sqrt
    rsqrt = elementwise.rsqrt
    square = elementwise.square
    reciprocal = elementwise.reciprocal
    abs = elementwise.abs
    absolute = elementwise.abs
    arccos = elementwise.acos
    arcsin = elementwise.asin
    arctan = elementwise.atan
    round = elementwise.round
    frac = elementwise.frac
    logit = elementwise.logit
    clamp = elementwise.clamp
    clip = elementwise.clamp
    clamp_min = elementwise.clamp_min
    clamp_max = elementwise.clamp_max
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    where = elementwise.method_where
    eq = elementwise.eq
    ne = elementwise.ne
    lt = elementwise.lt
    le = elementwise.le
    gt = elementwise.gt
    ge = elementwise.ge
    # ---- ops/power
    neg = power.neg
    negative = power.neg
    positive = power.positive
    pow = power.pow
    float_power = power.float_power
    remainder = power.remainder
    fmod = power.fmod
    floor_divide = power.floor_divide
    atan2 = power.atan2
    arctan2 = power.atan2
    hypot = power.hypot
    fmax = power.fmax
    fmin = power.fmin
    copysign = power.copysign
    heaviside = power.heaviside
    addcmul = power.addcmul
    addcdiv = power.addcdiv
    lerp = power.lerp
    logaddexp = power.logaddexp
    xlogy = power.xlogy
    deg2rad = power.deg2rad
    rad2deg = power.rad2deg
    # ---- ops/logic
    logical_and = logic.logical_and
    logical_or = logic.logical_or
    logical_xor = logic.logical_xor
    logical_not = logic.logical_not
    bitwise_and = logic.bitwise_and
    bitwise_or = logic.bitwise_or
    bitwise_xor = logic.bitwise_xor
    bitwise_not = logic.bitwise_not
    isnan = logic.isnan
    isinf = logic.isinf
    isfinite = logic.isfinite
    isposinf = logic.isposinf
    isneginf = logic.isneginf
    signbit = logic.signbit
    isclose = logic.isclose
    allclose = logic.allclose
    equal = logic.equal
    nan_to_num = logic.nan_to_num
    greater = elementwise.gt
    greater_equal = elementwise.ge
    less = elementwise.lt
    less_equal = elementwise.le
    not_equal = elementwise.ne
    is_nonzero = logic.is_nonzero
    bitwise_left_shift = logic._left_shift
    bitwise_right_shift = logic._right_shift
    # ---- ops/linear
    matmul = linear.matmul
    # ---- ops/linalg
    mm = linalg.mm
    mv = linalg.mv
    bmm = linalg.bmm
    dot = linalg.dot
    vdot = linalg.dot
    inner = linalg.inner
    outer = linalg.outer
    ger = linalg.outer
    addmm = linalg.addmm
    addmv = linalg.addmv
    addr = linalg.addr
    baddbmm = linalg.baddbmm
    addbmm = linalg.addbmm
    kron = linalg.kron
    cross = linalg.cross
    trace = linalg.trace
    # ---- ops/factorization
    cholesky = factorization.cholesky
    cholesky_inverse = factorization.cholesky_inverse
    cholesky_solve = factorization.cholesky_solve
    det = factorization.det
    inverse = factorization.inv
    logdet = factorization.logdet
    pinverse = factorization.pinverse
    slogdet = factorization.slogdet
    svd = factorization.old_svd
    # ---- ops/matrix_functions
    geqrf = matrix_functions.geqrf
    matrix_exp = matrix_functions.matrix_exp
    matrix_power = matrix_functions.matrix_power
    orgqr = matrix_functions.householder_product
    # ---- ops/statistics
    cov = statistics.cov
    corrcoef = statistics.corrcoef
    # ---- ops/placement
    is_complex = placement.is_complex
    is_pinned = placement._no
    is_shared = placement._no
    is_conj = placement._no
    pin_memory = placement.same
    share_memory_ = placement.same
    is_signed = placement.is_signed
    get_device = placement.get_device
    bfloat16 = placement.bfloat16
    new = placement.new
    apply_ = filling.apply_
    fill_diagonal_ = filling.fill_diagonal_
    # ---- ops/reduce
    sum = reduce.sum
    mean = reduce.mean
    # ---- ops/reduction
    nansum = reduction.nansum
    nanmean = reduction.nanmean
    prod = reduction.prod
    var = reduction.var
    std = reduction.std
    norm = reduction.norm
    dist = reduction.dist
    max = reduction.max
    min = reduction.min
    amax = reduction.amax
    amin = reduction.amin
    aminmax = reduction.aminmax
    argmax = reduction.argmax
    argmin = reduction.argmin
    any = reduction.any
    all = reduction.all
    count_nonzero = reduction.count_nonzero
    bincount = reduction.bincount
    histc = reduction.histc
    # ---- ops/softmax
    softmax = softmax_ops.softmax
    log_softmax = softmax_ops.log_softmax
    logsumexp = softmax_ops.logsumexp
    # ---- ops/sorting
    sort = sorting.sort
    argsort = sorting.argsort
    msort = sorting.msort
    topk = sorting.topk
    kthvalue = sorting.kthvalue
    median = sorting.median
    nanmedian = sorting.nanmedian
    mode = sorting.mode
    quantile = sorting.quantile
    cumsum = sorting.cumsum
    cumprod = sorting.cumprod
    logcumsumexp = sorting.logcumsumexp
    cummax = sorting.cummax
    cummin = sorting.cummin
    diff = sorting.diff
    unique = sorting.unique
    unique_consecutive = sorting.unique_consecutive
    # ---- ops/special
    erfinv = special.erfinv
    sinc = special.sinc
    # ---- ops/activation
    relu = activation.relu
    relu_ = activation.relu_
    sigmoid = activation.sigmoid
    sigmoid_ = activation.sigmoid_
    tanh = activation.tanh
    tanh_ = activation.tanh_
    hardshrink = activation.hardshrink
    prelu = activation.prelu
    # ---- ops/inplace
    abs_ = inplace.abs_
    absolute_ = inplace.absolute_
    acos_ = inplace.acos_
    acosh_ = inplace.acosh_
    addbmm_ = inplace.addbmm_
    addcdiv_ = inplace.addcdiv_
    addcmul_ = inplace.addcmul_
    addmm_ = inplace.addmm_
    addmv_ = inplace.addmv_
    addr_ = inplace.addr_
    asin_ = inplace.asin_
    asinh_ = inplace.asinh_
    atan_ = inplace.atan_
    atan2_ = inplace.atan2_
    atanh_ = inplace.atanh_
    baddbmm_ = inplace.baddbmm_
    bitwise_and_ = inplace.bitwise_and_
    bitwise_not_ = inplace.bitwise_not_
    bitwise_or_ = inplace.bitwise_or_
    bitwise_xor_ = inplace.bitwise_xor_
    ceil_ = inplace.ceil_
    clamp_ = inplace.clamp_
    clamp_max_ = inplace.clamp_max_
    clamp_min_ = inplace.clamp_min_
    clip_ = inplace.clip_
    cos_ = inplace.cos_
    cosh_ = inplace.cosh_
    cumprod_ = inplace.cumprod_
    cumsum_ = inplace.cumsum_
    deg2rad_ = inplace.deg2rad_
    eq_ = inplace.eq_
    erf_ = inplace.erf_
    erfc_ = inplace.erfc_
    erfinv_ = inplace.erfinv_
    exp_ = inplace.exp_
    exp2_ = inplace.exp2_
    expm1_ = inplace.expm1_
    float_power_ = inplace.float_power_
    floor_ = inplace.floor_
    floor_divide_ = inplace.floor_divide_
    fmod_ = inplace.fmod_
    frac_ = inplace.frac_
    ge_ = inplace.ge_
    gt_ = inplace.gt_
    hypot_ = inplace.hypot_
    index_add_ = inplace.index_add_
    index_copy_ = inplace.index_copy_
    index_fill_ = inplace.index_fill_
    le_ = inplace.le_
    lerp_ = inplace.lerp_
    lgamma_ = inplace.lgamma_
    log_ = inplace.log_
    log10_ = inplace.log10_
    log1p_ = inplace.log1p_
    log2_ = inplace.log2_
    logical_and_ = inplace.logical_and_
    logical_not_ = inplace.logical_not_
    logical_or_ = inplace.logical_or_
    logical_xor_ = inplace.logical_xor_
    lt_ = inplace.lt_
    masked_fill_ = inplace.masked_fill_
    masked_scatter_ = inplace.masked_scatter_
    nan_to_num_ = inplace.nan_to_num_
    ne_ = inplace.ne_
    neg_ = inplace.neg_
    negative_ = inplace.negative_
    pow_ = inplace.pow_
    rad2deg_ = inplace.rad2deg_
    reciprocal_ = inplace.reciprocal_
    remainder_ = inplace.remainder_
    round_ = inplace.round_
    rsqrt_ = inplace.rsqrt_
    scatter_ = inplace.scatter_
    scatter_add_ = inplace.scatter_add_
    scatter_reduce_ = inplace.scatter_reduce_
    sign_ = inplace.sign_
    sin_ = inplace.sin_
    sinc_ = inplace.sinc_
    sinh_ = inplace.sinh_
    sqrt_ = inplace.sqrt_
    square_ = inplace.square_
    squeeze_ = inplace.squeeze_
    swapaxes_ = inplace.swapaxes_
    swapdims_ = inplace.swapdims_
    t_ = inplace.t_
    tan_ = inplace.tan_
    transpose_ = inplace.transpose_
    tril_ = inplace.tril_
    triu_ = inplace.triu_
    trunc_ = inplace.trunc_
    unsqueeze_ = inplace.unsqueeze_
    xlogy_ = inplace.xlogy_

class Parameter(Tensor):
    def __init__(self, data: Any = None, requires_grad: _bool = True) -> None: ...

class AccumulateGrad(Leaf): ...

def install(name: str, function: Any) -> Any: ...
def set_default_dtype(dtype: DTypeLike) -> None: ...
def get_default_dtype() -> DType: ...
def from_array(array: Any, requires_grad: _bool = False) -> Tensor: ...
def rebuild(kind: type[Tensor], array: Array, requires_grad: _bool, attributes: dict[str, Any] | None) -> Tensor: ...
def representation(t: Tensor) -> str: ...
