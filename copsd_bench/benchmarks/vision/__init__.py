"""The twelve vision-language benchmarks of the COPSD paper (arXiv 2606.03089), and MSS-Embodied.

Each has two scoring profiles: `copsd`, as the paper's evaluation code scores (its own scripts for safety, lmms-eval for
general ability), and `official`, as the benchmark's authors do. A score's name ends with its profile. Prompts and
judges' instructions are worded for this project after the points theirs make.
"""
