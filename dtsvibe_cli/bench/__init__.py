"""How fast dtsvibe is, against the usual way of doing the same, in one run on one machine.

``clip`` makes a clip of any size, ``product`` and ``reference`` time the two ways on it, each in a
``worker`` process of its own whose memory ``memory`` watches, ``comparison`` takes turns between
them, ``growth`` repeats dtsvibe for longer, larger or fuller clips, ``picture`` draws the result.
"""
