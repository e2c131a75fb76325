"""Compiled steps: a whole inference, training step or epoch as one call without the GIL.

A step is run eagerly under a recorder until two recordings in succession agree: twice, or three times where the first run
made state that the next ones found.  Then it becomes a plan that replays the very same kernel calls.  What a plan cannot
replay runs eagerly, after one warning.  See docs/compile.md.
"""
from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, overload

import numpy as np

from fastnn.core.grad_mode import is_grad_enabled, no_grad
from fastnn.core.guard import Guard
from fastnn.core.plan import NotCapturedError, Plan
from fastnn.core.random import randperm_array
from fastnn.core.recording import Recording, overlapping, recording
from fastnn.core.replay import record_module, replay_module
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn.utils import clip_grad_norm_, clip_grad_value_
from fastnn.ops.update import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Array, Generator
    from fastnn.optim import Optimizer

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
MOST_PLANS = 16     # batch shapes kept per step; the oldest goes first


@overload
def compile(model: Callable[..., Any], loss_fn: None = None, optimizer: None = None, *, max_norm: float | None = None,
            clip_value: float | None = None, fullgraph: bool = False) -> CompiledModule: ...
@overload
def compile(model: Callable[..., Any], loss_fn: Callable[..., Any], optimizer: Optimizer, *, max_norm: float | None = None,
            clip_value: float | None = None, fullgraph: bool = False) -> CompiledStep: ...
def compile(model: Callable[..., Any], loss_fn: Callable[..., Any] | None = None, optimizer: Optimizer | None = None, *,
            max_norm: float | None = None, clip_value: float | None = None,
            fullgraph: bool = False) -> CompiledModule | CompiledStep:
    """Compile a model's inference, or with a loss and an optimizer its training step.

    Parameters
    ----------
    model : Module or callable
    loss_fn : callable, optional
        ``loss_fn(output, target)`` returning a one-element tensor.
    optimizer : Optimizer, optional
    max_norm : float, optional
        Clip the norm of all gradients, as `nn.utils.clip_grad_norm_`.
    clip_value : float, optional
        Clip every gradient element, as `nn.utils.clip_grad_value_`.
    fullgraph : bool, default False
        Raise NotCapturedError where a step cannot be captured, instead of running it eagerly after a warning.

    Returns
    -------
    CompiledModule or CompiledStep

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.nn.Linear(3, 2)
    >>> step = fastnn.compile(model, fastnn.nn.MSELoss(), fastnn.optim.SGD(model.parameters(), lr=0.1))
    >>> loss = step(fastnn.ones(4, 3), fastnn.zeros(4, 2))
    """
    if loss_fn is None and optimizer is None:
        return CompiledModule(model, fullgraph)
    if loss_fn is None or optimizer is None:
        raise ValueError("compile: a training step needs both loss_fn and optimizer")
    return CompiledStep(model, loss_fn, optimizer, max_norm, clip_value, fullgraph)


class _Compiled:
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
        return Guard([d for m in self._modules() for d in _state_of(m)])

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
            with recording([t.array for t in inputs]) as record:
                answer, outputs = run()
        state = self._advance(before, record, guard, inputs, lambda: self._build(record, outputs, guard))
        self._keep(signature, state)
        return answer

    def _advance(self, before, record, guard, inputs, build):
        """The next state of a signature after a recorded run: the recording, a plan that `build` makes, or None: runs eagerly."""
        if before is None:      # what a first run does besides (lazy layers, buffers) is no fault
            return _Early(record)
        try:
            self._check(record, guard, inputs)
            early = isinstance(before, _Early)
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
        return "\n\n".join(_explain(signature, plan, peak, bandwidth) for signature, plan in self._plans.items()) or "no plan yet"


def _state_of(module):
    """The dicts that hold what a module's Python code may look at."""
    return [vars(module), *[getattr(module, name) for name in HOOKS if hasattr(module, name)]]


class _Early:
    """The recording of a first run: a plan when the next one agrees, nothing otherwise."""

    def __init__(self, record):
        self.record = record


class _Training:
    """A plan of forward and backward, the leaves it gives gradients to, and the structure of the module's result."""

    def __init__(self, plan, present, structure):
        self.plan, self.present, self.structure = plan, present, structure


