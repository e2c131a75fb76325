"""Tensor: a NumPy array, its gradient and its place on the tape."""
cimport numpy as np

from fastnn.core.storage cimport Storage
from fastnn.core.tape cimport Leaf, Node, grad_enabled

cdef class Tensor:
    cdef readonly np.ndarray array
    cdef Storage _storage       # found on first need; shared by views
    cdef Node node              # the operation that made it, None for a leaf
    cdef int index              # which of the node's outputs
    cdef bint requires          # a leaf that wants a gradient
    cdef bint retains           # a non-leaf that keeps its gradient
    cdef Tensor base            # the tensor whose memory this one is a view of, where a change of one changes the other's gradient
    cdef bint blind             # a view made while nothing was recorded
    cdef long changes           # recorded in-place changes: of a base, how many; of a view, how many its node knows
    cdef object _grad
    cdef void* leaf             # its AccumulateGrad while a graph holds one
    cdef dict __dict__
    cdef object __weakref__

    cdef Storage storage(self)
    cdef int touch(self) except -1      # an in-place change happened: checks, then counts it

cdef class Parameter(Tensor):
    pass

cdef class AccumulateGrad(Leaf):
    cdef Tensor target
    cdef list after             # functions of the target, called when its gradient has been added to

cdef int call_after(AccumulateGrad leaf) except -1      # its hooks, if any

cdef Tensor wrap(np.ndarray array)                      # a result without gradient
cdef Tensor wrap_view(np.ndarray array, Tensor of)      # the same for a view: shares the version counter
cdef Tensor share(np.ndarray array, Tensor of)          # the same for a tensor outside the graph, as detach() makes it
cdef Tensor as_tensor(object x)                         # Tensor as it is; arrays, buffers, numbers wrapped without copy

# A result with gradient: `node` becomes its maker, with edges to the inputs (None for an absent one).
cdef Tensor attach(np.ndarray array, Node node, Tensor x, Tensor y=*, Tensor z=*)
cdef Tensor attach_view(np.ndarray array, Node node, Tensor x)
cdef Tensor attach_list(np.ndarray array, Node node, list inputs)
cdef tuple attach_outputs(list arrays, Node node, list inputs)   # several outputs

cdef inline bint wants(Tensor t) noexcept:
    """Does a gradient flow into t?"""
    return t is not None and (t.requires or t.node is not None or (t.base is not None and t.base.node is not None))

cdef inline bint recording(Tensor x, Tensor y=None, Tensor z=None) noexcept:
    """Must this operation go on the tape?"""
    return grad_enabled() and (wants(x) or wants(y) or wants(z))

# Save a tensor in node.a / .b / .c and watch it for in-place changes.
cdef inline int save_a(Node node, Tensor t) except -1:
    node.a = t.array
    node.watched_a = t.storage()
    node.seen_a = node.watched_a.version
    return 0

cdef inline int save_b(Node node, Tensor t) except -1:
    node.b = t.array
    node.watched_b = t.storage()
    node.seen_b = node.watched_b.version
    return 0

cdef inline int save_c(Node node, Tensor t) except -1:
    node.c = t.array
    node.watched_c = t.storage()
    node.seen_c = node.watched_c.version
    return 0

cdef Node edge(Tensor t)                                # the node that takes t's gradient, or None
cdef int link(Node node, list inputs) except -1         # give a node its edges to the makers of its inputs
cdef Node node_of(Tensor t)                             # t.node, after the changes of what t is a view of

# Filled by ops/region.pyx: the node of a view's gradient, from where it lies in the memory of its base.
ctypedef Node (*region_rule)(np.ndarray base, np.ndarray part)
cdef int set_region_rule(region_rule rule) except -1
