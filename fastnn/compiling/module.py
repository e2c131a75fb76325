"""A compiled module: inference, and in training forward and backward as one node of the tape."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.compiling.plans import Compiled, notices_draws
from fastnn.core.grad_mode import is_grad_enabled, no_grad
from fastnn.core.plan import NotCapturedError, Plan
from fastnn.core.recording import Recording
from fastnn.core.replay import record_module, replay_module
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn.utils.parametrize import uncached

if TYPE_CHECKING:
    from typing import Any


class _Training:
    """A plan of forward and backward, the leaves it gives gradients to, and the structure of the module's result."""

    def __init__(self, plan, present, structure):
        self.plan, self.present, self.structure = plan, present, structure


class CompiledModule(Compiled):
    """A module as one call: inference, and in training forward and backward as one node of the tape."""

    def __call__(self, *inputs: Tensor) -> Any:
        if self._latest is not None and not is_grad_enabled():
            outputs = self._latest.attempt(inputs)
            if outputs is not None:
                return _unflatten(self._latest.structure, iter([from_array(a) for a in outputs]))
        tensors = [x if isinstance(x, Tensor) else from_array(x) for x in inputs]
        if is_grad_enabled():
            leaves = [t for t in [*tensors, *self._watched()] if t.requires_grad]
            if leaves:
                return self._train(tensors, leaves)
        return self._infer(tensors)

    def _infer(self, tensors):
        signature, plan = self._find(tensors)
        if isinstance(plan, Plan):
            self._latest = plan
            return _unflatten(plan.structure, iter([from_array(a) for a in plan.run(*[t.array for t in tensors])]))
        with no_grad():
            return self._make_plan(signature, tensors, lambda: self._run(tensors))

    def _run(self, tensors):
        answer, outputs = self.model(*tensors), []
        self._structure = _flatten(answer, outputs)
        return answer, outputs

    def _build(self, record, outputs, guard):
        plan = super()._build(record, outputs, guard)
        plan.structure = self._structure
        return plan

    def _train(self, tensors, leaves):
        signature = (*self._signature(tensors), tuple(t.requires_grad for t in tensors))
        state = self._plans.get(signature)
        if isinstance(state, _Training):
            if state.plan.stands():
                outputs = replay_module(state.plan, tensors, leaves, state.present)
                return self.model(*tensors) if outputs is None else _unflatten(state.structure, iter(outputs))
            state = None
        elif state is None and signature in self._plans:
            return self.model(*tensors)
        return self._record_training(signature, state, tensors, leaves)

    def _record_training(self, signature, state, tensors, leaves):
        inside = [t.detach().requires_grad_() if t.requires_grad else t for t in tensors]
        stand_ins = [t for t in inside if t.requires_grad] + leaves[sum(t.requires_grad for t in inside):]
        structure = []

        def run():
            outputs = []
            with uncached(), notices_draws(record):
                structure.append(_flatten(self.model(*inside), outputs))
            first_outputs.extend(t.array for t in outputs)
            return outputs, stand_ins

        def done(record, split, gradients, present):
            def build():
                plan = Plan(record, [*first_outputs, *gradients], (), split, len(tensors), len(first_outputs))
                plan.watch(self._watched(), guard)
                return _Training(plan, present, structure[0])
            self._plans[signature] = self._advance(state, record, guard, tensors, build)

        first_outputs, guard = [], None if state is None else self._guard()
        record = Recording([t.array for t in tensors])
        outputs = record_module(record, run, leaves, done)
        return _unflatten(structure[0], iter(outputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)


def _flatten(answer, tensors):
    """The structure of a result with its tensors replaced by None, collected in order."""
    if isinstance(answer, Tensor):
        tensors.append(answer)
        return None
    if isinstance(answer, dict):
        return {k: _flatten(v, tensors) for k, v in answer.items()}
    if isinstance(answer, list | tuple):
        return type(answer)([_flatten(v, tensors) for v in answer])
    raise NotCapturedError(f"the model returned a {type(answer).__name__}; tensors, lists, tuples and dicts can be captured")


def _unflatten(shape, tensors):
    if shape is None:
        return next(tensors)
    if isinstance(shape, dict):
        return {k: _unflatten(v, tensors) for k, v in shape.items()}
    return type(shape)([_unflatten(v, tensors) for v in shape])
