"""Distillation, reinforcement learning and evaluation of students. Imports nothing above `curation`."""
