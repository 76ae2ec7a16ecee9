"""Networks: one file for each block of the paper, and the frozen networks they ride on."""
