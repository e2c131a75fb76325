"""Automatic differentiation: gradients on request, user-written rules, and their check by finite differences."""
from fastnn.autograd import functional
from fastnn.autograd.anomaly import detect_anomaly, set_detect_anomaly
from fastnn.autograd.function import Function
from fastnn.autograd.gradcheck import gradcheck, gradgradcheck
from fastnn.autograd.variable import Variable
from fastnn.core.backward import backward, grad, set_derivatives
from fastnn.core.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["Function", "Variable", "backward", "detect_anomaly", "enable_grad", "functional", "grad", "gradcheck", "gradgradcheck",
           "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled"]


def _derivatives():
    from fastnn.autograd import formulas, rules
    return rules, formulas


set_derivatives(_derivatives)
