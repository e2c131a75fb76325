"""The node behind a user-written rule (fastnn.autograd.Function)."""
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport output_of
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, attach_outputs, wants, wrap

np.import_array()


cdef class UserNode(Node):
    """Calls Function.backward with Tensors; `a` holds the context, `b` and `d` shape and dtype of outputs and of tensor inputs."""
    cdef object rule

    cdef object backward(self, np.ndarray grad):
        return self.backward_many([grad])

    cdef object backward_many(self, list grads):
        return tuple([None if g is None else (<Tensor>g).array for g in self.called([None if g is None else wrap(g) for g in grads])])

    cdef object derivative(self, object grad, tuple wanted):
        """The same with everything recorded; outputs that forward saved have their place in the graph again."""
        cdef list saved = list(self.a.saved)
        cdef Tensor t
        for i, k in self.c.items():
            t = output_of(self, (<Tensor>saved[i][0]).array)
            t.index = k
            saved[i] = (t, t._version)
        before, self.a.saved = self.a.saved, tuple(saved)
        try:
            return self.called(grad if self.outputs > 1 else [grad])
        finally:
            self.a.saved = before

    cdef tuple called(self, list grads):
        cdef list given = []
        for g, like in zip(grads, self.b):
            if g is None and self.a.materialize_grads:
                g = wrap(np.zeros(like[0], like[1]))
            given.append(g)
        found = self.rule.backward(self.a, *given)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) < self.a.argument_count or any(f is not None for f in found[self.a.argument_count:]):
            raise RuntimeError(f"function {self.rule.__name__}Backward returned an incorrect number of gradients "
                               f"(expected {self.a.argument_count}, got {len(found)})")
        return tuple([None if found[i] is None else self.checked(found[i], i, like[0], like[1])
                      for i, like in zip(self.a.tensor_positions, self.d)])

    cdef object checked(self, object found, int position, tuple shape, object dtype):
        """The rule's gradient in its input's shape and dtype: a broadcast one is summed, as torch does."""
        if not isinstance(found, Tensor):
            raise TypeError(f"{self.name}: expected Variable or None (got {type(found).__name__})")
        if found.shape != shape:
            lead = len(found.shape) - len(shape)
            if lead < 0 or any([n != 1 and n != m for n, m in zip(shape, found.shape[lead:])]):
                raise RuntimeError(f"Function {self.name} returned an invalid gradient at index {position} - got {list(found.shape)} "
                                   f"but expected shape compatible with {list(shape)}")
            found = found.sum((*range(lead), *[lead + i for i, n in enumerate(shape) if n != found.shape[lead + i]])).reshape(shape)
        return found.to(dtype)

    cdef bint aliases(self):
        return True

    @property
    def name(self):
        return f"{self.rule.__name__}Backward"


def apply_function(rule, context, tuple arguments, outputs):
    """Put the outputs of a Function on the tape and return them."""
    cdef Tensor t
    cdef bint single = not isinstance(outputs, tuple)
    cdef tuple results = (outputs,) if single else outputs
    cdef list inputs = [x for x in arguments if isinstance(x, Tensor)]
    cdef bint record = grad_enabled()
    if record:
        record = False
        for x in inputs:
            record = record or wants(<Tensor>x)
    if not record:
        return outputs
    context.tensor_positions = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
    context.argument_count = len(arguments)
    cdef UserNode node = UserNode()
    node.rule, node.a = rule, context
    node.c = {i: k for i, (t, _) in enumerate(context.saved) for k, r in enumerate(results) if t is r}     # saved outputs
    node.d = [((<object>(<Tensor>x).array).shape, (<object>(<Tensor>x).array).dtype) for x in inputs]
    node.b = [((<object>(<Tensor>t).array).shape, (<object>(<Tensor>t).array).dtype) for t in results]
    cdef tuple made = attach_outputs([(<Tensor>t).array for t in results], node, inputs)
    for i, t in enumerate(results):
        if id(t) in context.non_differentiable or (<object>t.array).dtype.kind != "f":
            (<Tensor>made[i]).node = None
    return made[0] if single else made
