# cython: allow_none_for_extension_args=False
"""Where a walk back over the tape begins: `Tensor.backward`, `autograd.backward` and `autograd.grad`."""
cimport numpy as np

import numpy as np

from fastnn.core.tape cimport Node, add, copy, run
from fastnn.core.tensor cimport AccumulateGrad, Tensor, as_tensor, edge, wants, wrap

from fastnn.core.size import Size
from fastnn.core.tensor import install

np.import_array()


def backward(tensors, gradients=None, retain_graph=None, bint create_graph=False, inputs=None):
    """See Tensor.backward; for several roots at once."""
    cdef Tensor t
    cdef Node leaf
    if create_graph:
        raise NotImplementedError("backward: create_graph=True (gradients of gradients) is not supported")
    cdef list roots = make_roots(tensors, gradients)
    cdef bint retain = bool(retain_graph)
    if inputs is None:
        run(roots, retain, None, True)
        return
    captured = capture(roots, list(inputs), retain)
    for t, g in zip(inputs, captured):
        if g is None:
            continue
        leaf = edge(t)
        if isinstance(leaf, AccumulateGrad):
            (<AccumulateGrad>leaf).accumulate(g, False)
        elif t._grad is None:
            t._grad = wrap(copy(g))
        else:
            t._grad = wrap(add((<Tensor>t._grad).array, g, False))


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, bint create_graph=False, bint allow_unused=False):
    """Gradients of outputs with respect to inputs, returned instead of accumulated."""
    if create_graph:
        raise NotImplementedError("autograd.grad: create_graph=True (gradients of gradients) is not supported")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * len(outputs)
    for t in inputs:
        if not wants(t):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = capture(make_roots(outputs, grad_outputs), inputs, bool(retain_graph))
    if not allow_unused and any(g is None for g in found):
        raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph. Set "
                           "allow_unused=True if this is the desired behavior.")
    return tuple([None if g is None else wrap(g) for g in found])


cdef list capture(list roots, list inputs, bint retain):
    cdef Tensor t
    cdef dict wanted = {}
    cdef list keys = []
    for t in inputs:
        keys.append((edge(t), t.index))
        wanted[keys[len(keys) - 1]] = None
    run(roots, retain, wanted, False)
    return [wanted[k] for k in keys]


cdef list make_roots(tensors, gradients):
    cdef Tensor t
    cdef list roots = []
    for t, g in zip(tensors, gradients or [None] * len(tensors)):
        if not wants(t):
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if np.PyArray_SIZE(t.array) != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            array = one(t.array)
        else:
            array = <object>as_tensor(g).array
            if (<object>array).shape != (<object>t.array).shape:
                raise RuntimeError(f"Mismatch in shape: grad_output[0] has a shape of {Size(array.shape)} and output[0] has a "
                                   f"shape of {Size((<object>t.array).shape)}.")
            if array.dtype != t.array.dtype:
                array = array.astype(t.array.dtype)
        roots.append((edge(t), t.index, array))
    return roots


# The gradients of losses: always the same arrays, so that a recorded step finds them again.
cdef np.ndarray one_f32 = np.ones((), np.float32), one_f64 = np.ones((), np.float64)
one_f32.flags.writeable = one_f64.flags.writeable = False

cdef np.ndarray one(np.ndarray like):
    if np.PyArray_NDIM(like) == 0:
        return one_f32 if np.PyArray_TYPE(like) == np.NPY_FLOAT32 else one_f64
    return np.ones_like(like)


def tensor_backward(Tensor self, gradient=None, retain_graph=None, bint create_graph=False, inputs=None):
    """Add the gradient of this tensor with respect to every leaf into the leaves' `.grad`.

    Parameters
    ----------
    gradient : Tensor, optional
        Gradient of the final result with respect to this tensor; may be left out for a one-element tensor (then 1).
    retain_graph : bool, default create_graph
        Keep what backward needs, so that it can run again.
    inputs : sequence of Tensor, optional
        Accumulate into these leaves only.

    Raises
    ------
    RuntimeError
        If the tensor does not require grad, the graph was freed, or a saved tensor was changed in place.
    NotImplementedError
        For create_graph=True: gradients of gradients are not recorded.
    """
    backward([self], [gradient], retain_graph, create_graph, inputs)


tensor_backward.__name__, tensor_backward.__qualname__ = "backward", "Tensor.backward"
install("backward", tensor_backward)
