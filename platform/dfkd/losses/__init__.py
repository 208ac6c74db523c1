"""Losses: pure functions of tensors that return a scalar with a gradient."""
