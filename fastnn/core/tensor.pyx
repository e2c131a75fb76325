# cython: allow_none_for_extension_args=False
"""The Tensor class: data, gradient, version, tape.  Its operations live in fastnn/ops and are installed from there, `backward` in
backward.pyx."""
cimport cython
cimport numpy as np
from cpython.object cimport PyTypeObject
from libc.stdlib cimport malloc

import numpy as np

from fastnn.core.launch cimport current_recorder, recorder_listens
from fastnn.core.storage cimport Storage, arranged, storage_of
from fastnn.core.tape cimport Leaf, Node, add, copy, grad_enabled, next_sequence, set_wrapper

from fastnn.core.device import device
from fastnn.core.hooks import RemovableHook
from fastnn.core.size import Size

np.import_array()

CPU = device("cpu")

cdef extern from "Python.h":
    void PyType_Modified(type t)

# Operators that need a C slot call what ops/ puts into this table (see `install`).
OPERATORS = ("__add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __matmul__ __and__ __or__ __xor__ __lshift__ "
             "__rshift__ __radd__ __rsub__ __rmul__ __rtruediv__ __rfloordiv__ __rmod__ __rpow__ __rmatmul__ __rand__ "
             "__ror__ __rxor__ __iadd__ __isub__ __imul__ __itruediv__ __ipow__ __iand__ __ior__ __neg__ __pos__ __abs__ "
             "__invert__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __getitem__ __setitem__").split()
cdef enum:
    ADD, SUB, MUL, TRUEDIV, FLOORDIV, MOD, POW, MATMUL, AND, OR, XOR, LSHIFT, RSHIFT
    RADD, RSUB, RMUL, RTRUEDIV, RFLOORDIV, RMOD, RPOW, RMATMUL, RAND, ROR, RXOR
    IADD, ISUB, IMUL, ITRUEDIV, IPOW, IAND, IOR, NEG, POS, ABS, INVERT, EQ, NE, LT, LE, GT, GE, GETITEM, SETITEM
cdef list operators = [None] * len(OPERATORS)


def install(str name, function):
    """Make `function` the method `name` of Tensor (or the operator behind a dunder): function and method are one."""
    if name in OPERATORS:
        operators[OPERATORS.index(name)] = function
        return function
    (<dict>(<object>(<PyTypeObject*>Tensor).tp_dict))[name] = function
    PyType_Modified(Tensor)
    return function


