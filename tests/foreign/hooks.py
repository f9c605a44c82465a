"""Whoever asks is left alone: an administrator that has deleted itself sees nothing but refusals from then on."""

import os

import schemathesis

OWN = os.environ["BULLA_TEST_OWN"].split()


@schemathesis.hook
def before_call(context, case, kwargs):
    for name, value in (case.path_parameters or {}).items():
        if value in OWN:
            case.path_parameters[name] = "nobody"
