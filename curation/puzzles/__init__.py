"""Puzzles that a program makes and judges exactly: countdown, and knights and knaves."""
