"""Writes what is generated from `modelyard/contract`: the CRDs and the API reference."""