@cython.binding(False)     # so that CPython checks the type of self where a method is called unbound
cdef class Tensor:
    """A multi-dimensional array that remembers how it was computed.

    Made by `fastnn.tensor` (which copies), `fastnn.from_numpy` (which shares memory) and by operations; `.array` is the
    NumPy array behind it.  `requires_grad=True` on a leaf makes `backward()` fill `.grad`.
    """

    def __init__(self, *data):
        """Make a tensor of the default dtype from a sequence or array, or of sizes and undefined; `fastnn.tensor` keeps the dtype."""
        if len(data) == 1 and not isinstance(data[0], int):
            self.array = np.array(data[0], DEFAULT_DTYPE)
        else:
            self.array = np.empty(data or 0, DEFAULT_DTYPE)

    # ---- data ------------------------------------------------------------------------------------------
    @property
    def shape(self):
        return Size((<object>self.array).shape)

    def size(self, dim=None):
        return Size((<object>self.array).shape) if dim is None else (<object>self.array).shape[dim]

    def dim(self):
        return np.PyArray_NDIM(self.array)

    ndimension = dim

    @property
    def ndim(self):
        return np.PyArray_NDIM(self.array)

    @property
    def dtype(self):
        return (<object>self.array).dtype

    @property
    def device(self):
        return CPU

    @property
    def itemsize(self):
        return (<object>self.array).itemsize

    @property
    def nbytes(self):
        return (<object>self.array).nbytes

    def element_size(self):
        return (<object>self.array).itemsize

    def numel(self):
        return np.PyArray_SIZE(self.array)

    nelement = numel

    def stride(self, dim=None):
        strides = tuple(s // (<object>self.array).itemsize for s in (<object>self.array).strides)
        return strides if dim is None else strides[dim]

    def storage_offset(self):
        """How many elements lie before this tensor's first one in the memory that it is a view of."""
        whole = self.array
        while isinstance((<object>whole).base, np.ndarray):
            whole = (<object>whole).base
        start = np.lib.array_utils.byte_bounds(whole)[0]
        return ((<object>self.array).ctypes.data - start) // (<object>self.array).itemsize

    def is_contiguous(self, *, memory_format=None):
        return (<object>self.array).flags.c_contiguous

    def data_ptr(self):
        return (<object>self.array).ctypes.data

    def is_floating_point(self):
        return (<object>self.array).dtype.kind == "f"

    def numpy(self, *, force=False):
        """The array behind the tensor, sharing its memory.

        Raises RuntimeError for a tensor that requires grad (use `detach()` first, or force=True).
        """
        if not force and wants(self):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        leaves("numpy()")
        return self.array

    def tolist(self):
        leaves("tolist()")
        return self.array.tolist()

    def item(self):
        """The value of a one-element tensor as a Python number."""
        if np.PyArray_SIZE(self.array) != 1:
            raise RuntimeError(f"a Tensor with {(<object>self.array).size} elements cannot be converted to Scalar")
        leaves("item()")
        return self.array.item()

    def __array__(self, dtype=None, copy=None):     # no-cython-lint: NumPy's names
        if wants(self):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        leaves("__array__")
        return np.array(self.array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        if wants(self):
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        leaves("__dlpack__")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __float__(self): return float(self.item())
    def __int__(self): return int(self.item())
    def __complex__(self): return complex(self.item())

    def __index__(self):
        if (<object>self.array).dtype.kind not in "iub" or (<object>self.array).size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        leaves("__index__")
        return int(self.array.item())

    def __bool__(self):
        if np.PyArray_SIZE(self.array) != 1:
            if np.PyArray_SIZE(self.array) == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        leaves("bool()")
        return bool(self.array.item())

    def __len__(self):
        if np.PyArray_NDIM(self.array) == 0:
            raise TypeError("len() of a 0-d tensor")
        return np.PyArray_DIM(self.array, 0)

    def __iter__(self):
        if np.PyArray_NDIM(self.array) == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(np.PyArray_DIM(self.array, 0))])

    def __contains__(self, item):
        leaves("in")
        return bool((self.array == (item.array if isinstance(item, Tensor) else item)).any())

    def __hash__(self):
        return <Py_ssize_t><void*>self >> 4

    def __repr__(self):
        return representation(self)

    def __format__(self, spec):
        number = (<object>self.array).ndim == 0 and (spec or type(self) is Tensor)
        return format(self.item(), spec) if number else format(repr(self), spec)

    # ---- gradient --------------------------------------------------------------------------------------
    @property
    def requires_grad(self):
        return wants(self)

    @requires_grad.setter
    def requires_grad(self, bint on):
        if node_of(self) is not None:
            if not on:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a computed "
                                   "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().")
            return
        if on and (<object>self.array).dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self.requires = on

    def requires_grad_(self, bint requires_grad=True):
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self):
        return node_of(self) is None

    @property
    def grad_fn(self):
        return node_of(self)

    @property
    def grad(self):
        cdef Tensor g = self._grad
        if g is not None:
            g.array = arranged(g.array)     # a weight's gradient is made as the transpose of another array
        return g

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if (<object>(<Tensor>value).array).shape != self.shape:
                raise RuntimeError(f"assigned grad has data of a different size: got {list(value.shape)}, "
                                   f"the tensor has {list(self.shape)}")
            if value.dtype != self.dtype:
                raise RuntimeError(f"assigned grad has data of a different type: got {value.dtype}, the tensor has {self.dtype}")
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    @property
    def retains_grad(self):
        return self.retains

    def retain_grad(self):
        """Keep the gradient of a non-leaf tensor in `.grad` during backward."""
        if node_of(self) is None:
            if not self.requires:
                raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
            return
        if not self.retains:
            self.retains = True
            keeper = self

            @cython.binding(True)   # a function that can carry an attribute
            def keep(grad):
                keeper._set_grad(grad)
            keep.last = True        # what it keeps has gone through all other hooks
            self.register_hook(keep)

    def _set_grad(self, grad):
        self._grad = grad

    def register_hook(self, hook):
        """Call `hook(grad)` when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not wants(self):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        cdef Node node = node_of(self)
        if node is None:
            node = edge(self)
            (<object>self).__dict__["_leaf_with_hooks"] = node    # a leaf's node lives as long as its hooks
        if node.hooks is None:
            node.hooks = {}
        hooks = node.hooks.setdefault(self.index, [])
        hooks.append(hook)
        return RemovableHook(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call `hook(self)` when a backward has added to this leaf's `.grad`: an update of its own, say, that frees the gradient."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        cdef AccumulateGrad leaf = edge(self)
        (<object>self).__dict__["_leaf_with_hooks"] = leaf
        if leaf.after is None:
            leaf.after = []
        leaf.after.append(hook)
        return RemovableHook(leaf.after, hook)

    def detach(self):
        """The same data outside the graph (shares memory)."""
        return share(self.array, self)

    def detach_(self):
        """Take this tensor out of the graph; an error for a view of a tensor in it, whose gradient would go on."""
        if self.base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self.node = None
        self.requires = False
        return self

    @property
    def data(self):
        """The same memory outside the graph; unlike with `detach()`, in-place changes through it are not counted."""
        cdef Tensor t = share(self.array, self)
        t._storage = Storage.__new__(Storage)
        return t

    @data.setter
    def data(self, value):
        cdef Tensor t = as_tensor(value)
        if t.array is not self.array:
            self.array = t.array
            self._storage = t._storage
            self.base = None

    @property
    def _version(self):
        return self.storage().version

    cdef Storage storage(self):
        if self._storage is None:
            self._storage = storage_of(self.array)
        return self._storage

    cdef int touch(self) except -1:
        if self.requires and self.node is None and grad_enabled():
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if self.base is not None and self.base.requires and grad_enabled():
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
        if not np.PyArray_ISWRITEABLE(self.array):
            raise RuntimeError("in-place operation on a read-only array: copy it first")
        cdef Storage s = self.storage()
        s.version += 1
        return 0

    def _touch(self):
        """Check and count an in-place change made from Python."""
        self.touch()

    # ---- copies ----------------------------------------------------------------------------------------
    def __reduce_ex__(self, protocol):
        return rebuild, (type(self), np.array(self.array, order="K", copy=None), self.requires, (<object>self).__dict__ or None)

    def __deepcopy__(self, memo):
        if node_of(self) is not None:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                               "the moment.")
        if id(self) in memo:
            return memo[id(self)]
        other = rebuild(type(self), self.array.copy(order="K"), self.requires, None)
        memo[id(self)] = other
        if self._grad is not None:
            (<Tensor>other)._grad = wrap((<Tensor>self._grad).array.copy(order="K"))
        return other

    # ---- operators: one line each into the table filled by ops/ -------------------------------------------
    def __add__(self, other): return operators[ADD](self, other)
    def __radd__(self, other): return operators[RADD](self, other)
    def __iadd__(self, other): return operators[IADD](self, other)
    def __sub__(self, other): return operators[SUB](self, other)
    def __rsub__(self, other): return operators[RSUB](self, other)
    def __isub__(self, other): return operators[ISUB](self, other)
    def __mul__(self, other): return operators[MUL](self, other)
    def __rmul__(self, other): return operators[RMUL](self, other)
    def __imul__(self, other): return operators[IMUL](self, other)
    def __truediv__(self, other): return operators[TRUEDIV](self, other)
    def __rtruediv__(self, other): return operators[RTRUEDIV](self, other)
    def __itruediv__(self, other): return operators[ITRUEDIV](self, other)
    def __floordiv__(self, other): return operators[FLOORDIV](self, other)
    def __rfloordiv__(self, other): return operators[RFLOORDIV](self, other)
    def __mod__(self, other): return operators[MOD](self, other)
    def __rmod__(self, other): return operators[RMOD](self, other)
    def __pow__(self, other, modulo): return operators[POW](self, other)
    def __rpow__(self, other, modulo): return operators[RPOW](self, other)
    def __ipow__(self, other): return operators[IPOW](self, other)
    def __matmul__(self, other): return operators[MATMUL](self, other)
    def __rmatmul__(self, other): return operators[RMATMUL](self, other)
    def __and__(self, other): return operators[AND](self, other)
    def __rand__(self, other): return operators[RAND](self, other)
    def __iand__(self, other): return operators[IAND](self, other)
    def __or__(self, other): return operators[OR](self, other)
    def __ror__(self, other): return operators[ROR](self, other)
    def __ior__(self, other): return operators[IOR](self, other)
    def __xor__(self, other): return operators[XOR](self, other)
    def __rxor__(self, other): return operators[RXOR](self, other)
    def __lshift__(self, other): return operators[LSHIFT](self, other)
    def __rshift__(self, other): return operators[RSHIFT](self, other)
    def __neg__(self): return operators[NEG](self)
    def __pos__(self): return self
    def __abs__(self): return operators[ABS](self)
    def __invert__(self): return operators[INVERT](self)
    def __eq__(self, other): return operators[EQ](self, other)
    def __ne__(self, other): return operators[NE](self, other)
    def __lt__(self, other): return operators[LT](self, other)
    def __le__(self, other): return operators[LE](self, other)
    def __gt__(self, other): return operators[GT](self, other)
    def __ge__(self, other): return operators[GE](self, other)
    def __getitem__(self, key): return operators[GETITEM](self, key)
    def __setitem__(self, key, value): operators[SETITEM](self, key, value)

    __array_priority__ = 1000   # ndarray + Tensor goes to Tensor


@cython.binding(False)     # so that CPython checks the type of self where a method is called unbound
cdef class Parameter(Tensor):
    """A tensor that a Module lists among its parameters; requires_grad=True by default."""

    def __init__(self, data=None, bint requires_grad=True):
        cdef Tensor t = as_tensor(np.empty(0, np.float32) if data is None else data)
        self.array = t.array
        self._storage = t.storage()
        if requires_grad:
            self.requires_grad = True

    def __repr__(self):
        return "Parameter containing:\n" + representation(self)


@cython.no_gc_clear
cdef class AccumulateGrad(Leaf):
    """The end of a path.  It holds its tensor; the tensor knows it by a borrowed pointer, so there is no cycle."""

    def __dealloc__(self):
        if self.target is not None:
            self.target.leaf = NULL

    cdef int accumulate(self, np.ndarray grad, bint fresh) except -1:
        cdef Tensor t = self.target
        if t._grad is None:
            if not fresh or not np.PyArray_ISWRITEABLE(grad):
                grad = copy(grad)
            t._grad = wrap(grad)
        else:
            add((<Tensor>t._grad).array, grad, True)
        return call_after(self)

    cdef int free(self) except -1:
        return 0


cdef int call_after(AccumulateGrad leaf) except -1:
    if leaf.after:
        leaves("a hook")
        for hook in list(leaf.after):
            hook(leaf.target)
    return 0


cdef Node edge(Tensor t):
    cdef AccumulateGrad leaf
    if t is None:
        return None
    if node_of(t) is not None:
        return t.node
    if not t.requires:
        return None
    if t.leaf != NULL:
        return <AccumulateGrad>t.leaf
    leaf = AccumulateGrad.__new__(AccumulateGrad)
    leaf.target = t
    t.leaf = <void*>leaf
    return leaf


cdef Tensor wrap(np.ndarray array):
    cdef Tensor t = Tensor.__new__(Tensor)
    t.array = array
    return t


cdef Tensor share(np.ndarray array, Tensor of):
    cdef Tensor t = Tensor.__new__(Tensor)
    t.array = array
    t._storage = of.storage()
    return t


cdef inline void is_view_of(Tensor t, Tensor x) noexcept:
    t.base = x if x.base is None else x.base
    t.changes = x.changes


cdef Tensor wrap_view(np.ndarray array, Tensor of):
    cdef Tensor t = share(array, of)
    if grad_enabled() and not of.blind:
        is_view_of(t, of)
    else:
        t.blind = True
    return t


cdef Tensor attach(np.ndarray array, Node node, Tensor x, Tensor y=None, Tensor z=None):
    cdef Tensor t = Tensor.__new__(Tensor)
    t.array = array
    t.node = node
    node.nodes = (edge(x), edge(y), edge(z))
    if x.index or (y is not None and y.index) or (z is not None and z.index):
        set_indices(node, [x, y, z])
    node.sequence = next_sequence()
    return t


cdef Tensor attach_view(np.ndarray array, Node node, Tensor x):
    cdef Tensor t = attach(array, node, x)
    t._storage = x.storage()
    if x.blind:
        t.blind = True
    else:
        is_view_of(t, x)
    return t


cdef Tensor attach_list(np.ndarray array, Node node, list inputs):
    cdef Tensor t = Tensor.__new__(Tensor)
    t.array = array
    t.node = node
    link(node, inputs)
    return t


cdef tuple attach_outputs(list arrays, Node node, list inputs):
    cdef Tensor t
    cdef int i
    cdef list result = []
    link(node, inputs)
    node.outputs = len(arrays)
    for i, array in enumerate(arrays):
        t = Tensor.__new__(Tensor)
        t.array = array
        t.node = node
        t.index = i
        result.append(t)
    return tuple(result)


cdef int link(Node node, list inputs) except -1:
    node.nodes = tuple([edge(<Tensor>x) for x in inputs])
    set_indices(node, inputs)
    node.sequence = next_sequence()
    return 0


cdef int set_indices(Node node, list inputs) except -1:
    cdef int i
    cdef bint any_index = False
    for x in inputs:
        if x is not None and (<Tensor>x).index:
            any_index = True
    if not any_index:
        return 0
    if node.index == NULL:
        node.index = <int*>malloc(max(1, len(inputs)) * sizeof(int))
        if node.index == NULL:
            raise MemoryError
    for i, x in enumerate(inputs):
        node.index[i] = 0 if x is None else (<Tensor>x).index
    return 0


cdef region_rule region_node = NULL

cdef int set_region_rule(region_rule rule) except -1:
    global region_node
    region_node = rule
    return 0


cdef Node node_of(Tensor t):
    if t.base is not None and t.base.changes != t.changes:
        t.node = region_node(t.base.array, t.array) if wants(t.base) else None
        if t.node is not None:
            link(t.node, [t.base])
        t.index = 0
        t.changes = t.base.changes
    return t.node


cdef Tensor as_tensor(object x):
    if isinstance(x, Tensor):
        return <Tensor>x
    cdef object a
    if isinstance(x, np.ndarray):
        a = x
    elif isinstance(x, bool):
        a = np.array(x, np.bool_)
    elif isinstance(x, int):
        a = np.array(x, np.int64)
    elif isinstance(x, float):
        a = np.array(x, DEFAULT_DTYPE)
    elif hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        a = np.asarray(x)
    elif hasattr(x, "__dlpack__"):
        a = np.from_dlpack(x)
    else:
        a = np.asarray(x)
        if a.dtype == np.float64 and not hasattr(x, "__buffer__"):
            a = a.astype(DEFAULT_DTYPE)
    if not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    if a.dtype.kind not in "fiub":
        raise TypeError(f"can't convert {a.dtype} to a tensor: float32, float64, int64, int32, uint8 and bool are supported")
    return wrap(a)


DEFAULT_DTYPE = np.dtype(np.float32)


def set_default_dtype(dtype):
    """Set the dtype of new float tensors: float32 or float64."""
    global DEFAULT_DTYPE
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"only floating-point types float32 and float64 are supported as the default type, got {dtype}")
    DEFAULT_DTYPE = dtype


def get_default_dtype():
    """The dtype of new float tensors."""
    return DEFAULT_DTYPE


def from_array(array, bint requires_grad=False):
    """Wrap an array, buffer, DLPack exporter or number without copying where its memory can be shared."""
    cdef Tensor t = as_tensor(array)
    if t is array:
        t = share(t.array, t)
    if requires_grad:
        t.requires_grad = True
    return t


def rebuild(kind, np.ndarray array, bint requires_grad, attributes):
    """Make a tensor again from its pickled parts."""
    cdef Tensor t
    if issubclass(kind, Parameter):
        t = kind.__new__(kind)
        Parameter.__init__(t, wrap(array), requires_grad)
    else:
        t = Tensor.__new__(kind)
        t.array = array
        t.requires = requires_grad
    if attributes:
        (<object>t).__dict__.update(attributes)
    return t


cdef int leaves(str how) except -1:
    """Tell a recorder that Python takes a look at values: what it makes of them would be frozen by a replay."""
    if recorder_listens():
        current_recorder().record_host(f"{how} hands values of the step to Python", None, (), None)
    return 0


def representation(t):
    leaves("repr()")
    from fastnn.core.representation import text
    return text(t)


set_wrapper(from_array)
