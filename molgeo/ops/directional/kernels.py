"""The sum over triplets k→j→i and its derivatives of first and second order, in Triton.

One program takes an atom j. The edges i, k that leave it are taken in tiles, so that any number of
neighbours fits, and nothing of the size of triplets, or of edges · orders · channels, is written to
memory: harmonics, filters and their products live in registers from one matrix product to the next.

With the unit vectors v of the edges that leave j, ``c_ik = −v_i·v_k`` and ``Y_l`` the zonal
harmonics, sums over k and i leaving out i = k:

    S_k[l,c] = Σ_b T_k[l,b] W[c,b]              filters
    Z_k[l,c] = x_k[c] S_k[l,c]                  filtered features of the edge k→j
    m_i[c]   = Σ_k Σ_l Y_l(c_ik) Z_k[l,c]       messages of the edge j→i

and, for weights g of the messages, the derivatives of ``F = Σ_i g_i·m_i``:

    V_k[l,c] = Σ_i Y_l(c_ik) g_i[c]             ∂F/∂Z, from which ∂F/∂x, ∂F/∂T and ∂F/∂W follow
    D_ik     = Σ_l Y_l'(c_ik) Σ_c g_i[c] Z_k[l,c]
    ∂F/∂v_a  = −Σ_b (D_ab + D_ba) v_b

The derivatives of second order are the tangents of all this, by the product rule. Three kernels
(messages, features, unit vectors), because one for all holds more than the registers do. Every row
is written once, and the weight's gradient is summed over programs in a fixed order: there are no
atomics, and a result does not change from run to run.

In the kernels ``a`` and ``b`` are the two tiles of edges, and a leading ``d`` marks a tangent. Rows
past an atom's last edge are read as the last one again, left out of every sum by `_start`, and not
written. No program takes the padding edges of a graph, which leave no atom: they stay zero.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.blocks import widest
from molgeo.ops.directional.factored import Factored

TILE = 16
"""Edges taken at a time, the least that `tl.dot` takes: molecules have about as many an atom."""

PROGRAMS = 1024
"""Most programs that a gradient is spread over: each of them writes a sum for the weight."""


class Kernels:
    """The sum for one graph: a `NeighbourSum` of unit vectors, x, radial and weight.

    They are shaped as those of `DirectionalSum`; the unit vectors, (edges, 3), are one for each
    edge, and their components are taken as independent. Results have the widest type of the
    operands and are summed in float32 or, if that is one of them, float64.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def value(self, *operands: Tensor) -> Tensor:
        """The sum, (edges, channels)."""
        return _messages([operand.contiguous() for operand in operands], None, self.graph)

    def definition(self, unit: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        """The sum with all that PyTorch needs to differentiate it."""
        gram = Factored("gram", unit.detach(), self.graph, radial.shape[1])
        return gram.definition(unit, x, radial, weight)

    def gradients(
        self,
        need: Sequence[bool],
        grad: Tensor,
        *operands: Tensor,
        tangents: Sequence[Tensor | None] | None = None,
    ) -> Sequence[Tensor | None]:
        """Derivatives of ⟨grad, m⟩, or theirs along tangents; ∂F/∂unit is half of the work."""
        graph = self.graph
        operands = tuple(operand.contiguous() for operand in operands)
        changes = None
        if tangents is not None:
            changes = [
                torch.zeros_like(operand) if change is None else change.contiguous()
                for operand, change in zip(operands, tangents, strict=True)
            ]
        unit, x, radial, weight = operands
        arguments = grad.contiguous(), *operands, *(changes or operands), *_index(graph)
        options = _options(operands, changes)
        programs = min(graph.n_atoms, PROGRAMS), _programs_an_atom(graph)
        of_unit, of_x = torch.zeros_like(unit), torch.zeros_like(x)
        of_radial = radial.new_zeros(graph.n_edges, *radial.shape[1:])  # a row for each direction
        wide = torch.promote_types(widest(operands), torch.float32)
        of_weight = weight.new_zeros(math.prod(programs), *weight.t().shape, dtype=wide)
        if graph.n_edges:
            with torch.cuda.device_of(x):
                _feature_kernel[programs](
                    *arguments, of_x, of_radial, of_weight, graph.n_atoms, **options
                )
                if need[0]:
                    # Few channels at a time, so that the registers hold. Tensor cores take such a
                    # tile in one warp; more of them would repeat its work.
                    warps = 4 if options["PRECISION"] == "ieee" else 1
                    options |= {"C_PAD": 16, "num_warps": warps}
                    _unit_kernel[graph.n_atoms, programs[1]](*arguments, of_unit, **options)
        return (
            _messages(operands, changes, graph) if changes else None,
            of_unit if need[0] else None,
            of_x,
            of_radial[graph.forward] + of_radial[graph.reverse[graph.forward]],
            of_weight.sum(0).t().to(weight.dtype),
        )


def _messages(operands: Sequence[Tensor], changes: list[Tensor] | None, graph: Graph) -> Tensor:
    """m, or how it changes."""
    x = operands[1]
    out = x.new_zeros(x.shape, dtype=widest(operands))
    if graph.n_edges:
        with torch.cuda.device_of(x):
            _message_kernel[graph.n_atoms, _programs_an_atom(graph)](
                *operands, *(changes or operands), *_index(graph), out,
                **_options(operands, changes),
            )  # fmt: skip
    return out


def _index(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    return graph.reverse, graph.pair, graph.ptr


def _programs_an_atom(graph: Graph) -> int:
    """One for each tile of the mean atom: to ask for the greatest degree would wait for the GPU."""
    return max(1, min(round(graph.n_edges / max(graph.n_atoms, 1) / TILE), 64))


def _options(operands: Sequence[Tensor], changes: list[Tensor] | None) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, of which `tl.dot` wants at least 16, and types."""
    _, _, radial, weight = operands
    n_channels, rank = weight.shape
    return {
        "TANGENT": changes is not None,
        "L": radial.shape[1],
        "B": rank,
        "C": n_channels,
        "B_PAD": max(16, triton.next_power_of_2(rank)),
        "C_PAD": max(16, triton.next_power_of_2(n_channels)),
        "TILE": TILE,
        "DTYPE": tl.float64 if widest(operands) == torch.float64 else tl.float32,
        "PRECISION": "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32",
        "num_warps": 4,
        "num_stages": 1,
    }


@triton.jit
def _message_kernel(
    unit, x, radial, weight, dunit, dx, dradial, dweight, reverse, pair, ptr, of_m,
    TANGENT: tl.constexpr,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """m_a of the edges a that leave one atom, or its tangent."""
    w, dw = _weights(weight, dweight, B, C, B_PAD, C_PAD, DTYPE)
    first, last = tl.load(ptr + tl.program_id(0)), tl.load(ptr + tl.program_id(0) + 1)
    for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
        a = a0 + tl.arange(0, TILE)
        u_a, du_a = _units(unit, dunit, a, last, DTYPE)
        m = tl.zeros((TILE, C_PAD), DTYPE)
        for b0 in range(first, last, TILE):
            b = b0 + tl.arange(0, TILE)
            u_b, du_b = _units(unit, dunit, b, last, DTYPE)
            cosine, p, q, p1, p2 = _start(u_a, u_b, a, b, last)
            for l in range(L):
                x_b, t_b = _incoming(x, radial, reverse, pair, b, last, l, 0, L, B, C, w)
                s_b = _dot_transposed(t_b, w, PRECISION)  # S_b = T_b Wᵀ
                y = _norm(l, DTYPE) * p  # Y_l(c_ab)
                if TANGENT:
                    dx_b, dt_b = _incoming(dx, dradial, reverse, pair, b, last, l, 0, L, B, C, w)
                    dz_b = dx_b * s_b + x_b * _symmetric(t_b, dt_b, w, dw, PRECISION)
                    dy = _norm(l, DTYPE) * p1 * -_symmetric(u_a, du_a, u_b, du_b, "ieee")
                    m = tl.dot(dy, x_b * s_b, m, input_precision=PRECISION, out_dtype=DTYPE)
                    m = tl.dot(y, dz_b, m, input_precision=PRECISION, out_dtype=DTYPE)
                else:
                    m = tl.dot(y, x_b * s_b, m, input_precision=PRECISION, out_dtype=DTYPE)
                p, q, p1, p2 = _next(cosine, l, p, q, p1, p2)
        _write(of_m, m, a, a < last, C, C)


@triton.jit
def _feature_kernel(
    grad, unit, x, radial, weight, dunit, dx, dradial, dweight, reverse, pair, ptr,
    of_x, of_radial, of_weight, n_atoms, TANGENT: tl.constexpr,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """∂F/∂x_a and ∂F/∂T_a of the edges a that leave some atoms, and their share of ∂F/∂W."""
    w, dw = _weights(weight, dweight, B, C, B_PAD, C_PAD, DTYPE)
    f_w = tl.zeros((B_PAD, C_PAD), DTYPE)
    for atom in range(tl.program_id(0), n_atoms, tl.num_programs(0)):
        first, last = tl.load(ptr + atom), tl.load(ptr + atom + 1)
        for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
            a = a0 + tl.arange(0, TILE)
            u_a, du_a = _units(unit, dunit, a, last, DTYPE)
            f_x = tl.zeros((TILE, C_PAD), DTYPE)
            for l in range(L):
                v = tl.zeros((TILE, C_PAD), DTYPE)
                dv = tl.zeros((TILE, C_PAD), DTYPE)
                for b0 in range(first, last, TILE):
                    b = b0 + tl.arange(0, TILE)
                    u_b, du_b = _units(unit, dunit, b, last, DTYPE)
                    cosine, p, q, p1, p2 = _start(u_a, u_b, a, b, last)
                    for n in range(l):
                        p, q, p1, p2 = _next(cosine, n, p, q, p1, p2)
                    g_b = _rows(grad, tl.minimum(b, last - 1), C, C, C_PAD, DTYPE)
                    v = tl.dot(p, g_b, v, input_precision=PRECISION, out_dtype=DTYPE)
                    if TANGENT:
                        dp = p1 * -_symmetric(u_a, du_a, u_b, du_b, "ieee")
                        dv = tl.dot(dp, g_b, dv, input_precision=PRECISION, out_dtype=DTYPE)
                x_a, t_a = _incoming(x, radial, reverse, pair, a, last, l, 0, L, B, C, w)
                s_a = _dot_transposed(t_a, w, PRECISION)  # S_a = T_a Wᵀ
                v *= _norm(l, DTYPE)  # V_a = Σ_b Y_l(c_ab) g_b
                if TANGENT:
                    dv *= _norm(l, DTYPE)
                    dx_a, dt_a = _incoming(dx, dradial, reverse, pair, a, last, l, 0, L, B, C, w)
                    f_x += dv * s_a + v * _symmetric(t_a, dt_a, w, dw, PRECISION)
                    vx, dvx = v * x_a, dv * x_a + v * dx_a
                    f_t = tl.dot(dvx, w, input_precision=PRECISION, out_dtype=DTYPE)
                    f_t = tl.dot(vx, dw, f_t, input_precision=PRECISION, out_dtype=DTYPE)
                    f_w = tl.dot(
                        tl.trans(dt_a), vx, f_w, input_precision=PRECISION, out_dtype=DTYPE
                    )
                    f_w = tl.dot(
                        tl.trans(t_a), dvx, f_w, input_precision=PRECISION, out_dtype=DTYPE
                    )
                else:
                    f_x += v * s_a
                    vx = v * x_a
                    f_t = tl.dot(vx, w, input_precision=PRECISION, out_dtype=DTYPE)
                    f_w = tl.dot(tl.trans(t_a), vx, f_w, input_precision=PRECISION, out_dtype=DTYPE)
                _write(of_radial + l * B, f_t, a, a < last, L * B, B)
            _write(of_x, f_x, tl.load(reverse + tl.minimum(a, last - 1)), a < last, C, C)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    _write(of_weight + program * B * C, f_w, tl.arange(0, B_PAD), tl.arange(0, B_PAD) < B, C, C)


@triton.jit
def _unit_kernel(
    grad, unit, x, radial, weight, dunit, dx, dradial, dweight, reverse, pair, ptr, of_unit,
    TANGENT: tl.constexpr,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """∂F/∂v_a of the edges a that leave one atom, or its tangent; C_PAD channels at a time."""
    first, last = tl.load(ptr + tl.program_id(0)), tl.load(ptr + tl.program_id(0) + 1)
    for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
        a = a0 + tl.arange(0, TILE)
        u_a, du_a = _units(unit, dunit, a, last, DTYPE)
        f_u = tl.zeros((TILE, 16), DTYPE)
        for b0 in range(first, last, TILE):
            b = b0 + tl.arange(0, TILE)
            u_b, du_b = _units(unit, dunit, b, last, DTYPE)
            d = tl.zeros((TILE, TILE), DTYPE)
            dd = tl.zeros((TILE, TILE), DTYPE)
            for c in range(0, C, C_PAD):
                w, dw = _weights(weight + c * B, dweight + c * B, B, C - c, B_PAD, C_PAD, DTYPE)
                g_a = _rows(grad + c, tl.minimum(a, last - 1), C, C - c, C_PAD, DTYPE)
                g_b = _rows(grad + c, tl.minimum(b, last - 1), C, C - c, C_PAD, DTYPE)
                cosine, p, q, p1, p2 = _start(u_a, u_b, a, b, last)
                for l in range(L):
                    x_a, t_a = _incoming(x, radial, reverse, pair, a, last, l, c, L, B, C, w)
                    x_b, t_b = _incoming(x, radial, reverse, pair, b, last, l, c, L, B, C, w)
                    s_a = _dot_transposed(t_a, w, PRECISION)  # S_a = T_a Wᵀ
                    s_b = _dot_transposed(t_b, w, PRECISION)  # S_b = T_b Wᵀ
                    gz = _norm(l, DTYPE) * _symmetric(g_a, x_a * s_a, g_b, x_b * s_b, PRECISION)
                    d += p1 * gz  # D_ab + D_ba
                    if TANGENT:
                        dx_a, dt_a = _incoming(
                            dx, dradial, reverse, pair, a, last, l, c, L, B, C, w
                        )
                        dx_b, dt_b = _incoming(
                            dx, dradial, reverse, pair, b, last, l, c, L, B, C, w
                        )
                        dz_a = dx_a * s_a + x_a * _symmetric(t_a, dt_a, w, dw, PRECISION)
                        dz_b = dx_b * s_b + x_b * _symmetric(t_b, dt_b, w, dw, PRECISION)
                        dgz = _norm(l, DTYPE) * _symmetric(g_a, dz_a, g_b, dz_b, PRECISION)
                        dp1 = p2 * -_symmetric(u_a, du_a, u_b, du_b, "ieee")
                        dd += dp1 * gz + p1 * dgz
                    p, q, p1, p2 = _next(cosine, l, p, q, p1, p2)
            if TANGENT:
                f_u = tl.dot(dd, u_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
                f_u = tl.dot(d, du_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
            else:
                f_u = tl.dot(d, u_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
        _write(of_unit, -f_u, a, a < last, 3, 3)


@triton.jit
def _rows(data, rows, STRIDE: tl.constexpr, width, PAD: tl.constexpr, DTYPE: tl.constexpr):
    """(rows, PAD) the first ``width`` numbers of some rows, then zeros."""
    column = tl.arange(0, PAD)
    place = data + rows[:, None] * STRIDE + column[None, :]
    return tl.load(place, mask=(column < width)[None, :], other=0.0).to(DTYPE)


@triton.jit
def _write(data, value, rows, kept, STRIDE: tl.constexpr, WIDTH: tl.constexpr):
    """Store the first WIDTH columns of the rows that are kept."""
    column = tl.arange(0, value.shape[1])
    place = data + rows[:, None] * STRIDE + column[None, :]
    tl.store(place, value, mask=kept[:, None] & (column < WIDTH)[None, :])


@triton.jit
def _weights(
    weight, dweight, B: tl.constexpr, n_channels, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    DTYPE: tl.constexpr,
):  # fmt: skip
    """(C_PAD, B_PAD) W and its tangent; channels past the last are the last one again."""
    channel = tl.minimum(tl.arange(0, C_PAD), n_channels - 1)
    return (
        _rows(weight, channel, B, B, B_PAD, DTYPE),
        _rows(dweight, channel, B, B, B_PAD, DTYPE),
    )


@triton.jit
def _units(unit, dunit, edges, last, DTYPE: tl.constexpr):
    """(edges, 16) unit vectors and their tangents, in the first three columns."""
    rows = tl.minimum(edges, last - 1)
    return _rows(unit, rows, 3, 3, 16, DTYPE), _rows(dunit, rows, 3, 3, 16, DTYPE)


@triton.jit
def _incoming(
    x, radial, reverse, pair, edges, last, l, c,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, w,
):  # fmt: skip
    """Features x_k from channel c on and factor T_k[l] of the edges k→j, as wide as w is."""
    rows = tl.minimum(edges, last - 1)
    x_k = _rows(x + c, tl.load(reverse + rows), C, C - c, w.shape[0], w.dtype)
    t_k = _rows(radial + l * B, tl.load(pair + rows), L * B, B, w.shape[1], w.dtype)
    return x_k, t_k


@triton.jit
def _dot_transposed(a, b, PRECISION: tl.constexpr):
    """``a bᵀ``."""
    return tl.dot(a, tl.trans(b), input_precision=PRECISION, out_dtype=a.dtype)


@triton.jit
def _symmetric(a, da, b, db, PRECISION: tl.constexpr):
    """``a dbᵀ + da bᵀ``: the tangent of ``a bᵀ``, or a form and its transpose."""
    c = _dot_transposed(a, db, PRECISION)
    return tl.dot(da, tl.trans(b), c, input_precision=PRECISION, out_dtype=a.dtype)


@triton.jit
def _start(u_a, u_b, a, b, last):
    """Cosines c_ab, and P_0, P_{−1}, P_0' and P_0'' of them.

    The recurrence is linear, so that P_0 = 0 leaves out for all orders what is no triplet: an edge
    with itself, and rows past the last edge.
    """
    kept = (a[:, None] != b[None, :]) & (a < last)[:, None] & (b < last)[None, :]
    zero = tl.zeros(kept.shape, u_a.dtype)
    return -_dot_transposed(u_a, u_b, "ieee"), kept.to(u_a.dtype), zero, zero, zero


@triton.jit
def _next(c, l, p, q, p1, p2):
    """From order l to l + 1: P, the P before, P' and P''.

    ``n P_n = (2n−1) c P_{n−1} − (n−1) P_{n−2}``, ``P_n' = c P'_{n−1} + n P_{n−1}``,
    ``P_n'' = c P''_{n−1} + (n+1) P'_{n−1}``.
    """
    n = tl.full((), 1.0, c.dtype) * (l + 1)
    return (2 - 1 / n) * c * p - (1 - 1 / n) * q, p, c * p1 + n * p, c * p2 + (n + 1) * p1


@triton.jit
def _norm(l, DTYPE: tl.constexpr):
    """√((2l+1)/4π)."""
    return tl.sqrt(tl.full((), 1 / (4 * 3.141592653589793), DTYPE) * (2 * l + 1))
