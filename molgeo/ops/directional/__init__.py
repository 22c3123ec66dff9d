"""The sum over triplets k→j→i of directional message passing, in exact forms without triplets.

    m_ji[c] = Σ_{k∈N(j)∖i} x_kj[c] Σ_l Y_l0(α) S_kj[l,c],    cos α = û_ji · û_kj

``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` is a polynomial in a dot product of unit vectors: no angle is
ever computed, so all derivatives are finite if α is 0° or 180°. The filters come in two
factors, ``S_kj[l,c] = Σ_b T_kj[l,b] W[c,b]``, and are never held for all edges.

All but Y belongs to one edge, so the sum factors:

* ``reference``: explicit triplets; the oracle.
* ``gram``: the neighbourhood of an atom j is one matrix product, with the harmonics of the Gram
  matrix of its unit vectors. The least work if atoms have few neighbours.
* ``harmonic``: the addition theorem; linear in the number of neighbours.
* ``triton``: ``gram`` as one kernel for CUDA, nothing but edges in memory.
* ``auto``: the fastest of them, by `cheapest_form`.

Source:
    Gasteiger, Giri, Margraf, Günnemann, arXiv:2011.14115 (DimeNet++), eq. 2 and 3.
"""

from molgeo.ops.basis.harmonics import zonal_harmonics
from molgeo.ops.directional.total import DirectionalSum, Form, directional_sum

__all__ = ["DirectionalSum", "Form", "directional_sum", "zonal_harmonics"]
