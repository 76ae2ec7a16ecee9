"""Training: motion readers, the simulator of the cheap stage, losses, and the loop."""
