"""What compiled modules and steps share: plans by input signature, and the way from an eager run to a plan."""
from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastnn import backends
from fastnn.compiling.explain import explain
from fastnn.core.guard import Guard
from fastnn.core.plan import NotCapturedError, Plan
from fastnn.core.recording import overlapping, recording
from fastnn.nn.utils.parametrize import uncached

if TYPE_CHECKING:
    from typing import Any

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
MOST_PLANS = 16     # batch shapes kept per step; the oldest goes first


class Compiled:
    """What inference and training steps share: plans by input signature, and the way to a new one."""

    def __init__(self, model: Any, fullgraph: bool) -> None:
        self.model = model
        self.fullgraph = fullgraph
        self._plans: dict[Any, Any] = {}        # signature -> Plan, None (runs eagerly) or the recording so far
        self._latest = None     # the plan that ran last: tried first

    def reset(self) -> None:
        """Forget all plans: after a change that no plan can see, as another dropout probability."""
        self._plans.clear()
        self._latest = None

    def _signature(self, inputs):
        mode = tuple(m.training for m in self._modules())
        shared = tuple(overlapping([t.array for t in inputs]))
        return tuple((t.array.shape, t.array.strides, t.array.dtype.char) for t in inputs), mode, shared

    def _modules(self):
        return self.model.modules() if hasattr(self.model, "modules") else ()

    def _guard(self):
        """The Python state that a plan stands on."""
        return Guard([d for m in self._modules() for d in state_of(m)], flat=[vars(backends)])

    def _check(self, record, guard, inputs):
        """Raise NotCapturedError for what a recorded run did that a replay would not do."""
        changed = guard.difference()
        if changed:
            record.uncaptured.append(f"the step changes attributes of a module or the optimizer: {changed}")
        if any(getattr(m, name, None) for m in self._modules() for name in HOOKS):
            record.uncaptured.append("a module has hooks, which are Python code")
        for t in self._watched():
            if any(np.may_share_memory(t.array, x.array) for x in inputs):
                record.uncaptured.append("an input shares memory with a parameter or buffer")
        if record.uncaptured:
            raise NotCapturedError("; ".join(dict.fromkeys(record.uncaptured)))

    def _watched(self):
        if not hasattr(self.model, "parameters"):
            return []
        return [*self.model.parameters(), *self.model.buffers()]

    def _find(self, inputs):
        """(signature, plan) of the inputs; the plan is None until it stands."""
        signature = self._signature(inputs)
        plan = self._plans.get(signature)
        if isinstance(plan, Plan) and not plan.stands():
            del self._plans[signature]
            plan = None
        return signature, plan

    def _make_plan(self, signature, inputs, run):
        """Advance the signature on its way to a plan by one eager run; returns what the run returned."""
        before = self._plans.get(signature)
        if before is None and signature in self._plans:
            return run()[0]
        with self._state() if before is None else contextlib.nullcontext():
            guard = None if before is None else self._guard()
            with uncached(), recording([t.array for t in inputs]) as record, notices_draws(record):
                answer, outputs = run()
        state = self._advance(before, record, guard, inputs, lambda: self._build(record, outputs, guard))
        self._keep(signature, state)
        return answer

    def _advance(self, before, record, guard, inputs, build):
        """The next state of a signature after a recorded run: the recording, a plan that `build` makes, or None: runs eagerly."""
        if before is None:      # what a first run does besides (lazy layers, buffers) is no fault
            return Early(record)
        try:
            self._check(record, guard, inputs)
            early = isinstance(before, Early)
            difference = (before.record if early else before).difference(record)
            if difference and not early:
                raise NotCapturedError(difference)
            return record if difference else build()
        except NotCapturedError as reason:
            self._refuse(reason)
            return None

    def _state(self):
        """A context of a first run in which the state exists that it would make: memory made while recording counts as a buffer."""
        return contextlib.nullcontext()

    def _refuse(self, reason):
        if self.fullgraph:
            raise reason
        warnings.warn(f"fastnn.compile: runs eagerly, because a plan cannot replay it: {reason}", stacklevel=6)

    def _build(self, record, outputs, guard):
        plan = Plan(record, [t.array for t in outputs], self._gradient_leaves())
        plan.watch(self._watched(), guard)
        return plan

    def _gradient_leaves(self):
        return []

    def _keep(self, signature, state):
        self._plans[signature] = state
        if isinstance(state, Plan):
            self._latest = state
        if len(self._plans) > MOST_PLANS:
            del self._plans[next(iter(self._plans))]

    def explain(self, *, peak: float | None = None, bandwidth: float | None = None) -> str:
        """Describe the plans: kernel calls, sizes, where each slot lives, work, memory; and what was not captured.

        With `peak` (FLOP per second) and `bandwidth` (bytes per second) every call also gets the time it needs at least.
        """
        return "\n\n".join(explain(signature, plan, peak, bandwidth) for signature, plan in self._plans.items()) or "no plan yet"


@contextlib.contextmanager
def notices_draws(record):
    """Refuse a run that draws Python's random numbers: they may decide what is computed, and two runs may agree by chance."""
    before = python_draws()
    yield
    if python_draws() != before:
        record.uncaptured.append("the step draws numbers from Python's random or numpy.random")


def python_draws():
    """The states of the global generators of `random` and `numpy.random`, as far as they are loaded."""
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    if numpy is None:
        return python and python.getstate(), None
    state = numpy.get_state(legacy=False)
    return python and python.getstate(), (state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"])


def state_of(module):
    """The dicts that hold what a module's Python code may look at."""
    return [vars(module), *[getattr(module, name) for name in HOOKS if hasattr(module, name)]]


class Early:
    """The recording of a first run: a plan when the next one agrees, nothing otherwise."""

    def __init__(self, record):
        self.record = record
