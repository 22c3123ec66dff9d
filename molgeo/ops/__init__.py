"""Sums over edges and triplets, each closed under differentiation."""
