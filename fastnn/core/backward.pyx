# cython: allow_none_for_extension_args=False
"""Where a walk back over the tape begins: `Tensor.backward`, `autograd.backward` and `autograd.grad`.

With create_graph=True the walk is one over tensors: every node's `derivative` makes the gradients of its inputs by recorded
operations, so that there are gradients of gradients.
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.storage cimport zeros_like
from fastnn.core.tape cimport Node, add, check_nan, check_saved, checks_nan, copy, grad_enabled, run, set_grad_enabled
from fastnn.core.tensor cimport AccumulateGrad, Tensor, as_tensor, attach, call_after, edge, recording, wants, wrap

from fastnn.core.size import Size
from fastnn.core.tape import comes_last
from fastnn.core.tensor import install

np.import_array()


def backward(tensors, gradients=None, retain_graph=None, bint create_graph=False, inputs=None):
    """See Tensor.backward; for several roots at once."""
    cdef list roots = make_roots(tensors, gradients, create_graph)
    if create_graph:
        accumulate_recorded(roots, inputs)
        return
    cdef Tensor t
    cdef Node leaf
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


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, bint create_graph=False, bint only_inputs=True, allow_unused=None,
         bint is_grads_batched=False, bint materialize_grads=False):
    """Give the gradients of outputs with respect to inputs, instead of adding them to `.grad`.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor, optional
        Gradient of the final result with respect to each output; may be left out for one-element outputs (then 1).
    retain_graph : bool, default create_graph
        Keep what backward needs, so that it can run again.
    create_graph : bool, default False
        Record the gradients' own computation, so that they can be differentiated again (gradient penalties, Hessians,
        differential equations).  The graph is then kept.
    only_inputs : bool, default True
        Ignored, as in torch.
    allow_unused : bool, default materialize_grads
        Give None for an input that no output depends on, instead of raising.
    is_grads_batched : bool, default False
        True is not implemented.
    materialize_grads : bool, default False
        Give zeros for an input that no output depends on.

    Returns
    -------
    tuple of Tensor, one per input

    Raises
    ------
    RuntimeError
        If an input does not require grad or was not used, the graph was freed, or a saved tensor was changed in place.
    NotImplementedError
        With create_graph, if an operation on the way has no rule for a gradient of its gradient (recurrent layers and some
        rarer functions); the message names it.

    Examples
    --------
    >>> import fastnn
    >>> x = fastnn.tensor(2.0, requires_grad=True)
    >>> slope, = fastnn.autograd.grad(x ** 3, x, create_graph=True)
    >>> slope, fastnn.autograd.grad(slope, x)
    (tensor(12., grad_fn=<MulBackward>), (tensor(12.),))
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched=True is not supported: call grad once for each of the grad_outputs")
    if materialize_grads and allow_unused is not None and not allow_unused:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * len(outputs)
    for t in inputs:
        if not wants(t):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    roots = make_roots(outputs, grad_outputs, create_graph)
    found = capture_recorded(roots, inputs) if create_graph else [
        None if g is None else wrap(g) for g in capture(roots, inputs, bool(retain_graph))]
    if materialize_grads:
        found = [wrap(zeros_like((<Tensor>t).array)) if g is None else g for g, t in zip(found, inputs)]
    if not allow_unused and any(g is None for g in found):
        raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph. Set "
                           "allow_unused=True if this is the desired behavior.")
    return tuple(found)


cdef list capture(list roots, list inputs, bint retain):
    cdef Tensor t
    cdef dict wanted = {}
    cdef list keys = []
    for t in inputs:
        keys.append((edge(t), t.index))
        wanted[keys[len(keys) - 1]] = None
    run(roots, retain, wanted, False)
    return [wanted[k] for k in keys]


cdef list make_roots(tensors, gradients, bint recorded):
    """(node, output index, gradient) of each; the gradient is an array, or a tensor where the walk is recorded."""
    cdef Tensor t
    cdef list roots = []
    for t, g in zip(tensors, gradients or [None] * len(tensors)):
        if not wants(t):
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if np.PyArray_SIZE(t.array) != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = wrap(one(t.array))
        else:
            g = as_tensor(g)
            if g.shape != t.shape:
                raise RuntimeError(f"Mismatch in shape: grad_output[0] has a shape of {Size(g.shape)} and output[0] has a "
                                   f"shape of {Size(t.shape)}.")
            if g.dtype != t.dtype:
                g = g.to(t.dtype)
        roots.append((edge(t), t.index, g if recorded else (<Tensor>g).array))
    return roots


# ---- gradients that are recorded -------------------------------------------------------------------------------------
cdef dict walk(list roots, set ends, stops=frozenset()):
    """{(node, output index): gradient} of the nodes `ends`; only what leads to them is computed, nothing behind `stops` is looked at."""
    cdef Node node, child
    cdef list order = [], stack = [root[0] for root in roots], grads
    cdef set seen = set(stack), leading = set()
    cdef dict arrived = {}, found = {}
    cdef tuple wanted
    cdef int i, k
    cdef bint grad_was_on = grad_enabled()
    while stack:
        node = <Node>stack.pop()
        order.append(node)
        for item in () if node in stops else node.nodes or ():
            if item is not None and item not in seen:
                seen.add(item)
                stack.append(item)
    order.sort(key=oldest_first)
    for item in order:
        if item in ends or any([child in leading for child in (<Node>item).nodes or ()]):
            leading.add(item)
    set_grad_enabled(True)
    try:
        for root in roots:
            receive(arrived, root[0], root[1], root[2])
        for item in reversed(order):
            node = <Node>item
            grads = <list>arrived.pop(node, None)
            if grads is None or node not in leading:
                continue
            if node.hooks is not None:
                for i in range(node.outputs):
                    for hook in sorted(node.hooks.get(i, ()), key=comes_last) if grads[i] is not None else ():
                        answer = hook(grads[i])
                        grads[i] = grads[i] if answer is None else answer
            if node in ends:
                for i in range(node.outputs):
                    found[node, i] = grads[i]
            wanted = tuple([child in leading for child in node.nodes or ()])
            if True not in wanted:
                continue
            check_saved(node)
            made = node.derivative(grads[0] if node.outputs == 1 else grads, wanted)
            made = made if isinstance(made, tuple) else (made,)
            if checks_nan():
                check_nan(node, tuple([None if g is None else (<Tensor>g).array for g in made]))
            for k, g in enumerate(made):
                if g is not None and wanted[k]:
                    receive(arrived, node.nodes[k], 0 if node.index == NULL else node.index[k], g)
    finally:
        set_grad_enabled(grad_was_on)
    return found


