"""Videos of people who do not exist, with exact ground truth, made by the project itself.

``gait`` says where the feet stand, ``motion`` turns that into joint rotations, ``appearance``
dresses and paints the body, ``scene`` builds the place and moves the camera, ``render`` finds what
each pixel sees, ``truth`` keeps what is exactly known, and ``clip`` puts it all together.
"""
