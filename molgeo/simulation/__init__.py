"""Moving atoms with a calculator of ASE: relaxation, molecular dynamics, vibrations.

Optimisers, integrators, thermostats, barostats and vibrations are ASE's own. What is added here is
what surrounds them: where structures come from, momenta, a guard, files that survive a kill, and
many structures at a time.
"""
