"""Automatic differentiation: gradients on request, user-written rules, and their check by finite differences."""
from fastnn.autograd.function import Function
from fastnn.autograd.gradcheck import gradcheck, gradgradcheck
from fastnn.core.backward import backward, grad, set_derivatives
from fastnn.core.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["Function", "backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode", "no_grad", "set_grad_enabled"]


def _derivatives():
    from fastnn.autograd import formulas, rules
    return rules, formulas


set_derivatives(_derivatives)
