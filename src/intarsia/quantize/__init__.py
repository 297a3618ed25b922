"""Planes, patterns, quantizers, transforms and training."""