class CompiledModule(_Compiled):
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
        outputs = record_module(Recording([t.array for t in tensors]), run, leaves, done)
        return _unflatten(structure[0], iter(outputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)


class CompiledStep(_Compiled):
    """A training step: ``loss = step(*inputs, target)`` runs forward, loss, backward, clipping and update.

    Gradients of the step are visible in each parameter's ``.grad`` afterwards, as after an eager step.
    """

    def __init__(self, model: Callable[..., Any], loss_fn: Callable[..., Any], optimizer: Optimizer,
                 max_norm: float | None = None, clip_value: float | None = None, fullgraph: bool = False) -> None:
        super().__init__(model, fullgraph)
        self.loss_fn, self.optimizer = loss_fn, optimizer
        self.max_norm, self.clip_value = max_norm, clip_value
        self._running = None

    def __call__(self, *batch: Tensor) -> Tensor:
        latest = self._latest
        if latest is not None:
            self.optimizer._refresh()
            outputs = latest.attempt(batch)
            if outputs is not None:
                return from_array(outputs[0])
        return self._slow([x if isinstance(x, Tensor) else from_array(x) for x in batch])

    def _slow(self, tensors):
        signature, plan = self._find(tensors)
        if isinstance(plan, Plan):
            self._latest = plan
            self.optimizer._refresh()
            return from_array(plan.run(*[t.array for t in tensors])[0])
        return self._make_plan(signature, tensors, lambda: self._run(tensors))

    def _run(self, tensors):
        self.optimizer.zero_grad()
        output = self.model(*tensors[:-1])
        loss = self.loss_fn(output, tensors[-1])
        loss.backward()
        if self.max_norm is not None:
            clip_grad_norm_(self._parameters(), self.max_norm)
        if self.clip_value is not None:
            clip_grad_value_(self._parameters(), self.clip_value)
        self.optimizer.step()
        loss = loss.detach()
        return loss, [loss]

    @contextlib.contextmanager
    def _state(self):
        made = prepare(self.optimizer) if self.optimizer._family else ()
        try:
            yield
        finally:
            for p in made:
                if p.grad is None:      # no step would have given it state
                    del self.optimizer.state[p]

    def _parameters(self):
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    _gradient_leaves = _parameters

    def _watched(self):
        known = {id(t): t for t in super()._watched()}
        known.update((id(p), p) for p in self._parameters())
        for state in self.optimizer.state.values():
            known.update((id(t), t) for t in state.values() if isinstance(t, Tensor))
        return list(known.values())

    def _modules(self):
        loss = self.loss_fn.modules() if hasattr(self.loss_fn, "modules") else ()
        return [*super()._modules(), *loss]

    def _guard(self):
        optimizer = self.optimizer
        dicts = [d for m in self._modules() for d in _state_of(m)]
        dicts += [vars(p) for p in self._parameters()]      # hooks of a parameter
        dicts += [vars(optimizer), *optimizer.state.values()]
        return Guard(dicts, [(group, optimizer._options()) for group in optimizer.param_groups])

    @property
    def progress(self) -> int:
        """Batches done of the epoch that runs now; may be read from another thread."""
        return self._running.progress if self._running is not None else self._done

    _done = 0

    def run_epoch(self, *data: Tensor | Array, batch_size: int = 1, shuffle: bool = False,
                  generator: Generator | None = None, drop_last: bool = False) -> Array:
        """Train on every row of the data once, in one call.

        Parameters
        ----------
        *data : arrays or Tensors of equal length
            The model's inputs and, last, the target.  Memory-mapped arrays are read batch by batch.
        batch_size : int, default 1
        shuffle : bool, default False
            Draw a new order of the rows from the generator.
        generator : Generator, optional
        drop_last : bool, default False
            Leave out a last batch with fewer rows.

        Returns
        -------
        ndarray
            The loss of every batch.
        """
        arrays = [x.array if isinstance(x, Tensor) else np.asarray(x) for x in data]
        rows = len(arrays[0])
        if any(len(a) != rows for a in arrays):
            raise ValueError(f"run_epoch: Size mismatch between tensors: {[len(a) for a in arrays]} rows")
        if batch_size < 1:
            raise ValueError(f"run_epoch: batch_size should be a positive integer value, but got batch_size={batch_size}")
        order = randperm_array(rows, generator) if shuffle else None
        full, rest = divmod(rows, batch_size)
        losses = np.empty(full + (rest > 0 and not drop_last), np.float64)
        self._done = self._run_full_batches(arrays, order, batch_size, full, losses)
        if rest and not drop_last:
            losses[full] = self(*_rows(arrays, order, full * batch_size, rows)).item()
            self._done += 1
        return losses

    def _run_full_batches(self, arrays, order, batch_size, full, losses):
        done = 0
        while done < full:
            batch = [from_array(a) for a in _rows(arrays, order, done * batch_size, (done + 1) * batch_size)]
            plan = self._find(batch)[1]
            if not isinstance(plan, Plan) or not all(a[:1].flags.c_contiguous for a in arrays):
                losses[done] = self(*batch).item()
                done += 1
                continue
            self.optimizer._refresh()
            results = np.empty(full, plan.output_dtype)
            self._running = plan
            try:
                reached = plan.run_batches(arrays, order, done, full, batch_size, results)
            finally:
                self._running = None
            losses[done:reached] = results[done:reached]
            done = reached
        return done


def _rows(arrays, order, start, stop):
    if order is None:
        return [a[start:stop] for a in arrays]
    return [np.take(a, order[start:stop], axis=0) for a in arrays]


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


def _explain(signature, plan, peak, bandwidth):
    shapes = ", ".join(f"{shape} {np.dtype(char).name}" for shape, _, char in signature[0])
    if plan is None:
        return f"inputs {shapes}: runs eagerly"
    plan = getattr(plan, "plan", plan)
    if not isinstance(plan, Plan):
        return f"inputs {shapes}: not yet planned"
    calls = plan.calls_in_words()
    bounds = [max(c["flops"] / peak, c["bytes"] / bandwidth) if peak and bandwidth else None for c in calls]
    lines = [f"inputs {shapes}: {plan.count} kernel calls on up to {plan.threads} threads, {plan.arena_bytes} bytes of buffers and "
             f"scratch, joined: {', '.join(plan.fusions) or 'nothing'}"
             + (f", at least {sum(bounds) * 1e6:.1f} us" if peak and bandwidth else "")]
    for number, (call, bound) in enumerate(zip(calls, bounds)):
        slots = " ".join(f"{name}={place}" for name, place in call["slots"])
        least = "" if bound is None else f"{bound * 1e6:9.2f} us "
        lines.append(f"{number:4d} {call['kernel']:20s} {call['sizes']:14s} {call['flops']:11.0f} FLOP {call['bytes']:10.0f} bytes "
                     f"{least} {slots}")
    return "\n".join(lines)
