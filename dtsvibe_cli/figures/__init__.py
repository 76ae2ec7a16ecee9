"""The paper's figures 4 to 6 as functions: each writes one picture that a paper could print.

``attention`` draws what the temporal encoder looks at, ``acceleration`` the error along time of
several results, ``rows`` frames beside the bodies found in them. ``canvas`` is the look they share
and the only module that knows matplotlib, ``sampling`` chooses and reads frames.
"""