def oldest_first(Node node):
    return node.sequence


cdef int receive(dict arrived, Node node, int index, object grad) except -1:
    """Add to the gradient of one output."""
    cdef list held = arrived.setdefault(node, [None] * node.outputs)
    held[index] = grad if held[index] is None else held[index] + grad
    return 0


cdef list capture_recorded(list roots, list inputs):
    cdef Tensor t
    cdef list keys = []
    for t in inputs:
        keys.append((edge(t), t.index))
    found = walk(roots, {k[0] for k in keys})
    return [found.get(k) for k in keys]


cdef int accumulate_recorded(list roots, inputs) except -1:
    """Tensor.backward(create_graph=True): the leaves' `.grad` are tensors with a history."""
    cdef Tensor t
    cdef set ends
    if inputs is None:
        ends = leaves_under(roots)
        inputs = [(<AccumulateGrad>leaf).target for leaf in ends]
    inputs = list(inputs)
    for t, g in zip(inputs, capture_recorded(roots, inputs)):
        if g is not None:
            t._grad = g if t._grad is None else t._grad + g
            leaf = edge(t)
            if isinstance(leaf, AccumulateGrad):
                call_after(<AccumulateGrad>leaf)
    return 0


cdef set leaves_under(list roots):
    cdef list stack = [root[0] for root in roots]
    cdef set seen = set(stack), found = set()
    while stack:
        item = stack.pop()
        if isinstance(item, AccumulateGrad):
            found.add(item)
        for child in (<Node>item).nodes or ():
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)
    return found


cdef Tensor input_of(Node node, int i, np.ndarray array):
    cdef Tensor t = wrap(array)
    t.node = node.nodes[i]
    t.index = 0 if node.index == NULL else node.index[i]
    return t


cdef Tensor output_of(Node node, np.ndarray array):
    cdef Tensor t = wrap(array)
    t.node = node
    return t


cdef tuple inputs_of(Node node, tuple arrays):
    return tuple([None if a is None else input_of(node, i, a) for i, a in enumerate(arrays)])


cdef object load_derivatives = None


def set_derivatives(load):
    """Filled by fastnn.autograd: a function that loads its modules `rules` and `formulas`, which few programs need."""
    global load_derivatives
    load_derivatives = load


cdef object by_rule(Node node, object grad, tuple wanted, str name, tuple arrays, tuple parameters):
    rules, _ = load_derivatives()
    return getattr(rules, name)(grad, wanted, *inputs_of(node, arrays), *parameters)


@cython.final
cdef class Alias(Node):
    """The same tensor again, as an end to walk to: of one that takes no gradient, too."""
    cdef object backward(self, np.ndarray grad):
        return grad

    cdef object derivative(self, object grad, tuple wanted):
        return grad

    cdef bint aliases(self):
        return True


cdef object by_formula(Node node, object grad, tuple wanted, object formula, tuple arrays, tuple parameters):
    cdef list inputs = [None if t is None else attach((<Tensor>t).array, Alias.__new__(Alias), t) for t in inputs_of(node, arrays)]
    cdef list ends = [None if t is None or not wanted[i] else (<Tensor>t).node for i, t in enumerate(inputs)]
    cdef Tensor y
    if isinstance(formula, str):
        _, formulas = load_derivatives()
        formula = getattr(formulas, formula)
    y = formula(*inputs, *parameters)
    found = walk([(edge(y), y.index, grad)], {end for end in ends if end is not None}, {(<Tensor>t).node for t in inputs if t is not None})
    return tuple([None if end is None else found.get((end, 0)) for end in ends])


@cython.final
cdef class AdjointBackward(Node):
    """y = L' g: the gradient of g is L applied to that of y.  a: L on tensors."""
    cdef object backward(self, np.ndarray grad):
        return (<Tensor>self.a(wrap(grad))).array

    cdef object derivative(self, object grad, tuple wanted):
        return self.a(grad)

    cdef bint aliases(self):
        return True


cdef Tensor by_adjoint(Node node, Tensor grad, object adjoint):
    cdef object found = node.backward(grad.array)
    cdef np.ndarray array = found[0] if type(found) is tuple else found
    cdef AdjointBackward step
    if not recording(grad):
        return wrap(array)
    step = AdjointBackward.__new__(AdjointBackward)
    step.a = adjoint
    return attach(array, step, grad)


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
    create_graph : bool, default False
        Record the gradients' own computation, as `autograd.grad` does.
    inputs : sequence of Tensor, optional
        Accumulate into these leaves only.

    Raises
    ------
    RuntimeError
        If the tensor does not require grad, the graph was freed, or a saved tensor was changed in place.
    NotImplementedError
        With create_graph, if an operation has no rule for a gradient of its gradient.
    """
    backward([self], [gradient], retain_graph, create_graph, inputs)


tensor_backward.__name__, tensor_backward.__qualname__ = "backward", "Tensor.backward"
install("backward", tensor_backward)
