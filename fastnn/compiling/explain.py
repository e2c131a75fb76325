"""A plan in words."""
from __future__ import annotations

import numpy as np

from fastnn.core.plan import Plan


def explain(signature, plan, peak, bandwidth):
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
