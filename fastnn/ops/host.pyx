# cython: allow_none_for_extension_args=False
"""Operations whose arithmetic NumPy does: results, views and in-place changes with rules written as Python functions.

A rule takes the gradient of the output (an array, one per output) and gives the gradient of the input, or a tuple of
one per input.  What it needs it holds as arrays in its closure.
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_adjoint, by_formula
from fastnn.core.launch cimport host_call
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport (Tensor, as_tensor, attach_list, attach_outputs, attach_view, node_of, save_a, save_b, save_c, wants,
                                 wrap, wrap_view)
from fastnn.ops.layout cimport copy_into
from fastnn.ops.region cimport adopt, check_view, rebase

from fastnn.ops.promotion import can_cast, type_name

np.import_array()


@cython.final
cdef class HostNode(Node):

    cdef object backward(self, np.ndarray grad):
        return self.rule(grad) if self.kernels else as_arrays(host_call(self.label, self.rule, (grad,)))

    cdef object backward_many(self, list grads):
        return as_arrays(host_call(self.label, self.rule, tuple(grads)))

    cdef object derivative(self, object grad, tuple wanted):
        if self.adjoint is not None:
            return by_adjoint(self, grad, self.adjoint)
        if self.formula is not None:
            return by_formula(self, grad, wanted, self.formula, self.d, ())
        return Node.derivative(self, grad, wanted)

    cdef bint aliases(self):
        return True

    cdef int free(self) except -1:
        Node.free(self)
        self.rule = self.formula = self.adjoint = None
        return 0

    @property
    def name(self):
        return self.label.title().replace("_", "") + "Backward"


cdef object as_arrays(object found):
    """What a rule gave as arrays: NumPy turns 0-d results into its numbers."""
    if isinstance(found, tuple):
        return tuple([g if g is None or isinstance(g, np.ndarray) else np.asarray(g) for g in found])
    return found if found is None or isinstance(found, np.ndarray) else np.asarray(found)


cdef bint any_wants(inputs) except -1:
    if not grad_enabled():
        return False
    for t in inputs:
        if t is not None and wants(<Tensor>t):
            return True
    return False


cdef HostNode make_node(str name, rule, saved):
    cdef HostNode node = HostNode.__new__(HostNode)
    cdef int i
    node.label = name
    node.rule = rule
    for i, t in enumerate(saved):
        if i == 0:
            save_a(node, <Tensor>t)
        elif i == 1:
            save_b(node, <Tensor>t)
        else:
            save_c(node, <Tensor>t)
    return node


def tensor_of(x):
    """x as a Tensor: itself, or an array, buffer or number wrapped without copy."""
    return as_tensor(x)


def compute(str name, function, *inputs):
    """function(*inputs) as an array, through the recorder's eyes."""
    return np.asarray(host_call(name, function, inputs))


def result(str name, array, rule, *inputs, saved=(), formula=None, adjoint=None, bint kernels=False):
    """The Tensor of a computed array; `rule` goes on the tape when one of the inputs wants a gradient.

    `saved` are the (up to three) tensors whose arrays the rule holds: changing them in place before backward is an error.
    For gradients of gradients either `formula` gives the same tensor from the inputs by other operations, or `adjoint`, of a
    linear operation on one input, does it again.  `kernels`: the rule is made of kernel calls, which a recorder sees by itself.
    """
    cdef HostNode node
    if rule is None or not any_wants(inputs):
        return wrap(array)
    node = make_node(name, rule, saved)
    if formula is not None:
        node.formula, node.d = formula, tuple([(<Tensor>t).array for t in inputs])
    node.adjoint, node.kernels = adjoint, kernels
    return attach_list(array, node, list(inputs))


def keeps_output(Tensor y):
    """y itself, after its rule was told that it holds the values of y: changing them in place before backward is an error."""
    if y.node is not None:
        save_c(y.node, y)
    return y


def results(str name, arrays, rule, *inputs, saved=()):
    """As `result` for an operation with several outputs; the rule takes one gradient (or None) per output."""
    if rule is None or not any_wants(inputs):
        return tuple([wrap(a) for a in arrays])
    return attach_outputs(list(arrays), make_node(name, rule, saved), list(inputs))


def view(str name, Tensor x, np.ndarray array, rule):
    """The Tensor of a view of x's memory: shares its version counter."""
    if rule is None or not any_wants((x,)):
        return wrap_view(array, x)
    return attach_view(array, make_node(name, rule, ()), x)


def is_recording(*inputs):
    """Must an operation on these go on the tape?"""
    return any_wants(inputs)


def change(str name, Tensor x, write, rule, *others, saved=()):
    """Change x in place: `write(x.array)`, then make x the output of a new node whose inputs are x and `others`."""
    cdef bint record = any_wants((x,) + others)
    if record:
        check_view(x)
    x.touch()
    host_call(name, write, (x.array,))
    if record:
        rebase(x, make_node(name, rule, saved), [x, *others])
    return x


def overwrite(str name, Tensor x, function, tuple args, dict kwargs, bint reshapes=False):
    """x = function(x, *args) in x's own memory (or, when it reshapes, as a view of it); x becomes the output on the tape."""
    cdef Tensor before = x, y
    cdef bint record = any_wants([x] + [a for a in args if isinstance(a, Tensor)])
    if record:
        if not reshapes:        # rules may hold the values that x has now
            check_view(x)
            before = Tensor.__new__(Tensor)
            before.array = (<object>x.array).copy(order="K")
            before.node, before.index, before.requires = node_of(x), x.index, x.requires
    if not reshapes:
        x.touch()
    y = function(before, *args, **kwargs)
    if reshapes:
        if record and node_of(x) is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        x.array = y.array
        if y.node is not None:
            x.node, x.index, x.requires = y.node, y.index, False
    else:
        if (<object>y.array).shape != (<object>x.array).shape:
            raise RuntimeError(f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(y.shape)}")
        if not can_cast(y.dtype, x.dtype):
            raise RuntimeError(f"result type {type_name(y.dtype)} can't be cast to the desired output type {type_name(x.dtype)}")
        if y.dtype != x.dtype:
            y = y.to(x.dtype)
        copy_into(x.array, y.array)
        if y.node is not None:
            adopt(x, y.node, y.index)
    return x
